"""Seconds of one training: the script most people write, a bare loop over tensors, and our evaluator.

    python scripts/bench_evaluator.py [--data digits fashion cifar] [--compile] [--json]

All train the same fixed network on the same images, with the same batch size and number of threads, and validate after
every epoch. They take turns in one process, so that whatever else the machine does hits all alike; medians and the
medians of the pairwise ratios are told.

* script: a Dataset of PIL images, RandomHorizontalFlip, ToTensor, Normalize, DataLoader, Adam, ``loss.item()``;
* bare: indexing of preloaded tensors in channels_last, the evaluator's batches, augmentation, optimiser and schedule;
* evaluator: `TrainingEvaluator` itself, with everything it adds (seeding, isolation, checks, the evaluation);
* to the script's accuracy: the evaluator with the fewest epochs, its schedule spanning just these, that reach the
  final validation accuracy of the script in the round that fills the caches;
* layers alone: the network's own convolutions and linear layers, forward and backward for one epoch's steps, each on
  an input of its shape and layout that lies ready.

* side by side (``--workers N``): N evaluators in processes of their own, one thread each, train N networks at once.

``--mixed-precision`` lets all but the script compute in bfloat16, which a CPU with instructions for it does faster.

Trainings a minute follow from the seconds. The share of the arithmetic rate is the rate at which the evaluator's
training multiplies and adds over the rate of the layers alone; a training step counts as three forward passes.

``--compile`` measures `Recipe.compile` instead: seconds of compiling, seconds an epoch with and without, and from how
many epochs on it pays. ``--random N`` measures, for N random legal candidates of the preset's space, the evaluator's
mean seconds.
"""

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from bench_subjects import LayersAlone, bare, evaluator_s_tensors, fixed, script, train_in_worker, workers_of

import nas_gym
from nas_gym.builder import build
from nas_gym.data import Dataset, load_dataset
from nas_gym.evaluation import Fidelity, Recipe, evaluate
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import ChainSpace
from nas_gym.testing import random_walk

IDS = {
    "digits": "nas_gym/Chain-Digits-v0",
    "fashion": "nas_gym/Chain-FashionMNIST-v0",
    "cifar": "nas_gym/Chain-CIFAR10-v0",
}
ALONE, SIDE_BY_SIDE, ENOUGH = "layers alone", "side by side", "to the script's accuracy"


def turns(subjects: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Return the seconds of the subjects, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repetitions):
        for name, run in subjects.items():
            seconds[name].append(timed(run)[0])
    return seconds


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Return seconds and result."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def ratio(ones: list[float], others: list[float]) -> float:
    """Return the median of the ratios in every round."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def compare(dataset: Dataset, evaluator: TrainingEvaluator, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of all subjects on one data set."""
    recipe = evaluator.recipe
    candidate = fixed(ChainSpace(dataset.input_shape, dataset.n_classes))
    tensors = {part: evaluator_s_tensors(dataset, part) for part in ("train", "validation")}
    batch = min(recipe.batch_size, len(dataset.train))
    steps = len(dataset.train) // batch
    module = build(candidate.architecture, seed=0).to(memory_format=torch.channels_last)
    alone = LayersAlone(module, tensors["train"][0][:batch].permute(0, 3, 1, 2), recipe)

    def ours(epochs: int) -> float:
        return evaluate(evaluator, [candidate], fidelity=Fidelity(epochs=epochs))[0].accuracy or 0.0

    subjects: dict[str, Callable[[], float]] = {
        "script": lambda: script(dataset, candidate, recipe, arguments.seed),
        "bare": lambda: bare(tensors, candidate, recipe),
        "evaluator": lambda: ours(recipe.epochs),
        ALONE: lambda: alone(steps),
    }
    with ExitStack() as stack:
        if arguments.workers:
            pool = stack.enter_context(workers_of(dataset, recipe, arguments.workers, arguments.seed))
            subjects[SIDE_BY_SIDE] = lambda: statistics.mean(pool.map(train_in_worker, range(arguments.workers)))
        accuracies = {name: run() for name, run in subjects.items()}  # this round fills caches
        enough = next((n for n in range(1, recipe.epochs + 1) if ours(n) >= accuracies["script"]), None)
        if enough is not None:
            subjects[ENOUGH] = lambda: ours(enough)
            accuracies[ENOUGH] = ours(enough)
        seconds = turns(subjects, arguments.repetitions)
    macs = candidate.architecture.macs
    works = {"evaluator": recipe.epochs * (3 * steps * batch + len(dataset.validation)), ALONE: 3 * steps * batch}
    figures = {"macs": macs, "epochs": recipe.epochs, "accuracies": accuracies, "epochs_to_script_accuracy": enough}
    return figures | figures_of(seconds, {name: macs * samples for name, samples in works.items()}, arguments.workers)


