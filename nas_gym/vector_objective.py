"""Objectives of several numbers: a vector of rewards, and what weights make of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nas_gym.costs import COSTS, accuracy_of, cost_of, finite
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation

FAILED_UNITS = 10.0  # of every cost: what a failed training counts as in a vector reward


@runtime_checkable
class VectorObjective(Protocol):
    """Turns an evaluation into a vector of rewards, shape (reward_dim,), all of which are to be made large."""

    @property
    def reward_dim(self) -> int:
        """Number of components."""

    @property
    def low(self) -> tuple[float, ...]:
        """The least value of every component; minus infinity where there is none."""

    @property
    def high(self) -> tuple[float, ...]:
        """The largest value of every component."""

    def __call__(self, evaluation: Evaluation) -> NDArray[np.float64]:
        """Return the rewards: float64, shape (reward_dim,), finite."""


@dataclass(frozen=True)
class Vector:
    """Several rewards at once, in MO-Gymnasium's convention: a vector, of which every component is to be made large.

    The accuracy enters as it is, and a cost as minus the cost over its unit, so that a linear scalarisation weighs
    numbers of one size. Latency and peak memory are measured, and so not reproducible bit for bit.

    Attributes:
        names: ``"accuracy"`` and names of `COSTS`, at least two, each once.
        units: Of costs, where they differ from `COSTS`: what counts as 1.
        floor: The rewards of a failed training; by default an accuracy of 0 and `FAILED_UNITS` units of every cost.

    Raises:
        ConfigurationError: An argument is unknown or out of range.
    """

    names: tuple[str, ...]
    units: Mapping[str, float] = field(default_factory=dict)
    floor: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names, known = tuple(self.names), ("accuracy", *COSTS)
        if len(names) < 2 or len(set(names)) < len(names) or not set(names) <= set(known):
            raise ConfigurationError(f"a vector reward is made of two or more of {', '.join(known)}, got {names}")
        wrong = {n: u for n, u in self.units.items() if n not in names or n not in COSTS or not finite(u) or u <= 0}
        if wrong:
            raise ConfigurationError(f"units are positive numbers for costs of the vector, got {wrong}")
        floor = tuple(self.floor) or tuple(0.0 if name == "accuracy" else -FAILED_UNITS for name in names)
        if len(floor) != len(names) or not all(map(finite, floor)):
            raise ConfigurationError(f"the floor of a vector reward is {len(names)} finite numbers, got {self.floor}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "units", {n: float(self.units.get(n, COSTS[n])) for n in names if n in COSTS})
        object.__setattr__(self, "floor", tuple(map(float, floor)))

    @property
    def needs(self) -> tuple[str, ...]:
        """The costs that evaluations must tell."""
        return tuple(name for name in self.names if name in COSTS)

    @property
    def reward_dim(self) -> int:
        """Number of components."""
        return len(self.names)

    @property
    def low(self) -> tuple[float, ...]:
        """The least value of every component."""
        return tuple(
            min(0.0, least) if name == "accuracy" else -math.inf
            for name, least in zip(self.names, self.floor, strict=True)
        )

    @property
    def high(self) -> tuple[float, ...]:
        """The largest value of every component."""
        return tuple(
            max(1.0 if name == "accuracy" else 0.0, least) for name, least in zip(self.names, self.floor, strict=True)
        )

    def __call__(self, evaluation: Evaluation) -> NDArray[np.float64]:
        """Return the rewards: float64, shape (reward_dim,).

        Raises:
            ConfigurationError: The evaluation does not tell one of the costs.
        """
        if not evaluation.ok:
            return np.array(self.floor)
        return np.array(
            [
                accuracy_of(evaluation) if name == "accuracy" else -cost_of(evaluation, name) / self.units[name]
                for name in self.names
            ]
        )


@dataclass(frozen=True)
class Weighted:
    """A vector of rewards as one number: the sum of its components, each times a weight.

    Attributes:
        vector: The rewards.
        weights: One per component, not negative, not all 0.

    Raises:
        ConfigurationError: The weights do not fit.
    """

    vector: Vector
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        weights, names = tuple(self.weights), self.vector.names
        if len(weights) != len(names) or not all(finite(w) and w >= 0 for w in weights) or not any(weights):
            raise ConfigurationError(
                f"weights are {len(names)} numbers, not negative and not all 0, for {', '.join(names)}; got {weights}"
            )
        object.__setattr__(self, "weights", tuple(map(float, weights)))

    @property
    def needs(self) -> tuple[str, ...]:
        """The costs that evaluations must tell."""
        return self.vector.needs

    @property
    def floor(self) -> float:
        """The reward of a failed training."""
        return float(np.dot(self.vector.floor, self.weights))

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the weighted sum.

        Raises:
            ConfigurationError: The evaluation does not tell one of the costs.
        """
        return float(np.dot(self.vector(evaluation), self.weights))


def vector(names: Sequence[str], *, weights: Sequence[float] | None = None, **settings: Any) -> Vector | Weighted:
    """Return a vector reward; with weights, the scalar that they make of it.

    Args:
        names: ``"accuracy"`` and names of `COSTS`.
        weights: One per name; agents need them, for they learn from one number.
        **settings: Units and floor of `Vector`.
    """
    made = Vector(tuple(names), **settings)
    return made if weights is None else Weighted(made, tuple(weights))
