"""Objectives: from an evaluation to a reward."""

from dataclasses import dataclass
from typing import Protocol

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation


class Objective(Protocol):
    """Turns an evaluation into a finite reward; a failed evaluation gives the floor."""

    @property
    def floor(self) -> float:
        """The reward of a failed evaluation."""

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the reward."""


@dataclass(frozen=True)
class Accuracy:
    """The validation accuracy, in [0, 1]."""

    floor: float = 0.0

    def __post_init__(self) -> None:
        if not -1e9 < self.floor <= 1:
            raise ConfigurationError(f"the floor of an objective must be finite and at most 1, got {self.floor}")

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the accuracy, or the floor for a failed training."""
        return self.floor if evaluation.accuracy is None else float(evaluation.accuracy)


def accuracy(floor: float = 0.0) -> Accuracy:
    """Return the objective that is the validation accuracy.

    Args:
        floor: The reward of a failed training.
    """
    return Accuracy(floor)
