"""The recorder: every decision the environment saw, with attributions that oracles confirm."""

import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import HashEvaluator
from nas_gym.explain import read_decisions, read_header, unpack_mask
from nas_gym.explain.record import BASELINES, EXPLAINERS, FORCED, ILLEGAL, UNEXPLAINED, UNFINISHED
from nas_gym.spaces import (
    AveragePool,
    CategoricalSpace,
    ChainSpace,
    Convolution,
    Dropout,
    FullyConnected,
    Limits,
    MaxPool,
    SearchSpace,
)
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.ppo import PPOSearch
from nas_gym_agents.random_search import RandomSearch
from nas_gym_agents.recorder import DecisionRecorder

SMALL = (Convolution(8), Convolution(16, stride=2), MaxPool(), AveragePool(), Dropout(0.2), FullyConnected(16))


def make_space(max_layers: int = 5, **options: Any) -> ChainSpace:
    return ChainSpace((1, 8, 8), 10, catalogue=SMALL, max_layers=max_layers, limits=Limits(resolution=2), **options)


class Spy(gym.Wrapper[Any, Any, Any, Any]):
    """Notes what the environment itself saw."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.seen: list[tuple[tuple[int, ...], int]] = []
        self.outcomes: list[float] = []

    def step(self, action: Any) -> Any:
        env = self.env.unwrapped
        assert isinstance(env, ArchitectureEnv)
        before = env.prefix
        result = self.env.step(action)
        if not result[4].get("budget_spent"):
            self.seen.append((before, int(action)))
            if result[2]:
                self.outcomes.append(float(result[1]))
        return result


def make_env(evaluations: int | None = None, space: SearchSpace | None = None) -> Spy:
    budget = None if evaluations is None else Budget(evaluations=evaluations)
    return Spy(ArchitectureEnv(space or make_space(), HashEvaluator(), budget=budget))


def assert_log_equals_what_the_environment_saw(frame: pd.DataFrame, env: Spy) -> None:
    inner = env.unwrapped
    assert isinstance(inner, ArchitectureEnv)
    space = inner.space
    assert len(frame) == len(env.seen)
    ordered = frame.sort_values("global_step")
    for row, (prefix, action) in zip(ordered.to_dict("records"), env.seen, strict=True):
        assert row["action"] == action
        packed = np.zeros(len(space.slots), dtype=int)
        for position, earlier in enumerate(prefix):
            packed[space.next_slot(prefix[:position])] = 1 + earlier
        np.testing.assert_array_equal(row["observation"], packed)
        assert row["slot"] == space.next_slot(prefix)
        assert row["step"] == len(prefix)


@pytest.mark.parametrize("evaluations", [1, 7, 30])
def test_masked_search_logs_every_decision_the_unfinished_rollout_included(evaluations: int) -> None:
    env, recorder = make_env(evaluations), DecisionRecorder()
    MaskablePPOSearch(n_steps=32).search(env, seed=1, recorder=recorder)
    frame = recorder.frame()
    assert_log_equals_what_the_environment_saw(frame, env)
    assert frame["episode"].nunique() == evaluations
    np.testing.assert_allclose(frame.groupby("episode")["reward"].first(), env.outcomes, rtol=1e-6)
    assert not (frame["flags"] & (ILLEGAL | UNFINISHED | UNEXPLAINED)).any()


def test_unmasked_search_logs_illegal_decisions_too() -> None:
    env, recorder = make_env(20), DecisionRecorder()
    PPOSearch(n_steps=32).search(env, seed=1, recorder=recorder)
    frame = recorder.frame()
    assert_log_equals_what_the_environment_saw(frame, env)
    assert (frame["flags"] & ILLEGAL).any()
    assert set(frame.loc[(frame["flags"] & ILLEGAL) > 0, "reward"]) == {-1.0}
    assert frame["key"].isna().equals(frame["reward"] == -1.0)


def test_random_search_logs_the_same_record_without_policy_fields() -> None:
    env, recorder = make_env(20), DecisionRecorder()
    RandomSearch().search(env, seed=1, recorder=recorder)
    frame = recorder.frame()
    assert_log_equals_what_the_environment_saw(frame, env)
    for column in ("logp", "phi0", "phi", "probabilities", "entropy", "value", "advantage"):
        assert frame[column].isna().all()
    assert (frame["flags"] & UNEXPLAINED).all()


def test_a_user_needs_nothing_but_the_callback(tmp_path: Path) -> None:
    env = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash")
    recorder = DecisionRecorder(tmp_path / "decisions")
    MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=16, n_epochs=1).learn(100, callback=recorder)
    frame = read_decisions(tmp_path / "decisions")
    assert len(frame) == 128
    assert read_header(tmp_path / "decisions").note == ""
    assert frame["residual"].max() < 1e-5
    assert frame["logp_error"].max() < 1e-4
    unfinished = frame[(frame["flags"] & UNFINISHED) > 0]
    assert unfinished["reward"].isna().all()
    assert unfinished["episode"].nunique() <= 1


def test_several_environments_and_several_calls_of_learn() -> None:
    spies = [make_env() for _ in range(3)]
    recorder = DecisionRecorder()
    model = MaskablePPO("MlpPolicy", DummyVecEnv([lambda spy=s: spy for s in spies]), n_steps=16, batch_size=16)
    model.learn(96, callback=recorder)
    model.learn(96, callback=recorder)
    frame = recorder.frame()
    for index, spy in enumerate(spies):
        one = frame[frame["env_index"] == index].sort_values("global_step")
        assert list(one["action"]) == [action for _, action in spy.seen]
    finished = frame[(frame["flags"] & UNFINISHED) == 0]
    assert all(len(rows["env_index"].unique()) == 1 for _, rows in frame.groupby("episode"))
    assert all(list(rows["step"]) == list(range(len(rows))) for _, rows in finished.groupby("episode"))
    assert frame.groupby("episode")["flags"].nunique().max() <= 2
    first = frame[frame["step"] == 0]
    assert (first["slot"] == 0).all(), "the second call of learn begins with the first slot again"


def test_a_log_is_never_mixed_with_another(tmp_path: Path) -> None:
    RandomSearch().search(make_env(3), seed=0, recorder=DecisionRecorder(tmp_path / "decisions"))
    with pytest.raises(ConfigurationError, match="already"):
        DecisionRecorder(tmp_path / "decisions")


def test_rewards_are_logged_as_the_environment_gave_them() -> None:
    env, recorder = make_env(), DecisionRecorder()
    venv = VecNormalize(DummyVecEnv([lambda: env]), norm_obs=False)
    MaskablePPO("MlpPolicy", venv, n_steps=32, batch_size=16).learn(32, callback=recorder)
    frame = recorder.frame()
    finished = frame[(frame["flags"] & UNFINISHED) == 0]
    np.testing.assert_allclose(finished.groupby("episode")["reward"].first(), env.outcomes, rtol=1e-6)
    assert finished["phi"].notna().all()


class Oracle(BaseCallback):
    """Explains the rollout a second time, slowly, with the same weights: shap's exact explainer on group switches."""

    def __init__(self, space: ChainSpace) -> None:
        super().__init__()
        env = ArchitectureEnv(space, HashEvaluator())
        self.groups, self.empty = env.encoder.groups, env.encoder.encode(())
        self.phi: list[NDArray[np.float64]] = []
        self.phi0: list[float] = []
        self.logp: list[float] = []
        self.advantages: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        import shap

        buffer = self.model.rollout_buffer
        rows = zip(buffer.observations[:, 0], buffer.actions[:, 0, 0], buffer.action_masks, strict=True)
        for observation, action, mask in rows:

            def value(switches: NDArray[Any], o: Any = observation, a: Any = action, m: Any = mask) -> Any:
                mixed = np.repeat(self.empty[None], len(switches), axis=0)
                for column, (_, part) in enumerate(self.groups):
                    on = switches[:, column] > 0.5
                    mixed[on, part] = o[part]
                with torch.no_grad():
                    tensor = torch.as_tensor(mixed)
                    masks = np.repeat(m.reshape(1, -1), len(switches), axis=0)
                    distribution = self.model.policy.get_distribution(tensor, action_masks=masks)
                    chosen = torch.full((len(switches),), int(a))
                    return distribution.log_prob(chosen).double().numpy()

            explainer = shap.explainers.ExactExplainer(value, np.zeros((1, len(self.groups))))
            found = explainer(np.ones((1, len(self.groups))))
            self.phi.append(found.values[0])
            self.phi0.append(float(value(np.zeros((1, len(self.groups))))[0]))
        self.logp += buffer.log_probs.reshape(-1).tolist()
        self.advantages += buffer.advantages.reshape(-1).tolist()


