"""Decisions that are to be explained: checked, without repetitions, and in batches of equally many players."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym_agents.coalition_values import MIXTURES_AT_ONCE, Batch, Groups, Preprocess
from nas_gym_agents.policy_outputs import refuse_unexplainable
from nas_gym_agents.shared_tables import table_owners


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
        n_players: int (n,).
        column_group: To which group each column of the observations belongs, int (m,).

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
        self.column_group = column_groups(groups, observations, self.background)
        differs = (observations[:, None] != self.background).any(1)
        self.varies = np.stack([differs[:, part].any(1) for _, part in groups], axis=1)
        self.n_players = self.varies.sum(1)

    def players(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the players of decisions that have equally many, (len(rows), p)."""
        varies = self.varies[rows]
        return np.nonzero(varies)[1].reshape(len(rows), int(varies.sum(1).max(initial=0)))

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return decisions that have equally many players."""
        return Batch(self.observations[rows], self.legal[rows], self.players(rows), self.column_group)

    def batches(
        self, rows: NDArray[np.int64], n_coalitions: Callable[[int], int]
    ) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Yield decisions, with their rows in order, in batches whose mixtures are few enough to be valued at once.

        Args:
            rows: Which decisions.
            n_coalitions: From a number of players to the coalitions of each.
        """
        n_players = self.n_players[rows]
        for p in np.unique(n_players).tolist():
            some, at_once = rows[n_players == p], max(1, MIXTURES_AT_ONCE // n_coalitions(p))
            for start in range(0, len(some), at_once):
                yield some[start : start + at_once], self.batch(some[start : start + at_once])

    def table_owners(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return by place in ``rows`` whose table holds that of each; see `shared_tables.table_owners`."""
        return table_owners(self.observations[rows], self.varies[rows], self.column_group)


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
