"""Sampled Shapley values against exact ones: unbiased within their standard error, and efficient to the last digit."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain import coalitions, shapley_values
from nas_gym.explain.permutation_sampling import paired_orders, sampled_values, walked_coalitions


def sampled(table: NDArray[np.float64], n_pairs: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimates for a game whose table is known, (..., 2**n)."""
    n = table.shape[-1].bit_length() - 1
    orders = paired_orders(n, n_pairs, np.random.default_rng(seed))
    return sampled_values(table[..., walked_coalitions(orders) @ (1 << np.arange(n))], orders)


@given(st.integers(1, 8), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_values_sum_to_what_there_is_to_share(n: int, n_pairs: int, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=2**n)
    values, errors = sampled(table, n_pairs, seed)
    assert values.sum() == pytest.approx(table[-1] - table[0], abs=1e-12)
    assert (errors >= 0).all()


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_orders_come_with_their_reverse_and_walks_add_one_player_at_a_time(n: int, seed: int) -> None:
    orders = paired_orders(n, 3, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(n), (6, 1)))
    np.testing.assert_array_equal(orders[1::2], orders[::2, ::-1])
    members = walked_coalitions(orders)
    assert not members[0].any() and members[1].all()
    for order, walk in zip(orders, members[2:].reshape(6, n - 1, n), strict=True):
        for size, coalition in enumerate(walk, start=1):
            assert set(np.flatnonzero(coalition)) == set(order[:size])


def test_estimates_are_unbiased_and_as_far_away_as_their_standard_error_says() -> None:
    table = np.random.default_rng(5).normal(size=2**8)
    exact = shapley_values(table)
    found = [sampled(table, 20, seed) for seed in range(300)]
    values, errors = (np.stack(part) for part in zip(*found, strict=True))
    away = (values.mean(0) - exact) / (values.std(0, ddof=1) / np.sqrt(len(values)))
    assert np.abs(away).max() < 3.5
    np.testing.assert_allclose(((values - exact) / errors).std(0), 1.0, atol=0.25)


def test_all_orders_give_the_exact_values() -> None:
    from itertools import permutations

    table = np.random.default_rng(2).normal(size=2**4)
    orders = np.array([order for half in permutations(range(4)) for order in (half, half[::-1])])
    assert len(orders) == 2 * factorial(4)
    values, _ = sampled_values(table[walked_coalitions(orders) @ (1 << np.arange(4))], orders)
    np.testing.assert_allclose(values, shapley_values(table), atol=1e-12)


def test_games_of_single_players_and_of_pairs_leave_no_error() -> None:
    """In an order and its reverse, each of two players joins before the other once."""
    member = coalitions(6)
    table = member @ np.arange(6.0) + 3.0 * (member[:, 1] & member[:, 4])
    values, errors = sampled(table, 2, 0)
    np.testing.assert_allclose(values, shapley_values(table), atol=1e-12)
    np.testing.assert_allclose(errors, 0, atol=1e-12)


def test_games_are_sampled_in_batches() -> None:
    tables = np.random.default_rng(0).normal(size=(2, 3, 2**5))
    values, errors = sampled(tables, 4, 1)
    one, its_error = sampled(tables[1, 2], 4, 1)
    np.testing.assert_allclose(values[1, 2], one)
    np.testing.assert_allclose(errors[1, 2], its_error)


def test_a_single_pair_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 2 pairs"):
        paired_orders(3, 1, np.random.default_rng(0))
