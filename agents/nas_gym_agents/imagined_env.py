"""Imagined episodes: the decisions of an environment, with rewards that a model gives; no budget is spent."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from nas_gym.spaces import Prefix
from nas_gym_agents.agent import Mask
from nas_gym_agents.decision_process import DecisionProcess

Judge = Callable[[Sequence[Prefix]], NDArray[np.float64]]


class ImaginedVecEnv(VecEnv):
    """Many imagined episodes side by side, for stable-baselines3, with exact masks.

    Observations are those of `nas_gym_envs.encoding.OneHot`: a block for each slot, whose first place is "undecided".
    The episodes that end in one step are judged together.

    Args:
        process: The decisions.
        judge: From complete prefixes to their rewards.
        num_envs: Episodes at once.
    """

    def __init__(self, process: DecisionProcess, judge: Judge, num_envs: int) -> None:
        self._process, self.judge, self.slot_sizes = process, judge, process.slot_sizes
        sizes = [1 + size for size in process.slot_sizes]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._empty = np.zeros(sum(sizes), dtype=np.float32)
        self._empty[self._starts] = 1.0
        box = gym.spaces.Box(0.0, 1.0, self._empty.shape, np.float32)
        self.render_mode = None
        super().__init__(num_envs, box, gym.spaces.Discrete(process.n_actions))
        self._actions: NDArray[np.int64] = np.zeros(num_envs, dtype=np.int64)
        self.reset()

    def reset(self) -> VecEnvObs:
        """Start all episodes."""
        self._prefixes: list[Prefix] = [()] * self.num_envs
        self._observations = np.tile(self._empty, (self.num_envs, 1))
        first = self._start()
        self._slots = np.full(self.num_envs, first[0])
        self._masks = np.tile(first[1], (self.num_envs, 1))
        return self._observations.copy()

    def _start(self) -> tuple[int, Mask]:
        state = self._process.state(())
        assert state is not None, "an episode has at least one decision"
        return state

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take note of the actions."""
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> VecEnvStepReturn:
        """Take them; episodes that end are judged and start again."""
        actions = self._actions
        everyone, blocks = np.arange(self.num_envs), self._starts[self._slots]
        self._observations[everyone, blocks] = 0.0
        self._observations[everyone, blocks + 1 + actions] = 1.0
        rewards, dones = np.zeros(self.num_envs, dtype=np.float32), np.zeros(self.num_envs, dtype=bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i, action in enumerate(actions.tolist()):
            self._prefixes[i] = (*self._prefixes[i], action)
            state = self._process.state(self._prefixes[i])
            if state is None:
                dones[i] = True
                continue
            self._slots[i], self._masks[i] = state
        ended = np.flatnonzero(dones)
        if len(ended):
            rewards[ended] = self.judge([self._prefixes[i] for i in ended])
            self._restart(ended, infos)
        return self._observations.copy(), rewards, dones, infos

    def _restart(self, ended: NDArray[np.intp], infos: list[dict[str, Any]]) -> None:
        first = self._start()
        for i in ended:
            infos[i]["terminal_observation"] = self._observations[i].copy()
            self._prefixes[i] = ()
        self._observations[ended] = self._empty
        self._slots[ended], self._masks[ended] = first

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the masks: bool, (episodes, actions)."""
        return self._masks.copy()

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Return the masks, one by one: the only method there is."""
        if method_name != "action_masks":
            raise AttributeError(f"imagined episodes have no method {method_name!r}")
        return [self._masks[i].copy() for i in self._get_indices(indices)]

    def has_attr(self, attr_name: str) -> bool:
        """Return whether there is such an attribute."""
        return attr_name in ("action_masks", "render_mode")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute, for every episode the same."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: episodes have no attributes of their own."""
        raise AttributeError(f"imagined episodes have no attribute {attr_name!r} to set")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Return False for every episode."""
        return [False for _ in self._get_indices(indices)]

    def close(self) -> None:
        """Do nothing."""
