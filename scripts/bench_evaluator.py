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

Trainings a minute follow from the seconds. The share of the arithmetic rate is the rate at which the evaluator's
training multiplies and adds over the rate of the layers alone; a training step counts as three forward passes.

``--compile`` measures `Recipe.compile` instead: seconds of compiling, seconds an epoch with and without, and from how
many epochs on it pays. ``--random N`` measures, for N random legal candidates of the preset's space, the evaluator's
mean seconds.
"""

import argparse
import json
import math
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

import nas_gym
from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data import Dataset, load_dataset
from nas_gym.evaluation import Fidelity, Recipe, evaluate
from nas_gym.evaluation.augmentation import altered, draw
from nas_gym.evaluation.in_place import relu_in_place
from nas_gym.evaluation.optimizer import FlatOptimizer, one_cycle
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import ChainSpace
from nas_gym.testing import random_walk

IDS = {
    "digits": "nas_gym/Chain-Digits-v0",
    "fashion": "nas_gym/Chain-FashionMNIST-v0",
    "cifar": "nas_gym/Chain-CIFAR10-v0",
}
LAYERS = ("relu", "conv 3×3 16 bn", "conv 3×3/2 32 bn", "conv 3×3 32 bn", "max pool 2", "conv 3×3 64 bn", "stop")


class Images(TorchDataset[Any]):
    """A split as PIL images, as torchvision's data sets hand them out."""

    def __init__(self, dataset: Dataset, name: str, flip: bool) -> None:
        part = getattr(dataset, name)
        pixels = part.inputs if part.inputs.dtype == torch.uint8 else (part.inputs * 255).byte()
        arrays = pixels.permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.images = [Image.fromarray(array) for array in arrays]
        self.targets = part.targets.tolist()
        steps = [transforms.RandomHorizontalFlip()] if flip else []
        steps += [transforms.ToTensor(), transforms.Normalize(dataset.mean, dataset.std)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), self.targets[index]


def script(dataset: Dataset, candidate: Candidate, recipe: Recipe, seed: int) -> float:
    """Train as most people do; return the validation accuracy."""
    torch.manual_seed(seed)
    module = build(candidate.architecture, seed=0)
    loader = DataLoader(Images(dataset, "train", recipe.flip), batch_size=recipe.batch_size, shuffle=True)
    validation = DataLoader(Images(dataset, "validation", False), batch_size=recipe.batch_size)
    optimizer = torch.optim.Adam(module.parameters())
    running, correct = 0.0, 0
    for _ in range(recipe.epochs):
        module.train()
        for images, targets in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(module(images), targets)
            loss.backward()
            optimizer.step()
            running += loss.item()
        module.eval()
        with torch.no_grad():
            correct = sum(int((module(images).argmax(1) == targets).sum()) for images, targets in validation)
    return correct / len(dataset.validation)