def test_attributions_equal_shaps_exact_explainer_at_every_decision() -> None:
    space = make_space(4)
    recorder, oracle = DecisionRecorder(), Oracle(space)
    model = MaskablePPO("MlpPolicy", make_env(space=space), n_steps=24, batch_size=12, learning_rate=0.01, seed=0)
    model.learn(72, callback=[recorder, oracle])
    frame = recorder.frame().sort_values("global_step")
    np.testing.assert_allclose(np.stack(list(frame["phi"])), np.stack(oracle.phi), atol=1e-5)
    np.testing.assert_allclose(frame["phi0"], oracle.phi0, atol=1e-5)
    np.testing.assert_allclose(frame["logp"], oracle.logp, atol=1e-6)
    np.testing.assert_allclose(frame["advantage"], oracle.advantages, atol=1e-6)
    assert np.abs(np.stack(list(frame["phi"]))).max() > 0.01, "the policy has learned to look at earlier decisions"


def test_the_log_probability_splits_into_uniform_prior_and_attributions() -> None:
    recorder = DecisionRecorder()
    MaskablePPOSearch(n_steps=32, learning_rate=0.01).search(make_env(40), seed=2, recorder=recorder)
    frame = recorder.frame()
    total = frame["log_uniform"] + (frame["phi0"] - frame["log_uniform"]) + frame["phi"].map(np.sum)
    np.testing.assert_allclose(total, frame["logp"], atol=1e-5)
    np.testing.assert_allclose(frame["log_uniform"], -np.log(frame["n_valid"]), atol=1e-6)
    header = recorder.log.header
    for row in frame.to_dict("records"):
        legal = unpack_mask(row["mask"], header.n_actions)
        assert legal.sum() == row["n_valid"] and legal[row["action"]]
        probabilities = np.asarray(row["probabilities"], dtype=float)
        assert probabilities[~legal].max(initial=0) == 0
        assert probabilities.sum() == pytest.approx(1, abs=2e-3)  # stored as float16
        decided = np.flatnonzero(np.asarray(row["observation"]))
        assert row["n_players"] == len(decided)
        undecided = np.setdiff1d(np.arange(len(header.groups)), decided)
        assert not np.asarray(row["phi"])[undecided].any()


