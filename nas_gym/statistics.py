"""Statistics of repeated searches: robust means with intervals, comparisons, ranks, anytime curves.

Pure functions of arrays with one entry (or row) for every seed. Intervals are percentile bootstrap intervals over the
seeds, seeded, so that the same results give the same report (Agarwal et al. 2021, "Deep Reinforcement Learning at the
Edge of the Statistical Precipice", arXiv 2108.13264).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_gym.errors import ConfigurationError

Values = NDArray[np.float64]
RESAMPLES = 2_000
CONFIDENCE = 0.95
TRIMMED = 0.25  # of either end, for the interquartile mean


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval.
        high: Upper end; both ends equal the value where one seed, or equal seeds, tell no spread.
    """

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate in another unit; the factor is positive."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Any:
    """Return the mean of the middle half of the values: 25 % are cut off at either end.

    Robust as a median, yet it uses half of the values (Agarwal et al. 2021, section 4.3). With n values,
    ``int(0.25 n)`` of them are cut at either end, as `scipy.stats.trim_mean` does.

    Args:
        values: Numbers; at least one along the axis.
        axis: Along which.

    Returns:
        A float64 number, or an array without that axis.
    """
    from scipy.stats import trim_mean

    return trim_mean(_some(values, axis), TRIMMED, axis=axis)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = interquartile_mean,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return a statistic of one sample with its percentile bootstrap interval.

    Args:
        values: One number a seed, (n,).
        statistic: Of an array along ``axis``.
        seed: Of the resampling.
        resamples: How many.
        confidence: Of the interval, in (0, 1).
    """
    from scipy.stats import bootstrap

    sample = _some(values)
    value = float(statistic(sample, axis=-1))
    if len(sample) < 2 or np.ptp(sample) == 0:
        return Estimate(value, value, value)
    found = bootstrap(
        (sample,),
        statistic,
        axis=-1,
        n_resamples=resamples,
        batch=_batch(len(sample)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the mean difference, first minus second, of runs with the same seeds, with its bootstrap interval.

    Seeds are resampled with both their runs, so what a pair has in common (the noise of a table) drops out.

    Args:
        first: One number a seed, (n,).
        second: Of the same seeds in the same order, (n,).
        seed: As in `bootstrap_interval`.
        resamples: As there.
        confidence: As there.

    Raises:
        ConfigurationError: The numbers of seeds differ.
    """
    a, b = _some(first), _some(second)
    if a.shape != b.shape:
        raise ConfigurationError(f"a paired difference takes runs of the same seeds, got {len(a)} and {len(b)}")
    return bootstrap_interval(a - b, np.mean, seed=seed, resamples=resamples, confidence=confidence)


def standard_error_of_difference(first: ArrayLike, second: ArrayLike) -> float:
    """Return the standard error of the difference of two independent means: sqrt(s1²/n1 + s2²/n2), at least 2 each."""
    a, b = _some(first), _some(second)
    return float(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))


def probability_of_improvement(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return P(X > Y) + P(X = Y) / 2 for a run X of the first agent and a run Y of the second, with its interval.

    The Mann-Whitney statistic over n·m (Agarwal et al. 2021, equation 3). Both samples are resampled, independently of
    each other, as strata of their own.

    Args:
        first: One number a seed, (n,).
        second: One number a seed, (m,).
        seed: As in `bootstrap_interval`.
        resamples: As there.
        confidence: As there.
    """
    a, b = _some(first), _some(second)
    # Signs of all pairs, counted once; a resample only weighs rows and columns.
    levels, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    rank_a, rank_b = places[: len(a)], places[len(a) :]
    value = _superiority(_counts(rank_a, len(levels)), _counts(rank_b, len(levels)))
    generator = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        again_a = rank_a[generator.integers(len(a), size=len(a))]
        again_b = rank_b[generator.integers(len(b), size=len(b))]
        drawn[i] = _superiority(_counts(again_a, len(levels)), _counts(again_b, len(levels)))
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(value, float(low), float(high))


def _counts(places: NDArray[np.int64], n: int) -> Values:
    return np.bincount(places, minlength=n).astype(np.float64)


def _superiority(a: Values, b: Values) -> float:
    """Return P(X > Y) + P(X = Y) / 2 of two samples given as counts of the levels, in rising order."""
    below = np.cumsum(b) - b
    return float((a * (below + b / 2)).sum() / (a.sum() * b.sum()))


def mean_ranks(values: ArrayLike) -> Values:
    """Return the mean rank of every agent; 1 is the best, equal values share the mean of their ranks.

    Args:
        values: The larger the better, (agents, runs); a run is a seed of an environment, the same for all agents.

    Returns:
        Ranks in [1, agents], float64 (agents,).
    """
    from scipy.stats import rankdata

    ranks = rankdata(-_some(values, 0), axis=0)
    return np.asarray(ranks.mean(axis=1), dtype=np.float64)


def rank_estimates(
    values: Sequence[ArrayLike], *, seed: int = 0, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> list[Estimate]:
    """Return the mean rank of every agent over environments and seeds, with its interval; 1 is the best.

    Seeds are resampled within each environment (the strata), with all agents' runs of a seed together.

    Args:
        values: For every environment the larger the better, (agents, seeds).
        seed: As in `bootstrap_interval`.
        resamples: As there.
        confidence: As there.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(-_some(one, 0), axis=0) for one in values]  # of an environment: (agents, seeds)
    generator = np.random.default_rng(seed)
    drawn = np.zeros((resamples, len(ranks[0])))
    for of_env in ranks:
        n = of_env.shape[1]
        weights = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n  # (resamples, seeds)
        drawn += weights @ of_env.T / len(ranks)
    means = np.mean([of_env.mean(axis=1) for of_env in ranks], axis=0)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    return [Estimate(*map(float, one)) for one in zip(means, low, high, strict=True)]


