"""Shapley values of the games of a batch of decisions: exact from all coalitions, or sampled from many."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.permutation_sampling import paired_orders, sampled_values, walked_coalitions
from nas_gym.explain.shapley import MOST_PLAYERS, shapley_values
from nas_gym_agents.attribution_problem import Problem
from nas_gym_agents.coalition_values import Batch, Values


@dataclass(frozen=True)
class Solutions:
    """Of n decisions; the last of the n_actions + 1 is the critic's value, the others log-probabilities of actions.

    Attributes:
        start: Values at the baseline, float64 (n, n_actions + 1).
        shares: Shapley values, float64 (n, n_groups, n_actions + 1).
        errors: Their standard errors, as ``shares``; 0 where they are exact.
        n_players: int (n,).
        n_evaluations: Mixtures that were valued, int (n,).
    """

    start: NDArray[np.float64]
    shares: NDArray[np.float64]
    errors: NDArray[np.float64]
    n_players: NDArray[np.int64]
    n_evaluations: NDArray[np.int64]


def solve(problem: Problem, values: Values) -> Solutions:
    """Return the Shapley values of all decisions of a problem.

    Raises:
        ConfigurationError: Orders must be sampled, and too few coalitions are allowed for that.
    """
    (n, n_groups), n_columns = problem.varies.shape, problem.legal.shape[1] + 1
    start, shares, errors = np.zeros((n, n_columns)), *np.zeros((2, n, n_groups, n_columns))
    n_players = problem.varies.sum(1)
    plans = {p: None if p <= MOST_PLAYERS else _orders(problem, p) for p in np.unique(n_players).tolist()}
    sizes = {p: 2**p if orders is None else 2 + len(orders) * (p - 1) for p, orders in plans.items()}
    for rows, batch in problem.batches(sizes):
        orders = plans[batch.players.shape[1]]
        place = rows[:, None], batch.players
        members = None if orders is None else walked_coalitions(orders)
        games = mean_values(values, batch, problem.background, members)
        start[rows] = games[..., 0]
        if orders is None:
            shares[place] = np.swapaxes(shapley_values(games), 1, 2)
        else:
            shares[place], errors[place] = (np.swapaxes(part, 1, 2) for part in sampled_values(games, orders))
    start[:, :-1] *= problem.legal
    shares[:, :, :-1] *= problem.legal[:, None]
    n_evaluations = np.array([sizes[p] for p in n_players.tolist()], dtype=np.int64) * len(problem.background)
    return Solutions(start, shares, errors, n_players, n_evaluations)


def mean_values(
    values: Values, batch: Batch, background: NDArray[np.float32], members: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Return the mean over k baselines, (k, m), of the values of c coalitions, float64 (n, n_actions + 1, c)."""
    total = values(batch, background[0], members)
    for other in background[1:]:
        total += values(batch, other, members)
    return total / len(background) if len(background) > 1 else total


def _orders(problem: Problem, n_players: int) -> NDArray[np.int64]:
    """Return the orders for decisions with so many players: the same whatever other decisions there are."""
    n_pairs = problem.options.sampled // (2 * (n_players - 1))
    if n_pairs < 2:
        raise ConfigurationError(
            f"sampling the orders of {n_players} groups takes at least {4 * (n_players - 1)} coalitions, "
            f"got sampled={problem.options.sampled}"
        )
    return paired_orders(n_players, n_pairs, np.random.default_rng((problem.options.seed, n_players)))
