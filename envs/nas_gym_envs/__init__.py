"""The environments: an architecture is built decision by decision."""

from typing import TYPE_CHECKING, Any

from nas_gym_envs.architecture_env import ArchitectureEnv
from nas_gym_envs.budget import Budget
from nas_gym_envs.encoding import Encoder, OneHot, one_hot
from nas_gym_envs.presets import PRESETS, Preset, make_chain
from nas_gym_envs.vector_env import ArchitectureVectorEnv

if TYPE_CHECKING:
    from nas_gym_envs.sb3 import SB3VecEnv

__all__ = [
    "PRESETS",
    "ArchitectureEnv",
    "ArchitectureVectorEnv",
    "Budget",
    "Encoder",
    "OneHot",
    "Preset",
    "SB3VecEnv",
    "make_chain",
    "one_hot",
]


def __getattr__(name: str) -> Any:
    if name == "SB3VecEnv":  # its base class takes stable-baselines3, and that torch
        from nas_gym_envs.sb3 import SB3VecEnv

        return SB3VecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