def bare(tensors: dict[str, Any], candidate: Candidate, recipe: Recipe) -> float:
    """Train with nothing but the arithmetic; return the validation accuracy."""
    module = build(candidate.architecture, seed=0).to(memory_format=torch.channels_last)
    optimizer, generator = FlatOptimizer(module, recipe), torch.Generator().manual_seed(0)
    (images, targets), (others, answers) = tensors["train"], tensors["validation"]
    per_epoch, correct = len(images) // recipe.batch_size, 0
    with relu_in_place(module):
        for epoch in range(recipe.epochs):
            module.train()
            order = torch.randperm(len(images), generator=generator)
            options = {"crop": recipe.crop, "cutout": recipe.cutout}
            draws = draw(len(images), images.shape[1:3], generator, flip=recipe.flip, **options)
            for i in range(per_epoch):
                here = slice(i * recipe.batch_size, (i + 1) * recipe.batch_size)
                chosen = order[here]
                batch = altered(images.index_select(0, chosen), draws[here]).permute(0, 3, 1, 2)
                step, steps = epoch * per_epoch + i, recipe.epochs * per_epoch
                loss = functional.cross_entropy(module(batch), targets[chosen])
                optimizer.step(loss, one_cycle(step, steps, recipe.learning_rate, recipe.warmup))
            module.eval()
            with torch.no_grad():
                size = max(16, 2**17 // others[0].numel())
                outputs = torch.cat([module(part.permute(0, 3, 1, 2)) for part in torch.split(others, size)])
                correct = int((outputs.argmax(1) == answers).sum())
    return correct / len(others)


def fixed(space: ChainSpace) -> Candidate:
    """Return the network that all three train."""
    prefix: tuple[int, ...] = ()
    for name in LAYERS:
        slot = space.next_slot(prefix)
        assert slot is not None, "the network leaves room"
        prefix += (space.slots[slot].choices.index(name),)
    return space.candidate(prefix)


class LayersAlone:
    """The convolutions and linear layers of a network, each on an input of the shape that it sees in training.

    Args:
        module: The network, in channels_last.
        inputs: A batch, (n, channels, height, width).
    """

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        self.work: list[tuple[nn.Module, Tensor, Tensor, list[Tensor]]] = []
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(self._seen)
        module(inputs)

    def _seen(self, layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        values = given[0].detach().clone()  # in the same layout
        wanted = list(layer.parameters())
        if self.work:  # nobody needs the gradient of the images
            wanted.append(values.requires_grad_())
        self.work.append((layer, values, torch.randn_like(output), wanted))

    def __call__(self, steps: int) -> float:
        """Compute forward and backward; return 0."""
        for _ in range(steps):
            for layer, values, gradient, wanted in self.work:
                torch.autograd.grad(layer.forward(values), wanted, gradient)
        return 0.0


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
    recipe, seed = evaluator.recipe, arguments.seed
    candidate = fixed(ChainSpace(dataset.input_shape, dataset.n_classes))
    tensors = {part: evaluator_s_tensors(dataset, part) for part in ("train", "validation")}
    batch = min(recipe.batch_size, len(dataset.train))
    steps = len(dataset.train) // batch
    alone = LayersAlone(
        build(candidate.architecture, seed=0).to(memory_format=torch.channels_last),
        tensors["train"][0][:batch].permute(0, 3, 1, 2),
    )

    def ours(epochs: int) -> float:
        return evaluate(evaluator, [candidate], fidelity=Fidelity(epochs=epochs))[0].accuracy or 0.0

    subjects: dict[str, Callable[[], float]] = {
        "script": lambda: script(dataset, candidate, recipe, seed),
        "bare": lambda: bare(tensors, candidate, recipe),
        "evaluator": lambda: ours(recipe.epochs),
        "layers alone": lambda: alone(steps),
    }
    if arguments.workers:
        pool = workers_of(dataset, recipe, arguments)
        subjects["side by side"] = lambda: statistics.mean(pool.map(train_in_worker, range(arguments.workers)))
    accuracies = {name: run() for name, run in subjects.items()}  # this round fills caches
    enough = next((n for n in range(1, recipe.epochs + 1) if ours(n) >= accuracies["script"]), None)
    if enough is not None:
        subjects["to the script's accuracy"] = lambda: ours(enough)
        accuracies["to the script's accuracy"] = ours(enough)
    seconds = turns(subjects, arguments.repetitions)
    macs, evaluator_seconds = candidate.architecture.macs, statistics.median(seconds["evaluator"])
    figures: dict[str, Any] = {"macs": macs, "epochs": recipe.epochs, "seconds": seconds, "accuracies": accuracies}
    figures["median_seconds"] = {name: statistics.median(values) for name, values in seconds.items()}
    figures["evaluator_over_bare"] = ratio(seconds["evaluator"], seconds["bare"])
    figures["trainings_a_minute"] = {n: 60 / figures["median_seconds"][n] for n in ("script", "bare", "evaluator")}
    figures["trainings_evaluator_over_script"] = ratio(seconds["script"], seconds["evaluator"])
    if arguments.workers:
        pool.shutdown()
        minute = 60 * arguments.workers / figures["median_seconds"]["side by side"]
        figures["trainings_a_minute"]["side by side"] = minute
        figures["trainings_side_by_side_over_script"] = arguments.workers * ratio(
            seconds["script"], seconds["side by side"]
        )
    figures["epochs_to_script_accuracy"] = enough
    if enough is not None:
        figures["script_over_time_to_its_accuracy"] = ratio(seconds["script"], seconds["to the script's accuracy"])
    worked = macs * recipe.epochs * (3 * steps * batch + len(dataset.validation))
    rates = [worked / value for value in seconds["evaluator"]]
    alone_rates = [3 * macs * steps * batch / value for value in seconds["layers alone"]]
    figures["macs_a_second"] = {"evaluator": worked / evaluator_seconds, "layers alone": statistics.median(alone_rates)}
    figures["share_of_arithmetic_rate"] = ratio(rates, alone_rates)
    return figures


_worker: list[Any] = []  # of a worker process: its evaluator and its candidate


def begin_worker(dataset: Dataset, recipe: Recipe, seed: int) -> None:
    """Make a worker process's evaluator, once."""
    torch.set_num_threads(1)
    evaluator = TrainingEvaluator(dataset, replace(recipe, threads=1), device="cpu", evaluation_seed=seed)
    _worker[:] = [evaluator, fixed(ChainSpace(dataset.input_shape, dataset.n_classes))]


def train_in_worker(repeat: int) -> float:
    """Train in a worker process; return the accuracy."""
    evaluator, candidate = _worker
    return evaluate(evaluator, [candidate], repeat=repeat)[0].accuracy or 0.0


def workers_of(dataset: Dataset, recipe: Recipe, arguments: argparse.Namespace) -> ProcessPoolExecutor:
    """Return a pool of worker processes with an evaluator each."""
    return ProcessPoolExecutor(
        arguments.workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
        initargs=(dataset, recipe, arguments.seed),
    )


def evaluator_s_tensors(dataset: Dataset, part: str) -> tuple[Tensor, Tensor]:
    """Return images (n, height, width, channels) and targets of a part."""
    inputs, targets = dataset.normalised(part)  # type: ignore[arg-type]
    return inputs.permute(0, 2, 3, 1).contiguous(), targets


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
    recipe = replace(preset_recipe(IDS[name]), crop=0, threads=arguments.threads)
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
        accuracy = "" if subject == "layers alone" else f"  accuracy {row['accuracies'][subject]:.4f}"
        lines.append(f"{subject:24} {seconds:8.3f} s{accuracy}")
    lines.append(f"evaluator / bare at equal steps: {row['evaluator_over_bare']:.3f}")
    minute = row["trainings_a_minute"]
    lines.append(
        f"trainings a minute at equal epochs ({row['epochs']}): evaluator {minute['evaluator']:.2f}, "
        f"script {minute['script']:.2f}; ratio {row['trainings_evaluator_over_script']:.2f}"
    )
    if "side by side" in minute:
        lines.append(
            f"trainings a minute side by side: {minute['side by side']:.2f}; "
            f"over the script's {row['trainings_side_by_side_over_script']:.2f}"
        )
    if row["epochs_to_script_accuracy"] is None:
        lines.append("time to the script's final accuracy: not reached in as many epochs")
    else:
        lines.append(
            f"time to the script's final accuracy: {row['epochs_to_script_accuracy']} epochs; "
            f"script / evaluator {row['script_over_time_to_its_accuracy']:.2f}"
        )
    rates = row["macs_a_second"]
    lines.append(
        f"arithmetic: evaluator {rates['evaluator'] / 1e9:.1f}, layers alone {rates['layers alone'] / 1e9:.1f} "
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
