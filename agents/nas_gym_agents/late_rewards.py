"""PPO with rewards that arrive late: a rollout is submitted whole, its rewards are filled in before they are used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor

LATE_REWARD = "late_reward"  # in the info of a step, once its reward is there
Told = Callable[[float, dict[str, Any]], None]


@dataclass(frozen=True)
class _Waiting:
    """The last step of an episode whose reward is late."""

    row: int
    info: dict[str, Any]


class LateRewards(BaseCallback):
    """Fills in the rewards of a rollout when it is complete, before advantages are used; for on-policy algorithms.

    For environments with `ArchitectureEnv.late_rewards`. The policy does not change within a rollout, so that its
    decisions do not depend on rewards, and what is learned equals learning with rewards that come at once, to the last
    bit. Put it before other callbacks that read rewards. The info of a step gets what it would have had, and the
    reward as ``info["late_reward"]``. Wrappers that use rewards, such as `VecNormalize`, have seen zeros.

    Args:
        told: Called with the reward (as float32 holds it) and the info of every episode, in the order of the steps.
    """

    def __init__(self, told: Told | None = None) -> None:
        super().__init__()
        self._told = told
        self._waiting: dict[tuple[int, int], _Waiting] = {}

    def _on_step(self) -> bool:
        for i, info in enumerate(self.locals["infos"]):
            if "ticket" in info:
                self._waiting[i, info["ticket"]] = _Waiting(self.locals["n_steps"], info)
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        if self._settle(buffer.rewards):
            buffer.compute_returns_and_advantage(last_values=self._last_values(), dones=self.locals["dones"])

    def _on_training_end(self) -> None:
        """Wait for the rewards of a last, unfinished rollout, which nothing is learned from."""
        self._settle(None)

    def _last_values(self) -> torch.Tensor:
        """Return the values of the last observation; sb3-contrib's algorithms do not hand over what they computed."""
        policy: Any = self.model.policy
        seen = self.locals
        with torch.no_grad():
            observation = obs_as_tensor(seen["new_obs"], policy.device)
            if "lstm_states" not in seen:
                values: torch.Tensor = policy.predict_values(observation)
            else:  # RecurrentPPO: the state after the last step, forgotten where that ended an episode
                starts = torch.tensor(seen["dones"], dtype=torch.float32, device=policy.device)
                values = policy.predict_values(observation, seen["lstm_states"].vf, starts)
        return values

    def _settle(self, rewards: Any) -> bool:
        """Wait for all rewards; return whether there were any."""
        late = bool(self._waiting)
        told: list[tuple[int, int, float, dict[str, Any]]] = []
        for i in sorted({place for place, _ in self._waiting}):
            (outcomes,) = self.training_env.env_method("settle", indices=[i])
            for outcome in outcomes:
                waiting = self._waiting.pop((i, outcome.ticket))
                reward = float(np.float32(outcome.reward))  # what DummyVecEnv would have made of it
                if rewards is not None:
                    rewards[waiting.row, i] += reward
                info = waiting.info
                info.update(outcome.info, **{LATE_REWARD: reward})
                if "episode" in info:  # Monitor's, which stable-baselines3 keeps for its mean of rewards
                    info["episode"]["r"] = round(info["episode"]["r"] + outcome.reward, 6)
                told.append((waiting.row, i, reward, info))
        for _, _, reward, info in sorted(told, key=lambda one: one[:2]):
            if self._told is not None:
                self._told(reward, info)
        return late
