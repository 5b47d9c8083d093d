"""The search behind a run, made again from its settings: its space, its data and who trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_gym.errors import NasGymError, RunError
from nas_gym.evaluation.stored import limited
from nas_gym.run_directory import memory_limit_of

if TYPE_CHECKING:
    from nas_gym.evaluation.training import TrainingEvaluator
    from nas_gym.run import Run


@dataclass(frozen=True, eq=False)
class Searched:
    """What trained the networks of a run.

    Attributes:
        trainer: With the data set and the recipe of the search.
        space: Name of the search space, which comes first in the keys of the store.
        memory_limit_mb: What one training could take; None: there was no limit.
    """

    trainer: "TrainingEvaluator"
    space: str
    memory_limit_mb: float | None = None

    @property
    def namespace(self) -> str:
        """What the run's evaluations are stored under."""
        return f"{self.space} {limited(self.trainer.identity, self.memory_limit_mb)}"


def searched(run: "Run") -> Searched:
    """Return what trained the networks of a run, made again by Gymnasium from the run's settings; nothing is trained.

    Raises:
        RunError: The run trained nothing (a table, a proxy, a made-up reward), or its environment or its data can't
            be had any more.
    """
    from nas_gym.evaluation.training import TrainingEvaluator

    env = _environment(run)
    evaluator: Any = env.evaluator
    while hasattr(evaluator, "evaluator"):  # what remembers, repeats or stops trainings lies around what trains
        evaluator = evaluator.evaluator
    if not isinstance(evaluator, TrainingEvaluator):
        raise RunError(
            f"{str(run.path)!r} trained no networks on data of its own ({evaluator.identity.split()[0]}); "
            "this needs a run whose evaluator is 'training'"
        )
    return Searched(evaluator, env.space.name, memory_limit_of(run.content))


def _environment(run: "Run") -> Any:
    import gymnasium as gym

    settings = run.settings
    arguments: Any = {n: tuple(v) if isinstance(v, list) else v for n, v in _arguments(settings).items()}
    try:
        return gym.make(settings["env"], disable_env_checker=True, **arguments).unwrapped
    except NasGymError as error:
        raise RunError(f"what {str(run.path)!r} searched can't be made again: {error}") from None
    except (gym.error.Error, ImportError, TypeError, ValueError, AttributeError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"the environment of {str(run.path)!r} can't be made again ({first}); "
            "what it needs must be installed and importable here"
        ) from None


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(settings.get("env_args") or {})
