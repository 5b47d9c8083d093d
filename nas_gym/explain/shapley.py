"""Exact Shapley values from a table of all coalitions.

Shapley 1953, "A value for n-person games": with N the players and v the value of a coalition,

    phi_i = sum over S in N without i of |S|! (|N| - |S| - 1)! / |N|! * (v(S + i) - v(S)).

A player's column of weights depends on nothing but the number of players, so that all values are one matrix
product with the table. Pairs are treated alike: Grabisch and Roubens 1999, "An axiomatic approach to the concept of
interaction among players in cooperative games", definition 2, gives of players i and j

    I_ij = sum over S in N without i, j of |S|! (|N| - |S| - 2)! / (|N| - 1)! * d_ij(S),
    d_ij(S) = v(S + i + j) - v(S + i) - v(S + j) + v(S).
"""

from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError

MOST_PLAYERS = 14


@lru_cache(maxsize=MOST_PLAYERS + 1)
def coalitions(n_players: int) -> NDArray[np.bool_]:
    """Return all coalitions: bool, shape (2**n, n); row ``s`` holds player ``i`` if bit ``i`` of ``s`` is set.

    Raises:
        ConfigurationError: There are more than `MOST_PLAYERS` players.
    """
    if not 0 <= n_players <= MOST_PLAYERS:
        raise ConfigurationError(f"exact Shapley values take 0 to {MOST_PLAYERS} players, got {n_players}")
    member: NDArray[np.bool_] = (np.arange(2**n_players)[:, None] >> np.arange(n_players)) % 2 == 1
    return member


@lru_cache(maxsize=MOST_PLAYERS + 1)
def _weights(n_players: int) -> NDArray[np.float64]:
    """Return the matrix M, float64 of shape (n, 2**n), with phi = M @ v."""
    member = coalitions(n_players)
    sizes = member.sum(1)
    joins = np.array([factorial(s) * factorial(n_players - s - 1) for s in range(n_players)] + [0], dtype=np.float64)
    joins /= factorial(n_players)
    gained = joins[np.maximum(sizes - 1, 0)]
    matrix: NDArray[np.float64] = np.where(member, gained[:, None], -joins[sizes][:, None]).T
    return matrix


def shapley_values(table: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the exact Shapley values of a game.

    Args:
        table: Values of all coalitions in the order of `coalitions`; shape (..., 2**n): one game per leading index.

    Returns:
        Shape (..., n), float64; the values of a game sum to ``table[..., -1] - table[..., 0]``.

    Raises:
        ConfigurationError: The last axis is no power of two, or there are more than `MOST_PLAYERS` players.
    """
    return np.asarray(table, dtype=np.float64) @ _weights(_players(table)).T


@lru_cache(maxsize=2)  # 12 MB each with 14 players
def _pair_weights(n_players: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs (i, j) with i < j, and the matrix M, float64 (n_pairs, 2**n), with I = M @ v."""
    first, second = np.triu_indices(n_players, 1)
    member = coalitions(n_players)
    pair = member[:, first].astype(np.int64) + member[:, second]  # how many of the two are in, (2**n, n_pairs)
    others = member.sum(1)[:, None] - pair
    sizes = range(n_players - 1)
    weights = np.array([factorial(s) * factorial(n_players - s - 2) for s in sizes] or [0], dtype=np.float64)
    weights /= factorial(max(n_players - 1, 0))
    matrix: NDArray[np.float64] = np.where(pair == 1, -1.0, 1.0) * weights[others]
    return first, second, np.ascontiguousarray(matrix.T)


def interactions(table: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the pairwise Shapley interaction indices of a game.

    Positive: two players together gain more than the sum of what each gains alone; negative: they stand in for each
    other. Unlike Shapley values they do not sum to ``table[..., -1] - table[..., 0]``.

    Args:
        table: See `shapley_values`.

    Returns:
        Shape (..., n, n), float64, symmetric, with zeros on the diagonal.

    Raises:
        ConfigurationError: The last axis is no power of two, or there are more than `MOST_PLAYERS` players.
    """
    n_players = _players(table)
    first, second, weights = _pair_weights(n_players)
    pairs = np.zeros((*table.shape[:-1], n_players, n_players))
    pairs[..., first, second] = np.asarray(table, dtype=np.float64) @ weights.T
    pairs[..., second, first] = pairs[..., first, second]
    return pairs


def _players(table: NDArray[np.floating]) -> int:
    size: int = table.shape[-1]
    n_players = size.bit_length() - 1
    if size != 2**n_players:
        raise ConfigurationError(f"a table of coalitions has 2**n entries, got {size}")
    return n_players
