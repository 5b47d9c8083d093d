"""Whether the parts of an environment fit each other: found before the first network is trained, not after."""

from typing import Any

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluator
from nas_gym.objective import Accuracy, Objective, Proxy, SoftLimit, Vector, VectorObjective, Weighted

_ADVICE = {
    "accuracy": "choose another evaluator or objective=proxy:FLOOR",
    "proxy": "choose evaluator=proxy:NAME or another objective",
    "latency_ms": "choose evaluator=training with latency=true or another objective",
    "peak_memory_mb": "it is measured on CUDA only: choose another objective",
}


def check_objective(text: object, goal: Objective | VectorObjective | None, kind: str, trainer: Any) -> None:
    """Refuse an objective that needs what the evaluator does not tell.

    Args:
        text: The objective as the user gave it.
        goal: What that is; None: the default.
        kind: Of the evaluator, such as ``"training"``; empty: one of the user's own, of which nothing is known.
        trainer: The evaluator inside all wrappers.

    Raises:
        ConfigurationError: It needs something else.
    """
    if goal is None or not kind:
        return
    missing = [name for name in _needs(goal) if name in _ADVICE and name not in _told(kind, trainer)]
    if missing == ["latency_ms"] and kind == "training":
        raise ConfigurationError(f"the objective {text!r} needs a measured latency: add latency=true")
    if missing:
        raise ConfigurationError(
            f"the objective {text!r} needs {missing[0]}, which evaluator={kind!r} does not tell{_place(trainer)}; "
            f"{_ADVICE[missing[0]]}"
        )


def inside(evaluator: Evaluator) -> Any:
    """Return who evaluates in the end, inside all wrappers."""
    found: Any = evaluator
    while hasattr(found, "evaluator"):
        found = found.evaluator
    return found


def _needs(goal: Objective | VectorObjective) -> tuple[str, ...]:
    """Return what an objective reads of an evaluation; of one of the user's own, what it says itself."""
    costs = tuple(getattr(goal, "needs", ()))
    if isinstance(goal, Proxy):
        return ("proxy",)
    if isinstance(goal, Accuracy | SoftLimit):
        return ("accuracy", *costs)
    vector = goal.vector if isinstance(goal, Weighted) else goal
    named = ("accuracy",) if isinstance(vector, Vector) and "accuracy" in vector.names else ()
    return (*named, *costs)


def _told(kind: str, trainer: Any) -> set[str]:
    """Return which of the things that not every evaluator tells this one does."""
    told = {"proxy" if kind == "proxy" else "accuracy"}
    if kind == "training":
        told |= {"latency_ms"} if trainer.latency else set()
        told |= {"peak_memory_mb"} if trainer.device.type == "cuda" else set()
    return told


def _place(trainer: Any) -> str:
    device = getattr(trainer, "device", None)
    return "" if device is None else f" on {device}"