def best_so_far(rewards: ArrayLike) -> NDArray[np.int64]:
    """Return after every evaluation the index of the best one so far, the first among equals: int64, same shape.

    Args:
        rewards: In the order of a run, along the last axis.
    """
    values = _some(rewards)
    running = np.maximum.accumulate(values, axis=-1)
    before = np.concatenate([np.full((*values.shape[:-1], 1), -np.inf), running[..., :-1]], axis=-1)
    indices = np.where(values > before, np.arange(values.shape[-1]), 0)
    return np.maximum.accumulate(indices, axis=-1)


def anytime(rewards: ArrayLike, scores: ArrayLike) -> Values:
    """Return after every evaluation the score of the one with the best reward so far: float64 (n,).

    The search sees rewards and answers with the best of them; what counts is the answer's score, so that the curve may
    fall.

    Args:
        rewards: In the order of a run, (n,).
        scores: Of the same evaluations, (n,).
    """
    return _some(scores)[best_so_far(rewards)]


def on_grid(spent: ArrayLike, values: ArrayLike, grid: ArrayLike) -> Values:
    """Return what held at every point of a grid: a step function that keeps its last value.

    Args:
        spent: What had been spent when a value came to hold, rising (n,); of equal ones the last counts.
        values: What held from then on, (n,).
        grid: Where it is asked for, (m,).

    Returns:
        The value of the last entry with ``spent <= grid``, NaN before the first: float64 (m,).
    """
    places = np.searchsorted(_some(spent), np.asarray(grid, dtype=np.float64), side="right") - 1
    return np.where(places >= 0, _some(values)[np.maximum(places, 0)], np.nan)


def regret(scores: ArrayLike, optimum: float) -> Values:
    """Return how far scores are below the best there is: float64, same shape, at least 0 if that is the optimum."""
    return optimum - np.asarray(scores, dtype=np.float64)


def curve_band(
    curves: ArrayLike, *, seed: int = 0, resamples: int = 500, confidence: float = CONFIDENCE
) -> tuple[Values, Values, Values]:
    """Return the interquartile mean of curves and its pointwise bootstrap interval: three arrays, float64 (m,).

    The same seeds are drawn at all points. Points where a run has no value yet are NaN.

    Args:
        curves: One row a seed, (seeds, m).
        seed: Of the resampling.
        resamples: How many.
        confidence: Of the interval.
    """
    rows = np.atleast_2d(np.asarray(curves, dtype=np.float64))
    middle = np.asarray(interquartile_mean(rows, axis=0), dtype=np.float64)
    if len(rows) < 2:
        return middle, middle.copy(), middle.copy()
    generator = np.random.default_rng(seed)
    drawn = np.stack(
        [interquartile_mean(rows[generator.integers(len(rows), size=len(rows))], axis=0) for _ in range(resamples)]
    )
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    return middle, low, high


def _some(values: ArrayLike, axis: int = -1) -> Values:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[axis] == 0:
        raise ConfigurationError("a statistic needs at least one value, got none")
    return array


def _batch(n: int) -> int:
    """Return how many resamples are held in memory at once."""
    return max(1, min(RESAMPLES, 1_000_000 // n))
