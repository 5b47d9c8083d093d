"""The surrogate: its encoding, its held-out numbers, and its Shapley values against brute force."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain import coalitions, shapley_values
from nas_gym.explain.surrogate import (
    LEAST_NETWORKS,
    Surrogate,
    distinct,
    encoding,
    fit_surrogate,
    rank_correlation,
    shapley_of_surrogate,
)

TERMS = np.random.default_rng(9).normal(size=(4, 5))


def networks(n: int, seed: int = 0) -> NDArray[np.int64]:
    return np.unique(np.random.default_rng(seed).integers(0, 5, (3 * n, 4)), axis=0)[:n]


def worth(decisions: NDArray[np.integer]) -> NDArray[np.float64]:
    additive = sum(TERMS[slot][decisions[:, slot]] for slot in range(4))
    return np.asarray(additive) + 0.5 * (decisions[:, 0] == decisions[:, 1])


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    decisions = networks(200)
    return fit_surrogate(decisions, worth(decisions))


def test_values_sum_to_the_prediction(surrogate: Surrogate) -> None:
    decisions, background = networks(300, seed=1), networks(150, seed=2)
    base, values = shapley_of_surrogate(surrogate, decisions, background)
    assert values.shape == decisions.shape, "more rows than one call takes"
    np.testing.assert_allclose(base + values.sum(axis=1), surrogate.predict(decisions), atol=1e-6)
    assert base == pytest.approx(surrogate.predict(background).mean()), "all 150 rows, not the 100 that shap draws"


def test_values_are_those_of_the_game_over_slots(surrogate: Surrogate) -> None:
    decisions, background = networks(3, seed=3), networks(60, seed=4)
    _, values = shapley_of_surrogate(surrogate, decisions, background)
    for row, own in enumerate(decisions):
        mixed = np.where(coalitions(4)[:, None, :], own, background[None])  # (coalitions, background, slots)
        game = surrogate.predict(mixed.reshape(-1, 4)).reshape(16, -1).mean(axis=1)
        np.testing.assert_allclose(values[row], shapley_values(game), atol=1e-6)


def test_it_orders_networks_that_it_has_not_seen_about_as_well_as_it_says(surrogate: Surrogate) -> None:
    unseen = networks(600, seed=5)
    found = rank_correlation(surrogate.predict(unseen), worth(unseen))
    assert surrogate.trusted and surrogate.rank_correlation is not None and found is not None
    assert surrogate.rank_correlation == pytest.approx(found, abs=0.1)
    assert 0 < surrogate.error < surrogate.spread


def test_of_rewards_without_an_order_it_is_not_trusted() -> None:
    decisions = networks(100)
    noise = fit_surrogate(decisions, np.random.default_rng(1).normal(size=100))
    assert not noise.trusted and noise.rank_correlation is not None and noise.rank_correlation < 0.3
    assert noise.error > 0.8 * noise.spread


def test_it_is_the_same_for_the_same_seed() -> None:
    decisions = networks(60)
    one, two = (fit_surrogate(decisions, worth(decisions), seed=3) for _ in range(2))
    assert one.rank_correlation == two.rank_correlation
    np.testing.assert_array_equal(one.predict(decisions), two.predict(decisions))


def test_a_choice_is_its_mean_reward_drawn_towards_that_of_all() -> None:
    decisions = np.array([[0, 2], [0, -1], [1, 2]], dtype=np.int16)
    encode = encoding(decisions, np.array([1.0, 2.0, 6.0]))
    assert encode.mean == 3.0
    assert encode.of_choices[0] == pytest.approx({0: (3 + 6) / 4, 1: (6 + 6) / 3})
    assert encode.of_choices[1] == pytest.approx({2: (7 + 6) / 4, -1: (2 + 6) / 3})
    np.testing.assert_allclose(encode(np.array([[0, -1], [7, 9]])), [[9 / 4, 8 / 3], [3.0, 3.0]])


def test_networks_that_were_seen_twice_are_one() -> None:
    rows, rewards = distinct(np.array([[0, 1], [0, 0], [0, 1]]), np.array([1.0, 5.0, 3.0]))
    assert rows.tolist() == [[0, 0], [0, 1]] and rewards.tolist() == [5.0, 2.0]


@pytest.mark.parametrize(
    ("n", "rewards", "sentence"),
    [
        (LEAST_NETWORKS - 1, np.arange(LEAST_NETWORKS - 1.0), "30 distinct networks or more, the run has 29"),
        (LEAST_NETWORKS, np.ones(LEAST_NETWORKS), "all of this run are equal"),
    ],
    ids=["few", "equal"],
)
def test_refuses_what_nothing_can_be_learned_from(n: int, rewards: NDArray[np.float64], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        fit_surrogate(networks(n), rewards)


def test_a_constant_has_no_rank_correlation() -> None:
    assert rank_correlation(np.ones(3), np.arange(3.0)) is None
    assert rank_correlation(np.arange(3.0), np.array([1.0, 5.0, 9.0])) == pytest.approx(1.0)
