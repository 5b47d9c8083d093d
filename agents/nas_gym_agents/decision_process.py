"""The decisions of an environment without the environment: for imagined episodes, which spend nothing."""

from collections.abc import Hashable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from nas_gym.spaces import Prefix, SearchSpace, n_actions
from nas_gym.spaces.network_graph import NetworkGraph, candidate_graph
from nas_gym_agents.agent import Mask

REMEMBERED = 200_000


class DecisionProcess(Protocol):
    """What an imagined episode needs to know.

    Attributes:
        slot_sizes: How many choices each slot has.
        n_actions: Size of the masks.
        networks: Whether `graph` knows any.
    """

    slot_sizes: tuple[int, ...]
    n_actions: int
    networks: bool

    def state(self, prefix: Prefix) -> tuple[int, Mask] | None:
        """Return the next slot and the mask, which is not to be changed; None: the episode is over."""

    def identity(self, prefix: Prefix) -> Hashable:
        """Return what is equal for complete prefixes of the same candidate."""

    def graph(self, prefix: Prefix) -> NetworkGraph | None:
        """Return the network of a complete prefix, or None."""


class SpaceProcess:
    """The decisions of a search space: exact.

    Networks are those of ``space.graph(prefix)`` where a space has that, which is cheaper than whole candidates.

    Args:
        space: The space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.slot_sizes = tuple([len(slot.choices) for slot in space.slots])
        self.n_actions = n_actions(space)
        self.networks = True
        self._states: dict[Prefix, tuple[int, Mask] | None] = {}

    def state(self, prefix: Prefix) -> tuple[int, Mask] | None:
        """Return the next slot and the mask, or None."""
        if prefix in self._states:
            return self._states[prefix]
        if len(self._states) >= REMEMBERED:
            self._states.clear()
        slot = self._space.next_slot(prefix)
        found = self._states[prefix] = None if slot is None else (slot, self._space.legal(prefix))
        return found

    def identity(self, prefix: Prefix) -> Hashable:
        """Return the candidate's key."""
        return self._space.candidate(prefix).key

    def graph(self, prefix: Prefix) -> NetworkGraph | None:
        """Return the network of a complete prefix."""
        short = getattr(self._space, "graph", None)
        graph: NetworkGraph = candidate_graph(self._space.candidate(prefix)) if short is None else short(prefix)
        return graph


class SeenProcess:
    """The decisions of an environment that has no space, as far as its episodes have shown them.

    A prefix that no episode has come to is taken for the last one seen of its length: exact where slots and masks
    depend on the number of decisions alone. There are no networks.

    Args:
        env: The environment.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        if not isinstance(env.action_space, gym.spaces.Discrete):
            raise TypeError(f"search agents need a Discrete action space, got {env.action_space}")
        self.n_actions = int(env.action_space.n)
        self.slot_sizes: tuple[int, ...] = ()
        self.networks = False
        self._seen: dict[Prefix, tuple[int, Mask] | None] = {}
        self._by_length: dict[int, tuple[int, Mask] | None] = {}

    def note(self, prefix: Prefix, state: tuple[int, Mask] | None) -> None:
        """Remember what came after a prefix."""
        self._seen[prefix] = self._by_length[len(prefix)] = state
        if state is not None and state[0] >= len(self.slot_sizes):
            self.slot_sizes = (self.n_actions,) * (state[0] + 1)

    def state(self, prefix: Prefix) -> tuple[int, Mask] | None:
        """Return the next slot and the mask, or None."""
        return self._seen[prefix] if prefix in self._seen else self._by_length.get(len(prefix))

    def identity(self, prefix: Prefix) -> Hashable:
        """Return the decisions."""
        return prefix

    def graph(self, prefix: Prefix) -> NetworkGraph | None:
        """Return None."""
        return None


def process_of(env: gym.Env[Any, Any]) -> SpaceProcess | SeenProcess:
    """Return the decisions of an environment: of its space where it has one (``get_wrapper_attr("space")``)."""
    if env.has_wrapper_attr("space"):
        space = env.get_wrapper_attr("space")
        if isinstance(space, SearchSpace):
            return SpaceProcess(space)
    return SeenProcess(env)


def decisions_of(process: DecisionProcess, prefix: Prefix) -> tuple[tuple[int, int], ...]:
    """Return the decisions of a legal prefix, as pairs of slot and action."""
    states = [process.state(prefix[:place]) for place in range(len(prefix))]
    return tuple([(state[0], action) for state, action in zip(states, prefix, strict=True) if state is not None])


def random_prefix(process: DecisionProcess, generator: np.random.Generator) -> Prefix:
    """Return a complete prefix, uniform over the legal actions of every step."""
    prefix: Prefix = ()
    while (state := process.state(prefix)) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(state[1]))))
    return prefix


def neighbours(process: DecisionProcess, prefix: Prefix) -> list[Prefix]:
    """Return the complete prefixes with one other decision, the rest being as legal as before; none where it is not.

    An episode that ends earlier leaves the rest out; one that goes on takes its last decision again.
    """
    found = []
    for place in range(len(prefix)):
        state = process.state(prefix[:place])
        if state is None:
            break
        for action in np.flatnonzero(state[1]):
            if action != prefix[place]:
                other = _followed(process, (*prefix[:place], int(action)), prefix)
                if other is not None:
                    found.append(other)
    return found


def _followed(process: DecisionProcess, begun: Prefix, pattern: Prefix) -> Prefix | None:
    """Return a prefix completed as a pattern goes on, or None if that is illegal."""
    while (state := process.state(begun)) is not None:
        action = pattern[min(len(begun), len(pattern) - 1)]
        if not state[1][action]:
            return None
        begun = (*begun, action)
    return begun
