"""RecurrentPPO: PPO whose policy remembers, in an LSTM, what it has seen in the episode."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym.errors import ConfigurationError
from nas_gym_agents.ppo import PPOSettings


@dataclass(frozen=True, kw_only=True)
class RecurrentPPOSearch(PPOSettings):
    """sb3-contrib's RecurrentPPO, unmasked: an LSTM reads the observations of an episode before the hidden layers.

    The observations hold all decisions so far, so that there is nothing to remember; it is here to be compared with
    `ppo`, and for encoders that hide something.

    Attributes:
        lstm: Units of the LSTMs of actor and critic.
    """

    warm_start_from: ClassVar[str | None] = None  # what an LSTM remembers means nothing among other decisions

    name: str = "recurrent-ppo"
    lstm: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lstm < 1:
            raise ConfigurationError(f"recurrent-ppo's lstm is at least 1, got {self.lstm!r}")
        self._check_last_batch()

    def make(self, env: gym.Env[Any, Any], seed: int) -> OnPolicyAlgorithm:
        """Return the algorithm."""
        arguments = self.arguments()
        arguments["policy_kwargs"]["lstm_hidden_size"] = self.lstm
        return RecurrentPPO("MlpLstmPolicy", env, seed=seed, **arguments)

    @staticmethod
    def load(policy_file: Path) -> OnPolicyAlgorithm:
        """Return the algorithm that was saved."""
        return RecurrentPPO.load(policy_file, device="cpu")
