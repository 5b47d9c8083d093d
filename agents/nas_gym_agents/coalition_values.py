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


class Values(Protocol):
    """The values of coalitions."""

    def __call__(
        self, batch: Batch, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        """Return the values of c coalitions of each decision, float64 (n, n_actions + 1, c).

        The last row is the critic's value, NaN if it is not asked for. Rows of illegal actions hold finite numbers
        without a meaning.

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
        critic: Whether the critic's value is asked for; else it is NaN.
        preprocess: None: the policy gets raw observations.
    """

    policy: Any
    masked: bool
    critic: bool = True
    preprocess: Preprocess | None = None

    def __call__(
        self, batch: Batch, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        """See `Values`."""
        n, p = batch.players.shape
        switches = (coalitions(p) if members is None else members).astype(np.float32)
        mixed = (baseline + switches @ batch.deltas(batch.observations, baseline)).reshape(-1, len(baseline))
        if self.preprocess is not None:
            mixed = np.asarray(self.preprocess(mixed), dtype=np.float32)
        masks = np.repeat(batch.legal, len(switches), axis=0) if self.masked else None
        logp = log_probabilities(self.policy, mixed, masks)
        values = critic_values(self.policy, mixed) if self.critic else np.full(len(mixed), np.nan)
        return np.swapaxes(np.concatenate((logp, values[:, None]), axis=1).reshape(n, len(switches), -1), 1, 2)


@dataclass(frozen=True)
class FactorisedValues:
    """Values of a policy whose networks start with a linear layer; see `nas_gym_agents.factorised`.

    Attributes:
        actor: From observations to logits.
        critic: From observations to the value; None: not asked for, NaN.
        preprocess: Must treat every column by itself: then preprocessing may come before mixing.
    """

    actor: Network
    critic: Network | None
    preprocess: Preprocess | None = None

    def __call__(
        self, batch: Batch, baseline: NDArray[np.float32], members: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        """See `Values`."""
        observations = batch.observations
        if self.preprocess is not None:
            both = np.concatenate((observations, baseline[None]))
            both = np.asarray(self.preprocess(both), dtype=np.float32)
            observations, baseline = both[:-1], both[-1]
        device = self.actor.weight.device
        start = torch.as_tensor(baseline, device=device)
        deltas = torch.as_tensor(batch.deltas(observations, baseline), device=device)
        switches = None if members is None else torch.as_tensor(members, dtype=torch.float32, device=device)
        with torch.no_grad():
            logits = self.actor.outputs(start, deltas, switches)
            n, n_actions, c = logits.shape
            values = torch.full((n, n_actions + 1, c), torch.nan, dtype=torch.float64, device=device)
            values[:, :-1] = logits
            values[:, :-1] -= log_normaliser(values[:, :-1], torch.as_tensor(batch.legal, device=device))
            if self.critic is not None:
                values[:, -1:] = self.critic.outputs(start, deltas, switches)
        result: NDArray[np.float64] = values.cpu().numpy()
        return result


def log_normaliser(logits: torch.Tensor, legal: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the sum of exp(logit) over the legal actions, float64 (n, 1, c).

    Args:
        logits: float64 (n, n_actions, c).
        legal: bool (n, n_actions).
    """
    normaliser = torch.matmul(legal.double().unsqueeze(1), logits.exp()).log_()
    if not normaliser.isfinite().all():  # over- or underflow, beyond exp(±700)
        masked = logits.masked_fill(~legal.unsqueeze(2), -torch.inf)
        normaliser = torch.logsumexp(masked, dim=1, keepdim=True)
    return normaliser
