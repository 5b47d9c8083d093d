"""Seconds of one training: the script most people write, a bare loop over tensors, and our evaluator.

    python scripts/bench_evaluator.py [--data digits fashion cifar] [--json]

All three train the same fixed network on the same images, with the same batch size, epochs and number of threads,
and validate after every epoch. They take turns in one process, so that whatever else the machine does hits all alike;
medians and the medians of the pairwise ratios are told.

* script: a Dataset of PIL images, RandomHorizontalFlip, ToTensor, Normalize, DataLoader, Adam, ``loss.item()``;
* bare: indexing of preloaded tensors in channels_last, the evaluator's batches, augmentation, optimiser and schedule;
* evaluator: `TrainingEvaluator` itself, with everything it adds (seeding, isolation, checks, the evaluation).

``--random N`` measures, for N random legal candidates of the preset's space instead, the evaluator's mean seconds.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

import nas_gym
from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data import Dataset, load_dataset
from nas_gym.evaluation import Recipe, evaluate
from nas_gym.evaluation.augmentation import augmented
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


def script(dataset: Dataset, candidate: Candidate, recipe: Recipe) -> float:
    """Train as most people do; return the validation accuracy."""
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
    for epoch in range(recipe.epochs):
        module.train()
        order = torch.randperm(len(images), generator=generator)
        for i in range(per_epoch):
            chosen = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
            batch = augmented(images[chosen], generator, flip=recipe.flip, crop=recipe.crop).permute(0, 3, 1, 2)
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


def turns(subjects: dict[str, Callable[[], float]], repetitions: int) -> dict[str, Any]:
    """Return seconds and accuracies of the subjects, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    accuracies: dict[str, float] = {}
    for _ in range(repetitions + 1):
        for name, run in subjects.items():
            start = time.perf_counter()
            accuracies[name] = run()
            seconds[name].append(time.perf_counter() - start)
    seconds = {name: values[1:] for name, values in seconds.items()}  # the first round fills caches
    ours = seconds["evaluator"]
    return {
        name: {
            "median_seconds": round(statistics.median(values), 4),
            "seconds": [round(value, 4) for value in values],
            "evaluator_seconds_over_these": round(
                statistics.median(b / a for a, b in zip(values, ours, strict=True)), 3
            ),
            "validation_accuracy": round(accuracies[name], 4),
        }
        for name, values in seconds.items()
    }


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one data set."""
    sources = {"digits": "digits", "fashion": "FashionMNIST", "cifar": arguments.cifar}
    per_class = None if name == "digits" else arguments.first_per_class
    dataset = load_dataset(sources[name], data_root=arguments.data_root, first_per_class=per_class)
    recipe = replace(preset_recipe(IDS[name]), crop=0, threads=arguments.threads)
    evaluator = TrainingEvaluator(dataset, recipe, device="cpu")
    rows: dict[str, Any] = {"images": len(dataset.train), "recipe": str(evaluator.recipe)}
    if arguments.random:
        generator = np.random.default_rng(arguments.seed)
        space = gym.make(IDS[name], evaluator="constant").unwrapped.space
        found = evaluate(evaluator, [space.candidate(random_walk(space, generator)) for _ in range(arguments.random)])
        spent = [evaluation.train_seconds for evaluation in found[1:]]
        best = sorted((evaluation.accuracy or 0.0 for evaluation in found), reverse=True)[:5]
        return rows | {"random": {"mean_seconds": statistics.mean(spent), "longest": max(spent), "best": best}}
    candidate = fixed(ChainSpace(dataset.input_shape, dataset.n_classes))
    tensors = {}
    for part in ("train", "validation"):
        inputs, targets = dataset.normalised(part)
        tensors[part] = inputs.permute(0, 2, 3, 1).contiguous(), targets
    torch.set_num_threads(evaluator.recipe.threads or 1)
    subjects = {
        "script": lambda: script(dataset, candidate, evaluator.recipe),
        "bare": lambda: bare(tensors, candidate, evaluator.recipe),
        "evaluator": lambda: evaluate(evaluator, [candidate])[0].accuracy or 0.0,
    }
    return rows | {"macs": candidate.architecture.macs, "subjects": turns(subjects, arguments.repetitions)}


def preset_recipe(env_id: str) -> Recipe:
    """Return the recipe of a preset."""
    from nas_gym_envs.presets import PRESETS

    return Recipe(**PRESETS[env_id].recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=sorted(IDS), default=["digits"])
    parser.add_argument("--data-root", help="folder of torchvision's FashionMNIST")
    parser.add_argument("--cifar", default="CIFAR10", help="name or .npz file of CIFAR-10")
    parser.add_argument("--first-per-class", type=int, default=1000, help="images, validation included")
    parser.add_argument("--threads", type=int, help="by default those of the recipe's rule")
    parser.add_argument("--repetitions", type=int, default=5, help="how often the subjects take turns")
    parser.add_argument("--random", type=int, default=0, help="measure this many random candidates instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    measured: dict[str, Any] = {name: measure(name, arguments) for name in arguments.data}
    for name, rows in measured.items():
        print(f"{name}: {rows['images']:,} training images, {rows['recipe']}")
        for subject, row in rows.get("subjects", {}).items():
            print(
                f"  {subject:10} {row['median_seconds']:8.3f} s  accuracy {row['validation_accuracy']:.4f}  "
                f"evaluator / {subject} {row['evaluator_seconds_over_these']:.3f}"
            )
        if "random" in rows:
            print(
                "  random candidates: {mean_seconds:.3f} s on average, {longest:.2f} s at most".format(**rows["random"])
            )
    if arguments.json:
        facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "processor": platform.processor()}
        versions = {"python": platform.python_version(), "torch": torch.__version__, "nas-gym": nas_gym.__version__}
        print(json.dumps({"data": measured, "hardware": facts, "versions": versions, "seed": arguments.seed}))


if __name__ == "__main__":
    main()
