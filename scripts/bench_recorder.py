"""What recording and explaining costs a search: the same search without a recorder, in budget mode, and explaining all.

    python scripts/bench_recorder.py [--evaluations 32] [--rounds 5] [--json]
    python scripts/bench_recorder.py --env nas_gym/Table-v0 --evaluations 400    # the worst case: rewards cost nothing

Every round runs all of them, one after the other in a new order, with the same seed, so that they train the same
networks; what is compared is processor time of one thread, which other work on the machine disturbs less than
wall-clock time, in pairs of the same round. Nothing is written to disk.
"""

import argparse
import json
import platform
import statistics
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from nas_gym.envs import Budget
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.settings import SearchSettings

WITHOUT, BUDGET, ALL = "no recorder", "budget", "all"
MODES = (WITHOUT, BUDGET, ALL)


def seconds_of(mode: str, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Return processor seconds, wall-clock seconds, and the share of decisions that were explained."""
    env_args = {"threads": 1} if "Chain" in arguments.env else {}
    env = SearchSettings(env=arguments.env, env_args=env_args).make_env()
    env.budget = Budget(evaluations=arguments.evaluations)
    recorder = None if mode == WITHOUT else DecisionRecorder(explain=mode)  # type: ignore[arg-type]
    processor, wall = time.process_time(), time.perf_counter()
    MaskablePPOSearch().search(env, seed=arguments.seed, recorder=recorder)
    took = time.process_time() - processor, time.perf_counter() - wall
    share = 0.0 if recorder is None else float(recorder.frame()["phi"].notna().mean())
    return *took, share


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of every mode and round, and the ratios."""
    order = np.random.default_rng(arguments.seed)
    seconds_of(BUDGET, argparse.Namespace(**{**vars(arguments), "evaluations": 4}))  # imports, caches
    rows: dict[str, list[tuple[float, float, float]]] = {mode: [] for mode in MODES}
    for _ in range(arguments.rounds):
        for mode in order.permutation(MODES):
            rows[str(mode)].append(seconds_of(str(mode), arguments))
    ratios = {
        mode: [one[0] / other[0] for one, other in zip(rows[mode], rows[WITHOUT], strict=True)]
        for mode in (BUDGET, ALL)
    }
    return {
        "env": arguments.env,
        "evaluations": arguments.evaluations,
        "processor_seconds": {mode: [row[0] for row in rows[mode]] for mode in MODES},
        "wall_seconds": {mode: [row[1] for row in rows[mode]] for mode in MODES},
        "share_explained": {mode: statistics.mean(row[2] for row in rows[mode]) for mode in MODES},
        "ratios": ratios,
        "median_ratio": {mode: statistics.median(values) for mode, values in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="nas_gym/Chain-Digits-v0", help="environment id")
    parser.add_argument("--evaluations", type=int, default=32, help="of every search")
    parser.add_argument("--rounds", type=int, default=5, help="searches of every mode")
    parser.add_argument("--seed", type=int, default=0, help="of the searches, and of the order")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(arguments)
    print(f"{arguments.env}, {arguments.evaluations} evaluations, {arguments.rounds} rounds")
    for mode in MODES:
        median = statistics.median(figures["processor_seconds"][mode])
        more = "" if mode == WITHOUT else f"  {100 * (figures['median_ratio'][mode] - 1):+.1f} % (median of the pairs)"
        share = figures["share_explained"][mode]
        print(f"  {mode:12} {median:8.2f} s of processor time, {100 * share:3.0f} % of decisions explained{more}")
    if arguments.json:
        packages = {name: version(name) for name in ("nas-gym", "torch", "stable-baselines3", "sb3-contrib", "numpy")}
        facts = {"machine": platform.machine(), "python": platform.python_version(), "versions": packages}
        print(json.dumps({**figures, **facts, "seed": arguments.seed}))


if __name__ == "__main__":
    main()
