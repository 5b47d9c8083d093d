"""Which way values coalitions: the fast one, if it says what the policy's own methods say, else these.

They are compared on coalitions of a few groups before anything is computed, and at every observation afterwards.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.shapley import MOST_PLAYERS
from nas_gym_agents.attribution_problem import Problem
from nas_gym_agents.coalition_solutions import Solutions, solve
from nas_gym_agents.coalition_values import Batch, FactorisedValues, GenericValues, Values, normalised
from nas_gym_agents.factorised import networks

LARGEST_PATH_ERROR = 1e-4  # nats; of the critic's value: relative to its size, where that is above 1
CHECKED_DECISIONS, CHECKED_PLAYERS, CHECKED_COALITIONS = 4, 4, 16

Trial = tuple[Batch, NDArray[np.bool_] | None]  # and which coalitions, as in `Values`


@dataclass(frozen=True)
class Path:
    """A way to value coalitions, and what the policy's own methods say at the observations themselves.

    Attributes:
        values: The fast way or the generic one.
        error: Largest difference of the fast way from the generic one; NaN if there is no fast way.
        log_probabilities: float64 (n, n_actions).
        critic: float64 (n,); NaN if it was not asked for.
    """

    values: Values
    error: float
    log_probabilities: NDArray[np.float64]
    critic: NDArray[np.float64]


def choose_path(problem: Problem) -> Path:
    """Return the fast way, if there is one and it agrees with the policy's own methods, else the generic one."""
    options, (n, m) = problem.options, problem.observations.shape
    generic = GenericValues(problem.policy, problem.masks is not None, options.critic, options.preprocess)
    found = networks(problem.policy) if options.factorise else None
    if found is None or found[0].weight.shape[1] != m or n == 0:
        return Path(generic, float("nan"), *generic.outputs(problem.observations, problem.legal))
    fast = FactorisedValues(found[0], found[1] if options.critic else None, options.preprocess)
    baseline, trials = problem.background[-1], _trials(problem)
    mixed = [batch.mixtures(baseline, members) for batch, members in trials]
    legal = [np.repeat(batch.legal, some.shape[1], axis=0) for (batch, _), some in zip(trials, mixed, strict=True)]
    rows = [problem.observations, *(some.reshape(-1, m) for some in mixed)]
    logp, critic = generic.outputs(np.concatenate(rows), np.concatenate((problem.legal, *legal)))
    expected = np.split(np.column_stack((logp, critic)), np.cumsum([len(part) for part in rows])[:-1])[1:]
    error = 0.0
    for (batch, members), truth in zip(trials, expected, strict=True):
        outputs = np.swapaxes(normalised(fast(batch, baseline, members), batch.legal), 1, 2).reshape(truth.shape)
        error = max(error, largest_difference(outputs, truth, legal.pop(0)))
    return Path(fast if error <= LARGEST_PATH_ERROR else generic, error, logp[:n], critic[:n])


def solve_checked(problem: Problem) -> tuple[Solutions, Path]:
    """Return the Shapley values of a problem, and the way they were computed: the fast one, if it proves right.

    Raises:
        ConfigurationError: See `solve`.
    """
    path = choose_path(problem)
    found = solve(problem, path.values)
    if isinstance(path.values, GenericValues):
        return found, path
    own = np.column_stack((path.log_probabilities, path.critic))
    error = max(path.error, largest_difference(found.start + found.shares.sum(1), own, problem.legal))
    if error <= LARGEST_PATH_ERROR:
        return found, Path(path.values, error, path.log_probabilities, path.critic)
    options = problem.options
    generic = GenericValues(problem.policy, problem.masks is not None, options.critic, options.preprocess)
    return solve(problem, generic), Path(generic, error, path.log_probabilities, path.critic)


def largest_difference(found: NDArray[np.float64], truth: NDArray[np.float64], legal: NDArray[np.bool_]) -> float:
    """Return the largest difference of log-probabilities of legal actions and of critics' values.

    Args:
        found: (n, n_actions + 1), the critic's value last.
        truth: (n, n_actions + 1); the differences of the critic's values are relative to these, where above 1.
        legal: (n, n_actions).
    """
    away = np.abs(found - truth)
    away[:, -1] /= np.maximum(1.0, np.abs(truth[:, -1]))
    told = np.column_stack((legal, np.isfinite(truth[:, -1])))
    return float(away[told].max(initial=0.0)) if np.isfinite(away[told]).all() else float("inf")


def _trials(problem: Problem) -> list[Trial]:
    """Return what is compared before: all coalitions of some players, and some of all players where orders are sampled.

    The decisions are those with the most players.
    """
    generator = np.random.default_rng(problem.options.seed)
    batch = problem.batch(np.flatnonzero(problem.n_players == problem.n_players.max())[:CHECKED_DECISIONS])
    p = batch.players.shape[1]
    trials: list[Trial] = [(batch.with_players(generator.permuted(batch.players, axis=1)[:, :CHECKED_PLAYERS]), None)]
    if p > MOST_PLAYERS:
        trials.append((batch, generator.random((CHECKED_COALITIONS, p)) < 0.5))
    return trials
