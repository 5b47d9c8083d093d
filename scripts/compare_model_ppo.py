"""How far `model-ppo` gets, beside local search or a cold start, on a table: unique candidates, paired by seed.

Both see the same reward; the answer after n unique candidates is the row with the best reward so far, scored by the
table's score. Local search is first improvement over all candidates one decision away, in random order, from a random
start, which starts again at a local optimum and never evaluates twice. Prints means, standard deviations, and the mean
difference with its 95 % bootstrap interval over seeds. With ``--warm-start RUN`` the agent begins with that run, and is
compared with itself without it.

    python scripts/compare_model_ppo.py --env nas_gym/NB201-CIFAR10-v0 --fidelity full --seeds 100 --json
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

import nas_gym  # noqa: F401  registers the ids
from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym_agents.decision_process import SpaceProcess, neighbours, random_prefix
from nas_gym_agents.registry import make_agent
from nas_gym_agents.warm_start import read_warm_start


class Asked:
    """An evaluator that notes the rows it is asked for, each once, in order."""

    def __init__(self, evaluator: Any) -> None:
        self.evaluator, self.rows = evaluator, dict[int, None]()

    def submit(self, candidates: Any, **options: Any) -> Any:
        """Note the rows, and ask."""
        for candidate in candidates:
            self.rows.setdefault(self.evaluator.table.rows[candidate.key])
        return self.evaluator.submit(candidates, **options)


def agent_rows(env: ArchitectureEnv, agent: Any, seed: int, unique: int, warm_start: str | None = None) -> list[int]:
    """Return the rows that an agent evaluates, in order."""
    asked = Asked(env.evaluator)
    searched = ArchitectureEnv(env.space, asked, env.objective, budget=Budget(unique=unique))
    more = {} if warm_start is None else {"warm_start": read_warm_start(warm_start, agent, env.space.slots)}
    agent.search(searched, seed=seed, **more)
    return list(asked.rows)


def local_search_rows(env: ArchitectureEnv, rewards: NDArray[np.float64], seed: int, unique: int) -> list[int]:
    """Return the rows that local search evaluates, in order."""
    process, generator = SpaceProcess(env.space), np.random.default_rng(seed)
    rows: dict[int, None] = {}

    def row_of(prefix: tuple[int, ...]) -> int:
        return int(env.evaluator.table.rows[process.identity(prefix)])  # type: ignore[attr-defined]

    while len(rows) < min(unique, len(rewards)):
        here = random_prefix(process, generator)
        if row_of(here) in rows:
            continue
        rows.setdefault(row_of(here))
        climbing = True
        while climbing and len(rows) < unique:
            climbing = False
            others = neighbours(process, here)
            for i in generator.permutation(len(others)):
                if len(rows) == unique:
                    break
                row = row_of(others[i])
                fresh = row not in rows
                rows.setdefault(row)
                if fresh and rewards[row] > rewards[row_of(here)]:
                    here, climbing = others[i], True
                    break
    return list(rows)


def interval(differences: NDArray[np.float64]) -> list[float]:
    """Return the 95 % bootstrap interval of the mean."""
    if np.ptp(differences) == 0:
        return [float(differences.mean())] * 2
    found = bootstrap((differences,), np.mean, n_resamples=9999, rng=np.random.default_rng(0)).confidence_interval
    return [float(found.low), float(found.high)]


def main() -> None:
    """Run both over the seeds, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="nas_gym/Table-v0")
    parser.add_argument("--fidelity", default=None)
    parser.add_argument("--score", default=None, help="of the table; by default its own default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at", type=int, nargs="+", default=[25, 50, 100], help="unique candidates")
    parser.add_argument("--agent", default="model-ppo")
    parser.add_argument("--agent-arg", action="append", default=[], help="NAME=VALUE, the value as JSON")
    parser.add_argument("--warm-start", default=None, metavar="RUN")
    parser.add_argument("--progress", action="store_true", help="print every seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    arguments = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in options.agent_arg)}
    env: Any = gym.make(options.env, **({"fidelity": options.fidelity} if options.fidelity else {})).unwrapped
    table = env.evaluator.table
    rewards = table.mean_accuracy(env.evaluator.fidelity).astype(np.float64)
    scores = 100 * table.scores[options.score or table.default_score].astype(np.float64)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    agent, other = make_agent(options.agent, arguments), "cold start" if options.warm_start else "local-search"
    found: dict[str, list[list[float]]] = {options.agent: [], other: []}
    seconds = 0.0
    for seed in seeds:
        started = time.process_time()
        rows = {options.agent: agent_rows(env, agent, seed, max(options.at), options.warm_start)}
        seconds += time.process_time() - started
        if options.warm_start:
            rows[other] = agent_rows(env, agent, seed, max(options.at))
        else:
            rows[other] = local_search_rows(env, rewards, seed, max(options.at))
        for name, asked in rows.items():
            answers = [asked[int(np.argmax(rewards[asked[:n]]))] for n in options.at]
            found[name].append(scores[answers].tolist())
        if options.progress:
            print(seed, {name: np.round(values[-1], 2).tolist() for name, values in found.items()}, flush=True)
    values = {name: np.array(one) for name, one in found.items()}
    rows_out = []
    for place, n in enumerate(options.at):
        ours, theirs = values[options.agent][:, place], values[other][:, place]
        row = {
            "unique": n,
            options.agent: [float(ours.mean()), float(ours.std(ddof=1))],
            other: [float(theirs.mean()), float(theirs.std(ddof=1))],
            "difference": float((ours - theirs).mean()),
            "interval": interval(ours - theirs),
        }
        rows_out.append(row)
        print(
            f"{n:4d} unique: {options.agent} {ours.mean():.3f}±{ours.std(ddof=1):.3f}, "
            f"{other} {theirs.mean():.3f}±{theirs.std(ddof=1):.3f}, difference {row['difference']:+.3f} "
            f"[{row['interval'][0]:+.3f}, {row['interval'][1]:+.3f}]"
        )
    print(f"{seconds / len(seeds):.1f} s of processor time a search of {options.agent}")
    if options.json:
        versions = {name: version(name) for name in ("torch", "stable-baselines3", "sb3-contrib", "numpy", "scipy")}
        facts = {
            **{name: getattr(options, name) for name in ("env", "fidelity", "agent", "warm_start")},
            "arguments": arguments,
            "seeds": list(seeds),
            "seconds": seconds / len(seeds),
            "scores": {name: one.tolist() for name, one in values.items()},
            "hardware": {"machine": platform.machine(), "processors": os.cpu_count()},
            "versions": versions,
        }
        print(json.dumps({**facts, "rows": rows_out}))


if __name__ == "__main__":
    main()
