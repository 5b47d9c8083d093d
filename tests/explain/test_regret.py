"""What can still be reached, against an enumeration; regrets sum to the optimum minus one's own score."""

import numpy as np
import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.explain.credit import waterfall
from nas_gym.explain.prefixes import complete_prefixes
from nas_gym.explain.regret import reachable
from nas_gym.spaces import Prefix, SearchSpace
from tests.explain.small_tables import chain, full_table

SPACES = {"full": full_table().space(), "chain": chain()}


def scored(space: SearchSpace) -> dict[Prefix, float]:
    prefixes = complete_prefixes(space)
    return dict(zip(prefixes, np.random.default_rng(7).uniform(size=len(prefixes)).tolist(), strict=True))


@pytest.mark.parametrize("name", SPACES)
def test_the_best_and_the_expected_are_those_of_an_enumeration(name: str) -> None:
    space = SPACES[name]
    scores = scored(space)
    reach = reachable(list(scores), np.array(list(scores.values())))

    def expected(prefix: Prefix) -> float:
        if space.next_slot(prefix) is None:
            return scores[prefix]
        legal = np.flatnonzero(space.legal(prefix)).tolist()
        return float(np.mean([expected((*prefix, action)) for action in legal]))

    every = {prefix[:end] for prefix in scores for end in range(len(prefix) + 1)}
    assert set(reach.best) == set(reach.expected) == every
    for prefix in every:
        best = max(score for one, score in scores.items() if one[: len(prefix)] == prefix)
        assert reach.best[prefix] == best
        assert reach.expected[prefix] == pytest.approx(expected(prefix))


@pytest.mark.parametrize("name", SPACES)
def test_regrets_are_not_negative_and_sum_to_what_was_missed(name: str) -> None:
    scores = scored(SPACES[name])
    reach = reachable(list(scores), np.array(list(scores.values())))
    optimum = max(scores.values())
    for prefix, score in scores.items():
        regret = reach.regret(prefix)
        assert len(regret) == len(prefix) and (regret >= 0).all() and not np.signbit(regret).any()
        assert regret.sum() == pytest.approx(optimum - score)
    best = max(scores, key=lambda prefix: scores[prefix])
    assert reach.regret(best).tolist() == [0.0] * len(best)


def test_the_waterfall_of_a_perfect_critic_sums_to_the_score() -> None:
    scores = scored(SPACES["chain"])
    reach = reachable(list(scores), np.array(list(scores.values())))
    for prefix, score in list(scores.items())[::7]:
        along = reach.expected_along(prefix)
        split = waterfall(along[:-1], score)
        assert along[-1] == score and split.start + split.credits.sum() == pytest.approx(score)


def test_what_is_no_prefix_of_the_space_is_refused() -> None:
    scores = scored(SPACES["full"])
    reach = reachable(list(scores), np.array(list(scores.values())))
    with pytest.raises(ConfigurationError, match=r"begins with \(9,\)"):
        reach.regret((9, 0, 0))


@pytest.mark.parametrize("n", [0, 2])
def test_a_score_per_prefix_is_needed(n: int) -> None:
    with pytest.raises(ConfigurationError, match="a score per prefix"):
        reachable([(0,)] * n, np.zeros(1))
