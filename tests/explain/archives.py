"""Archives made up for tests, whose answers are known."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.archive import Archive
from nas_gym.spaces import Slot


def made(decisions: NDArray[np.integer], rewards: NDArray[np.floating], sizes: Sequence[int] | None = None) -> Archive:
    """An archive of slots ``s0``, ``s1`` … with choices ``s0c0`` …, whose networks were evaluated in this order."""
    most = decisions.max(axis=0) + 1 if sizes is None else sizes
    slots = tuple(Slot(f"s{i}", tuple(f"s{i}c{j}" for j in range(int(n)))) for i, n in enumerate(most))
    keys = tuple(str(i) for i in range(len(rewards)))
    return Archive(slots, decisions.astype(np.int16), rewards.astype(float), keys, np.arange(len(rewards)))


def grid(*sizes: int) -> NDArray[np.int16]:
    """All lists of choices."""
    return np.array(list(product(*map(range, sizes))), dtype=np.int16)


def drawn(n: int, sizes: Sequence[int], seed: int) -> NDArray[np.int16]:
    """Random lists of choices."""
    return np.random.default_rng(seed).integers(0, sizes, (n, len(sizes))).astype(np.int16)


def planted(
    n: int, seed: int, function: Callable[[NDArray[np.int16]], NDArray[np.floating]], noise: float = 0.1
) -> Archive:
    """A random archive of six slots with four choices each, whose rewards are a function of them and noise."""
    decisions = drawn(n, [4] * 6, seed)
    rewards = function(decisions) + np.random.default_rng(seed + 10_000).normal(0, noise, n)
    return made(decisions, rewards, [4] * 6)
