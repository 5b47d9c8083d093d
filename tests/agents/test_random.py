"""Random search: uniform over the legal actions, under the environment's budget."""

from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.evaluation import ConstantEvaluator, HashEvaluator
from nas_gym.spaces import ChainSpace, Limits
from nas_gym_agents.agent import SearchResult, Taken
from nas_gym_agents.random_search import RandomSearch

TIGHT = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=700, macs=7_000, resolution=2))


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.episodes: list[tuple[list[Taken], float]] = []

    def record_episode(self, env: gym.Env[Any, Any], taken: list[Taken], reward: float, info: dict[str, Any]) -> None:
        self.episodes.append((taken, reward))

    def update(self) -> None:
        raise AssertionError("random search learns nothing")

    @property
    def history(self) -> list[tuple[tuple[int, ...], float]]:
        return [(tuple(one.action for one in taken), reward) for taken, reward in self.episodes]


def searched(seed: int, evaluations: int = 50, space: ChainSpace = TIGHT) -> tuple[SearchResult, Notes]:
    notes = Notes()
    env = ArchitectureEnv(space, HashEvaluator(), budget=Budget(evaluations=evaluations))
    return RandomSearch().search(env, seed=seed, recorder=notes), notes


def test_the_seed_decides_the_whole_history() -> None:
    assert searched(3)[1].history == searched(3)[1].history
    assert searched(3)[1].history != searched(4)[1].history


def test_numpys_global_generator_is_not_used() -> None:
    np.random.seed(0)  # noqa: NPY002
    first = searched(3)[1].history
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert searched(3)[1].history == first
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("evaluations", [1, 50])
def test_spends_exactly_the_budget_on_legal_decisions(evaluations: int) -> None:
    result, notes = searched(0, evaluations)
    assert result.episodes == len(notes.episodes) == evaluations
    assert all(one.legal[one.action] for taken, _ in notes.episodes for one in taken)
    assert (result.actions, result.reward) == max(notes.history, key=lambda episode: episode[1])
    assert result.updates == 0


def test_the_first_decision_is_uniform_over_the_legal_actions() -> None:
    space = ChainSpace((1, 8, 8), 10)
    notes = Notes()
    env = ArchitectureEnv(space, ConstantEvaluator(), budget=Budget(evaluations=1000))
    RandomSearch().search(env, seed=0, recorder=notes)
    counts = Counter(taken[0].action for taken, _ in notes.episodes)
    assert set(counts) == set(range(5))
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_a_budget_of_unique_candidates_larger_than_the_space_ends() -> None:
    space = ChainSpace((1, 8, 8), 10, catalogue=TIGHT.catalogue[14:15], max_layers=2, activations=("relu",))
    env = ArchitectureEnv(space, HashEvaluator(), budget=Budget(unique=5, idle_episodes=40))
    result = RandomSearch().search(env, seed=0)
    assert env.budget is not None and env.budget.spent["unique"] == 2
    assert result.episodes >= 42
