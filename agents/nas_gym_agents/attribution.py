"""Attributions of a policy's decisions: from observations to Shapley values over the slots.

The value of a coalition of groups is the log-probability of an action when the groups in it are taken from the
observation and all others from the baseline (the empty prefix), under the mask of the real step. A group that
equals its baseline is a null player with value 0 and is left out, so that a decision at step t takes 2**t passes, from
which follow the attributions of all actions and of the critic. Beyond `MOST_PLAYERS` groups that vary, orders are
sampled, and the standard error is told.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.shapley import MOST_PLAYERS, interactions
from nas_gym_agents.attribution_problem import Options, Problem, distinct
from nas_gym_agents.coalition_solutions import mean_values
from nas_gym_agents.coalition_values import GenericValues, Groups
from nas_gym_agents.policy_outputs import acting, log_probabilities
from nas_gym_agents.policy_paths import choose_path, solve_checked

__all__ = ["Attributions", "Groups", "Options", "attribute", "attribute_interactions", "log_probabilities"]

DEFAULT = Options()


@dataclass(frozen=True)
class Attributions:
    """What moved a policy, for a batch of n decisions; natural logarithms throughout.

    Attributes:
        log_probabilities: Of all actions, float64 (n, n_actions); about -1e8 where masked.
        phi0: Log-probability of the chosen action at the baseline, float64 (n,).
        phi: Shapley values, float64 (n, n_groups): phi0 + sum(phi) is the log-probability of the chosen action.
        phi0_actions: As ``phi0``, of every action, float64 (n, n_actions); 0 for illegal ones.
        phi_actions: As ``phi``, of every action, float64 (n, n_groups, n_actions); 0 for illegal ones.
        value: Of the critic, float64 (n,).
        value0: Of the critic, at the baseline, float64 (n,).
        value_phi: Shapley values of the critic's value, float64 (n, n_groups): what the critic expected, not what
            the policy did.
        std_err: Standard error of ``phi``, float64 (n, n_groups); 0 where it is exact.
        n_players: Groups that differ from the baseline, int (n,).
        n_evaluations: Mixtures that were valued, int (n,); decisions of one episode share most of theirs.
        explainer: Per decision, "exact_shapley" or "permutation_sampling"; n of them.
        baseline: "empty", or "same_step": a mean over several observations.
        path: "factorised" or "generic": how the mixtures were valued.
        path_error: Largest difference of the factorised way from the policy's own methods on some mixtures of some
            decisions and at all observations (of the critic's value: relative to its size where that is above 1); NaN
            where only the generic way was there. Above
            `nas_gym_agents.policy_paths.LARGEST_PATH_ERROR` the generic one was used.
    """

    log_probabilities: NDArray[np.float64]
    phi0: NDArray[np.float64]
    phi: NDArray[np.float64]
    phi0_actions: NDArray[np.float64]
    phi_actions: NDArray[np.float64]
    value: NDArray[np.float64]
    value0: NDArray[np.float64]
    value_phi: NDArray[np.float64]
    std_err: NDArray[np.float64]
    n_players: NDArray[np.int64]
    n_evaluations: NDArray[np.int64]
    explainer: tuple[str, ...]
    baseline: str
    path: Literal["factorised", "generic"]
    path_error: float

    def rows(self, which: NDArray[np.integer]) -> "Attributions":
        """Return those of some of the decisions."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        parts = {name: value[which] for name, value in values.items() if isinstance(value, np.ndarray)}
        return replace(self, **parts, explainer=tuple(self.explainer[i] for i in which))


def attribute(
    policy: Any,
    observations: NDArray[np.float32],
    actions: NDArray[np.int64],
    masks: NDArray[np.bool_] | None,
    *,
    baseline: NDArray[np.float32],
    groups: Groups,
    options: Options = DEFAULT,
) -> Attributions:
    """Return the attributions of decisions, computed in batches.

    Args:
        policy: See `log_probabilities`.
        observations: (n, m), flat.
        actions: Legal ones, (n,).
        masks: bool (n, n_actions), of the real steps; or None for a policy without masks.
        baseline: Observation of the empty prefix, (m,); or a sample of observations, (k, m), whose mean value counts.
        groups: Names and places of the groups; together they cover the observation.
        options: How to compute them.

    Raises:
        ConfigurationError: The policy can't be explained, an action is illegal, or shapes do not fit.
    """
    _refuse_illegal(actions, masks)
    first, which = distinct(observations, masks)
    problem = Problem(policy, observations[first], None if masks is None else masks[first], baseline, groups, options)
    with acting(policy):
        found, path = solve_checked(problem)
    n_players = found.n_players[which]
    return Attributions(
        log_probabilities=path.log_probabilities[which],
        phi0=found.start[which, actions],
        phi=found.shares[which, :, actions],
        phi0_actions=found.start[which, :-1],
        phi_actions=found.shares[which, :, :-1],
        value=path.critic[which],
        value0=found.start[which, -1],
        value_phi=found.shares[which, :, -1],
        std_err=found.errors[which, :, actions],
        n_players=n_players,
        n_evaluations=found.n_evaluations[which],
        explainer=tuple("exact_shapley" if p <= MOST_PLAYERS else "permutation_sampling" for p in n_players),
        baseline="empty" if baseline.ndim == 1 else "same_step",
        path="generic" if isinstance(path.values, GenericValues) else "factorised",
        path_error=path.error,
    )


def attribute_interactions(
    policy: Any,
    observation: NDArray[np.float32],
    action: int,
    mask: NDArray[np.bool_] | None,
    *,
    baseline: NDArray[np.float32],
    groups: Groups,
    options: Options = DEFAULT,
) -> NDArray[np.float64]:
    """Return the pairwise Shapley interactions of one decision's log-probability, float64 (n_groups, n_groups).

    In nats, symmetric, with zeros on the diagonal and for groups that do not vary; see
    `nas_gym.explain.shapley.interactions`.

    Args:
        policy: See `attribute`.
        observation: (m,).
        action: A legal one.
        mask: bool (n_actions,), or None.
        baseline: See `attribute`.
        groups: See `attribute`.
        options: See `attribute`.

    Raises:
        ConfigurationError: As in `attribute`; or more than `MOST_PLAYERS` groups vary.
    """
    masks = None if mask is None else mask[None]
    _refuse_illegal(np.array([action]), masks)
    problem = Problem(policy, observation[None], masks, baseline, groups, options)
    batch = problem.batch(np.array([0]))
    players = batch.players[0]
    if len(players) > MOST_PLAYERS:
        raise ConfigurationError(f"interactions take up to {MOST_PLAYERS} groups that vary, got {len(players)}")
    with acting(policy):
        game = mean_values(choose_path(problem).values, batch, problem.background, None)[0, action]
    pairs = np.zeros((len(groups), len(groups)))
    pairs[np.ix_(players, players)] = interactions(game)
    return pairs


def _refuse_illegal(actions: NDArray[np.int64], masks: NDArray[np.bool_] | None) -> None:
    if masks is not None and not np.take_along_axis(masks, actions[:, None], axis=1).all():
        raise ConfigurationError("an illegal action is not what the policy chose; explain legal actions only")
