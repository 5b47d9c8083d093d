"""Shapley values of the games of a batch of decisions: exact from all coalitions, or sampled from many."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.permutation_sampling import paired_orders, sampled_values, walked_coalitions
from nas_gym.explain.shapley import MOST_PLAYERS, shapley_values
from nas_gym_agents.attribution_problem import Problem
from nas_gym_agents.coalition_values import Batch, Values, log_normaliser, normalised


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
    found = Solutions(
        start=np.zeros((n, n_columns)),
        shares=np.zeros((n, n_groups, n_columns)),
        errors=np.zeros((n, n_groups, n_columns)),
        n_players=problem.n_players,
        n_evaluations=np.zeros(n, dtype=np.int64),
    )
    _solve_exactly(problem, values, found)
    for p in np.unique(problem.n_players[problem.n_players > MOST_PLAYERS]).tolist():
        _solve_by_sampling(problem, values, p, found)
    found.start[:, :-1] *= problem.legal
    found.shares[:, :, :-1] *= problem.legal[:, None]
    return found


def _solve_exactly(problem: Problem, values: Values, found: Solutions) -> None:
    """Fill in what there is to know of the decisions with up to `MOST_PLAYERS` players."""
    few = np.flatnonzero(problem.n_players <= MOST_PLAYERS)
    owner = few if values.depend_on_masks else few[problem.table_owners(few)]
    found.n_evaluations[few] = 2 ** problem.n_players[few] * len(problem.background)
    for owners, batch in problem.batches(np.unique(owner), lambda p: 2**p):
        tenants = few[np.isin(owner, owners)]
        home = np.searchsorted(owners, owner[np.searchsorted(few, tenants)])
        for baseline in problem.background:
            _solve_tenants(problem, values(batch, baseline, None), tenants, home, found)


def _solve_tenants(
    problem: Problem, outputs: torch.Tensor, rows: NDArray[np.int64], home: NDArray[np.int64], found: Solutions
) -> None:
    """Add what the tables of some decisions, (n, n_actions + 1, c), tell of all decisions whose tables they hold.

    Shapley values are linear: those of the log-probabilities are those of the logits less those of the normaliser.

    Args:
        problem: The decisions.
        outputs: `Values` of all coalitions.
        rows: The decisions whose tables are held, (k,).
        home: In which of the n tables each one's is, (k,).
        found: What is added to.
    """
    share, n_players = 1 / len(problem.background), problem.n_players[rows]
    room = _places_within(home)
    legal = np.ones((len(outputs), int(room.max()) + 1, problem.legal.shape[1]), dtype=bool)
    legal[home, room] = problem.legal[rows]
    normaliser = log_normaliser(outputs[:, :-1], legal).cpu().numpy()
    table = outputs.double().cpu().numpy()
    for p in np.unique(n_players).tolist():
        some = np.flatnonzero(n_players == p)
        which, its_home, its_room = rows[some], home[some], room[some]
        shares = shapley_values(table[:, :, : 2**p])[its_home]
        shares[:, :-1] -= shapley_values(normaliser[its_home, its_room, : 2**p])[:, None]
        start = table[its_home, :, 0]
        start[:, :-1] -= normaliser[its_home, its_room, :1]
        found.start[which] += share * start
        found.shares[which[:, None], problem.players(which)] += share * np.swapaxes(shares, 1, 2)


def _places_within(home: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each one's place among those with the same home, from 0."""
    order = np.argsort(home, kind="stable")
    begins = np.searchsorted(home[order], home[order])
    places = np.empty_like(home)
    places[order] = np.arange(len(home)) - begins
    return places


def _solve_by_sampling(problem: Problem, values: Values, n_players: int, found: Solutions) -> None:
    """Fill in estimates for the decisions with so many players: the same whatever other decisions there are."""
    n_pairs = problem.options.sampled // (2 * (n_players - 1))
    if n_pairs < 2:
        raise ConfigurationError(
            f"sampling the orders of {n_players} groups takes at least {4 * (n_players - 1)} coalitions, "
            f"got sampled={problem.options.sampled}"
        )
    orders = paired_orders(n_players, n_pairs, np.random.default_rng((problem.options.seed, n_players)))
    members = walked_coalitions(orders)
    decisions = np.flatnonzero(problem.n_players == n_players)
    found.n_evaluations[decisions] = len(members) * len(problem.background)
    for rows, batch in problem.batches(decisions, lambda _: len(members)):
        games = mean_values(values, batch, problem.background, members)
        place = rows[:, None], batch.players
        found.start[rows] = games[..., 0]
        found.shares[place], found.errors[place] = (np.swapaxes(part, 1, 2) for part in sampled_values(games, orders))


def mean_values(
    values: Values, batch: Batch, background: NDArray[np.float32], members: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Return log-probabilities and critic's values of c coalitions, (n, n_actions + 1, c), means over k baselines."""
    total = normalised(values(batch, background[0], members), batch.legal)
    for other in background[1:]:
        total += normalised(values(batch, other, members), batch.legal)
    return total / len(background)
