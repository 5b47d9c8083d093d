"""The genetic algorithm: new legal candidates only, elites, an adaptive size, and more found than by chance."""

import itertools
import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import searching
import torch

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import ConstantEvaluator, HashEvaluator, PlantedEvaluator
from nas_gym.randomness import derived_seed
from nas_gym.spaces import ChainSpace, Convolution, Dropout, FullyConnected, GlobalPool, Limits, MaxPool
from nas_gym_agents.agent import SearchAgent
from nas_gym_agents.genetic import UNDECIDED, Genetic, _Individual, _Trials, diversity, next_size
from nas_gym_agents.random_search import RandomSearch

DIGITS = Limits(parameters=100_000, macs=600_000, resolution=2)
TIGHT = Limits(parameters=700, macs=7_000, resolution=2)
SMALL = (Convolution(8), Convolution(16, stride=2), MaxPool(), Dropout(0.2), FullyConnected(16), GlobalPool())


class Notes(searching.Notes):
    """A recorder that keeps what it is told, generation by generation."""

    @property
    def generations(self) -> list[int]:
        """Episodes of each whole generation."""
        return np.diff([0, *self.ends]).tolist()


class Lock(gym.Env[np.ndarray, np.int64]):
    """Knows nothing of nas-gym: ``length`` digits, about the share that is right as reward, only a mask in the info.

    A digit can't be the number of its step. ``rising``: the reward is the number of episodes instead.
    """

    def __init__(self, length: int = 6, episodes: int | None = None, rising: bool = False) -> None:
        self.action_space = gym.spaces.Discrete(10)
        self.observation_space = gym.spaces.Box(0, length, (1,), np.float32)
        self.length, self.left, self.rising = length, episodes, rising
        self.played = 0
        self.chosen: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.chosen = []
        return np.zeros(1, np.float32), self._info()

    def step(self, action: Any) -> Any:
        if self.left == 0:
            return np.zeros(1, np.float32), 0.0, False, True, self._info() | {"budget_spent": True}
        assert self._mask()[action], "illegal"
        self.chosen.append(int(action))
        over = len(self.chosen) == self.length
        right = sum(one == (3 * i + 1) % 10 for i, one in enumerate(self.chosen)) / self.length
        right += derived_seed(*self.chosen) / 2**83  # no two are equal
        if over:
            self.played += 1
            self.left = None if self.left is None else self.left - 1
        reward = float(self.played) if self.rising else right
        return np.full(1, len(self.chosen), np.float32), reward if over else 0.0, over, False, self._info()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self._mask().astype(np.int8)}

    def _mask(self) -> Any:
        return np.arange(10) != len(self.chosen)


def make_env(evaluations: int = 120, space: ChainSpace | None = None, **budget: Any) -> ArchitectureEnv:
    space = space or ChainSpace((1, 8, 8), 10, catalogue=SMALL, limits=DIGITS)
    limits = budget or {"evaluations": evaluations}
    return ArchitectureEnv(space, HashEvaluator(), budget=Budget(**limits))


def searched(agent: SearchAgent, env: gym.Env[Any, Any], seed: int = 0) -> Notes:
    notes = Notes()
    result = agent.search(env, seed=seed, recorder=notes)
    assert result.episodes == len(notes.history)
    assert result.reward == max(reward for _, reward in notes.history)
    assert result.actions == max(notes.history, key=lambda episode: episode[1])[0]
    assert result.updates == len(notes.ends)
    return notes


# Determinism


def test_the_seed_decides_the_whole_history() -> None:
    random.seed(1)
    first = searched(Genetic(), make_env(), seed=5)
    random.seed(2)
    assert searched(Genetic(), make_env(), seed=5).history == first.history
    assert searched(Genetic(), make_env(), seed=6).history != first.history


def test_global_generators_are_left_as_they_were() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    searched(Genetic(), make_env())
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


# Budget, legality, novelty


@pytest.mark.parametrize("evaluations", [1, 10, 77])
def test_spends_exactly_the_budget_and_records_each_episode_once(evaluations: int) -> None:
    env = make_env(evaluations)
    notes = searched(Genetic(), env)
    assert env.budget is not None
    assert env.budget.spent["evaluations"] == len(notes.history) == evaluations


def test_a_budget_of_forty_is_several_generations() -> None:
    notes = searched(Genetic(), make_env(40))
    assert len(notes.generations) >= 5
    assert notes.generations[0] == 10


@pytest.mark.parametrize(
    "limits",
    [
        DIGITS,
        TIGHT,
        Limits(parameters=2_500, macs=9_000, resolution=2, min_layers=3),
    ],
    ids=["digits", "tight", "tight and deep"],
)
def test_every_decision_is_legal_and_hardly_any_episode_comes_twice(limits: Limits) -> None:
    space = ChainSpace((1, 8, 8), 10, limits=limits, hyperparameters=("learning_rate", "batch_size"))
    notes = searched(Genetic(), make_env(150, space))
    assert all(one.legal[one.action] for one in notes.taken)
    for actions, _ in notes.history:
        space.candidate(actions)
    assert len({actions for actions, _ in notes.history}) >= 148


