"""What another program on the same processors costs a training with several threads, and what sleeping threads save.

    python scripts/bench_sharing.py [--threads 2] [--busy 1] [--rounds 3] [--json]

GNU OpenMP lets threads that wait for each other wait awake, for milliseconds by default. On processors that another
program uses too, a thread waits for one that has no processor, which waits for one that waits. ``nas-gym`` therefore
lets them go to sleep after 10,000 rounds (``GOMP_SPINCOUNT``). Steps of one small residual network on made-up images,
in processes of their own that take turns: with OpenMP's default and with that number, on processors that are left
alone and beside so many busy processes. Told are medians in milliseconds a step, and their ratios.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SETTINGS = {"default": None, "sleeping soon": "10000"}
STEPS, COLD = 8, 2


def step_milliseconds(threads: int) -> float:
    """Return the median time of a training step in this process."""
    import torch
    from torch import nn
    from torch.nn import functional

    from nas_gym.builder import build
    from nas_gym.evaluation.optimizer import FlatOptimizer
    from nas_gym.evaluation.recipe import Recipe
    from nas_gym.spaces import ChainSpace, Convolution, GlobalPool, ResidualBlock

    torch.set_num_threads(threads)
    catalogue = (Convolution(32), ResidualBlock(32), ResidualBlock(64, stride=2), GlobalPool())
    space = ChainSpace((3, 32, 32), 10, catalogue=catalogue, max_layers=4)
    module: nn.Module = build(space.candidate((0, 0, 1, 2, 3)).architecture, seed=0)
    module = module.to(memory_format=torch.channels_last).train()
    images, targets = torch.randn(64, 32, 32, 3).permute(0, 3, 1, 2), torch.randint(0, 10, (64,))
    optimizer, times = FlatOptimizer(module, Recipe()), []
    for _ in range(STEPS):
        started = time.perf_counter()
        optimizer.step(functional.cross_entropy(module(images), targets), 0.01)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[COLD:])


def busy() -> None:
    """Use a processor."""
    while True:
        pass


@contextmanager
def beside(n: int) -> Iterator[None]:
    """Let so many busy processes run meanwhile."""
    others = [multiprocessing.Process(target=busy, daemon=True) for _ in range(n)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def measured(threads: int, spins: str | None) -> float:
    """Return the milliseconds of a step in a process of its own."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = spins
    command = [sys.executable, __file__, "--threads", str(threads), "--one"]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, and print a row for each of the two loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, default=1, help="processes that use a processor each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="time steps in this process, print milliseconds and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    if arguments.one:
        print(step_milliseconds(arguments.threads))
        return
    loads = {"left alone": 0, f"beside {arguments.busy} busy": arguments.busy}
    times: dict[str, dict[str, list[float]]] = {load: {name: [] for name in SETTINGS} for load in loads}
    for _ in range(arguments.rounds):
        for load, n in loads.items():
            with beside(n):
                for name, spins in SETTINGS.items():
                    times[load][name].append(measured(arguments.threads, spins))
    rows: dict[str, Any] = {}
    for load, found in times.items():
        medians = {name: statistics.median(values) for name, values in found.items()}
        ratio = statistics.median(a / b for a, b in zip(*found.values(), strict=True))
        rows[load] = {"milliseconds": medians, "default_over_sleeping_soon": ratio}
        told = ", ".join(f"{name} {value:.1f} ms a step" for name, value in medians.items())
        print(f"{arguments.threads} threads, {load}: {told}; ratio {ratio:.2f}")
    if arguments.json:
        facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine()}
        print(
            json.dumps(
                {"rows": rows, "rounds": arguments.rounds, "hardware": facts, "python": platform.python_version()}
            )
        )


if __name__ == "__main__":
    main()
