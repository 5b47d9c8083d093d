"""What an evaluation says a network costs, and in which unit."""

import math
from numbers import Real

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation

# Costs that an evaluation tells, and the unit a vector reward counts them in, so that its components are of one size.
COSTS: dict[str, float] = {"latency_ms": 1.0, "parameters": 1e6, "macs": 1e6, "peak_memory_mb": 1e3}
_MISSING = {
    "latency_ms": "latency is not measured: pass latency=True to the environment (--env-arg latency=true)",
    "peak_memory_mb": "peak memory is measured on CUDA only: choose another cost",
}


def finite(value: object) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def accuracy_of(evaluation: Evaluation) -> float:
    """Return the accuracy of a successful evaluation.

    Raises:
        ConfigurationError: It has a proxy instead.
    """
    if evaluation.accuracy is None:
        raise ConfigurationError(
            "the objective needs an accuracy, and the evaluation has a proxy instead: use objective=proxy:FLOOR"
        )
    return float(evaluation.accuracy)


def cost_of(evaluation: Evaluation, name: str) -> float:
    """Return a cost of `COSTS`, in the unit of its name.

    Raises:
        ConfigurationError: The evaluation does not tell it.
    """
    value = getattr(evaluation, name)
    if value is None:
        raise ConfigurationError(f"{name} is asked for, and the evaluation does not tell it; {_MISSING[name]}")
    return float(value)
