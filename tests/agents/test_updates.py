"""The ledger of updates: replayed, it gives every policy there was, bit for bit."""

import random
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import RunError
from nas_gym.evaluation import HashEvaluator
from nas_gym.explain.record import DecisionLog
from nas_gym.spaces import AveragePool, ChainSpace, Convolution, Dropout, FullyConnected, Limits, MaxPool
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.ppo import PPOSearch
from nas_gym_agents.random_search import RandomSearch
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.replay import first_difference, log_probs, policy_at, replay, start
from nas_gym_agents.updates import NOTE, START, UPDATES, Update, UpdateLedger, packed, read_updates, unpacked

SMALL = (Convolution(8), Convolution(16, stride=2), MaxPool(), AveragePool(), Dropout(0.2), FullyConnected(16))
QUICK = {"n_steps": 32, "batch_size": 16}


def make_env(evaluations: int | None = None) -> ArchitectureEnv:
    space = ChainSpace((1, 8, 8), 10, catalogue=SMALL, max_layers=3, limits=Limits(resolution=2))
    budget = None if evaluations is None else Budget(evaluations=evaluations)
    return ArchitectureEnv(space, HashEvaluator(), budget=budget)


def assert_same_policy(one: Any, other: Any) -> None:
    for name, value in one.policy.state_dict().items():
        assert torch.equal(value, other.policy.state_dict()[name]), name
    states = one.policy.optimizer.state_dict()["state"], other.policy.optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys() and states[0]
    for place, state in states[0].items():
        assert all(torch.equal(value, states[1][place][name]) for name, value in state.items())


@pytest.mark.parametrize("agent", [MaskablePPOSearch(**QUICK), PPOSearch(**QUICK)], ids=lambda agent: agent.name)
def test_the_replay_ends_in_the_saved_policy_bit_for_bit(agent: Any, tmp_path: Path) -> None:
    recorder = DecisionRecorder(tmp_path / "decisions", explain="none")
    found = agent.search(make_env(40), seed=3, recorder=recorder, policy_file=lambda: tmp_path / "policy.zip")
    updates = read_updates(tmp_path / "decisions" / UPDATES)
    assert len(updates) == found.updates > 3
    assert_same_policy(policy_at(updates, len(updates)), agent.load(tmp_path / "policy.zip"))
    assert first_difference(updates) is None


def test_every_version_is_the_policy_that_acted() -> None:
    recorder = DecisionRecorder(explain="none")
    MaskablePPOSearch(**QUICK).search(make_env(40), seed=0, recorder=recorder)
    updates, frame = recorder.ledger.read(), recorder.frame().set_index("global_step")
    for (version, model), update in zip(replay(updates), updates, strict=False):
        np.testing.assert_allclose(log_probs(model, update), update.rows["log_probs"], atol=1e-6)
        rows = frame.loc[update.global_steps.reshape(-1)]
        assert set(rows["policy_version"]) == {version} == {update.version}
        np.testing.assert_array_equal(rows["action"], update.rows["actions"].reshape(-1))
        np.testing.assert_allclose(rows["advantage"], update.rows["advantages"].reshape(-1))
        np.testing.assert_allclose(rows["logp"], update.rows["log_probs"].reshape(-1))
    early, late = (log_probs(policy_at(updates, version), updates[1]) for version in (0, 1))
    assert np.abs(early - late).max() > 1e-3, "an update changes the policy"


def test_a_search_in_memory_and_one_in_files_keep_the_same(tmp_path: Path) -> None:
    kept = []
    for folder in (None, tmp_path):
        recorder = DecisionRecorder(folder, explain="none")
        PPOSearch(**QUICK).search(make_env(25), seed=1, recorder=recorder)
        kept.append(recorder.ledger.read())
    assert len(kept[0]) == len(kept[1]) > 1
    for one, other in zip(*kept, strict=True):
        assert_equal(one, other)


def assert_equal(one: Update, other: Update) -> None:
    for f in fields(Update):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if f.name == "rows":
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
                assert a[name].dtype == b[name].dtype
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scale", [1.0, 0.37, -1.0, 300.0])
def test_any_observations_come_back_as_they_were(scale: float, tmp_path: Path) -> None:
    recorder = DecisionRecorder(explain="none")
    MaskablePPOSearch(**QUICK).search(make_env(15), seed=1, recorder=recorder)
    update = recorder.ledger.read()[0]
    seen = update.rows["observations"]
    update = replace(update, rows=update.rows | {"observations": (scale * seen).astype(seen.dtype)})
    (tmp_path / "update.npz").write_bytes(packed(update))
    assert_equal(update, unpacked(tmp_path / "update.npz"))


def test_schedules_replay_too() -> None:
    recorder = DecisionRecorder(explain="none")
    falling: Any = {"learning_rate": lambda left: 0.01 * left, "clip_range": lambda left: 0.1 + 0.2 * left}
    model = MaskablePPO("MlpPolicy", make_env(), n_steps=16, batch_size=8, n_epochs=2, seed=0, device="cpu", **falling)
    model.learn(80, callback=recorder)
    updates = recorder.ledger.read()
    np.testing.assert_allclose([update.progress for update in updates], [0.8, 0.6, 0.4, 0.2, 0.0], atol=1e-12)
    assert_same_policy(policy_at(updates, len(updates)), model)


def test_several_environments_and_several_calls_of_learn() -> None:
    recorder = DecisionRecorder(explain="none")
    model = PPO("MlpPolicy", DummyVecEnv([make_env] * 3), n_steps=8, batch_size=8, n_epochs=2, seed=0, device="cpu")
    model.learn(48, callback=recorder)
    model.learn(48, callback=recorder)
    updates, frame = recorder.ledger.read(), recorder.frame().set_index("global_step")
    assert len(updates) == 4
    assert_same_policy(policy_at(updates, 4), model)
    for update in updates:
        for env in range(3):
            rows = frame.loc[update.global_steps[:, env]]
            assert set(rows["env_index"]) == {env}
            np.testing.assert_array_equal(rows["action"], update.rows["actions"][:, env, 0])


