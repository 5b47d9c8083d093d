"""The time that explaining may take, and who is explained when it is short."""

import numpy as np
import pytest

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import HashEvaluator
from nas_gym.explain.record import OUT_OF_BUDGET, UNEXPLAINED
from nas_gym.spaces import ChainSpace
from nas_gym_agents.explanation_budget import GRACE_SECONDS, ExplanationBudget
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.recorder import DecisionRecorder

EPISODES = np.repeat(np.arange(8), 4)
REWARDS = np.repeat([0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan], 4)


def short_of_time(affordable: int, seed: int = 0) -> ExplanationBudget:
    """A budget that can pay for so many decisions of one second each."""
    budget = ExplanationBudget(share=0.5, clock=lambda: 2.0 * (1_000 + affordable), seed=seed)
    budget._each = 1.0
    budget.seconds = 1_000.0
    return budget


def test_all_and_none_do_not_look_at_the_clock() -> None:
    for explain, chance in (("all", 1.0), ("none", 0.0)):
        budget = ExplanationBudget(explain, clock=lambda: 0.0)  # type: ignore[arg-type]
        budget.took(1e9, 1)
        np.testing.assert_array_equal(budget.chances(EPISODES, REWARDS), np.full(32, chance))


def test_with_time_everything_is_explained() -> None:
    np.testing.assert_array_equal(short_of_time(32).chances(EPISODES, REWARDS), np.ones(32))
    fresh = ExplanationBudget(clock=lambda: 0.0)
    assert fresh.chances(EPISODES, REWARDS).all(), "there are seconds of grace"
    fresh.took(GRACE_SECONDS, 10)
    assert not fresh.chances(EPISODES, REWARDS).any()


def test_the_best_and_the_latest_come_first_then_chance_decides() -> None:
    chances = short_of_time(16).chances(EPISODES, REWARDS)
    chosen = set(EPISODES[chances > 0])
    assert {1, 7} < chosen and len(chosen) == 4, "16 decisions are four episodes"
    assert set(chances[np.isin(EPISODES, (1, 7))]) == {1.0}
    others = chances[(chances > 0) & ~np.isin(EPISODES, (1, 7))]
    np.testing.assert_allclose(others, 2 / 6)
    assert not short_of_time(3).chances(EPISODES, REWARDS).any(), "no episode is explained in part"


def test_weighting_by_the_inverse_of_the_chance_gives_unbiased_sums() -> None:
    values = np.random.default_rng(1).normal(size=32)
    estimates = []
    for seed in range(2_000):
        chances = short_of_time(16, seed).chances(EPISODES, REWARDS)
        seen = chances > 0
        estimates.append((values[seen] / chances[seen]).sum())
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - values.sum()) < 4 * error


def test_a_search_without_time_records_what_it_left_out() -> None:
    env = ArchitectureEnv(ChainSpace((1, 8, 8), 10, max_layers=4), HashEvaluator(), budget=Budget(evaluations=40))
    recorder = DecisionRecorder(share=0.5, clock=lambda: 0.0)
    recorder.budget.took(GRACE_SECONDS, 0)
    MaskablePPOSearch(n_steps=32).search(env, seed=0, recorder=recorder)
    frame = recorder.frame()
    assert (frame["flags"] & OUT_OF_BUDGET).all() and (frame["flags"] & UNEXPLAINED).all()
    assert set(frame["sampling_probability"]) == {0.0}
    assert frame["phi"].isna().all() and not frame["probabilities"].isna().any()


@pytest.mark.parametrize(("explain", "share"), [("some", 0.05), ("budget", 0.0), ("budget", 1.5)])
def test_wrong_settings_are_refused(explain: str, share: float) -> None:
    with pytest.raises(ConfigurationError, match=r"explain is one of|lies in \(0, 1\]"):
        ExplanationBudget(explain, share)  # type: ignore[arg-type]