def test_a_small_space_is_exhausted_and_the_idle_rule_ends_the_search() -> None:
    space = ChainSpace((1, 8, 8), 10, catalogue=SMALL[2:4], max_layers=2, activations=("relu", "tanh"))
    budget = Budget(unique=10_000, idle_episodes=60)
    notes = Notes()
    Genetic().search(ArchitectureEnv(space, HashEvaluator(), budget=budget), seed=0, recorder=notes)
    complete = set(itertools.product((0, 1), (0, 1), (0, 1, 2)))
    assert {actions for actions, _ in notes.history} == complete
    assert len({actions for actions, _ in notes.history[:24]}) == 12


def test_repeats_alone_end_too() -> None:
    space = ChainSpace((1, 8, 8), 10, catalogue=SMALL[:1], max_layers=1, activations=("relu",))
    agent = Genetic(crossover=0.0, mutation=0.0)
    notes = searched(agent, make_env(space=space, unique=50, idle_episodes=30))
    assert len(notes.history) == 31  # the only candidate, then thirty episodes without any charge


def test_without_masks_the_penalty_is_the_fitness_and_illegal_actions_die_out() -> None:
    class Unmasked(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **options: Any) -> Any:
            observation, info = self.env.reset(**options)
            return observation, {name: value for name, value in info.items() if name != "action_mask"}

        def step(self, action: Any) -> Any:
            *rest, info = self.env.step(action)
            return *rest, {name: value for name, value in info.items() if name != "action_mask"}

    notes = searched(Genetic(), Unmasked(make_env(150, ChainSpace((1, 8, 8), 10))))
    illegal = [reward == -1.0 for _, reward in notes.history]
    assert np.mean(illegal[:20]) >= 2 * np.mean(illegal[-60:])
    assert illegal.count(False) == 150


# The genome


def test_genes_of_skipped_slots_are_kept_and_illegal_ones_repaired() -> None:
    space = ChainSpace((1, 8, 8), 10, catalogue=SMALL, limits=DIGITS)
    trials = _Trials(make_env(space=space), None)
    stop = len(SMALL)
    skipping = _Individual([1, 0, stop, 2, 3, UNDECIDED, 1])
    assert trials.play([skipping])
    assert skipping == [1, 0, stop, 2, 3, UNDECIDED, 1]
    assert skipping.decided == {(0, 1), (1, 0), (2, stop)}
    broken = _Individual([2, 5, 0, stop])  # no convolution can follow global pooling
    assert trials.play([broken])
    assert broken[:2] == [2, 5] and broken[2] in (3, 4, stop)
    grown = _Individual()
    assert trials.play([grown])
    assert {(slot, action) for slot, action in enumerate(grown) if action >= 0} == grown.decided
    assert trials.result.episodes == 3


def test_a_forgotten_gene_becomes_another() -> None:
    for seed in range(20):
        random.seed(seed)
        trials = _Trials(Lock(), None)
        child = _Individual([1, 4, 7, 0, 3, 6])
        child.forget(0)
        assert trials.play([child])
        assert child[0] != 1


def test_a_repeat_has_one_gene_redrawn_before_it_is_played() -> None:
    trials = _Trials(Lock(), None)
    for seed in range(20):
        random.seed(seed)
        child = _Individual([9, 8, 9, 8, 9, 8])
        assert trials.play([child])
        assert sum(one != other for one, other in zip(child, [9, 8, 9, 8, 9, 8], strict=True)) == (seed > 0)


# Elites


def test_elites_stay_without_being_evaluated_again() -> None:
    """With tournaments of nearly everybody, every child differs in one gene from the best so far, whenever it came."""
    agent = Genetic(population=8, adaptive=False, elites=2, tournament=200, crossover=0.0, mutation=0.0, generations=8)
    notes = searched(agent, Lock())
    assert notes.generations == [8] + [6] * 7
    assert len(set(notes.history)) == len(notes.history)
    for start, end in zip(notes.ends, notes.ends[1:], strict=False):
        best, _ = max(notes.history[:start], key=lambda episode: episode[1])
        for actions, _ in notes.history[start:end]:
            assert sum(one != other for one, other in zip(actions, best, strict=True)) == 1


def test_without_elites_a_generation_is_children_only() -> None:
    notes = searched(Genetic(population=8, adaptive=False, elites=0, generations=4), Lock())
    assert notes.generations == [8] * 4


# The size of the population


