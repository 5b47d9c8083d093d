"""Exact Shapley values against brute force over permutations, shap's exact explainer, and games solved by hand."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain import coalitions, interactions, shapley_values


def by_permutations(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shapley values as the mean marginal contribution over all orders."""
    n = len(table).bit_length() - 1
    values = np.zeros(n)
    for order in permutations(range(n)):
        present = 0
        for player in order:
            values[player] += table[present | 1 << player] - table[present]
            present |= 1 << player
    return values / factorial(n)


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_equals_the_mean_over_all_orders_and_sums_to_the_difference(n: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=2**n)
    values = shapley_values(table)
    np.testing.assert_allclose(values, by_permutations(table), atol=1e-12)
    np.testing.assert_allclose(values.sum(), table[-1] - table[0], atol=1e-12)


def test_equals_shap_exact_explainer() -> None:
    import shap

    table = np.random.default_rng(3).normal(size=2**6)
    weights = 2 ** np.arange(6)
    explainer = shap.explainers.ExactExplainer(lambda z: table[(z @ weights).astype(int)], np.zeros((1, 6)))
    np.testing.assert_allclose(shapley_values(table), explainer(np.ones((1, 6))).values[0], atol=1e-9)


def test_an_additive_game_gives_back_its_terms_and_a_null_player_nothing() -> None:
    terms = np.array([0.5, -2.0, 0.0, 3.0])
    np.testing.assert_allclose(shapley_values(coalitions(4) @ terms), terms, atol=1e-12)


def test_two_redundant_players_share() -> None:
    either = np.array([0.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(shapley_values(either), [0.5, 0.5])


def test_games_are_solved_in_batches() -> None:
    tables = np.random.default_rng(0).normal(size=(3, 5, 8))
    batch = shapley_values(tables)
    assert batch.shape == (3, 5, 3)
    np.testing.assert_allclose(batch[2, 4], shapley_values(tables[2, 4]))


@pytest.mark.parametrize("size", [3, 6, 2**15])
def test_refuses_what_is_no_table(size: int) -> None:
    with pytest.raises(ConfigurationError, match=r"2\*\*n|players"):
        shapley_values(np.zeros(size))


def pairs_by_definition(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interactions as Grabisch and Roubens (1999) define them, one coalition at a time."""
    n = len(table).bit_length() - 1
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            for s in range(2**n):
                if i != j and not s >> i & 1 and not s >> j & 1:
                    a, b, size = 1 << i, 1 << j, s.bit_count()
                    weight = factorial(size) * factorial(n - size - 2) / factorial(n - 1)
                    found[i, j] += weight * (table[s | a | b] - table[s | a] - table[s | b] + table[s])
    return found


@given(st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_interactions_equal_their_definition(n: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=2**n)
    np.testing.assert_allclose(interactions(table), pairs_by_definition(table), atol=1e-12)


def test_an_interaction_is_what_one_player_changes_of_the_others_value() -> None:
    """I_ij is i's Shapley value in the game with j inside less that in the game without j."""
    table = np.random.default_rng(1).normal(size=2**5)
    j = 2
    inside = np.array([s for s in range(2**5) if s >> j & 1])
    others = [i for i in range(5) if i != j]
    changed = shapley_values(table[inside]) - shapley_values(table[inside ^ 1 << j])
    np.testing.assert_allclose(interactions(table)[j, others], changed, atol=1e-12)


def test_interactions_of_games_solved_by_hand_and_in_batches() -> None:
    additive, both, either = coalitions(2) @ [1.0, 2.0], np.array([0.0, 0, 0, 1]), np.array([0.0, 1, 1, 1])
    found = interactions(np.stack((additive, both, either)))
    np.testing.assert_allclose(found[:, 0, 1], [0, 1, -1])
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))
    assert not found[:, [0, 1], [0, 1]].any()


def test_interactions_take_fourteen_players() -> None:
    member = coalitions(14)
    found = interactions(5.0 * (member[:, 3] & member[:, 11]))
    expected = np.zeros((14, 14))
    expected[3, 11] = expected[11, 3] = 5.0
    np.testing.assert_allclose(found, expected, atol=1e-9)
    with pytest.raises(ConfigurationError, match=r"2\*\*n|players"):
        interactions(np.zeros(2**15))
