"""Evaluations and the evaluators that make them.

What needs torch (`TrainingEvaluator`, `ProxyEvaluator`, `SupernetEvaluator`) is imported only when it is asked for.
"""

from importlib import import_module
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
from nas_gym.evaluation.halving import SuccessiveHalving
from nas_gym.evaluation.recipe import Recipe
from nas_gym.evaluation.stored import Store, StoredEvaluator
from nas_gym.evaluation.synthetic import ConstantEvaluator, HashEvaluator, PlantedEvaluator, SyntheticEvaluator

if TYPE_CHECKING:
    from nas_gym.evaluation.proxies import PROXIES, ProxyEvaluator
    from nas_gym.evaluation.training import TrainingEvaluator
    from nas_gym.evaluation.weight_sharing import SupernetEvaluator

__all__ = [
    "FULL",
    "PROXIES",
    "STATUSES",
    "ConstantEvaluator",
    "Evaluation",
    "Evaluator",
    "Fidelity",
    "HashEvaluator",
    "PlantedEvaluator",
    "ProxyEvaluator",
    "Recipe",
    "Status",
    "Store",
    "StoredEvaluator",
    "SuccessiveHalving",
    "SupernetEvaluator",
    "SyntheticEvaluator",
    "TrainingEvaluator",
    "capacity_of",
    "evaluate",
    "resolved",
]


_NEEDS_TORCH = {
    "PROXIES": "proxies",
    "ProxyEvaluator": "proxies",
    "SupernetEvaluator": "weight_sharing",
    "TrainingEvaluator": "training",
}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(import_module(f"nas_gym.evaluation.{_NEEDS_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
