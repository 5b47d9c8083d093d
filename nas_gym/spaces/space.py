"""The seam every search space implements: a decision process over prefixes."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError

Prefix = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A named place that one decision fills.

    Attributes:
        name: Such as ``"activation"`` or ``"layer 3"``; unique in its space.
        choices: Names of the choices; action ``i`` is ``choices[i]``.
    """

    name: str
    choices: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.choices or len(set(self.choices)) != len(self.choices):
            raise ConfigurationError(f"slot {self.name!r} needs distinct choices, at least one, got {self.choices}")


@runtime_checkable
class SearchSpace(Protocol):
    """A decision process whose state is the tuple of actions taken so far.

    States hash, serialise, replay and fork for free. Implementations are immutable and deterministic, and the
    functions are pure: the same prefix always gives the same answer. `nas_gym.testing.check_space` checks all this.
    """

    @property
    def name(self) -> str:
        """Stable name with a version; part of every store key, so it changes whenever candidates change."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What decisions can fill, in order; the fixed places of the observation."""

    def next_slot(self, prefix: Prefix) -> int | None:
        """Return the index of the slot the next action fills, or None if the prefix is complete.

        Raises:
            OutOfSpaceError: The prefix itself is illegal; the message names the decision, the value, the allowed set.
        """

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        """Return a fresh mask of the legal next actions: bool, shape (n_actions,), True where legal.

        ``n_actions`` is the size of the largest slot. An action is legal exactly if some completion exists after
        it, so the mask is never all False before completion; it is all False after.
        """

    def candidate(self, prefix: Prefix) -> Candidate:
        """Return what a complete prefix stands for.

        Raises:
            OutOfSpaceError: The prefix is illegal or not complete.
        """


def n_actions(space: SearchSpace) -> int:
    """Return the number of actions: the size of the largest slot."""
    return max(len(slot.choices) for slot in space.slots)


def describe(space: SearchSpace, prefix: Prefix) -> list[tuple[str, str]]:
    """Return the decisions of a prefix as pairs of slot name and choice name, in the order they were taken."""
    named = []
    for position, action in enumerate(prefix):
        index = space.next_slot(prefix[:position])
        if index is not None:
            named.append((space.slots[index].name, space.slots[index].choices[action]))
    return named
