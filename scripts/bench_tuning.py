"""Does narrowing by importance help? Guided search against the same sampler unguided, and against random search.

    python scripts/bench_tuning.py [--seeds N] [--trials N] [--data digits,fashion_mnist] [--data-root FOLDER] [--json]

One small fixed network on each data set: two convolutions (8 and 16 channels) and a linear layer. Its recipe is
searched three times with the same budget of training epochs, the same sampler settings, pruner and first trial (the
recipe without tuning), with no confirmation:

* guided: `nas_gym.winner.tuning.two_stages.search`, as `nas-gym tune` has it: half of the budget broad, half narrow;
* unguided: the same TPE and the same pruner over the whole space until the budget is spent. Its trials of the first
  half are those of guided, since both have the same seed;
* random: random search with the same pruner.

Then the recipe that each of them found best by validation accuracy is trained with new seeds (the same for all) and
measured on test images, as is the recipe without tuning. Differences are paired by seed of the search: their mean with
a percentile bootstrap interval over seeds. Fashion-MNIST is its first 200 training images and 100 test images of every
class. Told are also the processor seconds of all of it.
"""

import argparse
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from nas_gym.architecture import Candidate
from nas_gym.data import load_dataset
from nas_gym.evaluation.loop import Tensors
from nas_gym.evaluation.recipe import Recipe
from nas_gym.evaluation.training import tensors_of
from nas_gym.optuna_package import quiet
from nas_gym.spaces import ChainSpace
from nas_gym.spaces.catalogue import Convolution
from nas_gym.statistics import bootstrap_interval, paired_difference
from nas_gym.winner.tuning.space import Values
from nas_gym.winner.tuning.trainer import Trainer
from nas_gym.winner.tuning.trials import Stage, Trial, run_stage
from nas_gym.winner.tuning.two_stages import search

ARMS = ("guided", "unguided", "random", "no tuning")


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    for name in args.data.split(","):
        trainer, test = task(name, args.data_root, args.epochs)
        for seed in range(args.seeds):
            for arm, trials in searches(trainer, args.trials * args.epochs, seed).items():
                rows.append({"data": name, "seed": seed, "arm": arm, **told(trainer, test, trials, args.repeats)})
            rows.append({"data": name, "seed": seed, "arm": "no tuning", **told(trainer, test, [], args.repeats)})
            print(f"{name}, seed {seed}: {time.process_time() - began:.0f} processor seconds so far", flush=True)
    print(table(rows, args))
    print(f"\n{time.process_time() - began:.0f} processor seconds, one thread, torch {torch.__version__}")
    if args.json:
        print(json.dumps({"machine": platform.machine(), "arguments": vars(args), "rows": rows}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits,fashion_mnist", help="data sets, parted by commas")
    parser.add_argument("--data-root", default=None, help="folder of torchvision's data sets")
    parser.add_argument("--seeds", type=int, default=6, help="searches of each kind")
    parser.add_argument("--trials", type=int, default=25, help="full trainings that a search is worth")
    parser.add_argument("--epochs", type=int, default=5, help="of one training")
    parser.add_argument("--repeats", type=int, default=4, help="trainings of the recipe that was found")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    return parser.parse_args()


def task(name: str, data_root: str | None, epochs: int) -> tuple[Trainer, Tensors]:
    """Return who trains the network of a data set, and the test images."""
    small = {} if name == "digits" else {"first_per_class": 200, "first_test_per_class": 100, "data_root": data_root}
    data = load_dataset(name, **small)  # type: ignore[arg-type]
    cpu = torch.device("cpu")
    trainer = Trainer(
        candidate=network(data.input_shape, data.n_classes),
        searched=replace(Recipe(threads=1), epochs=epochs).settled(data.input_shape, "cpu"),
        input_shape=data.input_shape,
        train=tensors_of(data, "train", cpu),
        validation=tensors_of(data, "validation", cpu),
        epochs=epochs,
    )
    return trainer, tensors_of(data, "test", cpu)


def network(shape: tuple[int, ...], n_classes: int) -> Candidate:
    """Return two convolutions with normalisation and ReLU, global average pooling and a linear layer."""
    layers = (Convolution(8, stride=1 if min(shape[1:]) < 16 else 3), Convolution(16, stride=2))
    space = ChainSpace(shape, n_classes, catalogue=layers, max_layers=2, activations=("relu",))
    return space.candidate((0, 0, 1))


def searches(trainer: Trainer, budget: int, seed: int) -> dict[str, list[Trial]]:
    """Return the trials of every kind of search."""
    # Searches of one seed differ in nothing but their seed from those of another: the training seed goes with it.
    train = partial(with_seed, trainer, seed)
    untuned = trainer.untuned()
    with quiet() as optuna:
        storage = optuna.storages.InMemoryStorage()  # of the broad stage, with which the unguided search goes on
    found = search(trainer.space, untuned, [train], budget=budget, epochs=trainer.epochs, seed=seed, storage=storage)
    first = (trainer.space.clipped(untuned),)
    stage = Stage(name="broad", space=trainer.space, budget=budget, epochs=trainer.epochs, seed=seed, first=first)
    unguided = run_stage(stage, [train], storage)
    assert unguided[: len(found.broad)] == found.broad
    chance = run_stage(replace(stage, name="random", sampler="random"), [train])
    return {"guided": [*found.broad, *found.narrow], "unguided": unguided, "random": chance}


def with_seed(trainer: Trainer, seed: int, values: Mapping[str, Any], _: int, report: Any) -> str | None:
    """Train with a seed that belongs to the search."""
    return trainer(values, 1000 + seed, report)


def told(trainer: Trainer, test: Tensors, trials: list[Trial], repeats: int) -> dict[str, Any]:
    """Return what a search found and cost, and what the recipe is worth on test images."""
    complete = sorted((trial for trial in trials if not trial.pruned), key=lambda trial: -trial.score)
    values: Values = complete[0].values if complete else trainer.untuned()
    tested = replace(trainer, validation=test)
    accuracies = []
    for seed in range(repeats):
        curve: list[float] = []
        tested(values, seed, partial(noted, curve))
        accuracies.append(curve[-1] if len(curve) == trainer.epochs else 0.0)
    return {
        "validation": complete[0].score if complete else None,
        "test": float(np.mean(accuracies)),
        "epochs": sum(len(trial.curve) for trial in trials),
        "trials": len(trials),
        "recipe": values,
    }


def noted(curve: list[float], epoch: int, accuracy: float) -> bool:
    curve.append(accuracy)
    return True


def table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    """Return what came out as a Markdown table."""
    lines = ["| data | search | trials | epochs | best validation accuracy | test accuracy | guided minus this, test |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for data in args.data.split(","):
        test = {arm: [row["test"] for row in rows if row["data"] == data and row["arm"] == arm] for arm in ARMS}
        for arm in ARMS:
            mine = [row for row in rows if row["data"] == data and row["arm"] == arm]
            trials, epochs = (f"{np.mean([row[name] for row in mine]):.1f}" for name in ("trials", "epochs"))
            best = "–" if arm == "no tuning" else mean([row["validation"] for row in mine])
            less = "–" if arm == "guided" else difference(test["guided"], test[arm])
            lines.append(f"| {data} | {arm} | {trials} | {epochs} | {best} | {mean(test[arm])} | {less} |")
    return "\n".join(lines)


def mean(values: list[float]) -> str:
    found = bootstrap_interval(values, np.mean)
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def difference(first: list[float], second: list[float]) -> str:
    found = paired_difference(first, second)
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


if __name__ == "__main__":
    main()
