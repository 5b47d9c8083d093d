"""How far `model-ppo` gets, beside local search or a cold start, on a table: unique candidates, paired by seed.

Both see the same reward; the answer after n unique candidates is the row with the best reward so far, scored by the
table's score. A search that proposes nothing new for 1,000 episodes in a row, as a policy that has converged does, ends
and keeps its answer. Local search is the agent `local-search` with its defaults. Prints means, standard deviations, and
the mean difference with its 95 % bootstrap interval over seeds (`paired_difference`). With ``--warm-start RUN …`` the
agent begins with that run, and is compared with itself without it; with several, with each of them in turn: a seed's
score is the mean over the runs, and what every run gained is told.

    python scripts/compare_model_ppo.py --env nas_gym/NB201-CIFAR10-v0 --fidelity full --seeds 100 --json
"""

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import nas_gym  # noqa: F401  registers the ids
from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import ConfigurationError, NasGymError
from nas_gym.statistics import paired_difference
from nas_gym_agents.registry import make_agent
from nas_gym_agents.settings import IDLE_EPISODES
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
    searched = ArchitectureEnv(
        env.space, asked, env.objective, budget=Budget(unique=unique, idle_episodes=IDLE_EPISODES)
    )
    more = {} if warm_start is None else {"warm_start": read_warm_start(warm_start, agent, env.space.slots)}
    agent.search(searched, seed=seed, **more)
    return list(asked.rows)


def answers(
    env: Any, agent: Any, seed: int, at: list[int], score: str, warm_start: str | None = None
) -> tuple[NDArray[np.float64], float]:
    """Return the scores in % of an agent's answers after so many unique candidates, and the processor time it took.

    With the score "reward" an answer is scored by what the search sees.
    """
    table = env.evaluator.table
    rewards = table.mean_accuracy(env.evaluator.fidelity).astype(np.float64)
    truth = rewards if score == "reward" else table.scores[score]
    started = time.process_time()
    rows = agent_rows(env, agent, seed, max(at), warm_start)
    seconds = time.process_time() - started
    best = [rows[int(np.argmax(rewards[rows[:n]]))] for n in at]
    return np.array([100 * float(truth[row]) for row in best]), seconds


def compared(name: str, other: str, n: int, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> dict[str, Any]:
    """Print and return a row: both agents after n unique candidates, (seeds,) scores in % each, ± their deviation."""
    found = paired_difference(ours, theirs)
    print(
        f"{n:4d} unique: {name} {ours.mean():.3f}±{ours.std(ddof=1):.3f}, {other} {theirs.mean():.3f}±"
        f"{theirs.std(ddof=1):.3f}, difference {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    )
    each = {who: [float(one.mean()), float(one.std(ddof=1))] for who, one in ((name, ours), (other, theirs))}
    return {"unique": n, **each, "difference": found.value, "interval": [found.low, found.high]}


def main() -> None:
    """Run both over the seeds, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="nas_gym/Table-v0")
    parser.add_argument("--fidelity", default=None)
    parser.add_argument("--score", default=None, help="of the table, by default its own default; or reward")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at", type=int, nargs="+", default=[25, 50, 100], help="unique candidates")
    parser.add_argument("--agent", default="model-ppo")
    parser.add_argument("--agent-arg", action="append", default=[], help="NAME=VALUE, the value as JSON")
    parser.add_argument(
        "--warm-start", nargs="+", default=None, metavar="RUN", help="each is begun with; then the mean"
    )
    parser.add_argument("--progress", action="store_true", help="print every seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        compare(options)
    except NasGymError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def compare(options: argparse.Namespace) -> None:
    """Run what the command line asks for, and print it."""
    arguments = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in options.agent_arg)}
    env: Any = gym.make(options.env, **({"fidelity": options.fidelity} if options.fidelity else {})).unwrapped
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    agent, name = make_agent(options.agent, arguments), "cold start" if options.warm_start else "local-search"
    other = agent if options.warm_start else make_agent(name)
    table = env.evaluator.table
    score = options.score or table.default_score
    if score not in (known := ("reward", *table.scores)):
        raise ConfigurationError(f"the score is one of {', '.join(known)}, got {score!r}")
    found: dict[str, list[NDArray[np.float64]]] = {options.agent: [], name: []}
    seconds = 0.0
    runs = options.warm_start or [None]
    for seed in seeds:
        ours, spent = zip(*[answers(env, agent, seed, options.at, score, run) for run in runs], strict=True)
        found[options.agent].append(np.array(ours))
        found[name].append(np.array([answers(env, other, seed, options.at, score)[0]]))
        seconds += sum(spent)
        if options.progress:
            print(seed, {who: np.round(scores[-1], 2).tolist() for who, scores in found.items()}, flush=True)
    first, second = (np.array(found[who]) for who in (options.agent, name))  # (seeds, runs, budgets), (seeds, 1, …)
    for place, run in enumerate(runs if len(runs) > 1 else []):
        gains = (first[:, place] - second[:, 0]).mean(axis=0)
        print(f"{run}: " + ", ".join(f"{gain:+.3f} at {n}" for n, gain in zip(options.at, gains, strict=True)))
    means = first.mean(axis=1), second.mean(axis=1)
    rows = [compared(options.agent, name, n, means[0][:, i], means[1][:, i]) for i, n in enumerate(options.at)]
    print(f"{seconds / len(seeds) / len(runs):.1f} s of processor time a search of {options.agent}")
    if options.json:
        packages = ("torch", "stable-baselines3", "sb3-contrib", "numpy", "scipy")
        facts = {
            **{option: getattr(options, option) for option in ("env", "fidelity", "agent", "warm_start")},
            "arguments": arguments,
            "seeds": list(seeds),
            "seconds": seconds / len(seeds) / len(runs),
            "scores": {options.agent: first.tolist(), name: second.tolist()},
            "hardware": {"machine": platform.machine(), "processors": os.cpu_count()},
            "versions": {package: version(package) for package in packages},
        }
        print(json.dumps({**facts, "rows": rows}))


if __name__ == "__main__":
    main()
