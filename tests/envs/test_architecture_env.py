"""Stories: actions lead to observations, masks, rewards and failures."""

import json
import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from episodes import FAILED, CountingEvaluator, finish, play, same, tiny_env, tiny_space

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import ConstantEvaluator, SyntheticEvaluator
from nas_gym.evaluation.evaluation import DETERMINISTIC
from nas_gym.objective import accuracy
from nas_gym_envs import ArchitectureEnv

STOP = 3  # in the tiny space
COMPLETE = [0, 2, STOP, 1]  # relu, fully connected, stop, batch size 64


def test_a_whole_episode() -> None:
    env = tiny_env(ConstantEvaluator(0.75))
    observation, info = env.reset()
    slots = [info["slot"]]
    for action in COMPLETE[:-1]:
        observation, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (0.0, False, False)
        assert set(info) == {"action_mask", "slot"}
        slots.append(info["slot"])
    assert slots == [0, 1, 2, 4], "stop leaves the third layer out"
    observation, reward, terminated, truncated, info = env.step(COMPLETE[-1])
    assert (reward, terminated, truncated) == (0.75, True, False)
    assert info["actions"] == COMPLETE
    assert info["evaluation"]["key"] == env.space.candidate(tuple(COMPLETE)).key
    assert info["slot"] == -1
    assert not info["action_mask"].any()
    assert not env.action_masks().any()
    assert "failure" not in info
    decided = {name: int(observation[part].argmax()) - 1 for name, part in env.encoder.groups}
    assert decided == {"activation": 0, "layer 1": 2, "layer 2": STOP, "layer 3": -1, "batch size": 1}


def test_masks_agree_and_have_their_types(generator: random.Random) -> None:
    env = tiny_env()
    _, info = env.reset()
    for _ in range(200):
        assert info["action_mask"].dtype == np.int8
        assert info["action_mask"].shape == (env.action_space.n,)
        assert env.action_masks().dtype == np.bool_
        assert (env.action_masks() == info["action_mask"]).all()
        assert (info["action_mask"] == env.space.legal(env.prefix)).all()
        assert env.action_space.sample(mask=info["action_mask"]) in np.flatnonzero(info["action_mask"])
        _, _, over, _, info = env.step(generator.choice(np.flatnonzero(env.action_masks()).tolist()))
        if over:
            _, info = env.reset()


@pytest.mark.parametrize(
    "action", [-1, 4, 23, 2**62, -(10**30), pytest.param(10**5000, id="5001 digits"), np.int64(-1), np.uint8(250)]
)
@pytest.mark.parametrize("penalty", [-1.0, -0.25])
def test_illegal_action_ends_the_episode_with_a_typed_failure(action: Any, penalty: float) -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator, illegal_reward=penalty)
    before, _ = env.reset()
    observation, reward, terminated, truncated, info = env.step(action)  # only 0 and 1 are activations
    assert (reward, terminated, truncated) == (penalty, True, False)
    assert type(reward) is float
    assert info["failure"]["kind"] == "illegal_action"
    assert "'activation'" in info["failure"]["reason"]
    assert "[0, 1]" in info["failure"]["reason"]
    assert info["actions"] == ([int(action)] if abs(int(action)) < 2**63 else [])
    assert "evaluation" not in info
    assert info["slot"] == -1
    assert not info["action_mask"].any()
    assert (observation == before).all()
    assert evaluator.keys == []


@pytest.mark.parametrize("action", [None, "0", 0.0, float("nan"), np.array([0, 1]), np.array([0]), [0], object()])
def test_what_is_no_integer_is_an_illegal_action(action: Any) -> None:
    env = tiny_env()
    env.reset()
    env.step(1)
    _, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert info["actions"] == [1]
    assert "64-bit integer" in info["failure"]["reason"]
    json.dumps(info["failure"])


@pytest.mark.parametrize("integer", [int, np.int64, np.uint8, np.array])
def test_integers_of_every_kind_are_actions(integer: Any) -> None:
    env = tiny_env(ConstantEvaluator())
    env.reset()
    *_, last = play(env, [integer(action) for action in COMPLETE])
    assert last[2]
    assert last[4]["actions"] == COMPLETE
    assert all(type(action) is int for action in last[4]["actions"])


@pytest.mark.parametrize("actions", [COMPLETE, [0, 9]])
def test_steps_after_the_end_fail_until_the_next_reset(actions: list[int]) -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator)
    env.reset()
    play(env, actions)
    asked = len(evaluator.keys)
    for action in (0, 1, -1, 99):
        _, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (-1.0, True, False)
        assert info["failure"] == {"kind": "illegal_action", "reason": "the episode is over; call reset()"}
        assert info["slot"] == -1
    assert len(evaluator.keys) == asked
    _, info = env.reset()
    assert info["slot"] == 0
    assert play(env, COMPLETE)[-1][4]["evaluation"]["status"] == "ok"