def figures_of(seconds: dict[str, list[float]], macs: dict[str, int], workers: int) -> dict[str, Any]:
    """Return what follows from the seconds of every round, and from what two of the subjects multiply and add."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    at_once = {"script": 1, "bare": 1, "evaluator": 1} | ({SIDE_BY_SIDE: workers} if workers else {})
    rates = {name: [work / value for value in seconds[name]] for name, work in macs.items()}
    figures: dict[str, Any] = {
        "seconds": seconds,
        "median_seconds": medians,
        "evaluator_over_bare": ratio(seconds["evaluator"], seconds["bare"]),
        "trainings_a_minute": {name: 60 * n / medians[name] for name, n in at_once.items()},
        "trainings_over_script": {
            name: n * ratio(seconds["script"], seconds[name]) for name, n in at_once.items() if name != "script"
        },
        "macs_a_second": {name: statistics.median(values) for name, values in rates.items()},
        "share_of_arithmetic_rate": ratio(rates["evaluator"], rates[ALONE]),
    }
    if ENOUGH in seconds:
        figures["script_over_time_to_its_accuracy"] = ratio(seconds["script"], seconds[ENOUGH])
    return figures


def compiling(dataset: Dataset, recipe: Recipe, repetitions: int) -> dict[str, Any]:
    """Return what compiling the fixed network costs and gains."""
    candidate = fixed(ChainSpace(dataset.input_shape, dataset.n_classes))

    def seconds(compile: bool, epochs: int) -> float:
        chosen = replace(recipe, compile=compile, epochs=epochs)
        (found,) = evaluate(TrainingEvaluator(dataset, chosen, device="cpu"), [candidate])
        if not found.ok:
            raise SystemExit(found.reason)
        return found.train_seconds

    seconds(False, 1)  # fills caches
    with tempfile.TemporaryDirectory() as folder:  # nothing compiled lies there
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        torch.compile(lambda values: values.sin() * 2)(torch.ones(64))  # what a process spends once
        cold = seconds(True, 1)
        epochs: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(repetitions):
            for compiled in epochs:
                epochs[compiled].append((seconds(compiled, 3) - seconds(compiled, 1)) / 2)  # tracing cancels out
    plain, faster = (statistics.median(epochs[compiled]) for compiled in (False, True))
    compiling_seconds = cold - faster
    even = compiling_seconds / (plain - faster) if faster < plain else None
    return {
        "compile_seconds": compiling_seconds,
        "epoch_seconds": {"plain": plain, "compiled": faster},
        "plain_over_compiled": ratio(epochs[False], epochs[True]),
        "break_even_epochs": even if even is None else math.ceil(even),
    }


def random_candidates(name: str, evaluator: TrainingEvaluator, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of random legal candidates of a preset's space."""
    generator = np.random.default_rng(arguments.seed)
    space = gym.make(IDS[name], evaluator="constant").unwrapped.space  # type: ignore[attr-defined]
    found = evaluate(evaluator, [space.candidate(random_walk(space, generator)) for _ in range(arguments.random)])
    spent = [evaluation.train_seconds for evaluation in found[1:]]
    best = sorted((evaluation.accuracy or 0.0 for evaluation in found), reverse=True)[:5]
    return {"mean_seconds": statistics.mean(spent), "longest": max(spent), "best": best}


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one data set."""
    sources = {"digits": "digits", "fashion": "FashionMNIST", "cifar": arguments.cifar}
    per_class = None if name == "digits" else arguments.first_per_class
    dataset = load_dataset(sources[name], data_root=arguments.data_root, first_per_class=per_class)
    mixed = arguments.mixed_precision or None
    recipe = replace(preset_recipe(IDS[name]), crop=0, threads=arguments.threads, mixed_precision=mixed)
    evaluator = TrainingEvaluator(dataset, recipe, device="cpu", evaluation_seed=arguments.seed)
    torch.set_num_threads(evaluator.recipe.threads or 1)
    rows: dict[str, Any] = {"images": len(dataset.train), "recipe": str(evaluator.recipe)}
    if arguments.compile:
        return rows | {"compile": compiling(dataset, recipe, arguments.repetitions)}
    if arguments.random:
        return rows | {"random": random_candidates(name, evaluator, arguments)}
    return rows | {"subjects": compare(dataset, evaluator, arguments)}


def preset_recipe(env_id: str) -> Recipe:
    """Return the recipe of a preset."""
    from nas_gym_envs.presets import PRESETS

    return Recipe(**PRESETS[env_id].recipe)


def tell_subjects(row: dict[str, Any]) -> list[str]:
    lines = []
    for subject, seconds in row["median_seconds"].items():
        accuracy = "" if subject == ALONE else f"  accuracy {row['accuracies'][subject]:.4f}"
        lines.append(f"{subject:24} {seconds:8.3f} s{accuracy}")
    lines.append(f"evaluator / bare at equal steps: {row['evaluator_over_bare']:.3f}")
    for subject, rate in row["trainings_a_minute"].items():
        over = "" if subject == "script" else f", {row['trainings_over_script'][subject]:.2f} times the script's"
        lines.append(f"trainings a minute at equal epochs ({row['epochs']}), {subject}: {rate:.2f}{over}")
    if row["epochs_to_script_accuracy"] is None:
        lines.append("time to the script's final accuracy: not reached in as many epochs")
    else:
        lines.append(
            f"time to the script's final accuracy: {row['epochs_to_script_accuracy']} epochs; "
            f"script / evaluator {row['script_over_time_to_its_accuracy']:.2f}"
        )
    rates = row["macs_a_second"]
    lines.append(
        f"arithmetic: evaluator {rates['evaluator'] / 1e9:.1f}, layers alone {rates[ALONE] / 1e9:.1f} "
        f"thousand million MACs a second; share {row['share_of_arithmetic_rate']:.2f}"
    )
    return lines


def tell_compile(row: dict[str, Any]) -> list[str]:
    epoch = row["epoch_seconds"]
    even = row["break_even_epochs"]
    return [
        f"compiling {row['compile_seconds']:.1f} s; an epoch {epoch['plain']:.3f} s plain, "
        f"{epoch['compiled']:.3f} s compiled (ratio {row['plain_over_compiled']:.2f})",
        f"pays {'never' if even is None else f'from {even} epochs on'}",
    ]


def tell_random(row: dict[str, Any]) -> list[str]:
    return ["random candidates: {mean_seconds:.3f} s on average, {longest:.2f} s at most".format(**row)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=sorted(IDS), default=["digits"])
    parser.add_argument("--data-root", help="folder of torchvision's FashionMNIST")
    parser.add_argument("--cifar", default="CIFAR10", help="name or .npz file of CIFAR-10")
    parser.add_argument("--first-per-class", type=int, default=1000, help="images, validation included")
    parser.add_argument("--threads", type=int, help="by default those of the recipe's rule")
    parser.add_argument("--mixed-precision", action="store_true", help="all but the script compute in bfloat16")
    parser.add_argument("--repetitions", type=int, default=5, help="how often the subjects take turns")
    parser.add_argument("--workers", type=int, default=0, help="also train in so many processes at once")
    parser.add_argument("--compile", action="store_true", help="measure compiled trainings instead")
    parser.add_argument("--random", type=int, default=0, help="measure this many random candidates instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    measured: dict[str, Any] = {name: measure(name, arguments) for name in arguments.data}
    for name, rows in measured.items():
        print(f"{name}: {rows['images']:,} training images, {rows['recipe']}")
        for kind, tell in (("subjects", tell_subjects), ("compile", tell_compile), ("random", tell_random)):
            if kind in rows:
                print("\n".join(f"  {line}" for line in tell(rows[kind])))
    if arguments.json:
        facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "processor": platform.processor()}
        versions = {"python": platform.python_version(), "torch": torch.__version__, "nas-gym": nas_gym.__version__}
        print(json.dumps({"data": measured, "hardware": facts, "versions": versions, "seed": arguments.seed}))


if __name__ == "__main__":
    main()
