"""REINFORCE: its gradient and its steps against torch, its baseline against the definition."""

from typing import Any

import numpy as np
import pytest
import torch
from searching import Cells, chain_env, searched

from nas_gym.errors import ConfigurationError
from nas_gym_agents.reinforce import INITIAL, MovingAverage, Policy, Reinforce, drawn, softmax


def test_gradient_and_adam_equal_torchs() -> None:
    """Sixty episodes with masks that change and slots that are skipped, against autograd and torch.optim.Adam."""
    generator = np.random.default_rng(3)
    policy = Policy(np.random.default_rng(0), 0.05)
    everything = np.ones(4, dtype=bool)
    for slot in range(5):
        policy.choose(slot, everything)
    policy.gradient(1.0)
    policy.learn(0.0)  # a gradient of zero: Adam counts a step and moves nothing
    logits = torch.tensor(policy.logits, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    (logits * 0).sum().backward()
    optimizer.step()
    for _ in range(60):
        slots = [slot for slot in range(5) if slot == 0 or generator.random() < 0.6]
        logp = torch.zeros((), dtype=torch.float64)
        for slot in slots:
            legal = generator.random(4) < 0.6
            legal[generator.integers(4)] = True
            action = policy.choose(slot, legal)
            assert legal[action]
            masked = torch.where(torch.tensor(legal), logits[slot], -torch.inf)
            logp = logp + torch.log_softmax(masked, 0)[action]
        advantage = float(generator.normal() * 10)
        optimizer.zero_grad()
        (-logp * advantage).backward()
        assert logits.grad is not None
        np.testing.assert_allclose(policy.gradient(advantage), logits.grad.numpy(), rtol=1e-9, atol=1e-12)
        policy.learn(advantage)
        optimizer.step()
        np.testing.assert_allclose(policy.logits, logits.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_slots_that_an_episode_skips_have_no_gradient() -> None:
    policy = Policy(np.random.default_rng(0), 0.1)
    for slot in (0, 1, 2):
        policy.choose(slot, np.ones(3, dtype=bool))
    policy.learn(1.0)
    policy.choose(1, np.array([True, False, True]))
    gradient = policy.gradient(2.0)
    assert not gradient[[0, 2]].any() and gradient[1].any()
    assert gradient[1, 1] == 0.0


def test_first_logits_are_small_and_normal() -> None:
    policy = Policy(np.random.default_rng(0), 0.1)
    for slot in range(40):
        policy.choose(slot, np.ones(50, dtype=bool))
    assert policy.logits.shape == (40, 50)
    assert policy.logits.std() == pytest.approx(INITIAL, rel=0.1)


def test_the_baseline_holds_the_newest_reward_and_has_no_bias() -> None:
    average = MovingAverage(0.9)
    assert average.including(50.0) == pytest.approx(50.0)
    assert average.including(100.0) == pytest.approx((0.9 * 50 + 100) / 1.9)
    assert average.including(0.0) == pytest.approx((0.81 * 50 + 0.9 * 100) / 2.71)


def test_softmax_and_draws() -> None:
    probabilities = softmax([0.0, 900.0, np.log(3.0), 5.0], [True, False, True, False])
    assert probabilities == pytest.approx([0.25, 0.0, 0.75, 0.0])
    assert [drawn(probabilities, x) for x in (0.0, 0.2499, 0.2501, 1 - 2**-53)] == [0, 0, 2, 2]
    generator = np.random.default_rng(0)
    counts = np.bincount([drawn([0.1, 0.0, 0.6, 0.3], generator.random()) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.1, 0.0, 0.6, 0.3], atol=0.03)


def test_one_update_for_every_episode() -> None:
    result, notes = searched(Reinforce(), Cells(50))
    assert notes.ends == list(range(1, 51)) and result.updates == 50


def test_rewards_scaled_by_a_power_of_two_change_nothing_but_epsilons_part() -> None:
    """Adam does not see the scale, and only where gradients are as small as its epsilon would it matter."""
    _, percent = searched(Reinforce(), Cells(300))
    _, larger = searched(Reinforce(reward_scale=6400.0), Cells(300))
    assert percent.sequences == larger.sequences


def test_it_learns_what_it_can() -> None:
    env = Cells(2000)
    _, notes = searched(Reinforce(), env)
    rewards = np.array([reward for _, reward in notes.history])
    assert rewards[-200:].mean() - rewards[:200].mean() > 0.1


def test_chains_of_any_length() -> None:
    _, notes = searched(Reinforce(), chain_env(80))
    assert len({len(actions) for actions in notes.sequences}) > 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate is a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is a number above 0"),
        ({"reward_scale": -1.0}, "reward_scale is a number above 0"),
        ({"reward_scale": float("inf")}, "reward_scale is a number above 0"),
        ({"momentum": 1.0}, r"momentum lies in \[0, 1\), got 1.0"),
    ],
)
def test_invalid_settings_get_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Reinforce(**settings)
