"""Evaluations and the evaluators that make them.

`TrainingEvaluator` needs torch and is imported only when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from nas_gym.evaluation.evaluation import (
    FULL,
    STATUSES,
    Evaluation,
    Evaluator,
    Fidelity,
    Status,
    capacity_of,
    evaluate,
    resolved,
)
from nas_gym.evaluation.recipe import Recipe
from nas_gym.evaluation.repeated import Repeated
from nas_gym.evaluation.stored import Store, StoredEvaluator
from nas_gym.evaluation.synthetic import ConstantEvaluator, HashEvaluator, PlantedEvaluator, SyntheticEvaluator

if TYPE_CHECKING:
    from nas_gym.evaluation.training import TrainingEvaluator

__all__ = [
    "FULL",
    "STATUSES",
    "ConstantEvaluator",
    "Evaluation",
    "Evaluator",
    "Fidelity",
    "HashEvaluator",
    "PlantedEvaluator",
    "Recipe",
    "Repeated",
    "Status",
    "Store",
    "StoredEvaluator",
    "SyntheticEvaluator",
    "TrainingEvaluator",
    "capacity_of",
    "evaluate",
    "resolved",
]


def __getattr__(name: str) -> Any:
    if name == "TrainingEvaluator":
        from nas_gym.evaluation.training import TrainingEvaluator

        return TrainingEvaluator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
