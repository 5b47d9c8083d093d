"""The whole path on a GPU, beside the same path on the CPU: for the day a machine has one.

Trains the same networks on both devices and prints accuracies, seconds and peak memory; provokes an out-of-memory
failure on the GPU and checks that it is a typed outcome; searches with four evaluations on the GPU. Batches and initial
weights are the same on both devices, so the mean accuracies may differ by no more than ``--tolerance``.

Exit codes: 0 all held, 1 something did not, 3 there is no CUDA device here.

    python scripts/check_cuda.py --json
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas_gym.builder import build
from nas_gym.data import Dataset, Split, load_dataset
from nas_gym.evaluation import Recipe, evaluate
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import ChainSpace, Convolution, Limits
from nas_gym.testing import random_walk
from nas_gym_agents import SearchSettings, search

RECIPE = Recipe(epochs=8, batch_size=64, learning_rate=0.2)


def compare(networks: int, seed: int) -> dict[str, Any]:
    """Return accuracies and seconds of the same random networks on both devices."""
    dataset = load_dataset("digits")
    space = ChainSpace(
        dataset.input_shape, dataset.n_classes, limits=Limits(macs=400_000, parameters=100_000, resolution=2)
    )
    generator = np.random.default_rng(seed)
    candidates = [space.candidate(random_walk(space, generator)) for _ in range(networks)]
    rows: dict[str, Any] = {}
    for device in ("cpu", "cuda"):
        found = evaluate(TrainingEvaluator(dataset, RECIPE, device=device), candidates)
        rows[device] = {
            "accuracies": [evaluation.accuracy for evaluation in found],
            "statuses": [evaluation.status for evaluation in found],
            "seconds": sum(evaluation.train_seconds for evaluation in found),
            "peak_memory_mb": max(evaluation.peak_memory_mb or 0.0 for evaluation in found),
            "device": found[0].device,
        }
    return rows


def out_of_memory() -> str:
    """Return the status of a training that no GPU has the memory for."""
    images = torch.rand(64, 3, 512, 512)
    targets = torch.arange(64) % 2
    half = Split(images[:32], targets[:32])
    rest = Split(images[32:48], targets[32:48])
    last = Split(images[48:], targets[48:])
    dataset = Dataset("large", half, rest, last, ("a", "b"), (0.5,) * 3, (0.3,) * 3)
    space = ChainSpace((3, 512, 512), 2, catalogue=(Convolution(16_384),), max_layers=1)
    candidate = space.candidate((0, 0))
    (found,) = evaluate(TrainingEvaluator(dataset, Recipe(batch_size=32), device="cuda"), [candidate])
    return found.status


def forward_difference(seed: int) -> float:
    """Return the largest difference of one network's outputs between the devices, in float32."""
    space = ChainSpace((3, 32, 32), 10)
    architecture = space.candidate(random_walk(space, np.random.default_rng(seed))).architecture.canonical()
    module, inputs = build(architecture, seed=seed).eval(), torch.randn(16, 3, 32, 32)
    with torch.no_grad():
        here = module(inputs)
        there = module.to("cuda")(inputs.to("cuda")).cpu()  # CUDA only
    return float((here - there).abs().max())


def main() -> int:
    """Run everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=0.02, help="of the mean accuracy, 0 to 1")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no CUDA device here; run this on a machine that has one", file=sys.stderr)
        return 3
    rows = compare(options.networks, options.seed)
    means = {d: float(np.mean([a for a in rows[d]["accuracies"] if a is not None])) for d in rows}
    with tempfile.TemporaryDirectory() as folder:
        settings = SearchSettings(env_args={"device": "cuda"}, evaluations=4)
        summary = search(settings, Path(folder) / "run")
    facts = {
        "devices": rows,
        "mean_accuracy": means,
        "accuracies_agree": abs(means["cpu"] - means["cuda"]) <= options.tolerance,
        "forward_difference": forward_difference(options.seed),
        "out_of_memory_status": out_of_memory(),
        "search_evaluations": summary["evaluations"],
        "gpu": torch.cuda.get_device_name(0),  # CUDA only
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "seed": options.seed,
    }
    held = facts["accuracies_agree"] and facts["out_of_memory_status"] == "out_of_memory"
    held = held and facts["forward_difference"] < 1e-2 and facts["search_evaluations"] == 4
    for name, value in facts.items():
        print(f"{name}: {value}")
    print("all held" if held else "something did not hold")
    if options.json:
        print(json.dumps({**facts, "held": held}))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
