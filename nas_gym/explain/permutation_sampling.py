"""Shapley values from sampled orders of the players, with their standard error, where there are too many coalitions.

A player's Shapley value is its mean marginal contribution over all orders in which the players can join; the mean over
sampled orders is unbiased (Castro, Gómez and Tejada 2009, "Polynomial calculation of the Shapley value based on
sampling"). Every order is sampled together with its reverse (antithetic sampling: Mitchell et al. 2022, "Sampling
permutations for Shapley value estimation", section 3.1, arXiv 2104.12199), which cancels what is linear in a player's
place. Along an order the contributions add up to v(N) - v(nobody), so that the values do so exactly.
"""

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError


def paired_orders(n_players: int, n_pairs: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return sampled orders of the players, each followed by its reverse: int64, shape (2 * n_pairs, n_players).

    Raises:
        ConfigurationError: There are fewer than 2 pairs, which tell no standard error.
    """
    if n_pairs < 2:
        raise ConfigurationError(f"sampled Shapley values need at least 2 pairs of orders, got {n_pairs}")
    orders = generator.permuted(np.tile(np.arange(n_players), (n_pairs, 1)), axis=1)
    return np.stack((orders, orders[:, ::-1]), axis=1).reshape(-1, n_players)


def walked_coalitions(orders: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the coalitions that orders pass through: nobody, everybody, then each order's n - 1 others in turn.

    Args:
        orders: (n_orders, n).

    Returns:
        Bool, shape (2 + n_orders * (n - 1), n).
    """
    n = orders.shape[1]
    place = np.argsort(orders, axis=1)  # when a player joins
    inside = place[:, None, :] < np.arange(1, n)[None, :, None]
    ends = np.array([[False] * n, [True] * n])
    return np.concatenate((ends, inside.reshape(-1, n)))


def sampled_values(
    values: NDArray[np.floating], orders: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the estimated Shapley values and their standard errors.

    Args:
        values: Of `walked_coalitions`, shape (..., 2 + n_orders * (n - 1)).
        orders: `paired_orders`, shape (n_orders, n).

    Returns:
        Two float64 arrays of shape (..., n). The standard error is that of a mean over independent pairs.
    """
    n_orders, n = orders.shape
    walk = np.empty((*values.shape[:-1], n_orders, n + 1))
    walk[..., 0], walk[..., n] = values[..., :1], values[..., 1:2]
    walk[..., 1:n] = values[..., 2:].reshape(*values.shape[:-1], n_orders, n - 1)
    gained = np.diff(walk, axis=-1)
    place = np.broadcast_to(np.argsort(orders, axis=1), gained.shape)
    contributions = np.take_along_axis(gained, place, axis=-1)
    pairs = contributions.reshape(*contributions.shape[:-2], n_orders // 2, 2, n).mean(-2)
    return pairs.mean(-2), pairs.std(-2, ddof=1) / np.sqrt(n_orders // 2)
