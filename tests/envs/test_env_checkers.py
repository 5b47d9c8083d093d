"""Every id passes the checkers of Gymnasium and stable-baselines3 without a warning, and works inside both."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

import nas_gym
from nas_gym.randomness import isolated_generators
from nas_gym.registration import CHAIN, TABLE_IDS, register

CHEAP = [
    *((env_id, {}) for env_id in nas_gym.IDS),
    (CHAIN, {"evaluator": "constant", "dataset": "digits", "hyperparameters": ("learning_rate", "weight_decay")}),
]
Cheaply = Callable[[str], dict[str, Any]]
TRAINING = ("nas_gym/Chain-Digits-v0", {"epochs": 1, "max_parameters": 2000})


@pytest.mark.parametrize(("env_id", "arguments"), [*CHEAP, TRAINING])
def test_both_checkers_find_nothing(env_id: str, arguments: dict[str, Any], cheaply: Cheaply) -> None:
    arguments = arguments or cheaply(env_id)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with isolated_generators(0):  # the checkers draw from global generators
            check_env(gym.make(env_id, **arguments).unwrapped)
            check_env_for_sb3(gym.make(env_id, **arguments))
            check_env_for_sb3(gym.make(env_id, **arguments).unwrapped, skip_render_check=False)
    assert [str(warning.message) for warning in found] == []


@pytest.mark.parametrize(("env_id", "arguments"), CHEAP)
def test_specification_survives_json(env_id: str, arguments: dict[str, Any], cheaply: Cheaply) -> None:
    name, value = ("noise", 0.01) if env_id in TABLE_IDS else ("max_layers", 3)
    env = gym.make(env_id, **(arguments or cheaply(env_id)), **{name: value})
    copied = EnvSpec.from_json(env.spec.to_json())
    assert json.loads(env.spec.to_json())["kwargs"][name] == value
    assert copied.make().unwrapped.space.name == env.unwrapped.space.name


@pytest.mark.parametrize("env_id", nas_gym.IDS)
def test_entry_points_are_strings_without_objects(env_id: str) -> None:
    spec = gym.spec(env_id)
    tabular = env_id in TABLE_IDS
    assert spec.entry_point == ("nas_gym_envs.tabular:make_table" if tabular else "nas_gym_envs.presets:make_chain")
    json.dumps(spec.kwargs)


def test_registering_twice_changes_nothing() -> None:
    before = dict(gym.registry)
    register()
    assert gym.registry == before


def test_synchronous_vector_environment() -> None:
    envs = gym.make_vec("nas_gym/Chain-Digits-v0", num_envs=3, vectorization_mode="sync", evaluator="hash")
    n = int(envs.single_action_space.n)
    generator = np.random.default_rng(0)
    observations, infos = envs.reset(seed=1)
    finished = 0
    for _ in range(200):
        assert infos["action_mask"].shape == (3, n)
        actions = [generator.choice(np.flatnonzero(mask)) if mask.any() else 0 for mask in infos["action_mask"]]
        observations, rewards, terminated, truncated, infos = envs.step(np.array(actions))
        assert observations in envs.observation_space
        assert rewards.dtype == np.float64
        assert not truncated.any()
        for index in np.flatnonzero(terminated):
            finished += 1
            assert rewards[index] == infos["evaluation"]["accuracy"][index] > 0
    assert finished > 30
    assert [mask.dtype for mask in envs.call("action_masks")] == [np.bool_] * 3
    envs.close()


def test_maskable_ppo_needs_no_help() -> None:
    with isolated_generators(0):
        env = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash")
        model = MaskablePPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu")
        model.learn(256)
        assert model.num_timesteps == 256
        assert all(episode["r"] > 0 for episode in model.ep_info_buffer), "no action was illegal"
        observation, info = env.reset()
        action, _ = model.predict(observation, action_masks=info["action_mask"])
        assert env.step(action)[4]["slot"] == 1


def test_ppo_without_masks_meets_the_penalty() -> None:
    with isolated_generators(0):
        env = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash")
        model = PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(128)
    assert min(episode["r"] for episode in model.ep_info_buffer) == -1


def test_metadata_and_spaces() -> None:
    env = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash").unwrapped
    assert env.metadata["render_modes"] == ["ansi", "rgb_array"]
    assert env.metadata["render_fps"] > 0
    assert isinstance(env.observation_space, gym.spaces.Box)
    assert env.observation_space.dtype == np.float32
    assert env.action_space.n == max(len(slot.choices) for slot in env.space.slots)
    assert env.render() is None
