"""Rewards that arrive late: searches with worker processes equal serial ones, element by element."""

import random
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO, RecurrentPPO
from searching import FRIENDLY
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import nas_gym
from nas_gym.evaluation import Evaluation, HashEvaluator
from nas_gym.explain.record import read_decisions
from nas_gym_agents import LateRewards, SearchSettings, Workers, play_all, search
from nas_gym_agents.agent import SearchAgent
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.registry import AGENTS, make_agent
from nas_gym_envs import ArchitectureEnv, Budget

SERIAL = {"local-search", "reinforce"}  # every episode depends on the reward of the one before
QUICK = {"epochs": 1, "max_macs": 60_000, "threads": 1, "first_per_class": 20}


class Scattered:
    """Answers as the wrapped evaluator, from other threads, after random times, in any order."""

    capacity = 5

    def __init__(self, evaluator: Any = None) -> None:
        self.inner = evaluator or HashEvaluator()
        self.most, self._open, self._lock = 0, 0, threading.Lock()

    @property
    def identity(self) -> str:
        return str(self.inner.identity)

    def submit(self, candidates: Any, **question: Any) -> list[Future[Any]]:
        futures: list[Future[Any]] = []
        for candidate in candidates:
            future: Future[Any] = Future()
            (known,) = self.inner.submit([candidate], **question)
            with self._lock:
                self._open += 1
                self.most = max(self.most, self._open)
            threading.Timer(random.Random(len(futures)).random() * 0.02, self._tell, (future, known.result())).start()
            futures.append(future)
        return futures

    def _tell(self, future: Future[Any], answer: Any) -> None:
        with self._lock:
            self._open -= 1
        future.set_result(answer)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows, but for what measures time."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    clocks = ("time/", "seconds", "overhead", "per_second")
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not any(word in tag for word in clocks)
    }


