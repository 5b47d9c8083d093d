"""RecurrentPPO: deterministic, within the budget, recorded with true probabilities and never attributed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from searching import FRIENDLY, chain_env

import nas_gym
from nas_gym.errors import ConfigurationError
from nas_gym_agents import SearchSettings, search
from nas_gym_agents.attribution import log_probabilities
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.recurrent import recurrent_log_probabilities
from nas_gym_agents.recurrent_ppo import RecurrentPPOSearch
from nas_gym_agents.sampling import sample_policy

SMALL = {"n_steps": 32, "batch_size": 16, "n_epochs": 2, "hidden": 16, "lstm": 16}


def test_same_seed_same_search_whatever_surrounds_it() -> None:
    def found(seed: int) -> Any:
        recorder = DecisionRecorder(explain="none")
        result = RecurrentPPOSearch(**SMALL).search(chain_env(20, FRIENDLY), seed=seed, recorder=recorder)
        return result, recorder.frame()["action"].tolist()

    first = found(1)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    before = torch.get_rng_state()
    assert found(1) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert found(2) != first


@pytest.mark.parametrize("unit", ["evaluations", "unique"])
def test_the_budget_is_spent_exactly(unit: str) -> None:
    env = chain_env(space=FRIENDLY, **{unit: 13})
    RecurrentPPOSearch(**SMALL).search(env, seed=0)
    assert env.budget is not None and env.budget.spent[unit] == 13


def test_decisions_carry_the_probabilities_of_the_policy_with_its_state_and_no_attributions() -> None:
    recorder = DecisionRecorder()
    RecurrentPPOSearch(**SMALL).search(chain_env(30, FRIENDLY), seed=0, recorder=recorder)
    frame = recorder.frame()
    assert len(frame) > 64
    assert frame["phi"].isna().all()
    np.testing.assert_allclose(frame["logp_error"].to_numpy(float), 0.0, atol=1e-6)
    np.testing.assert_allclose(
        [p[a] for p, a in zip(frame["probabilities"], frame["action"], strict=True)],
        np.exp(frame["logp"].to_numpy(float)),
        rtol=2e-3,  # float16
    )
    assert recorder.log.header is None or "recurrent" in recorder.log.header.note


def test_attributions_are_refused_in_one_sentence() -> None:
    model = RecurrentPPO("MlpLstmPolicy", chain_env(), n_steps=8, batch_size=8, seed=0, device="cpu")
    observation = model.observation_space.sample()[None]
    with pytest.raises(ConfigurationError, match="the policy is recurrent"):
        log_probabilities(model.policy, observation, None)


def test_the_state_matters_and_is_forgotten_where_an_episode_starts() -> None:
    model = RecurrentPPO("MlpLstmPolicy", chain_env(), n_steps=8, batch_size=8, seed=0, device="cpu")
    policy: Any = model.policy
    observation, _ = policy.obs_to_tensor(model.observation_space.sample()[None])
    state = tuple(torch.ones(1, 1, policy.lstm_actor.hidden_size) for _ in range(2))
    zero = tuple(torch.zeros_like(part) for part in state)
    kept, _ = recurrent_log_probabilities(policy, observation, state, np.array([False]))
    forgotten, _ = recurrent_log_probabilities(policy, observation, state, np.array([True]))
    fresh, _ = recurrent_log_probabilities(policy, observation, zero, np.array([False]))
    assert np.abs(kept - fresh).max() > 1e-6
    np.testing.assert_array_equal(forgotten, fresh)


@pytest.mark.slow
def test_a_run_is_searched_explained_in_words_and_sampled(tmp_path: Path) -> None:
    settings = SearchSettings(
        agent="recurrent-ppo", agent_args=SMALL, env_args={"evaluator": "hash"}, evaluations=6, seed=0
    )
    search(settings, tmp_path / "run")
    run = nas_gym.load(tmp_path / "run")
    words = "\n".join(run.explanation())
    assert "the policy is recurrent" in words and "probability" in words and "times as likely" not in words
    drawn = sample_policy(tmp_path / "run", 3, seed=1)
    assert len(drawn) == 3 and all(0 < one["probability"] < 1 for one in drawn)
    assert drawn == sample_policy(tmp_path / "run", 3, seed=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_steps": 33, "batch_size": 32}, "more than one step, got n_steps=33 and batch_size=32"),
        ({"lstm": 0}, "lstm is at least 1"),
        ({"clip": 0.0}, "clip"),
    ],
)
def test_invalid_settings_get_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RecurrentPPOSearch(**settings)
