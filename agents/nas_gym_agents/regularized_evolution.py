"""Regularised evolution: tournaments, one mutation, and the oldest dies."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

import gymnasium as gym
import numpy as np

from nas_gym.errors import ConfigurationError
from nas_gym_agents.agent import Choose, Played, Recorder, SearchResult, play_all
from nas_gym_agents.changes import Draw, Inheriting, mutated, pick


@dataclass(frozen=True, kw_only=True)
class RegularizedEvolution:
    """Aging evolution (Real, Aggarwal, Huang and Le 2019, arXiv 1802.01548, algorithm 1).

    The first generation is random. Then, again and again, the best of a random sample is the parent; its child, in
    which one decision is changed and the rest repaired through the masks (`nas_gym_agents.changes`), is evaluated and
    joins the population, and the oldest leaves it, however good. Children that were evaluated before are evaluated
    again.

    Only the first generation can be evaluated by several workers at once: every child waits for the reward of the
    one before.

    Attributes:
        population: Candidates that are alive.
        sample: Candidates drawn, with replacement, of which the best is the parent.
    """

    name: str = "regularized-evolution"
    population: int = 10
    sample: int = 3

    def __post_init__(self) -> None:
        for name in ("population", "sample"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"regularized-evolution's {name} is a whole number, at least 1, got {value!r}")

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent`."""
        draw = np.random.default_rng(seed).random
        alive: deque[Played] = deque(maxlen=self.population)
        first = play_all(env, repeat(Inheriting(draw), self.population), recorder)
        children = play_all(env, self._children(alive, draw), recorder, window=0)
        result, born = SearchResult(), 0
        for played in chain(first, children):
            if played.spent:
                break
            if len(alive) == self.population:
                born += 1
                if recorder is not None:
                    recorder.update()
            alive.append(played)  # the oldest leaves a full population
            result = result.better(played)
        return replace(result, updates=born)

    def _children(self, alive: deque[Played], draw: Draw) -> Iterator[Choose]:
        """Yield what each child chooses, from those that are alive when it is asked for."""
        while True:
            sampled = [pick(alive, draw) for _ in range(self.sample)]
            yield mutated(max(sampled, key=lambda one: one.reward), draw)
