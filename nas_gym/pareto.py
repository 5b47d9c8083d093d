"""The Pareto front: what nothing else beats in everything."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_gym.errors import ConfigurationError


def front(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points are on the Pareto front: bool, shape (n,).

    Every column is to be made large. A point is on the front if no other one is at least as large in every column and
    larger in one; equal points are on it together.

    Args:
        points: Numbers of shape (n, k); negate what is to be made small.

    Raises:
        ConfigurationError: The shape is another one, or a number is NaN.
    """
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or np.isnan(values).any():
        raise ConfigurationError(f"a Pareto front needs numbers of shape (n, k) without NaN, got shape {values.shape}")
    kept = np.zeros(len(values), dtype=np.bool_)
    # From the largest on, column by column: what beats a point in this order comes before it, and so, as beating is
    # transitive, does something on the front that beats it.
    for place in np.lexsort(values.T[::-1])[::-1] if len(values) else ():
        others = values[kept]
        beaten = (others >= values[place]).all(axis=1) & (others > values[place]).any(axis=1)
        kept[place] = not beaten.any()
    return kept
