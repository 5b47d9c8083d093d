"""Exact Shapley values against brute force over permutations, shap's exact explainer, and games solved by hand."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain import coalitions, shapley_values


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
