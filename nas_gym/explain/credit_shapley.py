"""Exact Shapley values of decisions, over the whole table of a small space."""

from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.shapley import coalitions, shapley_values

MOST_ENTRIES = 2**26  # of rows times coalitions, held in memory: half a gigabyte


@dataclass(frozen=True, eq=False)
class TableShapley:
    """What every decision of every row of a table earned.

    Attributes:
        base: The mean of the table, v of the empty coalition.
        values: Float64 (n, slots); ``base + values[i].sum()`` is the score of row i.
    """

    base: float
    values: NDArray[np.float64]


def coalition_means(decisions: NDArray[np.integer], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for every row and every coalition of slots the mean score of the rows that agree with it there.

    Args:
        decisions: Action per slot, -1 where a slot is left open, integers (n, slots). Every row counts once, so that
            the mean is over rows drawn uniformly.
        scores: Float64 (n,).

    Returns:
        v, float64 (n, 2**slots), coalitions in the order of `nas_gym.explain.coalitions`: column 0 is the mean of the
        table, the last one the row's score (if no two rows decide the same).

    Raises:
        ConfigurationError: The arrays do not fit, or there are more slots than exact values can be computed of.
    """
    if decisions.ndim != 2 or len(decisions) != len(scores) or not len(scores):
        raise ConfigurationError(
            f"a table needs one score per row, at least one, got {decisions.shape} and {len(scores)} scores"
        )
    n, n_slots = decisions.shape
    members = coalitions(n_slots)
    means = np.empty((n, len(members)))
    groups: dict[int, NDArray[np.int32]] = {0: np.zeros(n, dtype=np.int32)}  # which rows agree, of each coalition
    for coalition in range(len(members)):
        if coalition:
            last = coalition.bit_length() - 1  # the others were grouped before
            column = decisions[:, last].astype(np.int64) + 1
            joint = groups[coalition ^ (1 << last)].astype(np.int64) * (int(column.max()) + 1) + column
            groups[coalition] = np.unique(joint, return_inverse=True)[1].astype(np.int32)
        of = groups[coalition]
        means[:, coalition] = (np.bincount(of, weights=scores) / np.bincount(of))[of]
    return means


def shapley_of_table(decisions: NDArray[np.integer], scores: NDArray[np.float64]) -> TableShapley:
    """Return the exact Shapley values of the decisions of every row of a full table.

    The value of a coalition S of slots is the mean score of all rows that agree with the row on S: decisions that are
    absent are drawn uniformly from the rows that are left. Where every combination is a row (NAS-Bench-201), that is
    the uniform average over the absent slots; elsewhere the rows that exist decide, and a decision also earns what it
    tells of the absent ones. A slot that a row leaves open (after *stop*) counts as decided: "none" is a choice like
    any other and a player of its own, so that the values of all slots, open ones too, sum to the row's score minus the
    mean.

    Args:
        decisions: As in `coalition_means`; all complete prefixes, each once.
        scores: Float64 (n,).

    Raises:
        ConfigurationError: The arrays do not fit, there are too many slots, or two rows decide the same.
    """
    if len(np.unique(decisions, axis=0)) < len(decisions):
        raise ConfigurationError("every row of a full table decides something else, yet some decide the same")
    n, n_slots = decisions.shape
    if n << n_slots > MOST_ENTRIES:
        raise ConfigurationError(
            f"exact values over {n:,} rows and {n_slots} slots would take {(n << n_slots) / 2**27:,.0f} GB of memory; "
            "use the view of a surrogate"
        )
    means = coalition_means(decisions, scores)
    return TableShapley(float(means[0, 0]), shapley_values(means))


def pair_interactions(table: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the Shapley interaction index of all pairs of players.

    I_ij = sum over S without i and j of |S|! (n - |S| - 2)! / (n - 1)! * (v(S+i+j) - v(S+i) - v(S+j) + v(S)):
    Grabisch and Roubens 1999, "An axiomatic approach to the concept of interaction among players in cooperative games",
    International Journal of Game Theory 28, equation 2.

    Args:
        table: Values of all coalitions in the order of `nas_gym.explain.coalitions`, (..., 2**n).

    Returns:
        Symmetric, float64 (..., n, n), with zeros on the diagonal.

    Raises:
        ConfigurationError: The last axis is no power of two, or there are too many players.
    """
    size = table.shape[-1]
    n = size.bit_length() - 1
    if size != 2**n:
        raise ConfigurationError(f"a table of coalitions has 2**n entries, got {size}")
    member = coalitions(n)
    weights = np.zeros((size, n, n))
    joint = np.array([factorial(s) * factorial(n - s - 2) / factorial(n - 1) for s in range(max(0, n - 1))])
    for i in range(n):
        for j in range(i):
            others = member.sum(1) - member[:, i] - member[:, j].astype(np.int64)
            signs = np.where(member[:, i] == member[:, j], 1.0, -1.0)
            weights[:, i, j] = weights[:, j, i] = signs * joint[others]
    return np.tensordot(np.asarray(table, dtype=np.float64), weights, axes=1)
