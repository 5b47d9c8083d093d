"""Exact Shapley values from a table of all coalitions.

Shapley 1953, "A value for n-person games": with N the players and v the value of a coalition,

    phi_i = sum over S in N without i of |S|! (|N| - |S| - 1)! / |N|! * (v(S + i) - v(S)).

A player's column of weights depends on nothing but the number of players, so that all values are one matrix
product with the table.
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
    size = table.shape[-1]
    n_players = size.bit_length() - 1
    if size != 2**n_players:
        raise ConfigurationError(f"a table of coalitions has 2**n entries, got {size}")
    return np.asarray(table, dtype=np.float64) @ _weights(n_players).T
