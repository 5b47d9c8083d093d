"""Vector rewards: MO-Gymnasium's convention, and who refuses them."""

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from episodes import FAILED, CountingEvaluator, finish, tiny_env

from nas_gym.errors import ConfigurationError
from nas_gym.objective import Vector, named_objective
from nas_gym_envs import Budget, make_chain

OBJECTIVE = Vector(("accuracy", "macs", "parameters"))


def test_every_reward_is_a_vector_of_the_reward_space() -> None:
    env = tiny_env(objective=OBJECTIVE, budget=Budget(evaluations=1), illegal_reward=-3.0)
    assert isinstance(env.reward_space, gym.spaces.Box)
    assert env.reward_space.shape == (env.reward_dim,) == (3,)
    env.reset()
    _, first, *_ = env.step(int(np.flatnonzero(env.action_masks())[0]))
    _, illegal, *_ = env.step(99)
    env.reset()
    _, last, terminated, _, _ = finish(env, random.Random(0))
    assert terminated and env.last_evaluation is not None
    _, cut, _, truncated, _ = env.step(0)
    assert truncated
    for reward in (first, illegal, last, cut):
        assert isinstance(reward, np.ndarray) and reward.dtype == np.float32
        assert env.reward_space.contains(reward)
    assert np.array_equal(first, np.zeros(3)) and np.array_equal(cut, np.zeros(3))
    assert np.array_equal(illegal, np.full(3, -3.0))
    assert np.array_equal(last, OBJECTIVE(env.last_evaluation).astype(np.float32))
    first += 1
    env.reset()
    assert not env.step(int(np.flatnonzero(env.action_masks())[0]))[1].any(), "rewards are fresh arrays"


def test_a_failed_training_gives_the_vector_of_floors() -> None:
    env = tiny_env(CountingEvaluator(**FAILED), objective=OBJECTIVE)
    env.reset()
    _, reward, *_ = finish(env, random.Random(0))
    assert np.array_equal(reward, np.array(OBJECTIVE.floor, dtype=np.float32))


def test_scalar_rewards_stay_floats_and_have_no_reward_space() -> None:
    env = tiny_env(objective=named_objective("weighted:accuracy=1:macs=0.5"))
    env.reset()
    _, reward, *_ = finish(env, random.Random(0))
    assert type(reward) is float
    assert not hasattr(env, "reward_space") and not hasattr(env, "reward_dim")


def test_mo_gymnasiums_linear_scalarisation() -> None:
    reason = "needs mo-gymnasium (pip install mo-gymnasium)"
    mo_gymnasium: Any = pytest.importorskip("mo_gymnasium", reason=reason)
    weights, env = np.array([1.0, 0.2, 0.1]), tiny_env(objective=OBJECTIVE)
    wrapped = mo_gymnasium.wrappers.LinearReward(env, weight=weights)
    wrapped.reset()
    _, reward, _, _, info = finish(wrapped, random.Random(1))
    assert env.last_evaluation is not None
    assert reward == pytest.approx(float(np.dot(OBJECTIVE(env.last_evaluation), weights)), rel=1e-6)
    assert np.array_equal(info["vector_reward"], OBJECTIVE(env.last_evaluation).astype(np.float32))
    statistics = mo_gymnasium.wrappers.MORecordEpisodeStatistics(tiny_env(objective=OBJECTIVE))
    statistics.reset()
    *_, info = finish(statistics, random.Random(1))
    assert info["episode"]["r"].shape == (3,)


def test_a_preset_takes_the_name_of_an_objective() -> None:
    made: Any = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash", objective="soft-macs:1e5").unwrapped
    assert made.objective == named_objective("soft-macs:1e5")
    vector: Any = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash", objective="vector:accuracy:macs").unwrapped
    assert vector.reward_space.shape == (2,)
    with pytest.raises(ConfigurationError, match="soft-latency:MS"):
        make_chain(evaluator="hash", objective="speed")


def test_an_objective_of_the_latency_needs_it_measured() -> None:
    preset = "nas_gym/Chain-Digits-v0"
    for objective in ("soft-latency:5", "weighted:accuracy=1:latency_ms=0.1"):
        with pytest.raises(ConfigurationError, match="latency=true"):
            make_chain(preset=preset, objective=objective)