def test_forced_decisions_are_marked_and_moved_by_nothing() -> None:
    space = make_space(2, activations=("relu",))
    recorder = DecisionRecorder()
    MaskablePPOSearch(n_steps=16).search(make_env(10, space), seed=0, recorder=recorder)
    frame = recorder.frame()
    first = frame[frame["slot"] == 0]
    assert ((first["flags"] & FORCED) > 0).all()
    assert first["logp"].abs().max() < 1e-6
    assert np.abs(np.stack(list(first["phi"]))).max() == 0


def test_beyond_fourteen_decided_slots_attributions_are_sampled_and_every_row_says_so() -> None:
    space = CategoricalSpace({f"slot {i}": ("a", "b", "c") for i in range(17)})
    env, recorder = make_env(4, space), DecisionRecorder()
    MaskablePPOSearch(n_steps=34).search(env, seed=0, recorder=recorder)
    frame = recorder.frame()
    assert_log_equals_what_the_environment_saw(frame, env)
    assert recorder.log.header.note == ""
    sampled = frame["step"] > 14
    assert sampled.sum() == 8 and frame["phi"].notna().all()
    assert [EXPLAINERS[i] for i in frame["explainer_id"]] == [
        "permutation_sampling" if one else "exact_shapley" for one in sampled
    ]
    assert frame.loc[~sampled, "phi_std_err"].isna().all() and not frame.loc[~sampled, "std_err"].any()
    assert (frame.loc[sampled, "std_err"] > 0).all()
    assert all(len(errors) == 17 for errors in frame.loc[sampled, "phi_std_err"])
    assert frame["residual"].max() < 1e-5


