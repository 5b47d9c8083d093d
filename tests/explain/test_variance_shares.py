"""Functional ANOVA against its closed form, brute force, and the estimates that draws give."""

from itertools import combinations

import numpy as np
import pytest
from archives import drawn, grid
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.explain.random_architectures import Sample
from nas_gym.explain.variance_shares import VarianceShares, variance_shares


def shares_of(decisions, values, *, complete=True, drawn=False):
    return variance_shares(Sample(decisions, complete, drawn, "all"), values, "table")


def components(table):
    """The terms of the functional ANOVA of a full array, by inclusion and exclusion of its means: brute force."""
    slots = range(table.ndim)
    means = {}
    for size in range(table.ndim + 1):
        for group in combinations(slots, size):
            mean = table.mean(axis=tuple(set(slots) - set(group)), keepdims=True)
            for smaller in range(size):
                for part in combinations(group, smaller):
                    mean = mean - means[part]
            means[group] = mean
    return {group: float((term**2).mean()) for group, term in means.items() if group}


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_equals_brute_force_on_full_tables(seed, sizes):
    table = np.random.default_rng(seed).normal(size=sizes)
    shares = shares_of(grid(*sizes), table.ravel())
    exact, total = components(table), table.var()
    if total == 0:
        assert shares.main == (0.0,) * len(sizes)
        return
    for i in range(len(sizes)):
        assert shares.main[i] == pytest.approx(exact[(i,)] / total, abs=1e-9)
        assert shares.pairs[i][i] == 0
    for i, j in combinations(range(len(sizes)), 2):
        assert shares.pairs[i][j] == shares.pairs[j][i] == pytest.approx(exact[i, j] / total, abs=1e-9)
    rest = sum(value for group, value in exact.items() if len(group) > 2) / total
    assert shares.higher == pytest.approx(rest, abs=1e-9)
    assert shares.length == pytest.approx(0.0, abs=1e-12)


def test_closed_form_of_an_additive_function_with_one_product():
    # y = 3 a + 2 b + 4 c d with signs a … d: orthogonal terms, so the shares are 9, 4 and 16 of 29.
    decisions = grid(2, 2, 2, 2)
    a, b, c, d = (2 * decisions - 1).T.astype(float)
    shares = shares_of(decisions, 3 * a + 2 * b + 4 * c * d)
    np.testing.assert_allclose(shares.main, [9 / 29, 4 / 29, 0, 0], atol=1e-12)
    assert shares.pairs[2][3] == pytest.approx(16 / 29)
    assert np.array(shares.pairs)[0].max() == pytest.approx(0, abs=1e-12)
    assert shares.variance == pytest.approx(29)


def test_draws_estimate_the_exact_shares_without_bias():
    sizes = (6, 6, 6)
    table = np.random.default_rng(0).normal(size=sizes)
    exact = shares_of(grid(*sizes), table.ravel())
    estimates = []
    for seed in range(60):
        rows = drawn(150, sizes, seed)
        estimates.append(shares_of(rows, table[tuple(rows.T)], complete=False, drawn=True).main)
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(np.mean(estimates, axis=0) - exact.main) < 3.5 * error + 0.005).all()
    uncorrected = shares_of(rows, table[tuple(rows.T)], complete=False)
    assert sum(uncorrected.main) > sum(estimates[-1])


def test_pure_noise_has_no_share_in_draws():
    rows = drawn(2_000, (5, 5), 1)
    shares = shares_of(rows, np.random.default_rng(2).normal(size=2_000), complete=False, drawn=True)
    assert np.abs(shares.main).max() < 0.01 and abs(shares.pairs[0][1]) < 0.02


def test_length_is_told_apart():
    # One slot decides alone, or all three do; the reward is the length and, among the long ones, the last choice.
    long = np.array([row for row in grid(3, 2, 2) if row[0] != 2], dtype=np.int16)
    short = np.full((4, 3), -1, dtype=np.int16)
    short[:, 0] = 2
    decisions = np.concatenate([long, short])
    values = np.concatenate([10.0 + long[:, 2], np.zeros(4)])
    shares = shares_of(decisions, values, complete=False)
    lengths = np.concatenate([np.full(8, 10.5), np.zeros(4)])
    assert shares.length == pytest.approx(lengths.var() / values.var())
    assert shares.main == pytest.approx([0, 0, 1 - shares.length], abs=1e-12)
    assert np.abs(shares.pairs).max() < 1e-12


def test_equal_rewards_have_no_shares_and_one_network_neither():
    for n in (1, 5):
        shares = shares_of(drawn(n, (3, 3), 0), np.full(n, 0.7), complete=False, drawn=True)
        assert shares.main == (0.0, 0.0) and shares.length == 0.0 and shares.variance < 1e-30


def test_json_round_trip():
    shares = shares_of(grid(2, 3), np.random.default_rng(0).normal(size=6))
    assert VarianceShares.from_json(shares.to_json()) == shares
