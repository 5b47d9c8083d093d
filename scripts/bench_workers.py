"""Trainings a minute of worker processes, and the memory that each of them adds.

    python scripts/bench_workers.py [--data digits | fashion | cifar] [--data-root DIR] [--workers 2] [--json]

* Rate: ``ProcessEvaluator`` with N workers of one thread against N independent processes that run the bare training
  loop of scripts/bench_evaluator.py side by side, without any evaluator, on the same fixed network and data. The two
  take turns; medians of both and the median of the pairwise ratios are told. Processes are started before the clock.
* Memory: what a worker has for itself (USS: its private pages), after a training. The data set's part of that is the
  difference to the same worker with a data set of a few images; the rest is Python and torch, whatever the data.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from bench_evaluator import IDS, bare, evaluator_s_tensors, fixed, preset_recipe

import nas_gym
from nas_gym.architecture import Candidate
from nas_gym.data import Dataset, Split, load_dataset
from nas_gym.evaluation import HandedOver, ProcessEvaluator, Recipe
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import ChainSpace


def loops(tensors: dict[str, Any], candidate: Candidate, recipe: Recipe, orders: Any, ends: Any) -> None:
    """Run the bare loop as often as is ordered, and tell when it is done; in a process of its own."""
    torch.set_num_threads(1)
    for times in iter(orders.get, 0):
        for _ in range(times):
            bare(tensors, candidate, recipe)
        ends.put(time.monotonic())


class SideBySide:
    """Independent processes with the bare loop."""

    def __init__(self, n: int, arguments: Sequence[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders = [context.SimpleQueue() for _ in range(n)]
        self._ends = context.Queue()
        self._processes = [
            context.Process(target=loops, args=(*arguments, orders, self._ends), daemon=True) for orders in self._orders
        ]
        for process in self._processes:
            process.start()

    def seconds(self, each: int) -> float:
        """Return how long all of them take for so many trainings each."""
        started = time.monotonic()
        for orders in self._orders:
            orders.put(each)
        return max(self._ends.get() for _ in self._orders) - started

    def close(self) -> None:
        """End the processes."""
        for orders, process in zip(self._orders, self._processes, strict=True):
            orders.put(0)
            process.join()


def rates(trainer: TrainingEvaluator, candidate: Candidate, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the trainings a minute of both, which take turns."""
    n, each = arguments.workers, arguments.trainings
    tensors = {part: evaluator_s_tensors(trainer.dataset, part) for part in ("train", "validation")}
    alone = SideBySide(n, (tensors, candidate, trainer.recipe))
    found: dict[str, list[float]] = {"bare loops": [], "workers": []}
    with ProcessEvaluator(HandedOver(trainer), n) as pool:
        for turn in range(arguments.repetitions + 1):
            loop_seconds = alone.seconds(each)
            started = time.monotonic()
            futures = [pool.submit([candidate], repeat=turn * n * each + i)[0] for i in range(n * each)]
            statuses = {future.result().status for future in futures}
            seconds = time.monotonic() - started
            if statuses != {"ok"}:
                raise SystemExit(f"trainings failed: {statuses}")
            if turn:  # the first fills caches
                found["bare loops"].append(60 * n * each / loop_seconds)
                found["workers"].append(60 * n * each / seconds)
    alone.close()
    pairs = zip(found["workers"], found["bare loops"], strict=True)
    return {
        "workers": n,
        "trainings_per_turn": n * each,
        "trainings_per_minute": {name: round(statistics.median(values), 1) for name, values in found.items()},
        "ratio": round(statistics.median(ours / theirs for ours, theirs in pairs), 3),
        "all": {name: [round(value, 1) for value in values] for name, values in found.items()},
    }


def memory(trainer: TrainingEvaluator, candidate: Candidate) -> dict[str, Any]:
    """Return what a worker has for itself, with the data set and with a few of its images."""
    whole = trainer.dataset
    own = {name: _worker_mb(data, trainer.recipe, candidate) for name, data in (("few", _few(whole)), ("all", whole))}
    data_mb = sum(s.inputs.numel() * 4 for s in (whole.train, whole.validation)) / 1e6
    return {
        "data_set_mb": round(data_mb, 1),
        "worker_own_mb": round(own["all"], 1),
        "worker_own_mb_with_few_images": round(own["few"], 1),
        "added_by_the_data_mb": round(own["all"] - own["few"], 1),
        "share_of_the_data_set": round((own["all"] - own["few"]) / data_mb, 4),
    }


def _worker_mb(data: Dataset, recipe: Recipe, candidate: Candidate) -> float:
    with ProcessEvaluator(HandedOver(TrainingEvaluator(data, recipe, device="cpu")), 1) as pool:
        pool.submit([candidate])[0].result()
        (worker,) = (child.pid for child in multiprocessing.active_children() if "pebble" in child.name)
        lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) * 1024 / 1e6


def _few(data: Dataset) -> Dataset:
    parts = {}
    for name in ("train", "validation", "test"):
        part: Split = getattr(data, name)
        first = [int((part.targets == c).nonzero()[0]) for c in range(data.n_classes)] * 13
        parts[name] = Split(part.inputs[first].clone(), part.targets[first].clone())
    return Dataset(f"{data.name}-few", **parts, class_names=data.class_names, mean=data.mean, std=data.std)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=sorted(IDS), default="digits")
    parser.add_argument("--data-root", help="folder of torchvision's FashionMNIST")
    parser.add_argument("--cifar", default="CIFAR10", help="name or .npz file of CIFAR-10")
    parser.add_argument("--first-per-class", type=int, default=1000, help="images, validation included")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trainings", type=int, default=8, help="of each worker in a turn")
    parser.add_argument("--repetitions", type=int, default=5, help="how often the subjects take turns")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    source = {"digits": "digits", "fashion": "FashionMNIST", "cifar": arguments.cifar}[arguments.data]
    per_class = None if arguments.data == "digits" else arguments.first_per_class
    data = load_dataset(source, data_root=arguments.data_root, first_per_class=per_class)
    candidate = fixed(ChainSpace(data.input_shape, data.n_classes))
    recipe = Recipe(**{**vars(preset_recipe(IDS[arguments.data])), "threads": 1})
    trainer = TrainingEvaluator(data, recipe, device="cpu")
    rate = rates(trainer, candidate, arguments)
    print(f"{data.name}, {len(data.train):,} training images, {candidate.architecture.macs:,} MACs")
    print(
        "  {workers} workers: {trainings_per_minute[workers]} trainings a minute; so many bare loops side by side: "
        "{trainings_per_minute[bare loops]}; ratio {ratio}".format(**rate)
    )
    grown = memory(trainer, candidate) if Path("/proc/self/smaps_rollup").exists() else None
    if grown:
        print(
            "  a worker's own memory {worker_own_mb} MB, {worker_own_mb_with_few_images} MB with a few images: the "
            "data set of {data_set_mb} MB adds {added_by_the_data_mb} MB, {share_of_the_data_set:.1%}".format(**grown)
        )
    if arguments.json:
        facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "processor": platform.processor()}
        versions = {"python": platform.python_version(), "torch": torch.__version__, "nas-gym": nas_gym.__version__}
        print(json.dumps({"rate": rate, "memory": grown, "hardware": facts, "versions": versions}))


if __name__ == "__main__":
    main()
