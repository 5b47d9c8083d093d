"""An environment with faults that the command line can name: ``--env faulty_env:Faulty/Chain-v0``."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from injection import Faulty, FaultyHash, FaultyTraining

from nas_gym.data import load_dataset
from nas_gym.evaluation import Recipe
from nas_gym_envs import ArchitectureEnv
from nas_gym_envs.presets import PRESETS, make_chain

ID = "faulty_env:Faulty/Chain-v0"
_DIGITS = "nas_gym/Chain-Digits-v0"


def make(
    *,
    ledger: str,
    faults: Sequence[str] = ("fine",),
    pause: float = 0.0,
    clock: bool = False,
    training: bool = False,
    epochs: int = 1,
    time_limit_seconds: float | None = None,
    **options: Any,
) -> ArchitectureEnv:
    """Return the digits environment, with an evaluator that is faulty.

    Args:
        ledger: Path of the `Ledger`.
        faults: As in `Faulty`.
        pause: The same.
        clock: The same.
        training: Whether networks are trained (on the digits), or hashed.
        epochs: Of a training.
        time_limit_seconds: Of the recipe.
        **options: Of `make_chain`.
    """
    faulty = Faulty(ledger, faults, pause, clock)
    evaluator: Any = FaultyHash(faulty)
    if training:
        row = PRESETS[_DIGITS]
        recipe = Recipe(**{**row.recipe, "epochs": epochs, "time_limit_seconds": time_limit_seconds})
        evaluator = FaultyTraining(load_dataset("digits"), recipe, device="cpu")
        evaluator.faulty = faulty
    return make_chain(preset=_DIGITS, evaluator=evaluator, **options)


if "Faulty/Chain-v0" not in gym.registry:
    gym.register("Faulty/Chain-v0", entry_point=make)
