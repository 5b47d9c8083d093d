"""PPO without masks: illegal actions end the episode with the environment's penalty, and it learns to avoid them."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym.errors import ConfigurationError
from nas_gym_agents.agent import Recorder, SearchResult
from nas_gym_agents.sb3_search import PolicyFile, search_with
from nas_gym_agents.temperature import LEAST_ENTROPY, temper
from nas_gym_agents.warm_start import WarmStart


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """Settings of PPO (Schulman et al. 2017, arXiv 1707.06347) for short episodes and expensive rewards.

    stable-baselines3's default of 2,048 steps per rollout would spend a whole search before the first update.

    Attributes:
        n_steps: Environment steps per rollout, at least 2.
        batch_size: Steps per gradient step, at least 2.
        n_epochs: Passes over a rollout.
        learning_rate: Of Adam.
        entropy: Weight of the entropy bonus.
        gae_lambda: Of generalised advantage estimation; gamma is 1, since only the last reward counts.
        clip: Of the probability ratio.
        hidden: Units of the two hidden layers of actor and critic.
        warm_entropy: Of a policy that a warm start takes over: it is tempered until its decisions have this share of
            the entropy of a uniform choice, in [0, 1] (`nas_gym_agents.temperature`). 0: it stays as it was.
    """

    warm_start_from: ClassVar[str | None] = "policy"
    masked: ClassVar[bool] = False

    n_steps: int = 64
    batch_size: int = 32
    n_epochs: int = 8
    learning_rate: float = 1e-3
    entropy: float = 0.03
    gae_lambda: float = 0.95
    clip: float = 0.2
    hidden: int = 64
    warm_entropy: float = LEAST_ENTROPY

    def __post_init__(self) -> None:
        positive = ("n_epochs", "learning_rate", "clip", "hidden")
        wrong = [n for n in positive if not getattr(self, n) > 0]
        wrong += [n for n in ("learning_rate", "entropy", "clip") if not math.isfinite(getattr(self, n))]
        wrong += [n for n in ("n_steps", "batch_size") if getattr(self, n) < 2]
        wrong += ["entropy"] if self.entropy < 0 else []
        wrong += [n for n in ("gae_lambda", "warm_entropy") if not 0 <= getattr(self, n) <= 1]
        if wrong:
            raise ConfigurationError(
                f"PPO's settings are out of range: {', '.join(f'{n}={getattr(self, n)!r}' for n in wrong)}"
            )

    def _check_last_batch(self) -> None:
        """Refuse a last batch of one step, for sb3-contrib: its advantage has no deviation, and weights become NaN."""
        if self.n_steps % min(self.batch_size, self.n_steps) == 1:
            raise ConfigurationError(
                "the last batch of a rollout must have more than one step, "
                f"got n_steps={self.n_steps} and batch_size={self.batch_size}"
            )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of stable-baselines3's constructor."""
        return {
            "n_steps": self.n_steps,
            "batch_size": min(self.batch_size, self.n_steps),
            "n_epochs": self.n_epochs,
            "learning_rate": self.learning_rate,
            "ent_coef": self.entropy,
            "gae_lambda": self.gae_lambda,
            "gamma": 1.0,
            "clip_range": self.clip,
            "policy_kwargs": {"net_arch": [self.hidden, self.hidden]},
            "device": "cpu",
        }

    def search(
        self,
        env: gym.Env[Any, Any],
        *,
        seed: int,
        recorder: Recorder | None = None,
        policy_file: PolicyFile | None = None,
        warm_start: WarmStart | None = None,
    ) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent` and `search_with`."""
        make = self.make if warm_start is None else partial(self._make_warm, warm_start)
        return search_with(make, env, seed=seed, recorder=recorder, policy_file=policy_file)

    def _make_warm(self, warm_start: WarmStart, env: gym.Env[Any, Any], seed: int) -> OnPolicyAlgorithm:
        model = self.make(env, seed)
        warm_start.carry_policy(model, env.get_wrapper_attr("space").slots)
        temper(model.policy, env, masked=self.masked, seed=seed, least=self.warm_entropy)
        return model

    def make(self, env: gym.Env[Any, Any], seed: int) -> OnPolicyAlgorithm:
        """Return the algorithm."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PPOSearch(PPOSettings):
    """stable-baselines3's PPO, unmasked: what masks are worth is seen by comparing it with `maskable-ppo`."""

    name: str = "ppo"

    def make(self, env: gym.Env[Any, Any], seed: int) -> OnPolicyAlgorithm:
        """Return the algorithm."""
        return PPO("MlpPolicy", env, seed=seed, **self.arguments())

    @staticmethod
    def load(policy_file: Path) -> OnPolicyAlgorithm:
        """Return the algorithm that was saved."""
        return PPO.load(policy_file, device="cpu")
