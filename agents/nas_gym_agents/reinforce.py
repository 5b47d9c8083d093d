"""REINFORCE with independent logits for every slot: the smallest policy there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym_agents.agent import Mask, Recorder, SearchResult, play_all
from nas_gym_agents.changes import actions_of

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
            if not isinstance(value, int | float) or not 0 < value < math.inf:
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


@dataclass(frozen=True)
class _Decided:
    row: int
    options: list[int]
    probabilities: list[float]
    action: int


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
        self._rows: dict[int, int] = {}
        self._numbers: list[list[float]] = []  # the logits as Python's numbers, which are quicker one by one
        self.logits: NDArray[np.float64] = np.zeros((0, 0))
        self._mean = self._square = self.logits
        self._steps = 0
        self._decided: list[_Decided] = []

    def choose(self, slot: int, legal: Mask) -> int:
        """Return an action, drawn from the softmax over the legal ones."""
        row = self._rows.get(slot)
        if row is None:
            row = self._meet(slot, len(legal))
        options = actions_of(legal)
        probabilities = softmax(self._numbers[row], options)
        left, action = self._draw(), options[-1]
        for option, probability in zip(options, probabilities, strict=True):
            left -= probability
            if left < 0:
                action = option
                break
        self._decided.append(_Decided(row, options, probabilities, action))
        return action

    def learn(self, advantage: float) -> None:
        """Follow the gradient of the decisions since the last call."""
        gradient = self.gradient(advantage)
        self._decided.clear()
        self._steps += 1
        slow, slower = BETAS
        self._mean = slow * self._mean + (1 - slow) * gradient
        self._square = slower * self._square + (1 - slower) * gradient**2
        size = self._learning_rate / (1 - slow**self._steps)
        root = np.sqrt(self._square) / math.sqrt(1 - slower**self._steps) + EPSILON
        self.logits = self.logits - size * self._mean / root
        self._numbers = self.logits.tolist()

    def gradient(self, advantage: float) -> NDArray[np.float64]:
        """Return the gradient of minus their log-probability times the advantage: probabilities, less 1 for the action."""
        gradient = np.zeros_like(self.logits)
        for decided in self._decided:
            gradient[decided.row, decided.options] += decided.probabilities
            gradient[decided.row, decided.action] -= 1.0
        return gradient * advantage

    def _meet(self, slot: int, n_actions: int) -> int:
        """Return the row of a slot that is new."""
        row = self._rows[slot] = len(self._rows)
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


def softmax(logits: Sequence[float], options: Sequence[int]) -> list[float]:
    """Return the probabilities of the options, which share all of it."""
    top = max([logits[option] for option in options])
    weights = [math.exp(logits[option] - top) for option in options]
    total = sum(weights)
    return [weight / total for weight in weights]
