"""Shared by the tests of influence: a small training, and questions about it."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from nas_gym.envs import ArchitectureEnv
from nas_gym.evaluation import HashEvaluator
from nas_gym.spaces import AveragePool, ChainSpace, Convolution, Dropout, FullyConnected, Limits, MaxPool
from nas_gym_agents.influence.tracing import Questions
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.updates import Updates

SMALL = (Convolution(8), Convolution(16, stride=2), MaxPool(), AveragePool(), Dropout(0.2), FullyConnected(16))


class Shared(BaseFeaturesExtractor):
    """A layer that actor and critic share."""

    def __init__(self, space: gym.spaces.Box, width: int = 8) -> None:
        super().__init__(space, width)
        self.layer = nn.Linear(space.shape[0], width)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(observations))


VARIANTS: dict[str, dict[str, Any]] = {
    "maskable": {"algorithm": MaskablePPO},
    "unmasked": {"algorithm": PPO},
    "far out of the clipped range": {"algorithm": MaskablePPO, "learning_rate": 0.03, "n_epochs": 6},
    "critic limited": {"algorithm": PPO, "clip_range_vf": 0.05},
    "gradients shortened": {"algorithm": MaskablePPO, "max_grad_norm": 0.01},
    "gradients whole": {"algorithm": PPO, "max_grad_norm": 1e9},
    "advantages as they are": {"algorithm": PPO, "normalize_advantage": False},
    "a shared layer": {"algorithm": MaskablePPO, "policy_kwargs": {"features_extractor_class": Shared}},
    "two extractors": {
        "algorithm": PPO,
        "policy_kwargs": {"features_extractor_class": Shared, "share_features_extractor": False},
    },
    "plain descent": {"algorithm": PPO, "policy_kwargs": {"optimizer_class": torch.optim.SGD}},
    "it stops early": {"algorithm": PPO, "target_kl": 0.002, "learning_rate": 0.01},
}


def make_env() -> ArchitectureEnv:
    space = ChainSpace((1, 8, 8), 10, catalogue=SMALL, max_layers=3, limits=Limits(resolution=2))
    return ArchitectureEnv(space, HashEvaluator())


def taught(
    algorithm: Any = MaskablePPO, updates: int = 3, policy_kwargs: dict[str, Any] | None = None, **settings: Any
) -> tuple[DecisionRecorder, Any]:
    """Return the recorder of a short training, and the model."""
    defaults: dict[str, Any] = {"n_steps": 24, "batch_size": 12, "n_epochs": 3, "learning_rate": 3e-3, "ent_coef": 0.03}
    kwargs = {"net_arch": [16, 16]} | (policy_kwargs or {})
    recorder = DecisionRecorder(explain="none")
    model = algorithm(
        "MlpPolicy", make_env(), seed=0, gamma=1.0, device="cpu", policy_kwargs=kwargs, **(defaults | settings)
    )
    model.learn(updates * model.n_steps, callback=recorder)
    return recorder, model


def asked(updates: Updates, rows: NDArray[np.int64], versions: list[int]) -> Questions:
    """Return decisions of the first update as questions."""
    held = updates[0].rows
    masks = held["action_masks"][rows, 0].astype(bool) if "action_masks" in held else None
    return Questions(held["observations"][rows, 0], held["actions"][rows, 0, 0], masks, np.array(versions))


def with_advantages(updates: Updates, advantages: list[NDArray[np.float32]]) -> Updates:
    """Return the updates with other advantages, (n_steps, n_envs) each."""
    parts = [replace(u, rows=u.rows | {"advantages": a}) for u, a in zip(updates, advantages, strict=True)]
    return Updates(updates.start, tuple(parts))
