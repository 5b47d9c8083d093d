"""What a report must know of an environment, so that it can do without the table."""

import hashlib
from typing import Any

import numpy as np

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import TabularEvaluator
from nas_gym.tables import BenchmarkTable
from nas_gym_agents.benchmark.plan import EnvPlan, Plan

_CITED = ("source", "title", "url", "citation", "licence", "license", "data", "dataset", "recipe")


def environment_facts(plan: Plan, env_plan: EnvPlan) -> dict[str, Any]:
    """Return what there is to know of an environment: its table, and the best that can be reached.

    Raises:
        ConfigurationError: The environment can't be made, has no such score, or tells no costs although the budget is
            in simulated seconds.
    """
    for noise in plan.tracks.values():
        env = env_plan.make(noise)
    facts: dict[str, Any] = {
        "space": env.space.name,
        "slots": [slot.name for slot in env.space.slots],
        "evaluator": env_plan.make().evaluator.identity,
    }
    evaluator = env.evaluator
    if isinstance(evaluator, TabularEvaluator):
        facts |= _of_table(evaluator, env_plan.score)
        if plan.unit == "simulated_seconds" and not evaluator.simulates_cost:
            raise ConfigurationError(
                f"{env_plan.id!r} tells no cost at the fidelity {evaluator.fidelity!r}, so that no budget of simulated "
                "seconds can be spent; use --budget evaluations=… or unique=…"
            )
    elif env_plan.score is not None:
        raise ConfigurationError(f"{env_plan.id!r} has no table, so that there is no score {env_plan.score!r}")
    return facts


def _of_table(evaluator: TabularEvaluator, score: str | None) -> dict[str, Any]:
    table = evaluator.table
    name = score or table.default_score
    if name not in table.scores:
        raise ConfigurationError(f"the table {table.name!r} has no score {name!r}; known are {', '.join(table.scores)}")
    scores = table.scores[name].astype(np.float64)
    rewards = table.mean_accuracy(evaluator.fidelity).astype(np.float64)
    return {
        "table": table.name,
        "digest": table_digest(table),
        "rows": len(table),
        "fidelity": evaluator.fidelity,
        "score": name,
        "optimum": float(scores.max()),
        "score_of_best_reward": float(scores[rewards.argmax()]),
        "facts": {fact: table.facts[fact] for fact in _CITED if fact in table.facts},
    }


def table_digest(table: BenchmarkTable) -> str:
    """Return a digest of what searches and scores can see of a table."""
    digest = hashlib.sha256("\n".join(table.keys).encode())
    for group in (table.accuracies, table.scores, table.costs):
        for name, column in sorted(group.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(column, dtype="<f4").tobytes())
    return digest.hexdigest()[:16]
