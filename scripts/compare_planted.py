"""Agents on planted architectures at equal budget: the tables of docs/agents.

The task is `nas_gym.evaluation.PlantedEvaluator` in the digits space, one search for each of the seeds 0 … 9, as the
tests have it. Every row is the mean best reward (1 is the optimum) with its standard error, and the difference from
random search, paired by seed.

    python scripts/compare_planted.py --agents local-search,regularized-evolution,tpe --evaluations 100,300
"""

import argparse
import json
import platform
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.evaluation import PlantedEvaluator
from nas_gym.randomness import derived_seed
from nas_gym.spaces import ChainSpace, Limits
from nas_gym_agents.registry import AGENTS, make_agent

SPACE = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=600_000, resolution=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default=",".join(AGENTS), help="names, parted by commas")
    parser.add_argument("--evaluations", default="100,300", help="budgets, parted by commas")
    parser.add_argument("--seeds", type=int, default=10, help="searches for each agent and budget")
    parser.add_argument(
        "--agent-arg", action="append", default=[], help="name=value, in JSON; for all agents but random"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    settings = {name: json.loads(value) for name, _, value in (one.partition("=") for one in args.agent_arg)}
    rows: list[dict[str, Any]] = []
    print("| agent | evaluations | best reward | against random | better on |\n| --- | --- | --- | --- | --- |")
    for evaluations in (int(one) for one in args.evaluations.split(",")):
        chance = found("random", {}, evaluations, args.seeds)
        for name in args.agents.split(","):
            rewards = chance if name == "random" else found(name, settings, evaluations, args.seeds)
            more = rewards - chance
            rows.append({"agent": name, "evaluations": evaluations, "rewards": rewards.tolist()})
            print(
                f"| `{name}` | {evaluations} | {shown(rewards)} | {shown(more, '+')} | "
                f"{int((more > 0).sum())} of {args.seeds} |",
                flush=True,
            )
    if args.json:
        facts = {"python": sys.version.split()[0], "machine": platform.machine(), "settings": settings}
        print(json.dumps({**facts, "rows": rows}))


def found(name: str, settings: dict[str, Any], evaluations: int, seeds: int) -> NDArray[np.float64]:
    """Return the best reward of each seed."""
    agent = make_agent(name, settings)
    return np.array([agent.search(planted(seed, evaluations), seed=seed).reward for seed in range(seeds)])


def planted(seed: int, evaluations: int) -> ArchitectureEnv:
    """Return the task of a seed; its target is a random walk whose generator shares nothing with a search."""
    generator = np.random.default_rng(derived_seed("target", seed))
    prefix: tuple[int, ...] = ()
    while SPACE.next_slot(prefix) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(SPACE.legal(prefix)))))
    return ArchitectureEnv(SPACE, PlantedEvaluator(SPACE.candidate(prefix)), budget=Budget(evaluations=evaluations))


def shown(values: NDArray[np.float64], sign: str = "") -> str:
    """Return a mean with its standard error."""
    return f"{values.mean():{sign}.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    main()
