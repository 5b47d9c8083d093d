"""A genetic algorithm over decision sequences, repaired through the masks; the operators are DEAP's."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
from deap import algorithms, base, tools

from nas_gym.errors import ConfigurationError
from nas_gym.randomness import isolated_generators
from nas_gym_agents.agent import Choose, Mask, Recorder, SearchResult, play_all

UNDECIDED = -(2**31)  # a gene that no episode has needed yet
FACTOR = 1.5
COLLAPSED = 0.5
ATTEMPTS = 20  # genes redrawn, one after the other, before a repeat is played after all


class _Fitness(base.Fitness):  # type: ignore[misc]
    weights = (1.0,)


class _Individual(list[int]):
    """One gene per slot: a gene >= 0 is the action to take, a gene g < 0 any legal action but ~g.

    Genes are read when an episode comes to their slot, and written back as they were decided there. Slots that the
    episode skips keep what they inherited.
    """

    def __init__(self, genes: Sequence[int] = ()) -> None:
        super().__init__(genes)
        self.fitness = _Fitness()
        self.decided: frozenset[tuple[int, int]] = frozenset()  # pairs of slot and action, as played

    def forget(self, slot: int) -> None:
        """Have a gene redrawn, to something else, in the next episode."""
        if self[slot] >= 0:
            self[slot] = ~self[slot]


@dataclass(frozen=True, kw_only=True)
class Genetic:
    """A genetic algorithm (Holland 1975) with tournaments, elites, and a population that adapts its size.

    A generation is the elites of the one before and children of its tournaments. Children are varied as by DEAP's
    ``varAnd``: neighbours are crossed (uniformly over the slots) with probability `crossover`, then each child is
    mutated with probability `mutation`. A child that would repeat an episode of this search has one more gene redrawn,
    so hardly any evaluation is spent twice.

    The size starts at `population`. After every generation in which the best reward rose it is divided by 1.5, after
    every other multiplied by the fourth root of 1.5: the one-fifth success rule (Doerr and Doerr 2018,
    doi 10.1007/s00453-017-0354-9, for the number of children). It is multiplied as well when diversity
    has collapsed; see `next_size` and `diversity`.

    Attributes:
        population: Candidates in the first generation; in every one unless `adaptive`.
        population_min: The smallest size; None: half of `population`, though more than `elites`.
        population_max: The largest size; None: twice `population`.
        adaptive: Whether the size adapts.
        tournament: Individuals drawn, with replacement, for each tournament; the best of them becomes a parent.
        crossover: Probability that a pair of parents is crossed.
        mutation: Probability that a child, crossed or not, is mutated.
        gene_mutation: Probability that a gene of a mutated child is redrawn.
        elites: The best so many stay, with the reward they have; they are not evaluated again.
        generations: Most generations, the first included; None: until the budget is spent.
    """

    name: str = "genetic"
    population: int = 10
    population_min: int | None = None
    population_max: int | None = None
    adaptive: bool = True
    tournament: int = 3
    crossover: float = 0.6
    mutation: float = 0.1
    gene_mutation: float = 0.1
    elites: int = 3
    generations: int | None = None

    def __post_init__(self) -> None:
        least = {"population": 2, "population_min": 2, "population_max": 2, "tournament": 1, "generations": 1}
        for name, low in {**least, "elites": 0}.items():
            value = getattr(self, name)
            optional = name in ("population_min", "population_max", "generations")
            if not (value is None and optional) and not (type(value) is int and value >= low):
                raise ConfigurationError(f"genetic's {name} is a whole number, at least {low}, got {value!r}")
        for name in ("crossover", "mutation", "gene_mutation"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigurationError(f"genetic's {name} is a probability in [0, 1], got {value!r}")
        smallest, largest = self.sizes
        if not smallest <= self.population <= largest:
            raise ConfigurationError(
                f"genetic's population lies between population_min and population_max, "
                f"got {self.population} for {smallest} to {largest}"
            )
        if self.elites >= smallest:
            raise ConfigurationError(
                f"genetic's elites must be fewer than the smallest population, got {self.elites} of {smallest}"
            )

    @property
    def sizes(self) -> tuple[int, int]:
        """The smallest and the largest size of a generation."""
        if not self.adaptive:
            return self.population, self.population
        smallest, largest = self.population_min, self.population_max
        if smallest is None:
            smallest = min(self.population, max(self.population // 2, self.elites + 1, 2))
        return smallest, 2 * self.population if largest is None else largest

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until the budget is spent or the generations are over; see `SearchAgent`."""
        with isolated_generators(seed):
            return self._evolve(_Trials(env, recorder), recorder)

    def _evolve(self, trials: "_Trials", recorder: Recorder | None) -> SearchResult:
        toolbox = self._toolbox()
        best, done, size = -math.inf, 0, self.population
        elites: list[_Individual] = []
        children = [_Individual() for _ in range(size)]
        while trials.play(children):
            done += 1
            if recorder is not None:
                recorder.update()
            if done == self.generations:
                break
            population = elites + children
            improved, best = trials.result.reward > best, trials.result.reward
            if self.adaptive:
                size = next_size(size, improved, diversity([one.decided for one in population]), self.sizes)
            elites = tools.selBest(population, self.elites)
            parents = toolbox.select(population, size - len(elites))
            children = algorithms.varAnd(parents, toolbox, self.crossover, self.mutation)
        return replace(trials.result, updates=done)

    def _toolbox(self) -> base.Toolbox:
        toolbox = base.Toolbox()
        toolbox.register("select", tools.selTournament, tournsize=self.tournament)
        toolbox.register("mate", _cross)
        toolbox.register("mutate", _mutate, rate=self.gene_mutation)
        return toolbox


