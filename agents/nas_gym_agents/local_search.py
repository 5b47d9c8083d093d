"""Local search: the first neighbour that is better, until none is, then from somewhere else."""

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np

from nas_gym_agents.agent import Choose, Played, Recorder, SearchResult, play_all
from nas_gym_agents.changes import Draw, Inheriting, changed, changes
from nas_gym_agents.memory import Memory


@dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """First-improvement local search with restarts (White, Nolen and Savani 2021, arXiv 2005.02960).

    A climb starts at a random episode. Its neighbours are the episodes in which one decision differs, repaired through
    the masks (`nas_gym_agents.changes`); they are played in random order until one has a strictly higher reward, and
    the climb goes on from there. Where none has, it ends, and another begins.

    No sequence of decisions is evaluated twice: the reward of one that was is remembered. When all sequences there are
    were evaluated, the search ends, whatever is left of the budget. After a climb of known rewards only, the next one
    starts at a sequence that is new.

    Whether a neighbour is evaluated depends on the reward of the one before, so that workers would not help: the
    search waits for every reward.
    """

    name: str = "local-search"

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until the budget is spent or nothing new is left; see `SearchAgent`."""
        trials = _Trials(env, np.random.default_rng(seed).random, recorder)
        climbs = 0
        while not trials.over:
            current = trials.start()
            while current is not None:
                current = trials.better(current)
            if not trials.spent:
                climbs += 1
                if recorder is not None:
                    recorder.update()
        return replace(trials.result, updates=climbs)


class _Trials:
    """Plays episodes, or remembers them."""

    def __init__(self, env: gym.Env[Any, Any], draw: Draw, recorder: Recorder | None) -> None:
        self.result = SearchResult()
        self.spent = False
        self._env, self._draw, self._recorder = env, draw, recorder
        self._memory = Memory()
        self._before = -1  # episodes when the climb began

    @property
    def over(self) -> bool:
        """Whether the budget is spent or all sequences are known."""
        return self.spent or self._memory.complete

    def start(self) -> Played | None:
        """Return a random episode to climb from; None if the budget is spent."""
        learned = self.result.episodes > self._before
        self._before = self.result.episodes
        return self._evaluated(Inheriting(self._draw) if learned else self._memory.new(self._draw))

    def better(self, current: Played) -> Played | None:
        """Return the first neighbour with a higher reward; None if there is none, or the budget is spent."""
        left = changes(current)
        while left:
            place = int(self._draw() * len(left))
            left[place], left[-1] = left[-1], left[place]
            neighbour = self._evaluated(changed(current, left.pop(), self._draw))
            if neighbour is None or neighbour.reward > current.reward:
                return neighbour
        return None

    def _evaluated(self, choose: Choose) -> Played | None:
        """Return the episode that choices lead to, played unless it is known; None if the budget is spent."""
        known, choose = self._memory.foreseen(choose)
        if known is not None:
            return known
        (played,) = play_all(self._env, (choose,), self._recorder)
        if played.spent:
            self.spent = True
            return None
        self._memory.add(played)
        self.result = self.result.better(played)
        return played
