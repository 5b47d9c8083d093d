"""What the tests of the environments share: evaluators without training, walks, and exact comparison."""

import dataclasses
import random
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import gymnasium as gym
import numpy as np

import nas_gym  # noqa: F401  registers the ids
from nas_gym.architecture import Candidate
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, resolved
from nas_gym.spaces import ChainSpace, Dropout, FullyConnected, Limits, MaxPool
from nas_gym_envs import ArchitectureEnv, Budget

Outcome = tuple[Any, float, bool, bool, dict[str, Any]]


class CountingEvaluator:
    """Answers like `HashEvaluator`, with some fields replaced, and remembers the keys it was asked for."""

    identity = "counting"

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.keys: list[str] = []
        self._inner = HashEvaluator()

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        self.keys += [candidate.key for candidate in candidates]
        futures = self._inner.submit(candidates, fidelity=fidelity, repeat=repeat)
        return [resolved(dataclasses.replace(future.result(), **self.fields)) for future in futures]


FAILED = {"status": "diverged", "reason": "the loss became NaN in epoch 2", "accuracy": None, "loss": None}


def tiny_space(**arguments: Any) -> ChainSpace:
    """Three layers at most, three choices and *stop*, one hyper-parameter."""
    return ChainSpace(
        (1, 8, 8),
        3,
        catalogue=(MaxPool(2), Dropout(0.5), FullyConnected(4)),
        max_layers=3,
        limits=arguments.pop("limits", Limits(resolution=2)),
        activations=("relu", "tanh"),
        hyperparameters=arguments.pop("hyperparameters", ("batch_size",)),
        **arguments,
    )


def tiny_env(evaluator: Any = None, *, budget: Budget | None = None, **arguments: Any) -> ArchitectureEnv:
    """An environment of the tiny space."""
    return ArchitectureEnv(tiny_space(), evaluator or HashEvaluator(), budget=budget, **arguments)


def finish(env: gym.Env[Any, Any], generator: random.Random) -> Outcome:
    """Take random legal decisions until the episode ends, and return the last step's outcome."""
    while True:
        mask = env.unwrapped.action_masks()
        outcome = env.step(generator.choice(np.flatnonzero(mask).tolist()))
        if outcome[2] or outcome[3]:
            return outcome


def play(env: gym.Env[Any, Any], actions: Sequence[int]) -> list[Outcome]:
    """Take the actions and return all outcomes."""
    return [env.step(action) for action in actions]


def same(one: Any, other: Any) -> bool:
    """Return whether two nested values are equal in structure, types and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