def next_size(size: int, improved: bool, diverse: float, sizes: tuple[int, int]) -> int:
    """Return the size of the next generation.

    Smaller by `FACTOR`, rounded down, if the best reward rose; larger by its fourth root, rounded up, if it did not or
    if diversity is below `COLLAPSED`.

    Args:
        size: Of the generation that was just evaluated.
        improved: Whether it raised the best reward.
        diverse: Its diversity, in [0, 1].
        sizes: The smallest and the largest size.
    """
    smallest, largest = sizes
    if improved and diverse >= COLLAPSED:
        return max(smallest, math.floor(size / FACTOR))
    return min(largest, math.ceil(size * math.pow(FACTOR, 0.25)))


def diversity(population: Sequence[frozenset[tuple[int, int]]]) -> float:
    """Return the mean Jaccard distance over all pairs: 0 for copies, 1 where no two share a decision.

    Args:
        population: The decisions of each, as pairs of slot and action; at least two.
    """
    distances = [1 - len(one & other) / len(one | other) for one, other in combinations(population, 2)]
    return sum(distances) / len(distances)


def _cross(first: _Individual, second: _Individual) -> tuple[_Individual, _Individual]:
    """Swap each gene with probability one half."""
    for one, other in ((first, second), (second, first)):
        one.extend([UNDECIDED] * (len(other) - len(one)))
    crossed: tuple[_Individual, _Individual] = tools.cxUniform(first, second, 0.5)
    return crossed


def _mutate(individual: _Individual, rate: float) -> tuple[_Individual]:
    """Have each gene redrawn with probability ``rate``."""
    for slot in range(len(individual)):
        if random.random() < rate:
            individual.forget(slot)
    return (individual,)


class _Trials:
    """Plays individuals, and knows the episodes that were played.

    An environment whose slots or rewards are random is asked once for each sequence of decisions, like any other.
    """

    def __init__(self, env: gym.Env[Any, Any], recorder: Recorder | None) -> None:
        self.result = SearchResult()
        self._env = env
        self._recorder = recorder
        # From the prefixes that were played to the slot after them and its legal actions; None: the end.
        self._known: dict[tuple[int, ...], tuple[int, list[int]] | None] = {}

    def play(self, generation: Sequence[_Individual]) -> bool:
        """Play individuals and give them their rewards; return False if the budget is spent before the last."""
        episodes = play_all(self._env, self._choices(generation), self._recorder)
        for played, individual in zip(episodes, generation, strict=False):  # in this order, to hear of the last end too
            if played.spent:
                return False
            individual.fitness.values = (played.reward,)
            individual.decided = frozenset(zip(played.slots, played.actions, strict=True))
            self.result = self.result.better(played)
        return True

    def _choices(self, generation: Sequence[_Individual]) -> Iterator[Choose]:
        """Yield what each individual chooses; asked for the next, the episode of the one before is known."""
        for individual in generation:
            self._renew(individual)
            way: list[int] = []
            yield partial(self._choose, individual, way)
            self._known[tuple(way)] = None

    def _choose(self, individual: _Individual, way: list[int], slot: int, legal: Mask) -> int:
        options = [int(action) for action in np.flatnonzero(legal)]
        self._known[tuple(way)] = slot, options
        individual.extend([UNDECIDED] * (slot + 1 - len(individual)))
        if individual[slot] not in options:
            self._redraw(individual, slot, options)
        way.append(individual[slot])
        return individual[slot]

    def _renew(self, individual: _Individual) -> None:
        """Redraw one gene, or more while that leads to another repeat, if the individual's episode was played."""
        for _ in range(ATTEMPTS):
            path = self._path(individual)
            if path is None:
                return
            self._redraw(individual, *random.choice(path))

    def _path(self, genes: list[int]) -> list[tuple[int, list[int]]] | None:
        """Return the slots and legal actions on the way of these genes if it was played to its end, else None."""
        prefix: tuple[int, ...] = ()
        path: list[tuple[int, list[int]]] = []
        while prefix in self._known:
            place = self._known[prefix]
            if place is None:
                return path
            path.append(place)
            prefix = (*prefix, genes[place[0]] if place[0] < len(genes) else UNDECIDED)
        return None

    def _redraw(self, individual: _Individual, slot: int, options: list[int]) -> None:
        """Decide a gene: another legal action, each as probable, of those that repeat no episode if there are any."""
        gene = individual[slot]
        others = [action for action in options if action not in (gene, ~gene)] or options[:]
        random.shuffle(others)
        for action in others:
            individual[slot] = action
            if self._path(individual) is None:
                return
