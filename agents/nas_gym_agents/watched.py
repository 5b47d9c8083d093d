"""The wrapper through which a run hears of every episode."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym

from nas_gym.evaluation import Evaluation
from nas_gym_envs import ArchitectureEnv
from nas_gym_envs.late import Settled

Finished = Callable[[tuple[int, ...], tuple[int, ...], float, dict[str, Any], Evaluation | None], None]


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """Tells of every finished episode once its reward is known, whatever drives the environment."""

    def __init__(self, env: ArchitectureEnv, finished: Finished) -> None:
        super().__init__(env)
        self._env, self._finished = env, finished
        self._late: dict[int, tuple[tuple[int, ...], tuple[int, ...], float, dict[str, Any]]] = {}
        self._actions: list[int] = []
        self._slots: list[int] = []
        self._slot = -1
        self._reward = 0.0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode, perhaps after some decisions (`ArchitectureEnv.reset`)."""
        observation, info = super().reset(**options)
        self._actions, self._slots, self._slot, self._reward = [], [], info["slot"], 0.0
        env = self._env  # an episode may start after some decisions
        self._actions = list(env.prefix)
        self._slots = [env.space.next_slot(env.prefix[:i]) or 0 for i in range(len(env.prefix))]
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a decision, and tell of the episode if that ends it and its reward is not late."""
        observation, reward, terminated, truncated, info = super().step(action)
        if not info.get("budget_spent"):
            self._actions.append(int(action))
            self._slots.append(self._slot)
            self._slot, self._reward = info["slot"], self._reward + float(reward)
            if terminated or truncated:
                episode = tuple(self._actions), tuple(self._slots), self._reward, info
                if "ticket" in info:
                    self._late[info["ticket"]] = episode
                else:
                    self._finished(*episode, self._env.last_evaluation)
        return observation, reward, terminated, truncated, info

    def settle(self, leave: int = 0) -> Iterator[Settled]:
        """Yield late outcomes (`ArchitectureEnv.settle`), and tell of their episodes."""
        for settled in self._env.settle(leave):
            actions, slots, reward, info = self._late.pop(settled.ticket)
            self._finished(actions, slots, reward + settled.reward, info | settled.info, settled.evaluation)
            yield settled
