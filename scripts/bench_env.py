"""Steps per second of the environment beside CartPole-v1, and the time to import nas_gym.

    python scripts/bench_env.py [--json]

All subjects run in one process on one core and take turns, so that whatever else the machine does hits all of them
alike. The environment builds candidates of the Chain-Digits space from random legal actions, drawn from the mask;
a constant evaluator answers. Its steps include resetting, building the candidate, its canonical key and the evaluation
at the end of every episode. `gym.make` adds Gymnasium's own wrappers (order and type checks).

Two clocks: the wall's, and the processor time of this process, which leaves out the time that other programs had the
core. On a machine that does nothing else they agree; the target is judged by processor time.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym

import nas_gym

ENV_ID = "nas_gym/Chain-Digits-v0"
TARGET = 60_000  # steps per second
REFERENCE = "CartPole-v1"
IMPORT_TIMER = """
import time
start = time.perf_counter()
import gymnasium
middle = time.perf_counter()
import nas_gym
print(middle - start, time.perf_counter() - middle)
"""


def design(env: gym.Env[Any, Any], n_steps: int, generator: random.Random) -> None:
    """Take random legal actions, drawn from the mask."""
    draw = generator.random
    _, info = env.reset()
    for _ in range(n_steps):
        legal = info["action_mask"].nonzero()[0]
        _, _, terminated, truncated, info = env.step(legal[int(draw() * len(legal))])
        if terminated or truncated:
            _, info = env.reset()


def balance(env: gym.Env[Any, Any], n_steps: int, generator: random.Random) -> None:
    """Take random actions of CartPole."""
    draw = generator.random
    env.reset()
    for _ in range(n_steps):
        _, _, terminated, truncated, _ = env.step(int(2 * draw()))
        if terminated or truncated:
            env.reset()


def subjects() -> dict[str, tuple[gym.Env[Any, Any], Callable[[gym.Env[Any, Any], int, random.Random], None]]]:
    """Return what is measured: an environment and how to drive it, by name."""
    ours, theirs = gym.make(ENV_ID, evaluator="constant"), gym.make(REFERENCE)
    return {
        "ArchitectureEnv": (ours.unwrapped, design),
        "ArchitectureEnv, gym.make": (ours, design),
        REFERENCE: (theirs.unwrapped, balance),
        f"{REFERENCE}, gym.make": (theirs, balance),
    }


def measure(repetitions: int, n_steps: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    """Return the steps per second of every repetition, by both clocks, by subject; the subjects take turns."""
    rates: dict[str, list[tuple[float, float]]] = {}
    generator = random.Random(seed)
    measured = subjects()
    for env, _ in measured.values():
        env.reset(seed=seed)
    for _ in range(repetitions + 1):
        for name, (env, drive) in measured.items():
            wall, processor = time.perf_counter(), time.process_time()
            drive(env, n_steps, generator)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            rates.setdefault(name, []).append((n_steps / wall, n_steps / processor))
    return {name: values[1:] for name, values in rates.items()}  # the first round fills caches


def import_seconds(repetitions: int) -> tuple[float, float]:
    """Return the median seconds to import gymnasium, and what nas_gym adds, each in a fresh interpreter."""
    root = Path(nas_gym.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root, root / "envs", root / "agents")))}
    runs = [
        subprocess.run(
            [sys.executable, "-c", IMPORT_TIMER], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(repetitions)
    ]
    timed = [tuple(map(float, run.stdout.split())) for run in runs]
    return statistics.median(t[0] for t in timed), statistics.median(t[1] for t in timed)


def report(repetitions: int, n_steps: int, seed: int) -> dict[str, Any]:
    """Measure everything and return it as JSON-ready data."""
    rates = measure(repetitions, n_steps, seed)
    gymnasium_seconds, added_seconds = import_seconds(max(3, repetitions // 4))
    rows = {}
    for name, values in rates.items():
        reference = rates[REFERENCE if name in ("ArchitectureEnv", REFERENCE) else f"{REFERENCE}, gym.make"]
        wall, processor = ([value[clock] for value in values] for clock in (0, 1))
        rows[name] = {
            "steps_per_second": round(statistics.median(processor)),
            "slowest": round(min(processor)),
            "fastest": round(max(processor)),
            "steps_per_wall_second": round(statistics.median(wall)),
            "ratio_to_cartpole": round(
                statistics.median(own[1] / other[1] for own, other in zip(values, reference, strict=True)), 3
            ),
        }
    return {
        "env_id": ENV_ID,
        "rates": rows,
        "target_steps_per_second": TARGET,
        "target_met": rows["ArchitectureEnv"]["steps_per_second"] >= TARGET,
        "import_gymnasium_seconds": round(gymnasium_seconds, 4),
        "import_nas_gym_adds_seconds": round(added_seconds, 4),
        "repetitions": repetitions,
        "steps_per_repetition": n_steps,
        "seed": seed,
        "hardware": {"processor": processor_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {"python": platform.python_version(), "nas-gym": nas_gym.__version__}
        | {name: version(name) for name in ("gymnasium", "numpy")},
    }


def processor_name() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=25, help="how often the subjects take turns")
    parser.add_argument("--steps", type=int, default=5000, help="steps of one turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    measured = report(arguments.repetitions, arguments.steps, arguments.seed)
    columns = ("steps/s", "slowest", "fastest", "by the wall", "to CartPole-v1")
    print(f"{'':28}" + "".join(f"{column:>16}" for column in columns))
    for name, row in measured["rates"].items():
        print(f"{name:28}" + "".join(f"{value:16,}" for value in row.values()))
    print(
        f"import nas_gym adds {measured['import_nas_gym_adds_seconds'] * 1000:.0f} ms to "
        f"{measured['import_gymnasium_seconds'] * 1000:.0f} ms of gymnasium"
    )
    print(
        f"medians of {arguments.repetitions} turns of {arguments.steps:,} steps, one core; "
        f"target {TARGET:,} steps/s: {'met' if measured['target_met'] else 'missed'}"
    )
    if arguments.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