@pytest.mark.parametrize(
    ("size", "improved", "diverse", "following"),
    [
        (20, True, 1.0, 13),  # 20 / 1.5 = 13.3
        (20, False, 1.0, 23),  # 20 × 1.107 = 22.1
        (20, True, 0.49, 23),  # collapsed
        (20, True, 0.5, 13),
        (12, True, 1.0, 10),
        (39, False, 0.0, 40),
    ],
)
def test_the_next_size(size: int, improved: bool, diverse: float, following: int) -> None:
    assert next_size(size, improved, diverse, (10, 40)) == following


def test_diversity_is_the_mean_jaccard_distance() -> None:
    one, other = frozenset({(0, 1), (1, 2), (2, 3)}), frozenset({(0, 1), (1, 2), (2, 4)})
    assert diversity([one, one, one]) == 0
    assert diversity([one, frozenset({(0, 2), (1, 3)})]) == 1
    assert diversity([one, other]) == pytest.approx(0.5)
    assert diversity([one, one, other]) == pytest.approx(1 / 3)


def test_the_population_grows_while_nothing_improves() -> None:
    env = ArchitectureEnv(make_env().space, ConstantEvaluator(), budget=Budget(evaluations=400))
    sizes = [10, 6, 7, 8, 9, 10, 12, 14, 16, 18, *[20] * 20]
    generations = searched(Genetic(), env).generations
    assert generations == [10, *(size - 3 for size in sizes[1:])][: len(generations)]
    assert len(generations) >= 19


def test_the_population_shrinks_while_the_best_improves() -> None:
    agent = Genetic(population=20, population_min=5, elites=2, generations=6)
    assert searched(agent, Lock(length=30, rising=True)).generations == [20, 11, 6, 3, 3, 3]


def test_bounds_follow_the_population() -> None:
    assert Genetic(population=30).sizes == (15, 60)
    assert Genetic(population=6).sizes == (4, 12)  # more than the three elites
    assert Genetic(population=3, elites=0).sizes == (2, 6)
    assert Genetic(population=30, population_min=8, population_max=50).sizes == (8, 50)
    assert Genetic(population=30, population_min=8, adaptive=False).sizes == (30, 30)


# Limits and settings


def test_generations_end_the_search_before_the_budget() -> None:
    env = make_env(1000)
    notes = searched(Genetic(generations=3), env)
    assert len(notes.generations) == 3
    assert env.budget is not None and not env.budget.exhausted


def test_a_foreign_environment_needs_only_reset_step_and_a_mask() -> None:
    notes = searched(Genetic(), Lock(episodes=200))
    assert len(notes.history) == 200
    assert {one.slot for one in notes.taken} == set(range(6))
    assert max(reward for _, reward in notes.history) >= 5 / 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"population": 1}, "population is a whole number, at least 2, got 1"),
        ({"population": 12.5}, "population is a whole number"),
        ({"population": None}, "population is a whole number"),
        ({"population_min": 0}, "population_min is a whole number, at least 2"),
        ({"population_max": True}, "population_max is a whole number, at least 2"),
        (
            {"population": 30, "population_max": 20},
            "lies between population_min and population_max, got 30 for 15 to 20",
        ),
        ({"population": 10, "population_min": 11}, "lies between population_min and population_max"),
        ({"tournament": 0}, "tournament is a whole number, at least 1"),
        ({"crossover": 1.1}, "crossover is a probability in [0, 1], got 1.1"),
        ({"mutation": -0.1}, "mutation is a probability"),
        ({"mutation": float("nan")}, "mutation is a probability"),
        ({"gene_mutation": None}, "gene_mutation is a probability"),
        ({"elites": -1}, "elites is a whole number, at least 0"),
        ({"elites": 10}, "elites must be fewer than the smallest population, got 10 of 10"),
        ({"elites": 5, "population_min": 5}, "elites must be fewer than the smallest population, got 5 of 5"),
        ({"generations": 0}, "generations is a whole number, at least 1"),
    ],
)
def test_invalid_settings_get_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Genetic(**settings)
    assert words in str(caught.value)


# Learning


def planted(seed: int, evaluations: int) -> ArchitectureEnv:
    """The target is a random walk whose generator shares nothing with a search of the same seed."""
    space = ChainSpace((1, 8, 8), 10, limits=DIGITS)
    generator = np.random.default_rng(derived_seed("target", seed))
    prefix: tuple[int, ...] = ()
    while space.next_slot(prefix) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(space.legal(prefix)))))
    return ArchitectureEnv(space, PlantedEvaluator(space.candidate(prefix)), budget=Budget(evaluations=evaluations))


@pytest.mark.slow
def test_finds_more_than_random_search() -> None:
    """Ten seeds, 300 evaluations each."""
    genetic = np.array([Genetic().search(planted(seed, 300), seed=seed).reward for seed in range(10)])
    chance = np.array([RandomSearch().search(planted(seed, 300), seed=seed).reward for seed in range(10)])
    assert np.sum(genetic > chance) >= 8
    assert np.mean(genetic - chance) >= 0.1
