"""Shared by the tests of agents without a policy: small environments, a planted task, and notes of a search."""

from typing import Any

import gymnasium as gym
import numpy as np

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.evaluation import HashEvaluator, PlantedEvaluator
from nas_gym.randomness import derived_seed
from nas_gym.spaces import ChainSpace, Convolution, Dropout, FullyConnected, Limits
from nas_gym_agents.agent import SearchAgent, SearchResult, Taken

DIGITS = Limits(parameters=100_000, macs=600_000, resolution=2)


class Notes:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.history: list[tuple[tuple[int, ...], float]] = []
        self.taken: list[Taken] = []
        self.ends: list[int] = []  # episodes before each call of `update`

    def record_episode(self, env: gym.Env[Any, Any], taken: list[Taken], reward: float, info: dict[str, Any]) -> None:
        self.history.append((tuple(one.action for one in taken), reward))
        self.taken += taken

    def update(self) -> None:
        self.ends.append(len(self.history))

    @property
    def sequences(self) -> list[tuple[int, ...]]:
        return [actions for actions, _ in self.history]


class Cells(gym.Env[np.ndarray, np.int64]):
    """As large as NAS-Bench-201: six slots of five choices, all legal; knows nothing of nas-gym but the mask.

    Rewards are additive, so that there is one optimum and local search can't be trapped; ``rewards`` says otherwise.
    """

    def __init__(self, episodes: int, seed: int = 0, choices: int = 5, slots: int = 6, rewards: Any = None) -> None:
        self.action_space = gym.spaces.Discrete(choices)
        self.observation_space = gym.spaces.Box(0, slots, (1,), np.float32)
        self.left, self.slots = episodes, slots
        self.worth = np.random.default_rng((seed, 77)).random((slots, choices))
        self.rewards = rewards or self.additive
        self.chosen: tuple[int, ...] = ()

    @property
    def best(self) -> float:
        return float(self.worth.max(axis=1).mean())

    def additive(self, chosen: tuple[int, ...]) -> float:
        return float(np.mean([self.worth[slot, action] for slot, action in enumerate(chosen)]))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.chosen = ()
        return np.zeros(1, np.float32), self._info()

    def step(self, action: Any) -> Any:
        if self.left == 0:
            return np.zeros(1, np.float32), 0.0, False, True, self._info() | {"budget_spent": True}
        self.chosen = (*self.chosen, int(action))
        over = len(self.chosen) == self.slots
        self.left -= over
        return np.zeros(1, np.float32), self.rewards(self.chosen) if over else 0.0, over, False, self._info()

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.ones(int(self.action_space.n), np.int8)}


def chain_space(**arguments: Any) -> ChainSpace:
    return ChainSpace((1, 8, 8), 10, **{"limits": DIGITS, **arguments})


# Of five actions only a few are illegal, so that a policy without masks completes most episodes.
FRIENDLY = chain_space(
    catalogue=(Convolution(4), Convolution(8), FullyConnected(8), Dropout(0.2)),
    activations=("relu", "tanh", "gelu", "silu"),
)


def chain_env(evaluations: int = 60, space: ChainSpace | None = None, **budget: Any) -> ArchitectureEnv:
    limits = budget or {"evaluations": evaluations}
    return ArchitectureEnv(space or chain_space(), HashEvaluator(), budget=Budget(**limits))


def planted(seed: int, evaluations: int) -> ArchitectureEnv:
    """The target is a random walk whose generator shares nothing with a search of the same seed."""
    space = chain_space()
    generator = np.random.default_rng(derived_seed("target", seed))
    prefix: tuple[int, ...] = ()
    while space.next_slot(prefix) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(space.legal(prefix)))))
    return ArchitectureEnv(space, PlantedEvaluator(space.candidate(prefix)), budget=Budget(evaluations=evaluations))


def searched(agent: SearchAgent, env: gym.Env[Any, Any], seed: int = 0) -> tuple[SearchResult, Notes]:
    notes = Notes()
    result = agent.search(env, seed=seed, recorder=notes)
    assert result.episodes == len(notes.history)
    assert (result.actions, result.reward) == max(notes.history, key=lambda episode: episode[1])
    assert result.updates == len(notes.ends)
    return result, notes


def rewards_found(agent: SearchAgent, evaluations: int, seeds: int = 10) -> np.ndarray:
    """The best reward on the planted task of each seed."""
    return np.array([agent.search(planted(seed, evaluations), seed=seed).reward for seed in range(seeds)])
