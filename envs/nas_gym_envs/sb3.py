"""The vector environment as stable-baselines3 has them: its own interface, lists of infos, reset in the same step."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from nas_gym.errors import ConfigurationError
from nas_gym_envs.vector_env import ArchitectureVectorEnv


class SB3VecEnv(VecEnv):
    """An `ArchitectureVectorEnv` for stable-baselines3's agents: equal to its `DummyVecEnv` over `ArchitectureEnv`.

    MaskablePPO of sb3-contrib finds the masks by itself. Whatever the vector environment's autoreset mode: here a
    sub-environment that ended starts anew in the same step, and its last observation is
    ``info["terminal_observation"]``.

    Args:
        env: The environment; from now on it is stepped by this one alone.

    Raises:
        ConfigurationError: It is no `ArchitectureVectorEnv`.
    """

    def __init__(self, env: ArchitectureVectorEnv) -> None:
        if not isinstance(env, ArchitectureVectorEnv):
            raise ConfigurationError(
                f"SB3VecEnv takes an ArchitectureVectorEnv, such as gymnasium.make_vec makes of our ids, got {env!r}"
            )
        self.env = env
        self.actions: NDArray[Any] = np.zeros(env.num_envs, dtype=np.int64)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = dict(env.metadata)

    def reset(self) -> VecEnvObs:
        """Start all episodes; observations: shape (n, …)."""
        episodes, every = self.env.episodes, np.arange(self.num_envs)
        self.env.reset(seed=self._seeds)
        for index, options in enumerate(self._options):
            if options and options.get("prefix") is not None:
                episodes.place(every == index, options["prefix"])
        self.reset_infos = self._infos()
        self._reset_seeds()
        self._reset_options()
        return episodes.observations()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self.actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take one decision in every sub-environment; those that end start anew."""
        episodes = self.env.episodes
        stepped = episodes.step(self.actions)
        infos = self._infos()
        observations = episodes.observations()
        ended = stepped.terminations | stepped.truncations
        for info, cut in zip(infos, stepped.truncations.tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        if stepped.any_ended:
            indices = np.flatnonzero(ended).tolist()
            for index in indices:
                told = {**infos[index], **episodes.ending(stepped, index)}
                told["TimeLimit.truncated"] = told.pop("TimeLimit.truncated")  # the order of DummyVecEnv
                infos[index] = {**told, "terminal_observation": observations[index].copy()}
            episodes.place(ended)
            observations = episodes.observations()
            started = self._infos(indices)
            for index, info in zip(indices, started, strict=True):
                self.reset_infos[index] = info
        return observations, stepped.rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of sub-environments; `action_masks` and `prefix` are their own, the rest is shared."""
        chosen = list(self._get_indices(indices))
        if attr_name == "action_masks":
            return [_Masks(self.env, index) for index in chosen]
        if attr_name == "prefix":
            prefixes = self.env.prefixes
            return [prefixes[index] for index in chosen]
        found = getattr(self.env, attr_name)
        return [found for _ in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all sub-environments, which share it.

        Raises:
            ConfigurationError: Only some of them are meant.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ConfigurationError(f"the sub-environments share {attr_name!r}: set it for all of them")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Return what a method of sub-environments returns."""
        if method_name == "action_masks":
            masks = self.env.action_masks()
            return [masks[index] for index in self._get_indices(indices)]
        return [method(*args, **kwargs) for method in self.get_attr(method_name, indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for every sub-environment: none has a wrapper."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return a drawing of every sub-environment: uint8, (height, width, 3)."""
        return list(self.env.render() or ())

    def _infos(self, indices: list[int] | None = None) -> list[dict[str, Any]]:
        """Return what sub-environments tell in every step, as dicts of their own."""
        masks, slots = self.env.episodes.int8_masks(), self.env.episodes.slots().tolist()
        chosen = range(self.num_envs) if indices is None else indices
        return [{"action_mask": masks[index].copy(), "slot": slots[index]} for index in chosen]


class _Masks:
    """The method `action_masks` of one sub-environment."""

    def __init__(self, env: ArchitectureVectorEnv, index: int) -> None:
        self._env, self._index = env, index

    def __call__(self) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = self._env.action_masks()[self._index]
        return mask
