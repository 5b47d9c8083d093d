"""Decisions that are to be explained: checked, without repetitions, and in batches of equally many players."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.shapley import coalitions
from nas_gym_agents.coalition_values import Batch, FactorisedValues, GenericValues, Groups, Preprocess, Values
from nas_gym_agents.factorised import networks
from nas_gym_agents.policy_outputs import critic_values, log_probabilities, refuse_unexplainable

ROWS_AT_ONCE = 4_096  # mixtures: their activations stay in the cache
LARGEST_PATH_ERROR = 1e-4  # nats; of the critic's value: relative to its size, where that is above 1
CHECKED_DECISIONS, CHECKED_COALITIONS, CHECKED_PLAYERS = 4, 16, 4


@dataclass(frozen=True)
class Options:
    """How attributions are computed.

    Attributes:
        factorise: Whether the first layer's sums may be shared by all coalitions, where the policy allows it.
        critic: Whether the critic is explained too; if not, what is told of it is NaN.
        preprocess: What stands between raw observations and the policy; None: nothing. Attributions are then of
            the raw observation's groups, and observations and baseline are raw.
        sampled: Coalitions of a decision with more than `MOST_PLAYERS` players, about.
        seed: Of the sampled orders.
    """

    factorise: bool = True
    critic: bool = True
    preprocess: Preprocess | None = None
    sampled: int = 4_096
    seed: int = 0


class Problem:
    """n decisions of a policy, which differ in observation or mask, and what they are compared with.

    Args:
        policy: An actor-critic policy of stable-baselines3.
        observations: Raw, float32 (n, m).
        masks: bool (n, n_actions), or None for a policy without masks.
        baseline: Raw, float32 (m,) or (k, m).
        groups: Names and places of the groups.
        options: How to value coalitions.

    Attributes:
        background: The baseline, (k, m).
        legal: bool (n, n_actions).
        varies: Which groups are players: those that differ from a baseline; bool (n, n_groups).

    Raises:
        ConfigurationError: The policy can't be explained, or shapes do not fit.
    """

    def __init__(
        self,
        policy: Any,
        observations: NDArray[np.float32],
        masks: NDArray[np.bool_] | None,
        baseline: NDArray[np.float32],
        groups: Groups,
        options: Options,
    ) -> None:
        refuse_unexplainable(policy)
        self.policy, self.observations, self.masks, self.options = policy, observations, masks, options
        self.background = np.atleast_2d(baseline)
        self.legal = np.ones((len(observations), int(policy.action_space.n)), dtype=bool) if masks is None else masks
        self._column_group = column_groups(groups, observations, self.background)
        differs = (observations[:, None] != self.background).any(1)
        self.varies = np.stack([differs[:, part].any(1) for _, part in groups], axis=1)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return decisions that have equally many players."""
        varies = self.varies[rows]
        players = np.nonzero(varies)[1].reshape(len(rows), int(varies.sum(1).max(initial=0)))
        return Batch(self.observations[rows], self.legal[rows], players, self._column_group)

    def batches(self, n_coalitions: dict[int, int]) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Yield all decisions, with their rows, in batches whose mixtures are few enough to be valued at once.

        Args:
            n_coalitions: By number of players.
        """
        n_players = self.varies.sum(1)
        for count in np.unique(n_players).tolist():
            rows = np.flatnonzero(n_players == count)
            at_once = max(1, ROWS_AT_ONCE // n_coalitions[count])
            for start in range(0, len(rows), at_once):
                yield rows[start : start + at_once], self.batch(rows[start : start + at_once])

    def own(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the log-probabilities and the critic's values at the observations, by the policy's own methods."""
        logps, critic = [np.empty((0, self.legal.shape[1]))], [np.empty(0)]
        for start in range(0, len(self.observations), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            seen: NDArray[Any] = self.observations[part]
            if self.options.preprocess is not None:
                seen = np.asarray(self.options.preprocess(seen), dtype=np.float32)
            logps.append(log_probabilities(self.policy, seen, None if self.masks is None else self.masks[part]))
            critic.append(critic_values(self.policy, seen) if self.options.critic else np.full(len(seen), np.nan))
        return np.concatenate(logps), np.concatenate(critic)

    def values(self) -> tuple[Values, float]:
        """Return what values coalitions, and how far the factorised way was from the generic one (NaN: not tried)."""
        options = self.options
        generic = GenericValues(self.policy, self.masks is not None, options.critic, options.preprocess)
        found = networks(self.policy) if options.factorise else None
        n, m = self.observations.shape
        if found is None or found[0].weight.shape[1] != m or n == 0:
            return generic, float("nan")
        factorised = FactorisedValues(found[0], found[1] if options.critic else None, options.preprocess)
        error = self._difference(generic, factorised)
        return (factorised if error <= LARGEST_PATH_ERROR else generic), error

    def _difference(self, generic: Values, factorised: Values) -> float:
        """Return the largest difference of two ways to value coalitions, for decisions with the most players.

        Compared are some coalitions of all their players, and all coalitions of some.
        """
        n_players = self.varies.sum(1)
        batch = self.batch(np.flatnonzero(n_players == n_players.max(initial=0))[:CHECKED_DECISIONS])
        baseline, p = self.background[-1], batch.players.shape[1]
        generator = np.random.default_rng(self.options.seed)
        some = generator.random((CHECKED_COALITIONS, p)) < 0.5
        some[:1] = True
        few = generator.permutation(p)[:CHECKED_PLAYERS]
        of_few = coalitions(len(few)) @ (few[:, None] == np.arange(p))
        expected = generic(batch, baseline, np.concatenate((some, of_few)))
        found = factorised(batch, baseline, some), factorised(batch.with_players(batch.players[:, few]), baseline, None)
        away = np.abs(expected - np.concatenate(found, axis=2))
        away[:, -1] /= np.maximum(1.0, np.abs(expected[:, -1]))
        asked_for = np.column_stack((batch.legal, np.full(len(batch.legal), self.options.critic)))
        return float(away[asked_for].max(initial=0.0)) if np.isfinite(away[asked_for]).all() else float("inf")


def column_groups(
    groups: Groups, observations: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return to which group every column of the observations belongs, int (m,).

    Raises:
        ConfigurationError: Observations and baselines are not flat or differ in length, or the groups do not cover
            each column once.
    """
    m = observations.shape[1] if observations.ndim == 2 else -1
    if background.shape[1:] != (m,):
        raise ConfigurationError(
            f"attributions need flat observations and a baseline of the same length, "
            f"got shapes {observations.shape[1:]} and {background.shape[1:]}"
        )
    owner = np.full(m, -1)
    for place, (_, part) in enumerate(groups):
        owner[part] = place
    if (owner < 0).any() or sum(len(owner[part]) for _, part in groups) != m:
        raise ConfigurationError(f"the groups must cover each of the observation's {m} places once")
    return owner


def distinct(
    observations: NDArray[np.float32], masks: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows where an observation and mask appear first, and to which of them every row is equal, (n,)."""
    numbers: dict[bytes, int] = {}
    keys = [row.tobytes() for row in observations]
    if masks is not None:
        keys = [key + mask.tobytes() for key, mask in zip(keys, masks, strict=True)]
    which = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    return np.unique(which, return_index=True)[1], which