def test_a_policy_that_was_changed_between_two_calls_of_learn_is_not_replayed() -> None:
    recorder = DecisionRecorder(explain="none")
    model = PPO("MlpPolicy", make_env(), n_steps=16, batch_size=8, n_epochs=1, device="cpu")
    model.learn(16, callback=recorder)
    with torch.no_grad():
        model.policy.action_net.bias += 1
    model.learn(16, callback=recorder)
    with pytest.raises(RunError, match="changed between two calls"):
        recorder.ledger.read()


def generators() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_replaying_leaves_the_global_generators_and_threads_alone() -> None:
    recorder = DecisionRecorder(explain="none")
    MaskablePPOSearch(**QUICK).search(make_env(25), seed=1, recorder=recorder)
    updates = recorder.ledger.read()
    before = generators()
    try:
        torch.set_num_threads(2)
        for _ in replay(updates):
            assert generators() == before and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_folder_may_move_during_a_search(tmp_path: Path) -> None:
    class Moving(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps == 32:
                shutil.move(tmp_path / "first", tmp_path / "second")
                log.folder = tmp_path / "second"

    log = DecisionLog(tmp_path / "first")
    recorder = DecisionRecorder(log=log, explain="none")
    model = PPO("MlpPolicy", make_env(), n_steps=16, batch_size=8, n_epochs=1, seed=0, device="cpu")
    model.learn(64, callback=[recorder, Moving()])
    assert not (tmp_path / "first").exists()
    updates = read_updates(tmp_path / "second" / UPDATES)
    assert_same_policy(policy_at(updates, 4), model)


class Unsaved(PPO):
    """Can't be saved; and is not the class itself."""


def refused(model: Any, tmp_path: Path) -> str:
    recorder = DecisionRecorder(tmp_path, explain="none")
    model.learn(32, callback=recorder)
    with pytest.raises(RunError) as caught:
        read_updates(tmp_path / UPDATES)
    assert (tmp_path / UPDATES / NOTE).is_file() and not list((tmp_path / UPDATES).glob("update-*"))
    return str(caught.value)


def test_what_can_not_be_kept_is_said_and_disturbs_no_training(tmp_path: Path) -> None:
    settings: Any = {"env": make_env(), "n_steps": 16, "batch_size": 8, "n_epochs": 1, "device": "cpu"}
    recurrent = RecurrentPPO("MlpLstmPolicy", **settings)
    assert "not of RecurrentPPO" in refused(recurrent, tmp_path / "a")
    assert "not of Unsaved" in refused(Unsaved("MlpPolicy", **settings), tmp_path / "b")
    unpicklable = PPO("MlpPolicy", **settings)
    unpicklable.mine = (one for one in ())  # type: ignore[attr-defined]
    assert "can't be saved (TypeError" in refused(unpicklable, tmp_path / "c")


class Named(gym.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Dict({"all": env.observation_space})

    def observation(self, observation: Any) -> Any:
        return {"all": observation}


def test_observations_in_dictionaries_are_not_kept(tmp_path: Path) -> None:
    model = PPO("MultiInputPolicy", Named(make_env()), n_steps=16, batch_size=8, n_epochs=1, device="cpu")
    assert "not dictionaries" in refused(model, tmp_path)


def test_damage_and_absence_are_one_sentence(tmp_path: Path) -> None:
    recorder = DecisionRecorder(tmp_path, explain="none")
    MaskablePPOSearch(**QUICK).search(make_env(30), seed=1, recorder=recorder)
    folder = tmp_path / UPDATES
    updates = read_updates(folder)
    with pytest.raises(RunError, match=f"versions of this policy are 0 to {len(updates)}, got 99"):
        policy_at(updates, 99)
    (folder / "update-000001.npz").write_bytes((folder / "update-000001.npz").read_bytes()[:500])
    with pytest.raises(RunError, match="damaged"):
        read_updates(folder)[1]
    (folder / "update-000001.npz").unlink()
    with pytest.raises(RunError, match="gaps"):
        read_updates(folder)
    (folder / START).write_bytes(b"no archive")
    for left in folder.glob("update-*.npz"):
        if left.name != "update-000000.npz":
            left.unlink()
    with pytest.raises(RunError, match="before the first update is damaged"):
        start(read_updates(folder))
    with pytest.raises(RunError, match="no updates of a policy"):
        read_updates(tmp_path / "elsewhere")


def test_a_search_without_an_update_says_so() -> None:
    recorder = DecisionRecorder(explain="none")
    MaskablePPOSearch(**QUICK).search(make_env(2), seed=1, recorder=recorder)
    with pytest.raises(RunError, match="before its first update"):
        start(recorder.ledger.read())
    random_search = DecisionRecorder()
    RandomSearch().search(make_env(2), seed=0, recorder=random_search)
    with pytest.raises(RunError, match="no policy has been taught"):
        random_search.ledger.read()


def test_a_ledger_that_begins_again_in_a_folder_forgets_what_was_there(tmp_path: Path) -> None:
    (tmp_path / UPDATES).mkdir()
    (tmp_path / UPDATES / "update-000007.npz").touch()
    ledger = UpdateLedger(DecisionLog(tmp_path))
    ledger.begin(PPO("MlpPolicy", make_env(), n_steps=16, batch_size=8, device="cpu"))
    assert len(read_updates(tmp_path / UPDATES)) == 0
