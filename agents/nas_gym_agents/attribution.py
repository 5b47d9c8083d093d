"""Exact attributions of a policy's decisions: from observations to Shapley values over the slots.

The value of a coalition of groups is the log-probability of the chosen action when the groups in it are taken from the
observation and all others from the baseline (the empty prefix), under the mask of the real step. A group that
equals its baseline is a null player with value 0 and is left out, so that a decision at step t takes 2**t passes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.shapley import MOST_PLAYERS, coalitions, shapley_values
from nas_gym_agents.recurrent import is_recurrent

ROWS_AT_ONCE = 16_384
Groups = tuple[tuple[str, slice], ...]


@dataclass(frozen=True)
class Attributions:
    """What moved a policy, for a batch of n decisions; natural logarithms throughout.

    Attributes:
        log_probabilities: Of all actions, float64 (n, n_actions); about -1e8 where masked.
        phi0: Log-probability of the chosen action at the baseline, float64 (n,).
        phi: Shapley values, float64 (n, n_groups).
        n_players: Groups that differ from the baseline, int (n,).
    """

    log_probabilities: NDArray[np.float64]
    phi0: NDArray[np.float64]
    phi: NDArray[np.float64]
    n_players: NDArray[np.int64]


def log_probabilities(policy: Any, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return the log-probabilities of all actions, float64 (n, n_actions), of an SB3 actor-critic policy.

    Args:
        policy: With a categorical action distribution; masked where ``masks`` are given.
        observations: (n, …) as the policy gets them.
        masks: bool (n, n_actions), or None for a policy without masks.

    Raises:
        ConfigurationError: The distribution is not a categorical one, or depends on more than the observation.
    """
    if is_recurrent(policy):
        raise ConfigurationError("the policy is recurrent, and what moves its hidden state can't be attributed yet")
    with torch.no_grad():
        tensor, _ = policy.obs_to_tensor(observations)
        if masks is None:
            distribution = policy.get_distribution(tensor)
        else:
            distribution = policy.get_distribution(tensor, action_masks=masks)
        inner = getattr(distribution, "distribution", None)
        if not isinstance(inner, torch.distributions.Categorical):
            raise ConfigurationError(
                f"attributions need a categorical policy over Discrete actions, got {type(distribution).__name__}"
            )
        result: NDArray[np.float64] = inner.logits.double().cpu().numpy()
    return result


def attribute(
    policy: Any,
    observations: NDArray[np.float32],
    actions: NDArray[np.int64],
    masks: NDArray[np.bool_] | None,
    *,
    baseline: NDArray[np.float32],
    groups: Groups,
) -> Attributions:
    """Return the exact attributions of decisions, computed in batches.

    Args:
        policy: See `log_probabilities`.
        observations: (n, m), flat.
        actions: (n,).
        masks: bool (n, n_actions) or None.
        baseline: Observation of the empty prefix, (m,).
        groups: Names and places of the groups; together they cover the observation.

    Raises:
        ConfigurationError: More than `MOST_PLAYERS` groups vary, or the policy is not categorical.
    """
    n = len(observations)
    own = _in_batches(policy, observations, masks)
    varies = np.stack([(observations[:, part] != baseline[part]).any(1) for _, part in groups], axis=1)
    n_players = varies.sum(1)
    if n and n_players.max() > MOST_PLAYERS:
        raise ConfigurationError(f"exact attributions take up to {MOST_PLAYERS} groups, got {n_players.max()}")
    phi0 = np.zeros(n)
    phi = np.zeros((n, len(groups)))
    for count in np.unique(n_players):
        which = np.flatnonzero(n_players == count)
        at_once = max(1, ROWS_AT_ONCE >> count)
        for start in range(0, len(which), at_once):
            chosen = which[start : start + at_once]
            players = [np.flatnonzero(varies[i]) for i in chosen]
            mixed = _mixtures(observations[chosen], baseline, groups, players)
            repeated = None if masks is None else np.repeat(masks[chosen], 2**count, axis=0)
            values = log_probabilities(policy, mixed, repeated)
            table = values[np.arange(len(values)), np.repeat(actions[chosen], 2**count)].reshape(len(chosen), -1)
            phi0[chosen] = table[:, 0]
            for i, who, shares in zip(chosen, players, shapley_values(table), strict=True):
                phi[i, who] = shares
    return Attributions(own, phi0, phi, n_players)


def _mixtures(
    observations: NDArray[np.float32], baseline: NDArray[np.float32], groups: Groups, players: list[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """Return every observation with every coalition of its players taken from it: (len(observations) * 2**p, m)."""
    deltas = np.zeros((len(observations), len(players[0]), observations.shape[1]), dtype=np.float32)
    for row, (observation, who) in enumerate(zip(observations, players, strict=True)):
        for place, group in enumerate(who):
            part = groups[group][1]
            deltas[row, place, part] = observation[part] - baseline[part]
    members = coalitions(len(players[0])).astype(np.float32)
    mixed: NDArray[np.float32] = (baseline + members @ deltas).reshape(-1, observations.shape[1])
    return mixed


def _in_batches(policy: Any, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    parts = [
        log_probabilities(
            policy,
            observations[start : start + ROWS_AT_ONCE],
            None if masks is None else masks[start : start + ROWS_AT_ONCE],
        )
        for start in range(0, len(observations), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)
