"""Where the trainings of a search happen: here, in worker processes, or on a Ray cluster."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluator

RAY = "ray"


class Pool(Evaluator, Protocol):
    """An evaluator that must be closed, and that gives `keep` to whoever trains."""

    keep: Any

    def close(self) -> None:
        """Stop what it has started."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How the trainings of a search are spread; nothing but a limit changes a result.

    Attributes:
        workers: ``"1"``: in this process; a larger number: so many worker processes; ``"ray"``: tasks on a Ray cluster.
        trainings_per_gpu: Worker processes that share one GPU.
        memory_limit_mb: What one training may take; a limit means worker processes, even for one, and is part of the
            store's keys.
        time_limit_seconds: When a worker process that hangs is killed; None: never. (A training's own time limit is
            part of its recipe.)
        ray_address: Of the cluster, as ``ray.init`` takes it.
        cpus_per_training: What a training asks of Ray.
        gpus_per_training: The same; a fraction shares a GPU.
    """

    workers: str = "1"
    trainings_per_gpu: int = 1
    memory_limit_mb: float | None = None
    time_limit_seconds: float | None = None
    ray_address: str = "auto"
    cpus_per_training: float = 1.0
    gpus_per_training: float = 0.0

    def __post_init__(self) -> None:
        if self.workers != RAY and not (self.workers.isdecimal() and int(self.workers) >= 1):
            raise ConfigurationError(f'workers is a number, at least 1, or "ray", got {self.workers!r}')
        if self.workers == RAY and self.memory_limit_mb is not None:
            raise ConfigurationError("a memory limit is for worker processes; on Ray, ask for memory in Ray itself")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Workers":
        """Return the settings that `to_json` wrote."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    def pool(self, evaluator: Evaluator) -> Pool | None:
        """Return the pool around an evaluator; None: it trains in this process.

        Raises:
            ConfigurationError: More is asked for than there is, a package is missing, or this is itself a worker
                process that imports a script without a guard.
        """
        from nas_gym.evaluation.worker import HandedOver, check_guarded

        if self.workers == RAY:
            from nas_gym.evaluation.rays import RayEvaluator

            return RayEvaluator(
                HandedOver(evaluator),
                address=self.ray_address,
                cpus_per_training=self.cpus_per_training,
                gpus_per_training=self.gpus_per_training,
            )
        if self.workers == "1" and self.memory_limit_mb is None and self.time_limit_seconds is None:
            return None
        from nas_gym.evaluation.processes import ProcessEvaluator

        check_guarded()
        return ProcessEvaluator(
            HandedOver(evaluator),
            int(self.workers),
            _threads(evaluator),
            self.trainings_per_gpu,
            time_limit_seconds=self.time_limit_seconds,
            memory_limit_mb=self.memory_limit_mb,
        )

    def advice(self, evaluator: Evaluator) -> str:
        """Return a sentence if this machine has fewer processors than the workers will want, else nothing."""
        processors, threads = os.cpu_count() or 1, _threads(evaluator)
        if self.workers == RAY or int(self.workers) == 1 or int(self.workers) * threads <= processors:
            return ""
        return (
            f"{self.workers} workers of {threads} threads share {processors} processors; "
            "--threads-per-worker 1 or fewer workers is usually faster"
        )


def _threads(evaluator: Evaluator) -> int:
    recipe = getattr(evaluator, "recipe", None)
    return int(getattr(recipe, "threads", None) or 1)


def hang_limit(time_limit_seconds: float | None) -> float | None:
    """Return when a worker is killed whose training should have stopped of itself at its time limit."""
    return None if time_limit_seconds is None else 1.5 * time_limit_seconds + 10
