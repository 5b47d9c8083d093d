"""Functional ANOVA: how much of the variance of the reward one slot, or two slots together, account for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.random_architectures import Sample

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VarianceShares:
    """Shares of the variance of the reward over a set of architectures.

    The main effect of a slot is Var(E[y | choice]) / Var(y); that of a pair is what knowing both choices adds to the
    two main effects. Over all lists of choices, once each, this is the functional ANOVA of Hutter, Hoos and
    Leyton-Brown 2014 ("An Efficient Approach for Assessing Hyperparameter Importance", ICML, equations 4 to 8), whose
    shares are the indices of Sobol' 1993; with those of larger groups, `higher`, they add up to one.

    Where networks differ in which slots they decide (chains of several lengths), every slot tells the length, and all
    would take its share. So it is told apart, `length` = Var(E[y | decided slots]) / Var(y), and slots and pairs have
    what their choices add to it: among networks that decide the same slots. Where choices limit each other by masks,
    shares still overlap: they need not add up, and a pair's can be below zero.

    Attributes:
        source: Whose rewards: ``"surrogate"`` or ``"table"``.
        over: What the architectures are, in words.
        n: Number of them.
        complete: They are all lists of choices, so that the shares are exact and do not overlap.
        variance: Of the reward.
        length: Share of which slots are decided; 0 where all always are.
        main: Share of every slot.
        pairs: Share of every pair beyond its main effects, symmetric, 0 on the diagonal.
    """

    source: str
    over: str
    n: int
    complete: bool
    variance: float
    length: float
    main: tuple[float, ...]
    pairs: tuple[tuple[float, ...], ...]

    @property
    def higher(self) -> float:
        """What is left for three slots and more, or for what architectures with equal choices differ by."""
        return 1.0 - self.length - sum(self.main) - sum(map(sum, self.pairs)) / 2

    def to_json(self) -> dict[str, Any]:
        """Return the shares as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "VarianceShares":
        """Return the shares that `to_json` wrote."""
        return cls(**{**data, "main": tuple(data["main"]), "pairs": tuple(map(tuple, data["pairs"]))})


def variance_shares(sample: Sample, values: Floats, source: str) -> VarianceShares:
    """Return the shares of every slot and every pair.

    Of a drawn sample, groups differ by chance too, which is taken off: the variance between groups is estimated as
    (SSB - (groups - 1) SSW / (n - groups)) / n, as in the one-way analysis of variance with random effects.

    Args:
        sample: The architectures.
        values: The reward of each, float64 (n,).
        source: Whose rewards they are.
    """
    codes, n_slots = sample.decisions.astype(np.int64) + 1, sample.decisions.shape[1]
    _, decided = np.unique(codes > 0, axis=0, return_inverse=True)
    total = float(values.var())
    main, pairs, length = np.zeros(n_slots), np.zeros((n_slots, n_slots)), 0.0
    if total > 0:
        length = _between([decided], values, sample.drawn) / total
        main[:] = [_between([decided, codes[:, i]], values, sample.drawn) / total - length for i in range(n_slots)]
        for i, j in combinations(range(n_slots), 2):
            both = _between([decided, codes[:, i], codes[:, j]], values, sample.drawn) / total
            pairs[i, j] = pairs[j, i] = both - length - main[i] - main[j]
    return VarianceShares(
        source,
        sample.words,
        len(values),
        sample.complete,
        total,
        length,
        tuple(main.tolist()),
        tuple(map(tuple, pairs.tolist())),
    )


def _between(columns: list[NDArray[np.int64]], values: Floats, drawn: bool) -> float:
    """Return the variance of the means of the groups with equal columns, weighted by their sizes."""
    codes = np.ravel_multi_index(columns, [int(column.max()) + 1 for column in columns])
    counts = np.bincount(codes)
    sums = np.bincount(codes, weights=values - values.mean())
    used = counts > 0
    between = float((sums[used] ** 2 / counts[used]).sum())
    if not drawn:
        return between / len(values)
    groups = int(used.sum())
    within = float(((values - values.mean()) ** 2).sum()) - between
    noise = (groups - 1) * within / (len(values) - groups) if len(values) > groups else 0.0
    return (between - noise) / len(values)
