"""One search under a budget, and what is kept of it: a thin wrapper that notes every evaluation."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import RunError
from nas_gym.evaluation import TabularEvaluator
from nas_gym_agents.agent import SearchAgent
from nas_gym_agents.benchmark.plan import EnvPlan, Plan
from nas_gym_envs import ArchitectureEnv

GRACE = 100  # steps after the budget is spent, until an agent that does not look is stopped


class SearchOver(BaseException):
    """Raised in an agent that goes on after its budget is spent, to end its search.

    No Exception, as KeyboardInterrupt is none: nothing on the way is to swallow it.
    """


@dataclass(frozen=True)
class Searched:
    """The evaluations of one search, in order.

    Attributes:
        actions: The decisions of every evaluation.
        keys: Its row of the table.
        rewards: What the search saw, float64 (n,).
        scores: What the answer would be worth, float64 (n,); without a table the rewards.
        costs: Simulated seconds of every query, float64 (n,).
    """

    actions: list[tuple[int, ...]]
    keys: list[str]
    rewards: NDArray[np.float64]
    scores: NDArray[np.float64]
    costs: NDArray[np.float64]

    @property
    def unique_so_far(self) -> NDArray[np.int32]:
        """How many different keys there were up to every evaluation, int32 (n,)."""
        return unique_so_far(self.keys)

    @property
    def cost_so_far(self) -> NDArray[np.float64]:
        """Simulated seconds up to every evaluation, repeats included, float64 (n,)."""
        return np.cumsum(self.costs)


class Recorded(gym.Wrapper[Any, Any, Any, Any]):
    """Notes every evaluation, whoever drives the environment; costs one call a step."""

    def __init__(self, env: ArchitectureEnv) -> None:
        super().__init__(env)
        self.actions: list[tuple[int, ...]] = []
        self.keys: list[str] = []
        self.rewards: list[float] = []
        self.costs: list[float] = []
        self._env = env
        self._over = 0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a decision, and note the evaluation if that ends the episode with one."""
        taken = self._env.step(action)
        if taken[2] or taken[3]:
            self._note(float(taken[1]), taken[4])
        return taken

    def _note(self, reward: float, info: dict[str, Any]) -> None:
        evaluation = self._env.last_evaluation
        if info.get("budget_spent"):
            self._over += 1
            if self._over > GRACE:
                raise SearchOver
        elif evaluation is not None and "evaluation" in info:
            self.actions.append(tuple(info["actions"]))
            self.keys.append(evaluation.key)
            self.rewards.append(reward)
            self.costs.append(evaluation.cost_seconds)


def search_once(plan: Plan, env_plan: EnvPlan, noise: float, agent: SearchAgent, seed: int) -> Searched:
    """Return what a search evaluates.

    Args:
        plan: Whose budget is spent.
        env_plan: The environment.
        noise: Of the track.
        agent: That searches.
        seed: Of the agent, and of the noise.

    Raises:
        RunError: The agent evaluated nothing.
    """
    env = env_plan.make(noise, seed)
    env.budget = plan.make_budget()
    recorded = Recorded(env)
    with suppress(SearchOver):
        agent.search(recorded, seed=seed)
    if not recorded.keys:
        raise RunError(f"the agent {agent.name!r} evaluated nothing in {env_plan.id!r} with seed {seed}")
    rewards = np.array(recorded.rewards, dtype=np.float64)
    scores = scores_of(env, env_plan.score, recorded.keys, rewards)
    return Searched(recorded.actions, recorded.keys, rewards, scores, np.array(recorded.costs, dtype=np.float64))


def unique_so_far(keys: Sequence[str]) -> NDArray[np.int32]:
    """Return how many different keys there were up to every place, int32 (n,)."""
    first = dict[str, int]()
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    new = np.zeros(len(keys), dtype=np.int32)
    new[list(first.values())] = 1
    return np.cumsum(new, dtype=np.int32)


def scores_of(
    env: ArchitectureEnv, score: str | None, keys: list[str], rewards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the scores of keys, float64 (n,): of the table's column, or without a table the rewards themselves."""
    evaluator = env.evaluator
    if not isinstance(evaluator, TabularEvaluator):
        return rewards
    table = evaluator.table
    column = table.scores[score or table.default_score]
    return column[[table.rows[key] for key in keys]].astype(np.float64)
