"""How well a cheap reward orders networks as full training does; imported by ``compare_rewards.py``.

Everywhere ``x`` is what the cheap reward says and ``y`` what full training says: float64, shape (k, n) for n
networks and k pairings of the two (one, or one for every repeat that is left out of ``y``), over which is averaged.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
# Of x and y of one pairing, shape (…, n): one number for every row, shape (…).
Statistic = Callable[[Numbers, Numbers], Numbers]

BEST_SHARE = 0.1  # of the networks: what is picked
CONFIDENCE = 0.95


def spearman(x: Numbers, y: Numbers) -> Numbers:
    """Return Spearman's rank correlation along the last axis, ties at their mean rank; NaN where one is constant."""
    one, other = (stats.rankdata(values, axis=-1) for values in (x, y))
    one, other = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (one, other))
    lengths = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    products = np.asarray((one * other).sum(axis=-1))
    undefined = np.full(products.shape, np.nan)
    return np.asarray(np.divide(products, lengths, out=undefined, where=lengths > 0))


def kendall(x: Numbers, y: Numbers) -> Numbers:
    """Return Kendall's tau-b along the last axis; NaN where one is constant."""
    n = x.shape[-1]
    pairs = zip(x.reshape(-1, n), y.reshape(-1, n), strict=True)
    found = [stats.kendalltau(*map(stats.rankdata, pair)).statistic for pair in pairs]
    return np.array(found, dtype=np.float64).reshape(x.shape[:-1])


def regret(x: Numbers, y: Numbers, share: float = BEST_SHARE) -> Numbers:
    """Return what it costs to trust the cheap reward: how far the networks that it picks lie below the best ones.

    Both are ``share`` of the networks, at least one; the difference is that of their mean y. Ties in x are broken at
    random: the expectation is returned.

    Args:
        x: Shape (…, n); minus infinity for a failure.
        y: The same shape.
        share: In (0, 1].
    """
    n = x.shape[-1]
    m = max(1, round(share * n))
    last = np.sort(x, axis=-1)[..., n - m, None]  # the worst that is picked
    above, tied = x > last, x == last
    of_tied = (y * tied).sum(axis=-1) / tied.sum(axis=-1)
    picked = (y * above).sum(axis=-1) + (m - above.sum(axis=-1)) * of_tied
    return np.asarray((np.sort(y, axis=-1)[..., n - m :].sum(axis=-1) - picked) / m)


def over_pairings(statistic: Statistic, x: Numbers, y: Numbers) -> float:
    """Return a statistic, mean over the pairings."""
    return float(np.mean([statistic(one, other) for one, other in zip(x, y, strict=True)]))


def interval(statistic: Statistic, x: Numbers, y: Numbers, *, resamples: int, seed: int) -> tuple[float, float]:
    """Return the percentile interval of `over_pairings` over networks drawn with replacement.

    All pairings of a resample have the same networks. Resamples in which the statistic is not defined are left out.
    """
    n = x.shape[-1]
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    found = np.mean([statistic(one[drawn], other[drawn]) for one, other in zip(x, y, strict=True)], axis=0)
    found = found[np.isfinite(found)]
    if not len(found):
        return math.nan, math.nan
    low, high = np.quantile(found, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def agreement(x: Numbers, y: Numbers, *, resamples: int, seed: int) -> dict[str, Any]:
    """Return what is told of a reward: both correlations with their intervals, and the regret; JSON-ready."""
    told: dict[str, Any] = {}
    for name, statistic in (("spearman", spearman), ("kendall", kendall)):
        told[name] = plain(over_pairings(statistic, x, y))
        told[f"{name}_95"] = [plain(end) for end in interval(statistic, x, y, resamples=resamples, seed=seed)]
    told["regret_of_best_tenth"] = plain(over_pairings(regret, x, y))
    return told


def others(values: Numbers) -> Numbers:
    """Return for every repeat the mean of the other repeats: from shape (n, repeats) to (repeats, n)."""
    repeats = values.shape[1]
    return np.stack([np.delete(values, repeat, axis=1).mean(axis=1) for repeat in range(repeats)])


def plain(value: Any) -> float | None:
    """Return a number as JSON has it: rounded, and None where it is not finite."""
    return round(float(value), 5) if math.isfinite(value) else None
