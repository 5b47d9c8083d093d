"""Counterfactual credit: what is replaced and what is not, and what it comes to, against tables and trainings."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, TabularEvaluator, evaluate
from nas_gym.evaluation.evaluation import resolved
from nas_gym.explain.credit_replacement import (
    Measured,
    counterfactuals,
    evaluated_lookup,
    interval,
    lookups_of,
    replaced,
    replacements,
    simple_lookup,
    table_lookup,
)
from nas_gym.explain.prefixes import complete_prefixes, decisions_of, slots_of
from nas_gym.objective import Accuracy
from nas_gym.spaces import ChainSpace, Convolution, FullyConnected, Limits, Prefix
from tests.explain.small_tables import SIZES, chain, full_table, truth

STOP = 3  # of `chain`: after its three layers


def test_in_a_full_table_every_other_choice_is_an_alternative() -> None:
    table = full_table()
    told = truth(table)
    prefix = (1, 0, 2)
    (found,) = counterfactuals(told.space, [prefix], table_lookup(told)).values()
    cube = told.rewards.reshape(SIZES)
    for place, one in enumerate(found):
        others = np.delete(cube[tuple(slice(None) if i == place else a for i, a in enumerate(prefix))], prefix[place])
        assert (one.slot, one.alternatives, one.left_out) == (place, SIZES[place] - 1, 0)
        assert one.mean == pytest.approx(cube[prefix] - others.mean())
        assert one.best == pytest.approx(cube[prefix] - others.max())


def test_of_an_additive_table_the_mean_is_the_term_against_the_others() -> None:
    terms = [np.random.default_rng(slot).uniform(0, 0.3, size) for slot, size in enumerate(SIZES)]
    rewards = terms[0][:, None, None] + terms[1][None, :, None] + terms[2][None, None, :]
    told = truth(full_table(trainings=1, rewards=rewards.reshape(-1)))
    for prefix, found in counterfactuals(told.space, told.prefixes, table_lookup(told)).items():
        wanted = [term[a] - np.delete(term, a).mean() for term, a in zip(terms, prefix, strict=True)]
        assert [one.mean for one in found] == pytest.approx(wanted, abs=1e-6)


@given(st.integers(0, 10_000))
def test_a_replacement_changes_one_decision_and_keeps_the_others(number: int) -> None:
    space = chain()
    prefixes = complete_prefixes(space)
    prefix = prefixes[number % len(prefixes)]
    (own,) = decisions_of(space, [prefix])
    for place, others in enumerate(replacements(space, prefix)):
        slot = slots_of(space, prefix)[place]
        assert len(others) == space.legal(prefix[:place]).sum() - 1
        for other in [one for one in others if one is not None]:
            assert other in prefixes and other != prefix
            (theirs,) = decisions_of(space, [other])
            kept = [s for s in range(len(own)) if s != slot and own[s] >= 0 and theirs[s] >= 0]
            assert theirs[slot] not in (-1, own[slot])
            if own[slot] != STOP or slot == 0:
                assert (own[kept] == theirs[kept]).all()


def test_a_layer_in_place_of_stop_puts_the_stop_off_by_one_and_stop_drops_what_follows() -> None:
    space = chain()
    assert replaced(space, (0, 1, STOP), 2, 0) == (0, 1, 0, STOP)
    assert replaced(space, (0, 1, 0, STOP), 3, 1) == (0, 1, 0, 1), "the last layer needs no stop"
    assert replaced(space, (0, 1, 0, 1), 2, STOP) == (0, 1, STOP)
    assert replaced(space, (0, 1, 0, 1), 0, 1) == (1, 1, 0, 1)


def test_what_can_not_be_followed_is_left_out_and_counted() -> None:
    space = chain()
    convolution_after = (0, 0, 1, STOP)
    assert replaced(space, convolution_after, 1, 2) is None, "no convolution follows a fully connected layer"
    (found,) = counterfactuals(space, [convolution_after], simple_lookup(lambda prefix: 0.5)).values()
    assert (found[1].alternatives, found[1].left_out) == (1, 1)
    limited = ChainSpace(
        (1, 8, 8), 10, catalogue=(Convolution(4), FullyConnected(8)), max_layers=2, limits=Limits(min_layers=2)
    )
    forced = (0, 1, 1)
    lookup = simple_lookup(lambda prefix: 0.5 if prefix == forced else None)
    (none,) = counterfactuals(limited, [forced], lookup).values()
    assert [(one.alternatives, one.mean, one.best) for one in none] == [(0, None, None)] * 3
    assert [one.left_out for one in none] == [len(limited.activations) - 1, 1, 0], "the last decision was forced"


def test_a_network_whose_own_reward_is_not_known_has_no_credit() -> None:
    space = full_table().space()
    assert counterfactuals(space, [(0, 0, 0)], simple_lookup(lambda prefix: None)) == {}


def test_errors_add_up_as_those_of_independent_numbers() -> None:
    space = full_table().space()

    def lookup(prefixes: Sequence[Prefix]) -> list[Measured | None]:
        return [Measured(0.1 * prefix[2], 0.03 if prefix == (0, 0, 0) else 0.01) for prefix in prefixes]

    last = counterfactuals(space, [(0, 0, 0)], lookup)[0, 0, 0][2]
    assert last.mean == pytest.approx(-0.2) and last.best == pytest.approx(-0.3)
    assert last.mean_error == pytest.approx(np.sqrt(0.03**2 + 3 * 0.01**2 / 9))
    assert last.best_error == pytest.approx(np.sqrt(0.03**2 + 0.01**2))
    low, high = interval(last.mean, last.mean_error)
    assert low is not None and high is not None
    assert (high - low) / 2 == pytest.approx(1.96 * (last.mean_error or 0), rel=1e-3)
    assert interval(0.5, None) == (None, None)


def test_a_measured_and_a_failed_alternative_may_tie() -> None:
    space = full_table().space()

    def lookup(prefixes: Sequence[Prefix]) -> list[Measured | None]:
        return [Measured(0.0, None if prefix[2] == 1 else 0.01) for prefix in prefixes]

    last = counterfactuals(space, [(0, 0, 0)], lookup)[0, 0, 0][2]
    assert (last.mean, last.best, last.mean_error) == (0.0, 0.0, None)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    table = full_table(sizes=(3, 4))
    rewards = truth(table).rewards
    space, generator, hits = table.space(), np.random.default_rng(0), 0
    prefixes = complete_prefixes(space)
    wanted = {p: counterfactuals(space, [p], table_lookup(truth(table)))[p][1].mean for p in prefixes}
    for _ in range(300):
        noisy = dict(zip(prefixes, rewards + generator.normal(0, 0.02, len(rewards)), strict=True))
        found = counterfactuals(space, [(1, 2)], lambda asked, noisy=noisy: [Measured(noisy[p], 0.02) for p in asked])
        low, high = interval(found[1, 2][1].mean, found[1, 2][1].mean_error)
        assert low is not None and high is not None
        hits += low <= (wanted[1, 2] or 0) <= high
    assert 0.91 < hits / 300 < 0.99


class Trainer:
    """Counts what it is asked; accuracies by key and repeat, and a key that crashes."""

    identity = "trainer"

    def __init__(self, crashes: str = "") -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.batches, self.crashes = 0, crashes

    def submit(self, candidates, *, fidelity=None, repeat=0):  # type: ignore[no-untyped-def]
        self.batches += 1
        self.asked += [(candidate.key, str(fidelity), repeat) for candidate in candidates]
        return [resolved(self.answer(candidate.key, repeat)) for candidate in candidates]

    def answer(self, key: str, repeat: int) -> Evaluation:
        if key == self.crashes:
            return Evaluation(key=key, status="crashed", reason="it broke")
        accuracy = (len(key) + sum(map(ord, key))) % 50 / 100 + 0.02 * repeat
        return Evaluation(key=key, accuracy=accuracy, standard_error=0.05)


def test_trainings_are_asked_for_once_and_together() -> None:
    space, trainer = full_table().space(), Trainer()
    lookup = evaluated_lookup(space, trainer, Accuracy(), fidelity=Fidelity(epochs=1), repeats=2)
    prefixes = [(1, 0, 2), (1, 1, 2)]
    found = counterfactuals(space, prefixes, lookup)
    assert trainer.batches == 2 and len(set(trainer.asked)) == len(trainer.asked)
    assert {asked for _, asked, _ in trainer.asked} == {"epochs=1"}
    needed = lookups_of(space, prefixes)
    assert {key for key, _, _ in trainer.asked} == {space.candidate(prefix).key for prefix in needed}
    assert len(trainer.asked) == 2 * len(needed) == 2 * len(set(needed))
    own = np.mean([trainer.answer(space.candidate((1, 0, 2)).key, r).accuracy or 0 for r in (0, 1)])
    others = [
        np.mean([trainer.answer(space.candidate((1, 0, c)).key, r).accuracy or 0 for r in (0, 1)]) for c in (0, 1, 3)
    ]
    last = found[1, 0, 2][2]
    assert last.mean == pytest.approx(own - np.mean(others))
    assert last.mean_error == pytest.approx(np.sqrt(0.01**2 + 3 * 0.01**2 / 9)), "the error of a mean of two"
    counterfactuals(space, prefixes, lookup)
    assert trainer.batches == 2, "what is known is not asked again"


def test_a_failed_training_counts_with_the_floor_and_tells_no_error() -> None:
    space = full_table().space()
    trainer = Trainer(crashes=space.candidate((1, 0, 0)).key)
    lookup = evaluated_lookup(space, trainer, Accuracy(floor=-1.0))
    failed, fine = lookup([(1, 0, 0), (1, 0, 1)])
    assert failed == Measured(-1.0, None)
    assert fine is not None and fine.error == pytest.approx(0.05)
    assert counterfactuals(space, [(1, 0, 2)], lookup)[1, 0, 2][2].mean_error is None


def test_rewards_that_are_known_are_not_trained() -> None:
    space, trainer = full_table().space(), Trainer()
    key = space.candidate((1, 0, 0)).key
    (told,) = evaluated_lookup(space, trainer, Accuracy(), known={key: Measured(0.9)})([(1, 0, 0)])
    assert told == Measured(0.9) and trainer.batches == 0
    with pytest.raises(ConfigurationError, match="repeats"):
        evaluated_lookup(space, trainer, Accuracy(), repeats=0)


def test_looking_up_equals_evaluating() -> None:
    table = full_table()
    told = truth(table)
    asked = evaluated_lookup(told.space, TabularEvaluator(table), Accuracy())
    one, other = (counterfactuals(told.space, told.prefixes, way) for way in (table_lookup(told), asked))
    assert one.keys() == other.keys()
    for prefix in one:
        assert [c.mean for c in one[prefix]] == pytest.approx([c.mean for c in other[prefix]])
    space = chain()
    (hashed,) = evaluate(HashEvaluator(), [space.candidate((0, 1, STOP))])
    (found,) = evaluated_lookup(space, HashEvaluator(), Accuracy())([(0, 1, STOP)])
    assert found is not None and found.reward == hashed.accuracy
