"""Steps per second of the environments beside CartPole-v1 and SyncVectorEnv, and the time to import nas_gym.

    python scripts/bench_env.py [--json]

All subjects run in one process on one core and take turns, so that whatever else the machine does hits all of them
alike. Every step and every reset is part of the time; a rate counts the steps alone.

* chain: the Chain-Digits space with random legal actions, drawn from the mask, and a constant evaluator. The time
  includes building the candidate, its canonical key and the evaluation at the end of every episode.
* cells: a table of the size of NAS-Bench-201 (six slots of five choices, 15,625 rows, drawn numbers) with actions drawn
  beforehand, as for CartPole.
* vector: the same table with many environments at once, beside Gymnasium's SyncVectorEnv over the scalar ones. All of
  the table has been visited before, and the scalar environments share one memory of it, which is their best case.

``gym.make`` adds Gymnasium's own wrapper (order of calls; CartPole has a time limit too); the passive checker is off.

Two clocks: the wall's, and the processor time of this process, which leaves out the time that other programs had the
core. On a machine that does nothing else they agree; the targets are judged by processor time.
"""

import argparse
import itertools
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
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

import nas_gym
from nas_gym.evaluation.tabular import TabularEvaluator
from nas_gym.spaces import CellSpace
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym_envs import ArchitectureEnv, ArchitectureVectorEnv

CHAIN_ID, TABLE_ID = "nas_gym/Chain-Digits-v0", "nas_gym/Table-v0"
REFERENCE = "CartPole-v1"
CHAIN, CELLS, MADE = "chain", "cells", ", gym.make"
CHAIN_TARGET = 60_000  # steps per second
CARTPOLE_TARGET = 1.5  # times CartPole's rate, on the cells
VECTOR_TARGET, SYNC_TARGET = 2_000_000, 40  # environment steps per second; times SyncVectorEnv's rate
NUM_ENVS = (1, 16, 128, 1024)
VECTOR_MILLISECONDS = 60  # about, of one turn
IMPORT_TIMER = """
import time
start = time.perf_counter()
import gymnasium
middle = time.perf_counter()
import nas_gym
print(middle - start, time.perf_counter() - middle)
"""
Rates = list[tuple[float, float]]  # steps per second of every turn, by the wall's clock and by processor time
Drive = Callable[[], int]


def design(env: gym.Env[Any, Any], n_steps: int, generator: random.Random) -> Drive:
    """Return a turn of random legal actions, drawn from the mask."""

    def drive() -> int:
        draw = generator.random
        _, info = env.reset()
        for _ in range(n_steps):
            legal = info["action_mask"].nonzero()[0]
            _, _, terminated, truncated, info = env.step(legal[int(draw() * len(legal))])
            if terminated or truncated:
                _, info = env.reset()
        return n_steps

    return drive


def act(env: gym.Env[Any, Any], n_steps: int, generator: random.Random) -> Drive:
    """Return a turn of actions drawn beforehand; every action is legal."""
    actions = [generator.randrange(int(env.action_space.n)) for _ in range(n_steps)]  # type: ignore[attr-defined]

    def drive() -> int:
        step, reset = env.step, env.reset
        reset()
        for action in actions:
            _, _, terminated, truncated, _ = step(action)
            if terminated or truncated:
                reset()
        return n_steps

    return drive


def act_together(env: VectorEnv[Any, Any, Any], n_steps: int, generator: np.random.Generator) -> Drive:
    """Return a turn of actions drawn beforehand for many environments; resets are steps, as Gymnasium has it."""
    actions = generator.integers(0, 5, (n_steps, env.num_envs))

    def drive() -> int:
        step = env.step
        env.reset()
        for row in actions:
            step(row)
        return n_steps * env.num_envs

    return drive


def cell_table(seed: int) -> BenchmarkTable:
    """Return a table of the size and space of NAS-Bench-201, with drawn accuracies."""
    slots = CellSpace().slots
    decisions = np.array(list(itertools.product(range(5), repeat=len(slots))), dtype=np.int16)
    drawn = np.random.default_rng(seed).uniform(0.1, 0.95, (len(decisions), 1)).astype(np.float32)
    return BenchmarkTable("drawn", slots, decisions, {"full": drawn}, {"test": drawn[:, 0]}, kind="nasbench201")


def scalar_subjects(table: BenchmarkTable, n_steps: int, seed: int) -> dict[str, Drive]:
    """Return turns of single environments by name."""
    generator = random.Random(seed)
    chain: Any = gym.make(CHAIN_ID, evaluator="constant", disable_env_checker=True)
    cells: Any = gym.make(TABLE_ID, table=table, disable_env_checker=True)
    cartpole: Any = gym.make(REFERENCE, disable_env_checker=True)
    for env in (chain, cells, cartpole):
        env.reset(seed=seed)
    visit(cells.unwrapped, table)
    subjects = {}
    for made, of in (("", lambda env: env.unwrapped), (MADE, lambda env: env)):
        subjects[f"{CHAIN}{made}"] = design(of(chain), n_steps, generator)
        subjects[f"{CELLS}{made}"] = act(of(cells), n_steps, generator)
        subjects[f"{REFERENCE}{made}"] = act(of(cartpole), n_steps, generator)
    return subjects


def visit(env: ArchitectureEnv, table: BenchmarkTable) -> None:
    """Visit every row once."""
    for row in table.decisions.tolist():
        env.reset()
        for action in row:
            env.step(action)