def assert_same_run(one: Path, other: Path) -> None:
    first, second = nas_gym.load(one), nas_gym.load(other)
    assert [e.to_json() for e in first.history] == [e.to_json() for e in second.history]
    assert_same_decisions(read_decisions(one / "decisions"), read_decisions(other / "decisions"))
    assert scalars(one) == scalars(other)
    if (one / "policy.zip").exists():
        weights = [MaskablePPO.load(run / "policy.zip", device="cpu").policy.state_dict() for run in (one, other)]
        assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def assert_same_decisions(first: Any, second: Any) -> None:
    assert len(first) == len(second) > 20
    for name in first.columns:
        if isinstance(first[name].iloc[0], np.ndarray):
            for a, b in zip(first[name], second[name], strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            assert first[name].equals(second[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["maskable-ppo", "genetic"])
def test_two_worker_processes_give_the_serial_run(agent: str, tmp_path: Path) -> None:
    arguments = {"n_steps": 24, "batch_size": 12, "n_epochs": 2} if agent == "maskable-ppo" else {"population": 6}
    settings = SearchSettings(agent=agent, agent_args=arguments, env_args=QUICK, evaluations=14, seed=3)
    serial = search(settings, tmp_path / "serial")
    spread = search(settings, tmp_path / "spread", workers=Workers(workers="2"))
    assert_same_run(tmp_path / "serial", tmp_path / "spread")
    for summary in (serial, spread):  # what is measured, and where it lies
        del (
            summary["seconds"],
            summary["explaining_seconds"],
            summary["run_dir"],
            summary["confirmation"]["cost_seconds"],
        )
    assert serial == spread


@pytest.mark.parametrize("agent", sorted(AGENTS))
@pytest.mark.parametrize("limits", [{"evaluations": 24}, {"unique": 15}, {"cost_seconds": 16.0}])
def test_late_rewards_change_nothing(agent: str, limits: dict[str, Any]) -> None:
    results: list[Any] = []
    frames: list[Any] = []
    spent: list[Any] = []
    for late in (False, True):
        env: Any = gym.make("nas_gym/Chain-Digits-v0", evaluator=Scattered(), budget=Budget(**limits)).unwrapped
        if agent == "recurrent-ppo":  # without masks, and too slow to learn them here
            env = ArchitectureEnv(FRIENDLY, env.evaluator, budget=env.budget)
        env.late_rewards = late
        recorder = DecisionRecorder(explain="none")
        results.append(small(agent).search(env, seed=1, recorder=recorder))
        frames.append(recorder.frame())
        assert (env.evaluator.most > 1) == (late and "cost_seconds" not in limits and agent not in SERIAL)
        assert env.budget.exhausted
        spent.append(dict(env.budget.spent))
    assert results[0] == results[1]
    assert spent[0] == spent[1]
    assert results[0].episodes >= 15
    assert_same_decisions(*frames)


def small(agent: str) -> SearchAgent:
    ppo = {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
    settings = {
        "genetic": {"population": 8},
        "tpe": {"at_once": 4},
        "model-ppo": {"proposals": 4, "updates": 2},
        "recurrent-ppo": {**ppo, "hidden": 16, "lstm": 16},
    }
    return make_agent(agent, settings.get(agent, ppo if agent.endswith("ppo") else {}))


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO, RecurrentPPO])
def test_the_callback_alone_with_two_environments(algorithm: Any) -> None:
    """As people use it without us: several sub-environments, and Monitor's mean of rewards."""
    found = []
    for late in (False, True):
        envs = [gym.make("nas_gym/Chain-Digits-v0", evaluator=Scattered()) for _ in range(2)]
        for env in envs:
            env.unwrapped.late_rewards = late
        model = algorithm(
            "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy",
            DummyVecEnv([lambda env=env: Monitor(env) for env in envs]),
            n_steps=16,
            batch_size=16,
            seed=0,
        )
        rewards: list[float] = []
        model.learn(64, callback=[LateRewards(lambda reward, info, told=rewards: told.append(reward))])
        means = [episode["r"] for episode in model.ep_info_buffer]
        found.append((model.policy.state_dict(), means, model.rollout_buffer.rewards.copy()))
        legal = [reward for reward in means if reward != -1]
        np.testing.assert_allclose(rewards, legal if late else [], atol=1e-6)
    assert all((found[0][0][name] == found[1][0][name]).all() for name in found[0][0])
    assert found[0][1] == found[1][1] and any(found[0][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_a_failed_training_among_the_late() -> None:
    class Failing(HashEvaluator):
        def _answer(self, candidate: Any, fidelity: Any, repeat: int) -> Any:
            return Evaluation(key=candidate.key, status="diverged", reason="told to")

    env: Any = gym.make(
        "nas_gym/Chain-Digits-v0", evaluator=Scattered(Failing()), budget=Budget(evaluations=5)
    ).unwrapped
    env.late_rewards = True
    rng = np.random.default_rng(0)
    played = list(play_all(env, [lambda slot, legal: int(rng.choice(np.flatnonzero(legal)))] * 9))
    assert [p.spent for p in played] == [False] * 5 + [True]
    assert all(p.info["failure"] == {"kind": "diverged", "reason": "told to"} for p in played[:-1])
    assert all("ticket" not in p.info for p in played)


def test_settling_tells_in_order_and_as_it_arrives() -> None:
    class Held:
        identity, capacity = "held", 9

        def __init__(self) -> None:
            self.futures: list[Future[Any]] = []

        def submit(self, candidates: Any, **_: Any) -> list[Future[Any]]:
            self.futures += (new := [Future() for _ in candidates])
            return new

    held = Held()
    env = ArchitectureEnv(gym.make("nas_gym/Chain-Digits-v0", evaluator="hash").unwrapped.space, held)
    env.late_rewards = True
    tickets = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        env.reset()
        ended = False
        while not ended:
            _, reward, ended, _, info = env.step(rng.choice(np.flatnonzero(env.action_masks())))
        assert reward == 0 and "evaluation" not in info and "failure" not in info
        tickets.append(info["ticket"])
    answers = HashEvaluator()
    candidate = env.space.candidate(env.prefix)
    (told,) = answers.submit([candidate])
    for number in (1, 0, 2):
        held.futures[number].set_result(told.result())
    started = time.monotonic()
    settled = list(env.settle(leave=2))
    assert [one.ticket for one in settled] == tickets[:3]  # the third was there already
    assert all(one.reward == told.result().accuracy for one in settled)
    assert list(env.settle(leave=1)) == [] and time.monotonic() - started < 5  # nothing to wait for
    held.futures[3].set_result(told.result())
    assert [one.ticket for one in env.settle()] == tickets[3:]
