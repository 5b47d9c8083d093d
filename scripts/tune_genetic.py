"""How the defaults of the genetic algorithm were chosen: planted architectures, one setting changed at a time.

The task is `nas_gym.evaluation.PlantedEvaluator` in the digits space, with a target for each of the seeds 100 … 119
(tests use other seeds). Every setting searches each target `--repeats` times; the best reward after 40, 200, 300 and
500 evaluations is averaged. The noisy track adds Gaussian noise (standard deviation 0.05, fixed for each candidate) to
the reward, and reports the noiseless reward of the candidate that looked best after 300. The last columns compare with
the defaults: the mean over 200, 300, 500 and noisy 300, paired by target, with its standard error.

    python scripts/tune_genetic.py --json
"""

import argparse
import json
import platform
import sys
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.evaluation import PlantedEvaluator, SyntheticEvaluator, evaluate
from nas_gym.randomness import derived_seed
from nas_gym.spaces import ChainSpace, Limits
from nas_gym_agents.agent import Taken
from nas_gym_agents.genetic import Genetic
from nas_gym_agents.random_search import RandomSearch

AT = (40, 200, 300, 500)
NOISE = 0.05
SETTINGS: list[dict[str, Any]] = [
    {},
    {"adaptive": False},
    {"adaptive": False, "population": 20},
    {"adaptive": False, "population": 40},
    {"population": 6},
    {"population": 14},
    {"population": 20},
    {"population_min": 8},
    {"population_min": 10},
    {"population_max": 40},
    {"population_max": 80},
    {"elites": 0},
    {"elites": 1},
    {"elites": 2},
    {"elites": 5},
    {"tournament": 2},
    {"tournament": 5},
    {"crossover": 0.0},
    {"crossover": 0.3},
    {"crossover": 0.9},
    {"mutation": 0.0},
    {"mutation": 0.1, "gene_mutation": 0.25},
    {"mutation": 0.1, "gene_mutation": 0.5},
    {"mutation": 0.5, "gene_mutation": 0.1},
    {"mutation": 1.0, "gene_mutation": 0.1},
    {"mutation": 1.0, "gene_mutation": 0.25},
]

SPACE = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=600_000, resolution=2))


class Rewards:
    """A recorder that notes, for every episode, its reward and its noiseless reward."""

    def __init__(self, truth: PlantedEvaluator) -> None:
        self.truth = truth
        self.seen: list[tuple[float, float]] = []

    def record_episode(self, env: gym.Env[Any, Any], taken: list[Taken], reward: float, info: dict[str, Any]) -> None:
        """Note a finished episode."""
        (evaluation,) = evaluate(self.truth, [SPACE.candidate(tuple(info["actions"]))])
        self.seen.append((reward, float(evaluation.accuracy or 0.0)))

    def update(self) -> None:
        """Note nothing."""

    def chosen(self) -> NDArray[np.float64]:
        """Return the noiseless reward of the candidate that looks best after each number of evaluations in `AT`."""
        rewards, truths = np.array(self.seen).T
        return np.array([truths[np.argmax(rewards[:n])] for n in AT])


def target(seed: int) -> Candidate:
    """Return a random walk; its generator shares nothing with a search of the same seed."""
    generator = np.random.default_rng(derived_seed("target", seed))
    prefix: tuple[int, ...] = ()
    while SPACE.next_slot(prefix) is not None:
        prefix = (*prefix, int(generator.choice(np.flatnonzero(SPACE.legal(prefix)))))
    return SPACE.candidate(prefix)


def run(agent: Any, seed: int, repeat: int, noise: float) -> NDArray[np.float64]:
    truth = PlantedEvaluator(target(seed))

    def noisy(candidate: Candidate) -> float:
        (evaluation,) = evaluate(truth, [candidate])
        generator = np.random.default_rng(derived_seed("noise", seed, candidate.key))
        return 0.25 + (float(evaluation.accuracy or 0.0) + noise * generator.normal()) / 2  # within [0, 1]

    evaluator = SyntheticEvaluator(noisy, name="noisy") if noise else truth
    rewards = Rewards(truth)
    env = ArchitectureEnv(SPACE, evaluator, budget=Budget(evaluations=max(AT)))
    agent.search(env, seed=1000 * repeat + seed, recorder=rewards)
    return rewards.chosen()


def measure(agent: Any, seeds: range, repeats: int) -> NDArray[np.float64]:
    """Return one row per target: the columns of `AT`, then noisy 300; means over the repeats."""
    rows = []
    for seed in seeds:
        clean = np.mean([run(agent, seed, r, 0.0) for r in range(repeats)], axis=0)
        noisy = np.mean([run(agent, seed, r, NOISE) for r in range(repeats)], axis=0)
        rows.append([*clean, noisy[AT.index(300)]])
    return np.array(rows)


def main() -> None:
    """Measure every setting, print the table and, on request, one object with everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="targets")
    parser.add_argument("--repeats", type=int, default=3, help="searches for each target")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(100, 100 + options.seeds)
    rows: list[dict[str, Any]] = []
    default = None
    print(f"| setting | {' | '.join(map(str, AT))} | noisy 300 | against the defaults |\n|{' --- |' * (len(AT) + 3)}")
    for changed in [*SETTINGS, None]:
        agent = RandomSearch() if changed is None else Genetic(**changed)
        found = measure(agent, seeds, options.repeats)
        default = found if default is None else default
        difference = (found - default)[:, 1:].mean(axis=1)
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        label = "`random`" if changed is None else ", ".join(f"{k} {v}" for k, v in changed.items()) or "**defaults**"
        means = found.mean(axis=0)
        print(
            f"| {label} | {' | '.join(f'{m:.3f}' for m in means)} | {difference.mean():+.3f} ± {error:.3f} |",
            flush=True,
        )
        rows.append({"setting": changed, "means": means.tolist(), "difference": difference.mean(), "error": error})
    if options.json:
        facts = {"machine": platform.machine(), "python": sys.version.split()[0], "numpy": np.__version__}
        print(json.dumps({"seeds": list(seeds), "repeats": options.repeats, "at": AT, **facts, "rows": rows}))


if __name__ == "__main__":
    main()
