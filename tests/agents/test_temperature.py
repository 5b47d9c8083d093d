"""Tempering: a policy that has converged explores again, no more than it must, and one that explores stays as it is."""

from typing import Any

import numpy as np
import pytest
import torch

from nas_gym.envs import ArchitectureEnv
from nas_gym.evaluation import HashEvaluator
from nas_gym.spaces import CategoricalSpace, Slot
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.ppo import PPOSearch
from nas_gym_agents.temperature import LEAST_ENTROPY, openness, temper

SLOTS = (Slot("a", ("x", "y", "z", "w")), Slot("b", ("u", "v")), Slot("c", ("only",)))
STEP = 64 ** (1 / 64)  # what the search of the temperature is exact to


def policy_of(agent: Any, env: ArchitectureEnv, peak: float) -> Any:
    """Return a policy whose preferences are all for action 1, by so many nats, whatever the slot."""
    policy = agent.make(env, 0).policy
    with torch.no_grad():
        policy.action_net.weight.zero_()
        policy.action_net.bias.zero_()
        policy.action_net.bias[1] = peak
    return policy


@pytest.fixture
def env() -> ArchitectureEnv:
    return ArchitectureEnv(CategoricalSpace(SLOTS), HashEvaluator())


def entropy(n: int, peak: float) -> float:
    """Return the entropy of a choice among n, one of them ahead by so many nats, as a share of log n."""
    p = np.exp([peak] + [0.0] * (n - 1))
    p /= p.sum()
    return float(-(p * np.log(p)).sum() / np.log(n))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize(("agent", "masked"), [(MaskablePPOSearch(), True), (PPOSearch(), False)])
def test_openness_is_the_share_of_the_highest_entropy_and_forced_decisions_do_not_count(
    env: ArchitectureEnv, agent: Any, masked: bool, temperature: float
) -> None:
    policy = policy_of(agent, env, 2.0)
    expected = (entropy(4, 2.0 / temperature) + entropy(2, 2.0 / temperature)) / 2
    assert openness(policy, env, masked=masked, seed=0, temperature=temperature) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("agent", "masked"), [(MaskablePPOSearch(), True), (PPOSearch(), False)])
def test_a_converged_policy_is_tempered_no_more_than_it_must_be(env: ArchitectureEnv, agent: Any, masked: bool) -> None:
    policy = policy_of(agent, env, 12.0)
    assert openness(policy, env, masked=masked, seed=0) < 0.01
    temperature = temper(policy, env, masked=masked, seed=0)
    assert openness(policy, env, masked=masked, seed=0) >= LEAST_ENTROPY
    assert openness(policy_of(agent, env, 12.0), env, masked=masked, seed=0, temperature=temperature / STEP**1.01) < (
        LEAST_ENTROPY
    )
    assert policy.action_net.bias[1].item() == pytest.approx(12.0 / temperature)


def test_an_open_policy_stays_as_it_is_to_the_last_bit(env: ArchitectureEnv) -> None:
    policy = MaskablePPOSearch().make(env, 0).policy
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    assert temper(policy, env, masked=True, seed=0) == 1.0
    assert all(torch.equal(weight, before[name]) for name, weight in policy.state_dict().items())


def test_tempering_draws_nothing_from_the_generators_of_the_search(env: ArchitectureEnv) -> None:
    policy = policy_of(MaskablePPOSearch(), env, 12.0)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    temper(policy, env, masked=True, seed=0)
    assert torch.equal(torch.rand(4), expected)
