"""The games that are solved: what a policy makes of mixtures of an observation and a baseline.

A player is a group of the observation that differs from the baseline. The mixture of a coalition has the groups in it
from the observation and all others from the baseline; its values are the log-probabilities of all actions under the
mask of the real step, and the critic's value.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.explain.shapley import coalitions
from nas_gym_agents.factorised import Network
from nas_gym_agents.policy_outputs import critic_values, log_probabilities

Groups = tuple[tuple[str, slice], ...]
MIXTURES_AT_ONCE = 32_768  # their outputs take a few MB
LARGEST_NORMALISER = 60.0  # exp(±60) and its terms that count are normal float32 numbers


class Preprocess(Protocol):
    """From raw observations, (n, m), to those the policy gets: ``VecNormalize.normalize_obs``, for one."""

    def __call__(self, observations: NDArray[np.float32], /) -> NDArray[Any]:
        """Return the observations as the policy gets them, (n, m); a fresh array."""


@dataclass(frozen=True)
class Batch:
    """n decisions with p players each.

    Attributes:
        observations: Raw, float32 (n, m).
        legal: bool (n, n_actions).
        players: Places of the groups that are players, int (n, p).
        column_group: To which group a column of the observation belongs, int (m,).
    """

    observations: NDArray[np.float32]
    legal: NDArray[np.bool_]
    players: NDArray[np.int64]
    column_group: NDArray[np.int64]

    def with_players(self, players: NDArray[np.int64]) -> "Batch":
        """Return the batch with some of its players only; the groups of the others are the baseline's."""
        return replace(self, players=players)

    def deltas(self, observations: NDArray[np.float32], baseline: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what each player adds to the baseline, float32 (n, p, m)."""
        own = self.column_group == self.players[:, :, None]
        return np.where(own, (observations - baseline)[:, None, :], np.float32(0))

    def mixtures(self, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """Return the mixtures of c coalitions, raw, float32 (n, c, m); the arguments are those of `Values`."""
        switches = (coalitions(self.players.shape[1]) if members is None else members).astype(np.float32)
        mixed: NDArray[np.float32] = baseline + switches @ self.deltas(self.observations, baseline)
        return mixed


class Values(Protocol):
    """The values of coalitions."""

    @property
    def depend_on_masks(self) -> bool:
        """Whether the values of one observation differ by mask; if not, decisions can share them."""

    def __call__(self, batch: Batch, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None) -> torch.Tensor:
        """Return the values of c coalitions of each decision, (n, n_actions + 1, c), float32 or float64.

        The last row is the critic's value, NaN if it is not asked for; the others are logits: log-probabilities but for
        a number that all actions of a coalition share. Those of illegal actions have no meaning.

        Args:
            batch: The decisions.
            baseline: Raw, float32 (m,).
            members: Which players are in, (c, p); None: all 2**p coalitions, in the order of `coalitions`.
        """


@dataclass(frozen=True)
class GenericValues:
    """Values of any SB3 policy: every mixture is built, and goes through the policy's own methods.

    Attributes:
        policy: An actor-critic policy.
        masked: Whether it takes masks.
        critic: Whether the critic's value is asked for.
        preprocess: None: the policy gets raw observations.
    """

    policy: Any
    masked: bool
    critic: bool = True
    preprocess: Preprocess | None = None

    @property
    def depend_on_masks(self) -> bool:
        """Yes: the policy applies them."""
        return True

    def __call__(self, batch: Batch, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None) -> torch.Tensor:
        """See `Values`."""
        mixed = batch.mixtures(baseline, members)
        n, c, m = mixed.shape
        logp, values = self.outputs(mixed.reshape(-1, m), np.repeat(batch.legal, c, axis=0))
        outputs = np.column_stack((logp, values)).reshape(n, c, -1)
        return torch.from_numpy(np.swapaxes(outputs, 1, 2).copy())

    def outputs(
        self, observations: NDArray[np.float32], legal: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return log-probabilities, (n, n_actions), and critic's values, (n,), of raw observations, (n, m)."""
        logp, values = np.empty(legal.shape), np.full(len(legal), np.nan)
        for start in range(0, len(observations), MIXTURES_AT_ONCE):
            part = slice(start, start + MIXTURES_AT_ONCE)
            seen: NDArray[Any] = observations[part]
            if self.preprocess is not None:
                seen = np.asarray(self.preprocess(seen), dtype=np.float32)
            logp[part] = log_probabilities(self.policy, seen, legal[part] if self.masked else None)
            if self.critic:
                values[part] = critic_values(self.policy, seen)
        return logp, values


@dataclass(frozen=True)
class FactorisedValues:
    """Values of a policy whose networks start with a linear layer; see `nas_gym_agents.factorised`.

    Attributes:
        actor: From observations to logits.
        critic: From observations to the value; None: not asked for.
        preprocess: Must treat every column by itself: then preprocessing may come before mixing.
    """

    actor: Network
    critic: Network | None
    preprocess: Preprocess | None = None

    @property
    def depend_on_masks(self) -> bool:
        """No: these are the logits before any mask."""
        return False

    def __call__(self, batch: Batch, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None) -> torch.Tensor:
        """See `Values`."""
        observations = batch.observations
        if self.preprocess is not None:
            both = np.concatenate((observations, baseline[None]))
            both = np.asarray(self.preprocess(both), dtype=np.float32)
            observations, baseline = both[:-1], both[-1]
        device = self.actor.weight.device
        deltas = torch.as_tensor(batch.deltas(observations, baseline), device=device)
        start = torch.as_tensor(baseline, device=device)
        switches = None if members is None else torch.as_tensor(members, dtype=torch.float32, device=device)
        with torch.no_grad():
            logits = self.actor.outputs(start, deltas, switches)
            outputs = logits.new_full((len(logits), logits.shape[1] + 1, logits.shape[2]), torch.nan)
            outputs[:, :-1] = logits
            if self.critic is not None:
                outputs[:, -1:] = self.critic.outputs(start, deltas, switches)
        return outputs


def normalised(outputs: torch.Tensor, legal: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the log-probabilities that belong to logits, and the critic's values as they are, in double precision.

    Args:
        outputs: `Values`, (n, n_actions + 1, c).
        legal: (n, n_actions).
    """
    found = outputs.double()
    found[:, :-1] -= log_normaliser(outputs[:, :-1], legal[:, None])
    result: NDArray[np.float64] = found.cpu().numpy()
    return result


def log_normaliser(logits: torch.Tensor, legal: NDArray[np.bool_]) -> torch.Tensor:
    """Return the logarithms of the sums of exp(logit) over the legal actions under k masks, float64 (n, k, c).

    Args:
        logits: (n, n_actions, c).
        legal: (n, k, n_actions).
    """
    counted = torch.as_tensor(legal, device=logits.device)
    normaliser = torch.matmul(counted.to(logits.dtype), logits.exp()).double().log_()
    if not bool((normaliser.abs() < LARGEST_NORMALISER).all()):
        masked = [logits.double().masked_fill(~counted[:, k, :, None], -torch.inf) for k in range(counted.shape[1])]
        normaliser = torch.stack([torch.logsumexp(one, dim=1) for one in masked], dim=1)
    return normaliser
