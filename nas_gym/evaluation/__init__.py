"""Evaluations and the evaluators that make them.

Those that need torch or processes are imported only when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nas_gym.evaluation.at_fidelity import AtFidelity
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
from nas_gym.evaluation.repeated import Repeated
from nas_gym.evaluation.stored import Store, StoredEvaluator
from nas_gym.evaluation.synthetic import ConstantEvaluator, HashEvaluator, PlantedEvaluator, SyntheticEvaluator
from nas_gym.evaluation.tabular import TabularEvaluator

if TYPE_CHECKING:
    from nas_gym.evaluation.processes import ProcessEvaluator
    from nas_gym.evaluation.proxies import PROXIES, ProxyEvaluator
    from nas_gym.evaluation.rays import RayEvaluator
    from nas_gym.evaluation.training import TrainingEvaluator
    from nas_gym.evaluation.weight_sharing import SupernetEvaluator
    from nas_gym.evaluation.worker import HandedOver

__all__ = [
    "FULL",
    "PROXIES",
    "STATUSES",
    "AtFidelity",
    "ConstantEvaluator",
    "Evaluation",
    "Evaluator",
    "Fidelity",
    "HandedOver",
    "HashEvaluator",
    "PlantedEvaluator",
    "ProcessEvaluator",
    "ProxyEvaluator",
    "RayEvaluator",
    "Recipe",
    "Repeated",
    "Status",
    "Store",
    "StoredEvaluator",
    "SuccessiveHalving",
    "SupernetEvaluator",
    "SyntheticEvaluator",
    "TabularEvaluator",
    "TrainingEvaluator",
    "capacity_of",
    "evaluate",
    "resolved",
]


# Heavy, and so imported when they are asked for.
_LAZY = {
    "HandedOver": "worker",
    "PROXIES": "proxies",
    "ProcessEvaluator": "processes",
    "ProxyEvaluator": "proxies",
    "RayEvaluator": "rays",
    "SupernetEvaluator": "weight_sharing",
    "TrainingEvaluator": "training",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"nas_gym.evaluation.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
