"""REINFORCE with independent logits for every slot: the smallest policy there is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from math import exp, inf
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym_agents.agent import Mask, Recorder, SearchResult, play_all

INITIAL = 1e-3  # standard deviation of the first logits
BETAS = 0.9, 0.999
EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Reinforce:
    """REINFORCE (Williams 1992, doi 10.1007/BF00992696) as NATS-Bench has it (Dong et al. 2021, arXiv 2009.00437).

    The policy is a vector of logits for every slot, whatever was decided before; the probabilities of a decision are
    the softmax over its legal actions. After every episode Adam follows the gradient of minus the log-probability of
    its decisions times how much better its reward was than the moving average, that reward included. There is no
    entropy bonus.

    Every episode waits for the reward of the one before, so that workers do not help.

    Attributes:
        learning_rate: Of Adam.
        momentum: Of the moving average of rewards, in [0, 1).
        reward_scale: Rewards are multiplied by this first: 100 makes percentages of accuracies, as published.
    """

    name: str = "reinforce"
    learning_rate: float = 0.01
    momentum: float = 0.9
    reward_scale: float = 100.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "reward_scale"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < inf:
                raise ConfigurationError(f"reinforce's {name} is a number above 0, got {value!r}")
        if not isinstance(self.momentum, int | float) or not 0 <= self.momentum < 1:
            raise ConfigurationError(f"reinforce's momentum lies in [0, 1), got {self.momentum!r}")

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent`."""
        policy = Policy(np.random.default_rng(seed), self.learning_rate)
        baseline = MovingAverage(self.momentum)
        result, updates = SearchResult(), 0
        for played in play_all(env, repeat(policy.choose), recorder, window=0):
            if played.spent:
                break
            reward = self.reward_scale * played.reward
            policy.learn(reward - baseline.including(reward))
            result, updates = result.better(played), updates + 1
            if recorder is not None:
                recorder.update()
        return replace(result, updates=updates)


class MovingAverage:
    """An exponential moving average without bias towards zero.

    Args:
        momentum: The weight of what was, in [0, 1).
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._sum = self._weight = 0.0

    def including(self, value: float) -> float:
        """Return the average after one more value."""
        self._sum = self._momentum * self._sum + (1 - self._momentum) * value
        self._weight = self._momentum * self._weight + (1 - self._momentum)
        return self._sum / self._weight


class Policy:
    """Logits, a row for each slot in the order in which slots were first met, and Adam (arXiv 1412.6980, algorithm 1).

    Adam treats the logits as one tensor: slots that an episode skips have a gradient of zero, and go on with their
    momentum.

    Args:
        generator: Draws the first logits and the actions.
        learning_rate: Of Adam.
    """

    def __init__(self, generator: np.random.Generator, learning_rate: float) -> None:
        self._generator, self._learning_rate = generator, learning_rate
        self._draw = generator.random
        self._places: dict[int, int] = {}
        self._numbers: list[list[float]] = []  # the logits as Python's numbers, which are quicker one by one
        self.logits: NDArray[np.float64] = np.zeros((0, 0))
        self._mean = self._square = self.logits
        self._steps = 0
        self._decided: list[tuple[int, list[float], int]] = []  # row, probabilities, action

    def choose(self, slot: int, legal: Mask) -> int:
        """Return an action, drawn from the softmax over the legal ones."""
        row = self._places.get(slot)
        if row is None:
            row = self._meet(slot, len(legal))
        probabilities = softmax(self._numbers[row], legal.tolist())
        action = drawn(probabilities, self._draw())
        self._decided.append((row, probabilities, action))
        return action

    def learn(self, advantage: float) -> None:
        """Follow the gradient of the decisions since the last call."""
        gradient = self.gradient(advantage)
        self._decided.clear()
        self._steps += 1
        slow, slower = BETAS
        self._mean = slow * self._mean + (1 - slow) * gradient
        self._square = slower * self._square + (1 - slower) * (gradient * gradient)
        size = self._learning_rate / (1 - slow**self._steps)
        root = np.sqrt(self._square / (1 - slower**self._steps)) + EPSILON
        self.logits = self.logits - size * self._mean / root
        self._numbers = self.logits.tolist()

    def gradient(self, advantage: float) -> NDArray[np.float64]:
        """Return the gradient of minus their log-probability, which is probabilities less 1, times the advantage."""
        rows = [[0.0] * self.logits.shape[1] for _ in self._numbers]
        for row, probabilities, action in self._decided:
            rows[row] = [one + other for one, other in zip(rows[row], probabilities, strict=True)]
            rows[row][action] -= 1.0
        return np.array(rows) * advantage

    def _meet(self, slot: int, n_actions: int) -> int:
        """Return the row of a slot that is new."""
        row = self._places[slot] = len(self._places)
        first = INITIAL * self._generator.standard_normal((1, n_actions))
        nothing = np.zeros((1, n_actions))
        if row:
            first = np.concatenate([self.logits, first])
            self._mean, self._square = (np.concatenate([old, nothing]) for old in (self._mean, self._square))
        else:
            self._mean = self._square = nothing
        self.logits = first
        self._numbers = self.logits.tolist()
        return row


def softmax(logits: Sequence[float], legal: Sequence[bool]) -> list[float]:
    """Return the probabilities of the actions; the legal ones share all of it."""
    top = max([logit for logit, allowed in zip(logits, legal, strict=True) if allowed])
    weights = [exp(logit - top) if allowed else 0.0 for logit, allowed in zip(logits, legal, strict=True)]
    total = sum(weights)
    return [weight / total for weight in weights]


def drawn(probabilities: Sequence[float], number: float) -> int:
    """Return the action whose share of [0, 1) holds a number; one with probability 0 has none."""
    action = -1
    for option, probability in enumerate(probabilities):
        if probability > 0.0:
            action = option
            number -= probability
            if number < 0.0:
                break
    return action
