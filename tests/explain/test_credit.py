"""The waterfall of a critic, and when a critic is trusted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.utils import explained_variance as of_sb3

from nas_gym.errors import ConfigurationError
from nas_gym.explain import credit
from nas_gym.explain.credit import credits_of_episode, explained_variance, recent_explained_variance, waterfall

NUMBERS = st.floats(-1e3, 1e3)


@given(st.lists(NUMBERS, min_size=1, max_size=12), NUMBERS)
def test_a_waterfall_sums_to_the_reward(values: list[float], reward: float) -> None:
    split = waterfall(values, reward)
    assert split.start == values[0] and len(split.credits) == len(values)
    assert split.start + split.credits.sum() == pytest.approx(reward, abs=1e-9)


def test_each_decision_is_credited_the_rise_that_follows_it() -> None:
    split = waterfall([0.5, 0.7, 0.4], 0.9)
    assert split.start == 0.5
    np.testing.assert_allclose(split.credits, [0.2, -0.3, 0.5])


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]]], ids=["none", "a table"])
def test_a_waterfall_needs_a_value_per_decision(values: list[float]) -> None:
    with pytest.raises(ConfigurationError, match="value per decision"):
        waterfall(values, 1.0)


def test_decisions_are_recorded_with_their_credit_or_with_none() -> None:
    assert credits_of_episode([0.5, 0.7], 0.9) == pytest.approx([0.2, 0.2])
    assert credits_of_episode([0.5, 0.7], None) == [None, None]
    assert credits_of_episode([None, None], 0.9) == [None, None]
    assert credits_of_episode([0.5, None], 0.9) == [None, None]
    assert credits_of_episode([], 0.9) == []


def test_explained_variance_is_that_of_stable_baselines() -> None:
    generator = np.random.default_rng(0)
    rewards = generator.normal(size=50)
    for noise in (0.0, 0.3, 3.0):
        values = rewards + noise * generator.normal(size=50)
        assert explained_variance(values, rewards) == pytest.approx(float(of_sb3(values, rewards)))
    assert explained_variance(rewards, np.ones(50)) is None
    assert explained_variance([], []) is None


def test_a_critic_is_judged_by_its_last_episodes_and_not_by_its_first() -> None:
    generator = np.random.default_rng(1)
    episodes = np.repeat(np.arange(80), 3)
    rewards = np.repeat(generator.normal(size=80), 3)
    values = np.where(episodes < 40, generator.normal(size=240) * 5, rewards)
    found = recent_explained_variance(episodes, values, rewards, window=20)
    assert list(found) == list(range(80))
    assert found[79] == 1.0 and found[30] is not None and found[30] < 0
    inside = (episodes > 30) & (episodes <= 50)
    assert found[50] == pytest.approx(explained_variance(values[inside], rewards[inside]))
    assert found[2] == pytest.approx(explained_variance(values[:9], rewards[:9]))


def test_trust_begins_at_three_tenths() -> None:
    assert credit.trusted(0.3) and not credit.trusted(0.29) and not credit.trusted(None)


def test_every_view_says_what_it_means_in_one_sentence() -> None:
    assert len(set(credit.VIEWS.values())) == len(credit.VIEWS) == 7
    assert all(meaning.endswith(".") and meaning.count(". ") == 0 for meaning in credit.VIEWS.values())
