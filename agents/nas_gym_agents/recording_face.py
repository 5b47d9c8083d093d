"""What a recorder knows of an environment: the groups of its observations, the baseline, names."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.record import Header
from nas_gym_agents.attribution import Groups


class Face:
    """Groups, baseline and names of an environment, and why there are no attributions, if so.

    Args:
        encoder: Of the environment (`ArchitectureEnv.encoder`); None: it has none.
        space: Its search space; None: it has none.
        action_space: Of the environment.
        explain: Whether attributions are wanted.
    """

    def __init__(self, encoder: Any, space: Any, action_space: gym.Space[Any], explain: bool) -> None:
        self.groups: Groups = tuple(encoder.groups) if encoder is not None else ()
        self.baseline: NDArray[np.float32] | None = encoder.encode(()) if encoder is not None else None
        self.n_actions = int(action_space.n) if isinstance(action_space, gym.spaces.Discrete) else 0
        self.slots = tuple(slot.name for slot in space.slots) if space is not None else ()
        self.choices = tuple(slot.choices for slot in space.slots) if space is not None else ()
        self.note, self.masked = "", True
        self.on_change: Callable[[], None] = lambda: None
        if not explain:
            self.note = "attributions were switched off"
        elif not self.groups:
            self.note = "no attributions: the environment names no groups of its observation (no encoder)"
        elif not self.n_actions:
            self.note = f"no attributions: the action space is {action_space}, not Discrete"

    def refuse(self, reason: str) -> None:
        """Note why there are no attributions, once."""
        if not self.note:
            self.note = f"no attributions: {reason}"
            self.on_change()

    def unmasked(self) -> None:
        """Note that the policy gets no masks, once."""
        if self.masked:
            self.masked = False
            self.on_change()

    def header(self) -> Header:
        """Return the header of the log."""
        groups = tuple(name for name, _ in self.groups)
        return Header(self.slots, self.choices, groups, self.n_actions, self.note, self.masked)

    def packed(self, observation: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the choice per slot: 0 undecided, else 1 + the choice; empty without groups."""
        if not self.groups or observation.ndim != 1 or not observation.size:
            return np.zeros(0, np.uint8)
        return np.array([int(observation[part].argmax()) for _, part in self.groups], dtype=np.uint8)

    def unpacked(self, packed: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the observations of packed choices: (n, slots) to (n, m), float32; the inverse of `packed`."""
        assert self.baseline is not None, "an environment with groups has a baseline"
        observations = np.zeros((len(packed), len(self.baseline)), dtype=np.float32)
        for place, (_, part) in enumerate(self.groups):
            observations[np.arange(len(packed)), part.start + packed[:, place].astype(np.int64)] = 1.0
        return observations
