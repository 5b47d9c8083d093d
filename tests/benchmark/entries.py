"""Agents of somebody else, at the top of a module, where worker processes find them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

TABLE = "nas_gym/Table-v0"


def first_legal(env: Any, seed: int) -> None:
    """Takes a random legal action, from the global generator, and never looks whether the budget is spent."""
    while True:
        _, info = env.reset()
        over = False
        while not over:
            legal = np.flatnonzero(info["action_mask"])
            _, _, terminated, truncated, info = env.step(int(np.random.choice(legal)) if len(legal) else 0)  # noqa: NPY002
            over = terminated or truncated


@dataclass
class Lowest:
    """Takes the lowest legal action that is at least ``floor``."""

    floor: int = 0

    def search(self, env: Any, *, seed: int) -> None:
        info: dict[str, Any] = {}
        while not info.get("budget_spent"):
            _, info = env.reset()
            over = False
            while not over:
                legal = np.flatnonzero(info["action_mask"])
                action = int(min(legal[legal >= self.floor], default=legal[-1]))
                _, _, terminated, truncated, info = env.step(action)
                over = terminated or truncated


@dataclass
class Learned:
    """Remembers its searches, as no agent of a benchmark may: an action more in every one."""

    searches: int = 0

    def search(self, env: Any, *, seed: int) -> None:
        self.searches += 1
        Lowest(self.searches).search(env, seed=seed)


@dataclass
class Unmade:
    """Can't be made."""

    def __post_init__(self) -> None:
        raise RuntimeError("no licence")


def broken(env: Any, seed: int) -> None:
    env.reset()
    raise RuntimeError("no idea")


def wrong(a: Any, b: Any, c: Any) -> None:
    """Takes too many arguments."""


number = 7
