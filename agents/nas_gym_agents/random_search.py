"""Random search: every legal action with the same probability, at every step."""

from dataclasses import dataclass
from itertools import repeat
from typing import Any

import gymnasium as gym
import numpy as np

from nas_gym_agents.agent import Mask, Recorder, SearchResult, capacity, play_all

WINDOW = 2  # evaluations to come, for each that the environment works on at once: one, and the next


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Uniform over the legal actions of every step; the baseline every other agent must beat.

    Uniform over decisions is not uniform over candidates: short chains, with fewer ways to go on, are likelier.
    """

    name: str = "random"

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent`."""
        generator = np.random.default_rng(seed)

        def choose(slot: int, legal: Mask) -> int:
            return int(generator.choice(np.flatnonzero(legal)))

        result = SearchResult()
        for played in play_all(env, repeat(choose), recorder, window=WINDOW * capacity(env)):
            if not played.spent:
                result = result.better(played)
        return result
