"""The PPO agents: settings, determinism, and that they learn."""

import numpy as np
import pytest
import torch

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import HashEvaluator, PlantedEvaluator
from nas_gym.spaces import ChainSpace, Limits
from nas_gym.testing import random_walk
from nas_gym_agents.agent import SearchAgent
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.ppo import PPOSearch
from nas_gym_agents.random_search import RandomSearch
from nas_gym_agents.registry import AGENTS, agent_settings, make_agent

EVALUATIONS = 256


def digits_space() -> ChainSpace:
    return ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=400_000, resolution=2))


def best_reward(agent: SearchAgent, seed: int) -> float:
    """The best reward within the budget on the planted task of a seed; 1 is the optimum."""
    space = digits_space()
    target = space.candidate(random_walk(space, np.random.default_rng((seed, 1))))
    env = ArchitectureEnv(space, PlantedEvaluator(target), budget=Budget(evaluations=EVALUATIONS))
    return agent.search(env, seed=seed).reward


@pytest.mark.slow
def test_maskable_ppo_beats_random_search_by_a_tenth() -> None:
    """Over seven seeds at equal budget: a mean reward at least 0.1 higher, and no less in at least six of them."""
    learned = np.array([best_reward(MaskablePPOSearch(), seed) for seed in range(7)])
    chance = np.array([best_reward(RandomSearch(), seed) for seed in range(7)])
    assert (learned - chance).mean() >= 0.1, (learned, chance)
    assert (learned >= chance).sum() >= 6, (learned, chance)


@pytest.mark.parametrize("agent", [MaskablePPOSearch(n_steps=32), PPOSearch(n_steps=32)])
def test_same_seed_same_search_whatever_surrounds_it(agent: SearchAgent) -> None:
    def search(seed: int) -> tuple[tuple[int, ...], float, int]:
        env = ArchitectureEnv(digits_space(), HashEvaluator(), budget=Budget(evaluations=20))
        found = agent.search(env, seed=seed)
        return found.actions, found.reward, found.episodes

    first = search(1)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert search(1) == first
    assert search(2) != first


def test_the_unmasked_agent_ends_even_if_it_never_meets_a_legal_network() -> None:
    env = ArchitectureEnv(digits_space(), HashEvaluator(), budget=Budget(evaluations=1000, idle_episodes=5))
    found = PPOSearch(n_steps=16).search(env, seed=0)
    assert found.episodes < 1000


def test_the_budget_is_spent_exactly() -> None:
    for unit in ("evaluations", "unique"):
        budget = Budget(**{unit: 23})
        MaskablePPOSearch(n_steps=32).search(ArchitectureEnv(digits_space(), HashEvaluator(), budget=budget), seed=0)
        assert budget.spent[unit] == 23


def test_a_last_batch_of_one_step_is_refused() -> None:
    """Its advantage has no deviation, and sb3-contrib's weights would become NaN."""
    with pytest.raises(ConfigurationError, match="n_steps=65 and batch_size=32"):
        MaskablePPOSearch(n_steps=65)
    assert PPOSearch(n_steps=65).n_steps == 65, "stable-baselines3 leaves such advantages as they are"


@pytest.mark.parametrize("name", list(AGENTS))
def test_every_agent_is_made_by_name_with_its_settings(name: str) -> None:
    agent = make_agent(name)
    assert agent.name == name
    with pytest.raises(ConfigurationError, match="no setting"):
        make_agent(name, {"nonsense": 1})
    with pytest.raises(ConfigurationError):
        make_agent(name, dict.fromkeys(agent_settings(name), "text") or {"name": "x"})


@pytest.mark.parametrize(("setting", "value"), [("n_steps", 1), ("entropy", -0.1), ("gae_lambda", 2.0), ("clip", 0.0)])
def test_settings_out_of_range_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        make_agent("ppo", {setting: value})