def test_all_actions_and_the_critic_are_recorded_and_add_up() -> None:
    recorder = DecisionRecorder()
    MaskablePPOSearch(n_steps=32, learning_rate=0.01).search(make_env(40), seed=2, recorder=recorder)
    header = recorder.log.header
    for row in recorder.frame().to_dict("records"):
        legal = unpack_mask(row["mask"], header.n_actions)
        start, shares = np.asarray(row["phi0_actions"]), np.asarray(row["phi_actions"], np.float64)
        shares = shares.reshape(len(header.groups), header.n_actions)
        expected = np.log(np.asarray(row["probabilities"], np.float64)[legal])
        np.testing.assert_allclose((start + shares.sum(0))[legal], expected, atol=0.01)  # stored as float16
        assert not start[~legal].any() and not shares[:, ~legal].any()
        np.testing.assert_allclose(shares[:, row["action"]], row["phi"], atol=2e-3)
        assert row["value0"] + np.sum(row["value_phi"]) == pytest.approx(row["value"], abs=1e-5)
        assert (EXPLAINERS[row["explainer_id"]], BASELINES[row["baseline_id"]]) == ("exact_shapley", "empty")
        assert row["n_evaluations"] == 2 ** row["n_players"] and row["phi_std_err"] is None


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO])
def test_a_foreign_environment_is_recorded_without_attributions(algorithm: Any) -> None:
    recorder = DecisionRecorder()
    env = gym.make("CartPole-v1")
    env.action_masks = lambda: np.ones(2, dtype=bool)  # type: ignore[attr-defined]
    algorithm("MlpPolicy", env, n_steps=16, batch_size=16).learn(32, callback=recorder)
    assert len(recorder.frame()) == 32
    assert "no encoder" in recorder.log.header.note


def test_normalised_observations_are_refused_in_the_note() -> None:
    recorder = DecisionRecorder()
    venv = VecNormalize(DummyVecEnv([make_env]), norm_obs=True)
    MaskablePPO("MlpPolicy", venv, n_steps=16, batch_size=16).learn(16, callback=recorder)
    assert "VecNormalize" in recorder.log.header.note
    assert recorder.frame()["phi"].isna().all()


def test_recording_changes_nothing() -> None:
    def history(recorder: DecisionRecorder | None) -> list[tuple[tuple[int, ...], int]]:
        env = make_env(30)
        MaskablePPOSearch(n_steps=32).search(env, seed=5, recorder=recorder)
        return env.seen

    assert history(None) == history(DecisionRecorder()) == history(DecisionRecorder(explain="none"))


def global_generators() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_searching_leaves_the_global_generators_alone() -> None:
    before = global_generators()
    MaskablePPOSearch(n_steps=16).search(make_env(5), seed=0, recorder=DecisionRecorder())
    assert before == global_generators()
