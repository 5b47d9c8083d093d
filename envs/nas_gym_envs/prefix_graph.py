"""The prefixes of a space as numbered nodes: an environment looks them up instead of asking the space again."""

import operator
from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import OutOfSpaceError
from nas_gym.spaces import Prefix, SearchSpace, n_actions
from nas_gym_envs.encoding import Encoder, Observation

ROOT = 0  # the node of the empty prefix
UNKNOWN, ILLEGAL = -1, -2  # in place of a child: not asked for yet; an illegal action
COMPLETE = -1  # in place of the slot that is next
MEMORY_MB = 32  # every scalar environment has a graph of its own
LEAST_NODES = 1024
_ILLEGAL = np.int8(ILLEGAL)
_ARRAYS = ("slots", "masks", "children", "observations")
_OBJECTS_BYTES = 1000  # of a node, beside its rows in the arrays: its prefix, and the answer for its candidate


class PrefixGraph:
    """A tree of the prefixes that were met, made as they are met; rows of arrays that grow by doubling.

    A space has more prefixes than fit into memory. So whoever owns a graph calls `forget` between two steps once it is
    `crowded`, and says on which nodes its environments stand.

    Attributes:
        slots: The slot that is next, `COMPLETE` if there is none: int64, shape (capacity,).
        masks: Which actions are legal: bool, shape (capacity, n_actions); all False where complete.
        int8_masks: The same memory, read as int8.
        children: The node after every action, `UNKNOWN` or `ILLEGAL`: int64, shape (capacity, n_actions + 1). The last
            column is always illegal: it stands for everything that is no action.
        observations: What the encoder says: shape (capacity, …), its type.
        prefixes: The decisions.
        generation: Counts how often nodes were forgotten, and thereby numbered anew.

    Args:
        space: Whose prefixes.
        encoder: Gives the observations.
        memory_mb: About how much the nodes may take.
    """

    def __init__(self, space: SearchSpace, encoder: Encoder, *, memory_mb: float = MEMORY_MB) -> None:
        self.space, self.encoder = space, encoder
        self.n_actions = n_actions(space)
        first = np.asarray(encoder.encode(()))
        row_bytes = 8 * (self.n_actions + 2) + self.n_actions + first.nbytes + _OBJECTS_BYTES
        self._most = max(LEAST_NODES, int(memory_mb * 2**20 / row_bytes))
        self.slots: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.masks: NDArray[np.bool_] = np.zeros((0, self.n_actions), dtype=np.bool_)
        self.int8_masks: NDArray[np.int8] = self.masks.view(np.int8)
        self.children: NDArray[np.int64] = np.zeros((0, self.n_actions + 1), dtype=np.int64)
        self.observations: Observation = np.zeros((0, *first.shape), dtype=first.dtype)
        self.prefixes: list[Prefix] = []
        self.generation = 0
        self._enter((), first)

    def __len__(self) -> int:
        """Return how many prefixes are known."""
        return len(self.prefixes)

    @property
    def capacity(self) -> int:
        """How many prefixes the arrays have room for."""
        return len(self.slots)

    @property
    def crowded(self) -> bool:
        """Whether it is time to `forget`."""
        return len(self.prefixes) > self._most

    def child(self, node: int, action: int) -> int:
        """Return the node after an action that is legal."""
        known = self.children.item(node, action)
        if known >= 0:
            return known
        observation = self.encoder.advance(self.observations[node], self.slots.item(node), action)
        made = self._enter((*self.prefixes[node], action), observation)
        self.children[node, action] = made
        return made

    def node(self, prefix: Iterable[SupportsIndex]) -> int:
        """Return the node of a prefix from which something is left to decide.

        Raises:
            OutOfSpaceError: The prefix is illegal or leaves nothing to decide.
        """
        try:
            decided = tuple(operator.index(action) for action in prefix)
        except TypeError:
            raise OutOfSpaceError(f"a prefix is a sequence of integers, got {prefix!r}") from None
        if self.space.next_slot(decided) is None:
            raise OutOfSpaceError(f"the prefix {decided} is complete and leaves nothing to decide; shorten it")
        node = ROOT
        for action in decided:
            node = self.child(node, action)
        return node

    def candidate(self, node: int) -> Candidate:
        """Return what a complete prefix stands for."""
        return self.space.candidate(self.prefixes[node])

    def refusal(self, node: int, action: int | None) -> str:
        """Return one sentence on why an action is illegal; None: it is no integer at all."""
        if self.slots[node] == COMPLETE:
            return "the episode is over; call reset()"
        shown = "anything but a 64-bit integer" if action is None else action
        allowed = np.flatnonzero(self.masks[node]).tolist()
        return f"{self.space.slots[self.slots[node]].name!r} can't be {shown}; allowed are {allowed}"

    def forget(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Drop all nodes but the root and the ones in `live`; return the new numbers of those: int64, same shape."""
        kept, numbers = np.unique(np.concatenate(([ROOT], live.ravel())), return_inverse=True)
        for name in _ARRAYS:
            rows = getattr(self, name)  # the memory stays: it will be filled again
            rows[: len(kept)] = rows[kept]
        children = self.children[: len(kept)]
        children[children >= 0] = UNKNOWN
        self.prefixes = [self.prefixes[node] for node in kept.tolist()]
        self.generation += 1
        return numbers[1:].reshape(live.shape).astype(np.int64)

    def _enter(self, prefix: Prefix, observation: Observation) -> int:
        node = len(self.prefixes)
        if node >= self.capacity:
            self._grow(max(16, 2 * node))
        slot, legal = self.space.next_slot(prefix), self.space.legal(prefix)
        self.slots[node] = COMPLETE if slot is None else slot
        self.masks[node] = legal
        self.children[node, :-1] = legal.view(np.int8) + _ILLEGAL  # which is UNKNOWN where it is legal
        self.observations[node] = observation
        self.prefixes.append(prefix)
        return node

    def _grow(self, capacity: int) -> None:
        for name in _ARRAYS:
            old = getattr(self, name)
            new = np.full((capacity, *old.shape[1:]), ILLEGAL if name == "children" else 0, dtype=old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
        self.int8_masks = self.masks.view(np.int8)
