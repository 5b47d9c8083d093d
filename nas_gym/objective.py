"""Objectives: from an evaluation to a reward, or to a vector of rewards."""

from dataclasses import dataclass
from typing import Protocol

from nas_gym.costs import COSTS, accuracy_of, cost_of, finite
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.vector_objective import Vector, VectorObjective, Weighted, vector

__all__ = [
    "COSTS",
    "FORMS",
    "Accuracy",
    "Objective",
    "Proxy",
    "SoftLimit",
    "Vector",
    "VectorObjective",
    "Weighted",
    "accuracy",
    "named_objective",
    "soft_latency",
    "soft_macs",
    "soft_memory",
    "soft_parameters",
    "vector",
]

MNASNET_EXPONENT = -0.07  # "MnasNet", arXiv 1807.11626, section 3: twice the latency for 5 % more accuracy
_LEAST_RATIO = 1e-6  # of cost and target, so that a cost of nothing has a finite reward


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
        _check_floor(self.floor)

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the accuracy, or the floor for a failed training."""
        return self.floor if not evaluation.ok else accuracy_of(evaluation)


@dataclass(frozen=True)
class SoftLimit:
    """The validation accuracy, weighed by how a cost compares with its target: accuracy * (cost / target) ** w.

    w is alpha where the cost is within the target and beta beyond it: "MnasNet: Platform-Aware Neural Architecture
    Search for Mobile", Tan et al. 2019, arXiv 1807.11626, equations 2 and 3. Their soft limit has alpha = beta = -0.07;
    alpha = 0 and beta = -1 give their hard one.

    A latency is measured, so that a reward made of it is not reproducible bit for bit; parameters and MACs are.

    Attributes:
        cost: One of `COSTS`.
        target: In the cost's own unit: milliseconds, parameters, multiply-accumulates, MB.
        alpha: Exponent up to the target, at most 0.
        beta: Exponent beyond it, at most 0.
        floor: The reward of a failed training.

    Raises:
        ConfigurationError: An argument is out of range.
    """

    cost: str
    target: float
    alpha: float = MNASNET_EXPONENT
    beta: float = MNASNET_EXPONENT
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_floor(self.floor)
        if self.cost not in COSTS:
            raise ConfigurationError(f"the cost of a soft limit is one of {', '.join(COSTS)}, got {self.cost!r}")
        if not (finite(self.target) and self.target > 0):
            raise ConfigurationError(f"the target of a soft limit is a positive number, got {self.target!r}")
        for name, exponent in (("alpha", self.alpha), ("beta", self.beta)):
            if not (finite(exponent) and exponent <= 0):
                raise ConfigurationError(f"{name} of a soft limit is a number of at most 0, got {exponent!r}")

    @property
    def needs(self) -> tuple[str, ...]:
        """The costs that evaluations must tell."""
        return (self.cost,)

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the reward, or the floor for a failed training.

        Raises:
            ConfigurationError: The evaluation does not tell the cost.
        """
        if not evaluation.ok:
            return self.floor
        ratio = max(cost_of(evaluation, self.cost) / self.target, _LEAST_RATIO)
        return accuracy_of(evaluation) * float(ratio ** (self.alpha if ratio <= 1 else self.beta))


@dataclass(frozen=True)
class Proxy:
    """The number that stands in for the accuracy without training (`nas_gym.evaluation.ProxyEvaluator`).

    Attributes:
        floor: The reward of a failed evaluation, finite; choose it below what the proxy gives, whose scale it has.
    """

    floor: float

    def __post_init__(self) -> None:
        if not finite(self.floor):
            raise ConfigurationError(f"the floor of a proxy must be a finite number, got {self.floor!r}")

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the proxy, or the floor for a failed evaluation.

        Raises:
            ConfigurationError: The evaluation has no proxy.
        """
        if not evaluation.ok:
            return self.floor
        if evaluation.proxy is None:
            raise ConfigurationError(
                "the objective is a proxy, and the evaluation has none: use a ProxyEvaluator or objective=accuracy"
            )
        return float(evaluation.proxy)


def accuracy(floor: float = 0.0) -> Accuracy:
    """Return the objective that is the validation accuracy.

    Args:
        floor: The reward of a failed training.
    """
    return Accuracy(floor)


def soft_latency(
    target_ms: float, *, alpha: float = MNASNET_EXPONENT, beta: float = MNASNET_EXPONENT, floor: float = 0.0
) -> SoftLimit:
    """Return accuracy with a soft limit on the latency in milliseconds; not reproducible bit for bit (`SoftLimit`)."""
    return SoftLimit("latency_ms", target_ms, alpha, beta, floor)


def soft_parameters(
    target: float, *, alpha: float = MNASNET_EXPONENT, beta: float = MNASNET_EXPONENT, floor: float = 0.0
) -> SoftLimit:
    """Return accuracy with a soft limit on the number of parameters (`SoftLimit`)."""
    return SoftLimit("parameters", target, alpha, beta, floor)


def soft_macs(
    target: float, *, alpha: float = MNASNET_EXPONENT, beta: float = MNASNET_EXPONENT, floor: float = 0.0
) -> SoftLimit:
    """Return accuracy with a soft limit on the multiply-accumulates of one sample (`SoftLimit`)."""
    return SoftLimit("macs", target, alpha, beta, floor)


def soft_memory(
    target_mb: float, *, alpha: float = MNASNET_EXPONENT, beta: float = MNASNET_EXPONENT, floor: float = 0.0
) -> SoftLimit:
    """Return accuracy with a soft limit on the training's peak memory in MB, which CUDA alone tells (`SoftLimit`)."""
    return SoftLimit("peak_memory_mb", target_mb, alpha, beta, floor)


def _check_floor(floor: float) -> None:
    if not (finite(floor) and -1e9 < floor <= 1):
        raise ConfigurationError(f"the floor of an objective must be finite and at most 1, got {floor}")


FORMS = (
    "accuracy",
    "soft-latency:MS",
    "soft-parameters:N",
    "soft-macs:N",
    "soft-memory:MB (each with :ALPHA:BETA if wanted)",
    "proxy:FLOOR",
    "vector:NAME:NAME",
    "weighted:NAME=WEIGHT:NAME=WEIGHT (names are accuracy, " + ", ".join(COSTS) + ")",
)
_SOFT = {
    "soft-latency": "latency_ms",
    "soft-parameters": "parameters",
    "soft-macs": "macs",
    "soft-memory": "peak_memory_mb",
}


def named_objective(text: str) -> Objective | VectorObjective:
    """Return the objective of a text, such as ``"soft-macs:1e6"`` or ``"weighted:accuracy=1:macs=0.05"``.

    Args:
        text: One of `FORMS`.

    Raises:
        ConfigurationError: It is none of them, or a number in it is out of range.
    """
    kind, *parts = (part.strip() for part in text.split(":"))
    try:
        if kind == "accuracy" and not parts:
            return Accuracy()
        if kind in _SOFT and len(parts) in (1, 3):
            return SoftLimit(_SOFT[kind], *map(float, parts))
        if kind == "proxy" and len(parts) == 1:
            return Proxy(float(parts[0]))
        if kind == "vector":
            return vector(parts)
        if kind == "weighted":
            pairs = [part.partition("=") for part in parts]
            return vector([name for name, _, _ in pairs], weights=[float(weight) for _, _, weight in pairs])
    except ConfigurationError:
        raise
    except ValueError:  # a number that is none
        pass
    raise ConfigurationError(f"an objective is {', '.join(FORMS)}; got {text!r}")
