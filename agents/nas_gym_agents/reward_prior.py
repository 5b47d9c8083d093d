"""What the evaluations of another search say of candidates, before any of this one: a reward model's prior mean."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from nas_gym.errors import ConfigurationError
from nas_gym.history import Episode
from nas_gym.spaces import Prefix
from nas_gym_agents.decision_process import DecisionProcess, SpaceProcess, decisions_of
from nas_gym_agents.network_features import Decisions, FeatureTable
from nas_gym_agents.reward_model import Kernel, Vector, fitted, normal_scores
from nas_gym_agents.warm_start import WarmStart, matched

MOST = 1000  # evaluations of the other search that are fitted: the best half and the latest half of so many


class RewardPrior:
    """A Gaussian process on the evaluations of another search, whose decisions are translated by their names.

    Decisions that this search does not know are left out. If every episode of the other search can be played here
    from start to end, the model sees networks too; else it sees decisions alone.

    Args:
        process: The decisions of this search.
        warm_start: The other search.
        env: Its space names the decisions of this search.

    Raises:
        ConfigurationError: The environment has no space, or nothing of the other search can be translated.
    """

    def __init__(self, process: DecisionProcess, warm_start: WarmStart, env: gym.Env[Any, Any]) -> None:
        if not isinstance(process, SpaceProcess):
            raise ConfigurationError("a warm start needs an environment with a search space, whose slots have names")
        self._process = process
        match = matched(warm_start.slots, env.get_wrapper_attr("space").slots)
        told: dict[Decisions, list[float]] = {}
        for episode in warm_start.episodes:
            decisions = _translated(episode, match)
            if decisions:
                told.setdefault(decisions, []).append(episode.reward)
        if not told:
            raise ConfigurationError(f"no evaluation of {warm_start.run!r} decides what this search decides")
        kept = _kept(np.array([np.mean(rewards) for rewards in told.values()]))
        everything = list(told)
        known = [everything[i] for i in kept]
        rewards = np.array([np.mean(told[decisions]) for decisions in known])
        prefixes = [self._played(decisions) for decisions in known]
        whole = all(prefix is not None for prefix in prefixes)
        self._features = FeatureTable(networks=whole)
        for decisions, prefix in zip(known, prefixes, strict=True):
            self._features.add(decisions, process.graph(prefix) if whole and prefix is not None else None)
        self._whole, self._known = whole, list(range(len(known)))
        n = self._features.n_parts
        start, among = Kernel(weights=tuple([1 / n] * n)), self._features.similarities(self._known, self._known)
        self._model = fitted(start, among, normal_scores(rewards))
        self._means: dict[Prefix, float] = {}
        order = np.argsort(-rewards, kind="stable")
        self._best = [prefix for prefix in [prefixes[i] for i in order] if prefix is not None]

    def __call__(self, prefixes: Sequence[Prefix]) -> Vector:
        """Return the expected normal scores of complete prefixes, float64 (n,)."""
        fresh = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in self._means]
        if fresh:
            numbers = [
                self._features.add(
                    decisions_of(self._process, prefix), self._process.graph(prefix) if self._whole else None
                )
                for prefix in fresh
            ]
            means = self._model.posterior(self._features.similarities(numbers, self._known)).mean
            self._means.update(zip(fresh, means.tolist(), strict=True))
        return np.array([self._means[prefix] for prefix in prefixes])

    def best(self, n: int) -> list[Prefix]:
        """Return the best of the other search that can be played here."""
        return self._best[:n]

    def _played(self, decisions: Decisions) -> Prefix | None:
        """Return decisions as a complete prefix of this search, or None if they are none."""
        prefix: Prefix = ()
        for slot, action in decisions:
            state = self._process.state(prefix)
            if state is None or state[0] != slot or not state[1][action]:
                return None
            prefix = (*prefix, action)
        return prefix if self._process.state(prefix) is None else None


def _translated(episode: Episode, match: dict[int, tuple[int, dict[int, int]]]) -> Decisions:
    found = []
    for slot, action in zip(episode.slots, episode.actions, strict=True):
        if slot in match and action in match[slot][1]:
            found.append((match[slot][0], match[slot][1][action]))
    return tuple(found)


def _kept(rewards: Vector) -> list[int]:
    places = np.arange(len(rewards))
    if len(places) <= MOST:
        return list(places.tolist())
    best = np.argsort(-rewards, kind="stable")[: MOST // 2]
    return list(np.union1d(places[-MOST // 2 :], best).tolist())
