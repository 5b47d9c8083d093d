"""MaskablePPO: PPO that never sees an illegal action; the default controller."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
from sb3_contrib import MaskablePPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym_agents.ppo import PPOSettings


@dataclass(frozen=True, kw_only=True)
class MaskablePPOSearch(PPOSettings):
    """sb3-contrib's MaskablePPO (Huang and Ontañón 2022, arXiv 2006.14171) on the environment's exact masks."""

    masked: ClassVar[bool] = True

    name: str = "maskable-ppo"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_last_batch()

    def make(self, env: gym.Env[Any, Any], seed: int) -> OnPolicyAlgorithm:
        """Return the algorithm."""
        return MaskablePPO("MlpPolicy", env, seed=seed, **self.arguments())

    @staticmethod
    def load(policy_file: Path) -> OnPolicyAlgorithm:
        """Return the algorithm that was saved."""
        return MaskablePPO.load(policy_file, device="cpu")
