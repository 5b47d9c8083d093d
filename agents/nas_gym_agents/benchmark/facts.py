"""What a report must know of an environment, so that it can do without the table."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import TabularEvaluator
from nas_gym.evaluation.tabular import MEAN
from nas_gym.objective import Accuracy
from nas_gym.tables import BenchmarkTable
from nas_gym_agents.benchmark.plan import EnvPlan, Plan
from nas_gym_envs import ArchitectureEnv

_CITED = ("source", "title", "url", "citation", "licence", "license", "data", "dataset", "recipe")


def environment_facts(plan: Plan, env_plan: EnvPlan) -> dict[str, Any]:
    """Return what there is to know of an environment: its table, and the best that can be reached.

    Raises:
        ConfigurationError: The environment can't be made, has no such score, or tells no costs although the budget is
            in simulated seconds.
    """
    for noise in plan.tracks.values():
        env_plan.make(noise)
    env = env_plan.make()
    facts: dict[str, Any] = {
        "space": env.space.name,
        "slots": [slot.name for slot in env.space.slots],
        "evaluator": env.evaluator.identity,
    }
    evaluator = env.evaluator
    if isinstance(evaluator, TabularEvaluator):
        facts |= _of_table(env, evaluator, env_plan.score)
        if plan.unit == "simulated_seconds" and not evaluator.simulates_cost:
            raise ConfigurationError(
                f"{env_plan.id!r} tells no cost at the fidelity {evaluator.fidelity!r}, so that no budget of simulated "
                "seconds can be spent; use --budget evaluations=… or unique=…"
            )
    elif env_plan.score is not None:
        raise ConfigurationError(f"{env_plan.id!r} has no table, so that there is no score {env_plan.score!r}")
    return facts


def _of_table(env: ArchitectureEnv, evaluator: TabularEvaluator, score: str | None) -> dict[str, Any]:
    table = evaluator.table
    name = score or table.default_score
    if name not in table.scores:
        raise ConfigurationError(f"the table {table.name!r} has no score {name!r}; known are {', '.join(table.scores)}")
    scores = table.scores[name].astype(np.float64)
    return {
        "table": table.name,
        "digest": table_digest(table),
        "rows": len(table),
        "fidelity": evaluator.fidelity,
        "score": name,
        "optimum": float(scores.max()),
        "score_of_best_reward": float(scores[_rewards(env).argmax()]),
        "facts": {fact: table.facts[fact] for fact in _CITED if fact in table.facts},
    }


def _rewards(env: ArchitectureEnv) -> NDArray[np.float64]:
    """Return the reward of every row of a tabular environment without noise: float64, shape (rows,)."""
    evaluator = env.evaluator
    assert isinstance(evaluator, TabularEvaluator) and not evaluator.noise, "who asks has made it so"
    table = evaluator.table
    if isinstance(env.objective, Accuracy) and evaluator.trainings == MEAN:
        return table.mean_accuracy(evaluator.fidelity).astype(np.float64)
    return np.array([float(env.objective(evaluator.answer(key))) for key in table.keys])


def table_digest(table: BenchmarkTable) -> str:
    """Return a digest of what searches and scores can see of a table."""
    digest = hashlib.sha256("\n".join(table.keys).encode())
    for group in (table.accuracies, table.scores, table.costs):
        for name, column in sorted(group.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(column, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]
