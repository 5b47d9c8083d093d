"""How the defaults of the PPO agents were chosen: planted architectures, several settings, one budget.

Prints the mean and the standard error of the best reward found within the budget, and the mean number of distinct
candidates, over the seeds 100 … 100 + n - 1 (tests use other seeds). The task is
`nas_gym.evaluation.PlantedEvaluator` in the digits space.

    python scripts/tune_ppo.py --seeds 10 --evaluations 256
"""

import argparse
import itertools
import json
import os
import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.evaluation import PlantedEvaluator
from nas_gym.spaces import ChainSpace, Limits
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.random_search import RandomSearch

GRID = {
    "n_steps": (64, 96, 128),
    "learning_rate": (1e-3, 3e-3),
    "entropy": (0.01, 0.03, 0.06),
    "n_epochs": (8,),
}


def planted(space: ChainSpace, seed: int) -> PlantedEvaluator:
    """Return the evaluator whose best architecture is a random walk of the seed."""
    generator = np.random.default_rng(seed)
    prefix: tuple[int, ...] = ()
    while space.next_slot(prefix) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(space.legal(prefix)))))
    return PlantedEvaluator(space.candidate(prefix))


def score(agent: Any, seeds: range, evaluations: int) -> dict[str, float]:
    """Return the mean best reward with its standard error, and the mean number of distinct candidates."""
    best, unique = [], []
    for seed in seeds:
        space = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=600_000, resolution=2))
        budget = Budget(evaluations=evaluations)
        env = ArchitectureEnv(space, planted(space, seed), budget=budget)
        found = agent.search(env, seed=seed + 10_000 if agent.name == "random" else seed)  # not the target's own stream
        best.append(found.reward)
        unique.append(budget.spent["unique"])
    error = float(np.std(best, ddof=1) / np.sqrt(len(best)))
    return {"best": float(np.mean(best)), "error": error, "unique": float(np.mean(unique))}


def main() -> None:
    """Run the grid and print it, the best setting first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(100, 100 + options.seeds)
    rows: list[dict[str, Any]] = [{"agent": "random", **score(RandomSearch(), seeds, options.evaluations)}]
    for values in itertools.product(*GRID.values()):
        setting = dict(zip(GRID, values, strict=True))
        agent = MaskablePPOSearch(batch_size=setting["n_steps"] // 2, **setting)
        rows.append({"agent": "maskable-ppo", **setting, **score(agent, seeds, options.evaluations)})
        print(rows[-1], flush=True)
    rows.sort(key=lambda row: -row["best"])
    for row in rows:
        print(
            " ".join(
                f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()
            )
        )
    if options.json:
        versions = {name: version(name) for name in ("torch", "stable-baselines3", "sb3-contrib", "numpy")}
        hardware = {"machine": platform.machine(), "processors": os.cpu_count()}
        facts = {"evaluations": options.evaluations, "seeds": list(seeds), "hardware": hardware, "versions": versions}
        print(json.dumps({**facts, "rows": rows}))


if __name__ == "__main__":
    main()