@pytest.mark.parametrize("floor", [0.0, -3.5])
def test_failed_evaluation_gives_the_floor_and_the_reason(floor: float) -> None:
    env = ArchitectureEnv(tiny_space(), CountingEvaluator(**FAILED), accuracy(floor))
    env.reset()
    _, reward, terminated, truncated, info = play(env, COMPLETE)[-1]
    assert (reward, terminated, truncated) == (floor, True, False)
    assert info["failure"] == {"kind": "diverged", "reason": FAILED["reason"]}
    assert info["evaluation"]["status"] == "diverged"
    assert info["actions"] == COMPLETE


def test_reward_is_the_objective_as_a_float() -> None:
    class Doubled:
        floor = 0.0

        def __call__(self, evaluation: Any) -> Any:
            return np.float32(2 * evaluation.accuracy)

    env = ArchitectureEnv(tiny_space(), ConstantEvaluator(0.25), Doubled())
    env.reset()
    reward = play(env, COMPLETE)[-1][1]
    assert reward == 0.5
    assert type(reward) is float


def test_info_is_json_and_holds_no_measured_field(generator: random.Random) -> None:
    env = tiny_env(CountingEvaluator(train_seconds=3.0, latency_ms=1.0, device="cpu", versions="x", curve=(0.1, 0.2)))
    env.reset()
    info = finish(env, generator)[4]
    assert tuple(info["evaluation"]) == DETERMINISTIC
    assert not {"train_seconds", "cost_seconds", "latency_ms", "device", "versions"} & set(info["evaluation"])
    loaded = json.loads(json.dumps(info | {"action_mask": info["action_mask"].tolist()}))
    assert loaded["actions"] == info["actions"]


def test_slow_and_fast_evaluators_give_equal_infos(generator: random.Random) -> None:
    outcomes = []
    for seconds in (0.1, 5.0):
        env = tiny_env(CountingEvaluator(train_seconds=seconds, cost_seconds=seconds))
        env.reset()
        outcomes.append(play(env, COMPLETE))
    assert same(*outcomes)


def test_what_is_handed_out_is_fresh(generator: random.Random) -> None:
    """Ruin everything one environment returns: it must go on like the other one, and share no memory."""
    env, ruined = tiny_env(), tiny_env()
    seen: list[np.ndarray[Any, Any]] = []
    for _ in range(60):
        results: list[Any] = [env.reset(), ruined.reset()]
        while True:
            assert same(results[0], results[1])
            other, info = results[1][0], results[1][-1]
            arrays = [other, info["action_mask"], ruined.action_masks()]
            assert not any(np.shares_memory(new, old) for new in arrays for old in [*seen[-20:], *_internals(ruined)])
            assert not any(np.shares_memory(a, b) for a in arrays for b in arrays if a is not b)
            seen += arrays
            choices = np.flatnonzero(env.action_masks()).tolist()
            for array in arrays:
                array[...] = 1 - array
            for value in info.values():
                if isinstance(value, (list, dict)):
                    value.clear()
            if not choices:
                break
            action = generator.choice([*choices, -1] if generator.random() < 0.2 else choices)
            results = [env.step(action), ruined.step(action)]


def _internals(env: ArchitectureEnv) -> list[np.ndarray[Any, Any]]:
    return [value for value in vars(env).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize(
    "arguments", [{"render_mode": "human"}, {"illegal_reward": float("nan")}, {"illegal_reward": float("inf")}]
)
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        tiny_env(**arguments)


def test_rendering_follows_the_state() -> None:
    env = tiny_env(ConstantEvaluator(0.5), render_mode="ansi")
    env.reset()
    assert "next: activation" in str(env.render())
    play(env, COMPLETE)
    assert "validation accuracy 0.5000" in str(env.render())
    env.reset()
    assert "accuracy" not in str(env.render())


def test_hundred_thousand_random_unmasked_steps() -> None:
    env = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash", hyperparameters=("batch_size",)).unwrapped
    space, box = env.action_space, env.observation_space
    space.seed(0)
    env.reset(seed=0)
    kinds = {"running": 0, "evaluated": 0, "illegal_action": 0}
    for _ in range(100_000):
        observation, reward, terminated, truncated, info = env.step(space.sample())
        assert box.contains(observation)
        assert type(reward) is float
        assert -1 <= reward <= 1
        assert type(terminated) is bool
        assert truncated is False
        mask = info["action_mask"]
        assert mask.any() != terminated
        if terminated:
            kinds[info["failure"]["kind"] if "failure" in info else "evaluated"] += 1
            env.reset()
        else:
            kinds["running"] += 1
            assert reward == 0
    assert min(kinds.values()) > 50, kinds


def test_evaluator_sees_the_candidate_of_the_decisions(generator: random.Random) -> None:
    seen = []

    def remember(candidate: Any) -> float:
        seen.append(candidate)
        return 0.5

    env = tiny_env(SyntheticEvaluator(remember))
    for _ in range(20):
        env.reset()
        info = finish(env, generator)[4]
        assert seen[-1] == env.space.candidate(tuple(info["actions"]))
        assert info["evaluation"]["parameters"] == seen[-1].architecture.parameters
    assert len(seen) == 20
