"""The environments: an architecture is built decision by decision."""

from nas_gym_envs.architecture_env import ArchitectureEnv
from nas_gym_envs.budget import Budget
from nas_gym_envs.encoding import Encoder, OneHot, one_hot
from nas_gym_envs.presets import PRESETS, Preset, make_chain

__all__ = ["PRESETS", "ArchitectureEnv", "Budget", "Encoder", "OneHot", "Preset", "make_chain", "one_hot"]