def vector_pair(table: BenchmarkTable, num_envs: int) -> tuple[ArchitectureVectorEnv, SyncVectorEnv]:
    """Return the vector environment and Gymnasium's over scalar ones, all of them with everything visited."""
    space, evaluator = table.space(), TabularEvaluator(table)
    together = ArchitectureVectorEnv(space, evaluator, num_envs=num_envs)
    rows = table.decisions.astype(np.int64)
    for start in range(0, len(rows), num_envs):
        part = rows[start : start + num_envs]
        together.reset()
        for actions in np.resize(part, (num_envs, rows.shape[1])).T:
            together.step(actions)
    sync = SyncVectorEnv([lambda: ArchitectureEnv(space, evaluator) for _ in range(num_envs)])
    first: Any = sync.envs[0]
    visit(first, table)
    for env in sync.envs:
        vars(env).update(_graph=first._graph, _answers=first._answers)
    return together, sync


def vector_subjects(table: BenchmarkTable, seed: int) -> dict[str, Drive]:
    """Return turns of many environments at once, by name."""
    generator = np.random.default_rng(seed)
    subjects = {}
    for num_envs in NUM_ENVS:
        for name, env in zip(("vector", "sync"), vector_pair(table, num_envs), strict=True):
            act_together(env, 7, generator)()
            trial, start = act_together(env, 14, generator), time.perf_counter()
            trial()
            episodes = max(1, round(2 * VECTOR_MILLISECONDS / 1000 / (time.perf_counter() - start)))
            subjects[f"{name} {num_envs}"] = act_together(env, 7 * episodes, generator)
    return subjects


def measure(subjects: dict[str, Drive], repetitions: int) -> dict[str, Rates]:
    """Return the steps per second of every turn, by both clocks, by subject; the subjects take turns."""
    rates: dict[str, Rates] = {}
    for _ in range(repetitions + 1):
        for name, drive in subjects.items():
            wall, processor = time.perf_counter(), time.process_time()
            n_steps = drive()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            rates.setdefault(name, []).append((n_steps / wall, n_steps / processor))
    return {name: values[1:] for name, values in rates.items()}  # the first round fills caches


def row(own: Rates, other: Rates) -> dict[str, float]:
    """Return medians and extremes by processor time, and the median of the ratios to another subject's turns."""
    wall, processor = ([turn[clock] for turn in own] for clock in (0, 1))
    return {
        "steps_per_second": round(statistics.median(processor)),
        "slowest": round(min(processor)),
        "fastest": round(max(processor)),
        "steps_per_wall_second": round(statistics.median(wall)),
        "ratio": round(statistics.median(a[1] / b[1] for a, b in zip(own, other, strict=True)), 3),
    }


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
    table = cell_table(seed)
    rates = measure(scalar_subjects(table, n_steps, seed) | vector_subjects(table, seed), repetitions)
    rows = {name: row(turns, rates[reference(name)]) for name, turns in rates.items()}
    gymnasium_seconds, added_seconds = import_seconds(max(3, repetitions // 4))
    most = f"vector {NUM_ENVS[-1]}"
    targets = {
        f"chain: {CHAIN_TARGET:,} steps/s": rows[CHAIN]["steps_per_second"] >= CHAIN_TARGET,
        f"cells: {CARTPOLE_TARGET} times {REFERENCE}": rows[CELLS]["ratio"] >= CARTPOLE_TARGET,
        f"cells, gym.make: {CARTPOLE_TARGET} times {REFERENCE}": rows[CELLS + MADE]["ratio"] >= CARTPOLE_TARGET,
        f"{most}: {VECTOR_TARGET:,} steps/s": rows[most]["steps_per_second"] >= VECTOR_TARGET,
        f"{most}: {SYNC_TARGET} times SyncVectorEnv": rows[most]["ratio"] >= SYNC_TARGET,
    }
    return {
        "rates": rows,
        "targets_met": targets,
        "import_gymnasium_seconds": round(gymnasium_seconds, 4),
        "import_nas_gym_adds_seconds": round(added_seconds, 4),
        "repetitions": repetitions,
        "steps_per_repetition": n_steps,
        "seed": seed,
        "hardware": {"processor": processor_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {"python": platform.python_version(), "nas-gym": nas_gym.__version__}
        | {name: version(name) for name in ("gymnasium", "numpy")},
    }


def reference(name: str) -> str:
    """Return the subject that another one is compared with."""
    kind, _, num_envs = name.partition(" ")
    if kind in ("vector", "sync"):
        return f"sync {num_envs}"
    return f"{REFERENCE}{MADE}" if name.endswith(MADE) else REFERENCE


def processor_name() -> str:
    """Return the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=25, help="how often the subjects take turns")
    parser.add_argument("--steps", type=int, default=5000, help="steps of one turn of a single environment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    measured = report(arguments.repetitions, arguments.steps, arguments.seed)
    columns = ("steps/s", "slowest", "fastest", "by the wall", "ratio", "to")
    print(f"{'':24}" + "".join(f"{column:>16}" for column in columns))
    for name, values in measured["rates"].items():
        cells = [*(f"{value:,}" for value in values.values()), reference(name).replace(MADE, "")]
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))
    print(
        f"import nas_gym adds {measured['import_nas_gym_adds_seconds'] * 1000:.0f} ms to "
        f"{measured['import_gymnasium_seconds'] * 1000:.0f} ms of gymnasium"
    )
    print(f"medians of {arguments.repetitions} turns on one core, by processor time; targets:")
    for target, met in measured["targets_met"].items():
        print(f"    {target}: {'met' if met else 'missed'}")
    if arguments.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
