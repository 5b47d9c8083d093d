"""The state is the prefix: saving, restoring, forking and replaying it."""

import json
import random
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from episodes import play, same, tiny_env

import nas_gym
from nas_gym.errors import OutOfSpaceError
from nas_gym.evaluation import ConstantEvaluator

STOP = 3  # in the tiny space
COMPLETE = [0, 2, STOP, 1]  # relu, fully connected, stop, batch size 64


@pytest.mark.parametrize("env_id", nas_gym.IDS)
def test_seeded_rollouts_are_equal(env_id: str, cheaply: Callable[[str], dict[str, Any]]) -> None:
    rollouts = []
    for _ in range(2):
        env = gym.make(env_id, **cheaply(env_id))
        env.action_space.seed(5)
        rollout: list[Any] = [env.reset(seed=7)]
        for _ in range(60):
            outcome = env.step(env.action_space.sample())
            rollout.append(outcome)
            if outcome[2]:
                rollout.append(env.reset())
        rollouts.append(rollout)
    assert same(*rollouts)


def test_fork_and_replay(generator: random.Random) -> None:
    """Save the state somewhere, restore it in another environment: the future is the same, bit for bit."""
    arguments: dict[str, Any] = {"evaluator": "hash", "hyperparameters": ("learning_rate", "weight_decay")}
    env = gym.make("nas_gym/Chain-Digits-v0", **arguments)
    other = gym.make("nas_gym/Chain-Digits-v0", **arguments)
    other.reset()
    for _ in range(100):
        start, _ = env.reset()
        path, depth = [], generator.randrange(12)
        saved = env.unwrapped.prefix
        while env.unwrapped.action_masks().any():
            if len(path) == depth:
                saved = env.unwrapped.prefix
            action = generator.choice(np.flatnonzero(env.unwrapped.action_masks()).tolist())
            path.append((action, env.step(action)))
        past, future = path[: len(saved)], path[len(saved) :]
        at_fork = past[-1][1] if past else (start, 0.0, False, False, {})
        other.unwrapped.prefix = json.loads(json.dumps(saved))
        assert other.unwrapped.prefix == saved
        assert (other.unwrapped.action_masks() == env.unwrapped.space.legal(saved)).all()
        assert same([other.step(action) for action, _ in future], [outcome for _, outcome in future])
        observation, info = other.reset(options={"prefix": saved})
        assert same(observation, at_fork[0])
        if past:
            assert same(info, at_fork[4])
        assert same([other.step(action) for action, _ in future], [outcome for _, outcome in future])


def test_restoring_reopens_an_episode_and_forgets_the_result() -> None:
    env = tiny_env(ConstantEvaluator(0.5))
    env.reset()
    play(env, COMPLETE)
    assert env.last_evaluation is not None
    env.prefix = COMPLETE[:2]
    assert env.last_evaluation is None
    env.step(99)
    env.prefix = env.prefix
    assert env.action_masks()[STOP]
    assert play(env, COMPLETE[2:])[-1][1] == 0.5


@pytest.mark.parametrize("prefix", [np.array([0, 2]), [np.int64(0), 2], (0, 2), iter([0, 2])])
def test_prefixes_of_every_kind(prefix: Any) -> None:
    env = tiny_env()
    _, info = env.reset(options={"prefix": prefix})
    assert env.prefix == (0, 2)
    assert all(type(action) is int for action in env.prefix)
    assert info["slot"] == 2


@pytest.mark.parametrize("options", [None, {}, {"prefix": None}, {"prefix": ()}, {"prefix": np.array([], int)}])
def test_an_empty_prefix_starts_at_the_beginning(options: Any) -> None:
    env = tiny_env()
    observation, info = env.reset(options=options)
    assert info["slot"] == 0
    assert (observation == env.encoder.encode(())).all()


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([2], "activation"),
        ([-1], "activation"),
        ([0, 2, 0], "layer 2"),
        ([0, 2**70], "layer 1"),
        (COMPLETE, "complete"),
        ([*COMPLETE, 0], "complete"),
        ([0.0, 2], "integers"),
        ("02", "integers"),
        (7, "integers"),
    ],
)
def test_a_bad_prefix_is_refused_and_the_environment_stays_usable(prefix: Any, message: str) -> None:
    env = tiny_env(ConstantEvaluator(0.5))
    env.reset()
    play(env, COMPLETE[:2])
    for restore in (lambda: env.reset(options={"prefix": prefix}), lambda: setattr(env, "prefix", prefix)):
        with pytest.raises(OutOfSpaceError, match=message):
            restore()
        assert env.prefix == tuple(COMPLETE[:2])
    assert play(env, COMPLETE[2:])[-1][1] == 0.5
    _, info = env.reset()
    assert info["slot"] == 0
