"""Environments over benchmark tables: nothing is trained, every reward was measured before."""

from typing import Any

from gymnasium.vector import AutoresetMode

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluator, Fidelity
from nas_gym.evaluation.tabular import MEAN, TabularEvaluator
from nas_gym.objective import Objective, VectorObjective, named_objective
from nas_gym.registration import TABLE_IDS
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym.tables.home import load_benchmark
from nas_gym_envs.architecture_env import ArchitectureEnv
from nas_gym_envs.vector_env import ArchitectureVectorEnv

_ENV_OPTIONS = ("budget", "encoder", "illegal_reward", "render_mode")
_OPTIONS = ("table", "fidelity", "trainings", "noise", "noise_seed", "device", "objective", *_ENV_OPTIONS)


def make_table(
    *,
    preset: str | None = None,
    table: str | BenchmarkTable | None = None,
    fidelity: str | Fidelity | None = None,
    trainings: int | str = MEAN,
    noise: float = 0.0,
    noise_seed: int = 0,
    device: str | None = None,
    objective: str | Objective | VectorObjective | None = None,
    **options: Any,
) -> ArchitectureEnv:
    """Return a tabular environment; what ``gym.make("nas_gym/NB201-CIFAR10-v0", …)`` calls.

    Args:
        preset: An id of `TABLE_IDS`, which names the table.
        table: Name or path of another table (`nas_gym.tables.load_benchmark`), or a table.
        fidelity: What a search sees, such as ``"epochs=12"``; None: the table's default.
        trainings: Which trainings of a row count (`TabularEvaluator`).
        noise: Standard deviation of noise on every row's accuracy (0.003: 0.3 points).
        noise_seed: Seeds the noise.
        device: Whose latency is told.
        objective: As in `nas_gym_envs.presets.make_chain`; by default the accuracy.
        **options: Arguments of `ArchitectureEnv`.

    Raises:
        ConfigurationError: An option is unknown or out of range, or the table is missing.
    """
    if unknown := sorted(set(options).difference(_ENV_OPTIONS)):
        raise ConfigurationError(
            f"unknown option {', '.join(unknown)} of the environment; known are {', '.join(sorted(_OPTIONS))}"
        )
    named = table if table is not None else TABLE_IDS[preset] if preset else None
    loaded = named if isinstance(named, BenchmarkTable) else load_benchmark(*([named] if named else []))
    evaluator: Evaluator = TabularEvaluator(
        loaded, fidelity, trainings=trainings, noise=noise, noise_seed=noise_seed, device=device
    )
    goal = named_objective(objective) if isinstance(objective, str) else objective
    return ArchitectureEnv(loaded.space(), evaluator, goal, **options)


def make_vector_table(
    *, num_envs: int = 1, autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, **options: Any
) -> ArchitectureVectorEnv:
    """Return many tabular environments as one; what ``gym.make_vec("nas_gym/NB201-CIFAR10-v0", …)`` calls.

    Args:
        num_envs: Number of sub-environments.
        autoreset_mode: When one that ended starts anew (`ArchitectureVectorEnv`).
        **options: Of `make_table`.
    """
    return ArchitectureVectorEnv.like(make_table(**options), num_envs=num_envs, autoreset_mode=autoreset_mode)


def described() -> list[dict[str, str]]:
    """Return a row per id: the id and what it stands for."""
    return [
        {"id": env_id, "description": f"the table {name}: nothing is trained; --env-arg fidelity=… noise=…"}
        for env_id, name in TABLE_IDS.items()
    ]
