"""Statistics against brute force, scipy and numbers worked out by hand."""

import itertools

import numpy as np
import pytest
import scipy.stats

from nas_gym import statistics
from nas_gym.errors import ConfigurationError


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_interquartile_mean_by_hand() -> None:
    assert statistics.interquartile_mean([100.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -50.0]) == 4.5  # of 3, 4, 5, 6
    assert statistics.interquartile_mean([1.0, 2.0, 30.0]) == 11.0  # a quarter of three is less than one
    assert statistics.interquartile_mean([7.0]) == 7.0
    table = drawn(0, 3, 20)
    np.testing.assert_allclose(
        statistics.interquartile_mean(table), [np.sort(row)[5:15].mean() for row in table], rtol=1e-14
    )


def test_the_interval_is_scipys_percentile_interval_and_seeded() -> None:
    values = drawn(1, 40)
    found = statistics.bootstrap_interval(values, np.mean, seed=3)
    low, high = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == (low, high)
    assert found == statistics.bootstrap_interval(values, np.mean, seed=3)
    assert found != statistics.bootstrap_interval(values, np.mean, seed=4)
    assert found.low < found.value < found.high


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        found = statistics.bootstrap_interval(generator.normal(size=60), np.mean, seed=trial, resamples=400)
        hits += found.low <= 0 <= found.high
    assert 0.90 <= hits / 200 <= 0.98


def test_equal_or_single_values_have_no_width() -> None:
    for values in ([0.5], [0.5, 0.5, 0.5]):
        assert statistics.bootstrap_interval(values) == statistics.Estimate(0.5, 0.5, 0.5)


def test_paired_differences_drop_what_pairs_share() -> None:
    shared, own = 10 * drawn(2, 50), 0.01 * drawn(3, 50)
    found = statistics.paired_difference(shared + own + 0.1, shared)
    assert 0.09 < found.low < found.value < found.high < 0.11
    assert found.value == pytest.approx(np.mean(own) + 0.1)
    with pytest.raises(ConfigurationError, match="3 and 2"):
        statistics.paired_difference([1, 2, 3], [1, 2])


def test_standard_error_of_a_difference() -> None:
    assert statistics.standard_error_of_difference([1, 3], [2, 2, 5]) == pytest.approx(np.sqrt(2 / 2 + 3 / 3))
    a, b = drawn(4, 30), 2 * drawn(5, 50)
    welch = scipy.stats.ttest_ind(a, b, equal_var=False)
    assert (a.mean() - b.mean()) / statistics.standard_error_of_difference(a, b) == pytest.approx(welch.statistic)


def test_probability_of_improvement_counts_all_pairs() -> None:
    generator = np.random.default_rng(6)
    for _ in range(20):
        a, b = generator.integers(0, 5, 7), generator.integers(0, 5, 9)
        wanted = np.mean([(x > y) + 0.5 * (x == y) for x, y in itertools.product(a, b)])
        found = statistics.probability_of_improvement(a, b, resamples=50)
        assert found.value == pytest.approx(wanted)
        assert found.value == pytest.approx(scipy.stats.mannwhitneyu(a, b).statistic / 63)
        other_way = statistics.probability_of_improvement(b, a, resamples=50)
        assert found.value + other_way.value == pytest.approx(1)


def test_probability_of_improvement_by_hand() -> None:
    assert statistics.probability_of_improvement([2, 3], [0, 1]) == statistics.Estimate(1, 1, 1)
    assert statistics.probability_of_improvement([1, 1], [1, 1, 1]) == statistics.Estimate(0.5, 0.5, 0.5)
    found = statistics.probability_of_improvement(drawn(7, 100) + 1, drawn(8, 100), seed=1)
    assert found.low < 0.76 < found.high  # Φ(1 / √2)
    assert found == statistics.probability_of_improvement(drawn(7, 100) + 1, drawn(8, 100), seed=1)


def test_mean_ranks_share_ties() -> None:
    values = [[3.0, 1.0, 1.0], [2.0, 1.0, 2.0], [1.0, 0.0, 3.0]]
    np.testing.assert_allclose(statistics.mean_ranks(values), [(1 + 1.5 + 3) / 3, (2 + 1.5 + 2) / 3, (3 + 3 + 1) / 3])


def test_rank_estimates_resample_seeds_within_environments() -> None:
    first, second = drawn(11, 3, 40) + np.array([[1.0], [0], [-3]]), drawn(12, 3, 20)
    found = statistics.rank_estimates([first, second], seed=5)
    both = [statistics.mean_ranks(first), statistics.mean_ranks(second)]
    np.testing.assert_allclose([one.value for one in found], np.mean(both, axis=0))
    assert all(one.low < one.value < one.high for one in found)
    alone = statistics.rank_estimates([first], seed=5)[0]
    ranks = scipy.stats.rankdata(-first, axis=0)[0]
    wanted = statistics.bootstrap_interval(ranks, np.mean)
    assert (alone.low, alone.high) == pytest.approx((wanted.low, wanted.high), abs=0.03)


def test_best_so_far_takes_the_first_of_equals() -> None:
    assert statistics.best_so_far([0.1, 0.3, 0.3, 0.2, 0.4]).tolist() == [0, 1, 1, 1, 4]
    rewards = np.random.default_rng(9).integers(0, 6, 100) / 6
    wanted = [int(np.argmax(rewards[: i + 1])) for i in range(100)]
    assert statistics.best_so_far(rewards).tolist() == wanted
    assert statistics.best_so_far(np.stack([rewards, rewards[::-1]]))[0].tolist() == wanted


def test_an_anytime_curve_is_scored_by_what_the_search_would_answer() -> None:
    curve = statistics.anytime([0.5, 0.7, 0.6, 0.9], [0.8, 0.6, 0.9, 0.7])
    assert curve.tolist() == [0.8, 0.6, 0.6, 0.7]
    assert statistics.regret(curve, 0.9) == pytest.approx([0.1, 0.3, 0.3, 0.2])


def test_a_step_function_keeps_its_last_value() -> None:
    found = statistics.on_grid([1.0, 3.0, 3.0, 10.0], [0.1, 0.2, 0.3, 0.4], [0.5, 1, 2.9, 3, 9.9, 10, 99])
    np.testing.assert_array_equal(found, [np.nan, 0.1, 0.1, 0.3, 0.3, 0.4, 0.4])


def test_a_band_holds_its_curve() -> None:
    curves = drawn(10, 30, 5)
    curves[0, 0] = np.nan
    middle, low, high = statistics.curve_band(curves, seed=2, resamples=200)
    assert np.isnan([middle[0], low[0], high[0]]).all()
    np.testing.assert_allclose(middle[1:], statistics.interquartile_mean(curves[:, 1:], axis=0))
    assert (low[1:] < middle[1:]).all()
    assert (middle[1:] < high[1:]).all()
    alone = statistics.curve_band(curves[1])
    assert all((part == curves[1]).all() for part in alone)


def test_nothing_is_refused() -> None:
    for statistic in (statistics.interquartile_mean, statistics.bootstrap_interval, statistics.best_so_far):
        with pytest.raises(ConfigurationError, match="at least one value"):
            statistic([])
