"""Encoders: from a prefix to the observation."""

from collections.abc import Callable
from typing import Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.spaces import Prefix, SearchSpace

Observation = NDArray[np.float32]


class Encoder(Protocol):
    """Turns prefixes of one search space into observations."""

    @property
    def observation_space(self) -> gym.Space[Observation]:
        """The space of the observations."""

    @property
    def groups(self) -> tuple[tuple[str, slice], ...]:
        """Named parts of the observation, in order: what explanations speak of."""

    def encode(self, prefix: Prefix) -> Observation:
        """Return the observation of a prefix: float32, the space's shape."""

    def advance(self, observation: Observation, slot: int, action: int) -> Observation:
        """Return the observation after ``action`` fills ``slot``: equal to `encode` of the longer prefix, and fresh."""


MakeEncoder = Callable[[SearchSpace], Encoder]


class OneHot:
    """One one-hot block per slot, whose first place means "undecided": zeros and ones, float32, flat.

    Args:
        space: Its slots give the blocks, named after them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        sizes = [1 + len(slot.choices) for slot in space.slots]
        self._starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self._groups = tuple(
            (slot.name, slice(start, start + size))
            for slot, start, size in zip(space.slots, self._starts, sizes, strict=True)
        )
        self._box = gym.spaces.Box(0.0, 1.0, (sum(sizes),), np.float32)
        self._empty: Observation = np.zeros(sum(sizes), dtype=np.float32)
        self._empty[self._starts] = 1.0

    @property
    def observation_space(self) -> gym.Space[Observation]:
        """A box of zeros and ones."""
        return self._box

    @property
    def groups(self) -> tuple[tuple[str, slice], ...]:
        """The blocks, named after their slots."""
        return self._groups

    def encode(self, prefix: Prefix) -> Observation:
        """Return the observation of a prefix."""
        observation = self._empty.copy()
        for position, action in enumerate(prefix):
            slot = self._space.next_slot(prefix[:position])
            if slot is not None:
                observation = self.advance(observation, slot, action)
        return observation

    def advance(self, observation: Observation, slot: int, action: int) -> Observation:
        """Return the observation with one more slot decided."""
        following = observation.copy()
        start = self._starts[slot]
        following[start] = 0.0
        following[start + 1 + action] = 1.0
        return following


def one_hot(space: SearchSpace) -> Encoder:
    """Return the default encoder of a space; see `OneHot`."""
    return OneHot(space)
