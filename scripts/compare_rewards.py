"""How well cheap rewards order networks as full training does, and what they cost: a figure and a table.

    python scripts/compare_rewards.py --data-root DATA [--json]
    python scripts/compare_rewards.py --redraw    # figure and page again, from what was measured

Full training is that of the table ``fashion-chain``: several repeats of every network. Measured on a random subset of
its networks are trainings with fewer epochs, fewer images and fewer pixels, and the cost of everything; what is cheap
enough (proxies, the supernet) is scored on all networks. Stopping early and a single full training are taken from the
table's own repeats. Nothing is compared with a mean that it took part in: what is measured here has the repeat after
those of the table, hence other seeds, and a repeat of the table is compared with the mean of the others.

A cost is processor time of one thread, which on an idle machine is wall-clock time, so that other work on the machine
shows in it little; measurements take turns, network by network, so that what shows is shared. The supernet is trained
once for all networks; its training is shared out over them and told apart from its inference. A failure
counts as the worst value. A run that was interrupted goes on when the same command is given again. The numbers are
kept as JSON beside ``--out``; the table in ``--page`` is written between its markers (`rewards_page`), and what is told
of a reward is explained in `rewards_statistics`.
"""

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rewards_page import draw, write_page
from rewards_statistics import BEST_SHARE, Numbers, agreement, others, over_pairings, plain, spearman

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError, NasGymError
from nas_gym.evaluation import Evaluation, Evaluator, Fidelity, Recipe, evaluate
from nas_gym.evaluation.proxies import PROXIES, ProxyEvaluator
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.evaluation.weight_sharing.evaluator import SUPERNET_RECIPE, SupernetEvaluator
from nas_gym.spaces import ChainSpace
from nas_gym.tables import Table, fashion_chain_dataset, fashion_chain_space, load_table, read_table
from nas_gym.tables.fashion_chain import RECIPE

FULL = "one full training"
SUPERNET = "evaluator=supernet"
SUPERNET_SECONDS = 180.0  # most for its training, by the time of its first epoch; else it is trained for fewer epochs
ALL_SECONDS = 90.0  # a reward without a training is scored on all networks if that takes no longer
PROGRESS = 10  # networks between two lines


@dataclass(frozen=True)
class Settings:
    """What the command line decides of a measurement.

    Attributes:
        subset: Networks on which everything is measured, drawn at random.
        networks: Networks of the table that are looked at, drawn at random; None: all.
        supernet_epochs: Of the supernet's training; None: those of its default recipe if they fit `SUPERNET_SECONDS`.
        resamples: Of the bootstrap.
        seed: Of what is drawn here and of the bootstrap.
    """

    subset: int = 120
    networks: int | None = None
    supernet_epochs: int | None = None
    resamples: int = 1000
    seed: int = 0


@dataclass
class Clock:
    """Wall-clock seconds of the parts of the run."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        print(f"{name} …", flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 1)
        print(f"{name}: {self.seconds[name]:,.0f} s", flush=True)


class Measured:
    """Answers by the name of a reward and the row of the table; what a reward costs on the subset.

    Args:
        file: Where answers are kept as they come, so that an interrupted run goes on; None: nowhere.
        question: What was asked of whom, JSON-ready; answers to another question are dropped.
    """

    def __init__(self, file: Path | None = None, question: Any = None) -> None:
        self.answers: dict[str, dict[int, Evaluation]] = {}
        self.seconds: dict[str, dict[int, float]] = {}
        self.resumed = False
        self._file = file
        if file is None:
            return
        kept = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
        first = json.dumps(question) + "\n"
        whole = [line for line in kept[1:] if line.endswith("\n")] if kept[:1] == [first] else []
        for line in whole:
            name, row, evaluation, seconds = json.loads(line)
            self._note(name, row, Evaluation.from_json(evaluation), seconds)
        self.resumed = bool(whole)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(first + "".join(whole), encoding="utf-8")

    def add(self, name: str, row: int, evaluation: Evaluation, seconds: float | None = None) -> None:
        """Keep an answer; with seconds, as one of the subset."""
        self._note(name, row, evaluation, seconds)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([name, row, evaluation.to_json(), seconds]) + "\n")

    def _note(self, name: str, row: int, evaluation: Evaluation, seconds: float | None) -> None:
        self.answers.setdefault(name, {})[row] = evaluation
        if seconds is not None:
            self.seconds.setdefault(name, {})[row] = seconds

    def knows(self, name: str, row: int) -> bool:
        """Return whether there is an answer."""
        return row in self.answers.get(name, {})

    def mean_seconds(self, name: str) -> float:
        """Return what a reward costs, mean over the networks of the subset."""
        return float(np.mean(list(self.seconds[name].values())))


def check(table: Table, space: ChainSpace, dataset: Dataset, recipe: Recipe) -> None:
    """Refuse a table that was made of another space, other data or another recipe than what is measured here.

    Raises:
        ConfigurationError: It was.
    """
    here = asdict(recipe)
    pairs = {name: (value, here.get(name)) for name, value in table.facts["recipe"].items()}
    pairs.pop("mixed_precision", None)  # of CUDA only when the table was made; both are trained on a CPU, in float32
    pairs["space"] = (table.facts["space"]["name"], space.name)
    pairs["data"] = (table.facts["data"]["fingerprint"], dataset.fingerprint)
    different = ", ".join(f"{name} {ones!r} and {others!r}" for name, (ones, others) in pairs.items() if ones != others)
    if different:
        raise ConfigurationError(f"the table and the code differ in {different}; measure with the code that made it")


def fidelities(recipe: Recipe, dataset: Dataset) -> dict[str, Fidelity]:
    """Return the cheaper trainings that are compared, by the option of the environment."""
    epochs = sorted({1, 2, recipe.epochs // 2} & set(range(1, recipe.epochs)))
    ways = [Fidelity(epochs=number) for number in epochs] + [Fidelity(data=share) for share in (0.25, 0.5)]
    ways.append(Fidelity(resolution=max(2, max(dataset.input_shape[1:]) // 2)))
    return {f"fidelity={way}": way for way in ways}


def trained_supernet(
    dataset: Dataset, space: ChainSpace, recipe: Recipe, epochs: int | None
) -> tuple[SupernetEvaluator, float]:
    """Return the supernet's evaluator, trained, and what that cost; without epochs, at most `SUPERNET_SECONDS`."""
    if epochs is None:
        _, seconds = trained_supernet(dataset, space, recipe, 1)
        epochs = max(1, min(recipe.epochs, math.floor(SUPERNET_SECONDS / seconds)))
    evaluator = SupernetEvaluator(dataset, space, replace(recipe, epochs=epochs, threads=1), device="cpu")
    started = time.process_time()
    evaluator.prepare()
    return evaluator, time.process_time() - started


def supernet_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """Return the default recipe of a supernet, and that with the learning rate of the table's own recipe."""
    rate = recipe.learning_rate
    ways = {SUPERNET: SUPERNET_RECIPE}
    if rate != SUPERNET_RECIPE.learning_rate:
        ways[f"{SUPERNET} learning_rate={rate:g}"] = replace(SUPERNET_RECIPE, learning_rate=rate)
    return ways


def answer(
    evaluator: Evaluator, candidate: Candidate, repeat: int, fidelity: Fidelity | None = None
) -> tuple[Evaluation, float]:
    """Return one evaluation and what it cost."""
    started = time.process_time()
    (evaluation,) = evaluate(evaluator, [candidate], fidelity=fidelity, repeat=repeat)
    return evaluation, time.process_time() - started


def stopped(measured: Measured, dataset: Dataset, recipe: Recipe, row: int, candidate: Candidate, repeat: int) -> None:
    """Measure what stopping after every epoch costs: one training that goes on from its checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = TrainingEvaluator(dataset, recipe, device="cpu", checkpoints=folder)
        seconds = 0.0
        for stop in range(1, recipe.epochs):  # anew from the first, if one is missing
            evaluation, cost = answer(evaluator, candidate, repeat, Fidelity(stop=stop))
            seconds += cost
            measured.add(f"fidelity=stop={stop}", row, evaluation, seconds)


def told_supernet(
    name: str, net: SupernetEvaluator, seconds: float, n_networks: int, measured: Measured
) -> dict[str, Any]:
    """Return what is told of a supernet that took so many seconds to train, JSON-ready."""
    return {
        "name": name,
        "training_seconds": round(seconds, 2),
        "epochs": net.recipe.epochs,
        "learning_rate": net.recipe.learning_rate,
        "steps": net.prepare().steps,
        "default_epochs": SUPERNET_RECIPE.epochs,
        "shared_over_networks": n_networks,
        "median_accuracy": _median_accuracy(measured.answers[name].values()),
    }


def told_table(table: Table, dataset: Dataset, means: Numbers) -> dict[str, Any]:
    """Return what is told of the table, of whose networks (n,) mean accuracies were looked at; JSON-ready."""
    return {
        "name": table.name,
        "networks": len(table),
        "repeats": table.accuracy.shape[1],
        "looked_at": len(means),
        "data": dataset.name,
        "n_validation": table.n_validation,
        "median_accuracy": round(float(np.median(means)), 4),
        "recipe": table.facts["recipe"],
    }


def measure(
    table: Table,
    space: ChainSpace,
    dataset: Dataset,
    recipe: Recipe,
    settings: Settings,
    partial: Path | None = None,
) -> dict[str, Any]:
    """Measure everything; return what is written as JSON.

    Args:
        table: Of the networks.
        space: Of the table.
        dataset: Of the table.
        recipe: Of the table, settled.
        settings: What is measured.
        partial: Where answers are kept while they come (`Measured`).
    """
    check(table, space, dataset, recipe)
    clock = Clock()
    generator = np.random.default_rng(settings.seed)
    looked_at = generator.permutation(len(table))[: settings.networks]
    subset, rest = looked_at[: settings.subset], looked_at[settings.subset :]
    candidates = {int(row): space.candidate(table.actions[row]) for row in looked_at}
    repeat = table.accuracy.shape[1]  # the first that is none of the table's
    free: dict[str, Evaluator] = {f"evaluator=proxy:{n}": ProxyEvaluator(dataset, n, device="cpu") for n in PROXIES}
    trainer = TrainingEvaluator(dataset, recipe, device="cpu")
    ways = fidelities(recipe, dataset)
    supernets: dict[str, tuple[SupernetEvaluator, float]] = {}
    for name, how in supernet_recipes(recipe).items():
        with clock.part(f"training {name}"):
            supernets[name] = trained_supernet(dataset, space, how, settings.supernet_epochs)
            free[name] = supernets[name][0]

    asked = {
        "trainer": trainer.identity,
        "supernets": [net.identity for net, _ in supernets.values()],
        "settings": asdict(settings),
        "repeat": repeat,
    }
    measured = Measured(partial, asked)

    def ask(kept: Measured, row: int) -> None:
        questions: list[tuple[str, Evaluator, Fidelity | None]] = [(n, e, None) for n, e in free.items()]
        questions += [(name, trainer, way) for name, way in ways.items()]
        for name, evaluator, way in (*questions, (FULL, trainer, None)):
            if not kept.knows(name, row):
                kept.add(name, row, *answer(evaluator, candidates[row], repeat, way))
        if not kept.knows(f"fidelity=stop={recipe.epochs - 1}", row):
            stopped(kept, dataset, recipe, row, candidates[row], repeat)

    with clock.part(f"everything on {len(subset):,} networks"):
        ask(Measured(), int(subset[0]))  # what is slow only at first is in nobody's time
        for done, row in enumerate(map(int, subset), start=1):
            ask(measured, row)
            if done % PROGRESS == 0:
                print(f"  {done:,} of {len(subset):,}", flush=True)
    for name, evaluator in free.items():
        if measured.mean_seconds(name) * len(looked_at) <= ALL_SECONDS:
            with clock.part(f"{name} on all networks"):
                for row in map(int, rest):
                    if not measured.knows(name, row):
                        measured.add(name, row, answer(evaluator, candidates[row], repeat)[0])
    with clock.part("statistics"):
        told = [told_measured(name, measured, table, settings) for name in (*free, *ways)]
        told += told_stored(measured, table, looked_at, settings)
        again = told_measured(FULL, measured, table, settings)
    for entry in told:
        if entry["name"] in supernets:
            shared = supernets[entry["name"]][1] / len(table)
            entry |= {"inference_seconds": entry["seconds"], "seconds": round(entry["seconds"] + shared, 6)}
        entry["share_of_full_training"] = round(entry["seconds"] / again["seconds"], 5)
    means = table.mean_accuracy[looked_at]
    best = np.sort(means)[-max(1, round(BEST_SHARE * len(means))) :].mean()
    return {
        "rewards": told,
        "full_training_again": again,
        "regret_of_a_random_tenth": round(float(best - means.mean()), 5),
        "supernets": [
            told_supernet(name, net, seconds, len(table), measured) for name, (net, seconds) in supernets.items()
        ],
        "table": told_table(table, dataset, means),
        "settings": asdict(settings) | {"subset": len(subset)},
        "seeds": {"settings": settings.seed, "evaluation": trainer.evaluation_seed, "repeat": repeat},
        "part_seconds": clock.seconds,
        "resumed": measured.resumed,
        "clock": "processor time",
    }


def told_measured(name: str, measured: Measured, table: Table, settings: Settings) -> dict[str, Any]:
    """Return the row of a reward that was measured here, against the mean of all repeats of the table."""
    answers = measured.answers[name]
    scores = np.array([_score(evaluation) for evaluation in answers.values()])
    target = table.mean_accuracy[np.fromiter(answers, dtype=np.intp)]
    return {
        "name": name,
        "kind": "proxy" if "proxy:" in name else "supernet" if name.startswith(SUPERNET) else "cheaper training",
        "networks": len(answers),
        "failed": sum(not evaluation.ok for evaluation in answers.values()),
        "against": f"mean of {table.accuracy.shape[1]} repeats",
        **_agreement(scores[None], target[None], settings),
        "spearman_on_subset": plain(spearman(*(v[: len(measured.seconds[name])] for v in (scores, target)))),
        "seconds": round(measured.mean_seconds(name), 6),
    }


def told_stored(
    measured: Measured, table: Table, looked_at: NDArray[np.intp], settings: Settings
) -> list[dict[str, Any]]:
    """Return the rows of stopping early and of one full training: a repeat of the table against the others."""
    epochs = table.curves.shape[2]
    told = []
    for stop in range(1, epochs + 1):
        name = FULL if stop == epochs else f"fidelity=stop={stop}"
        scores, target = table.curves[looked_at, :, stop - 1].T, others(table.accuracy[looked_at])
        n = len(measured.seconds[name])
        told.append(
            {
                "name": name,
                "kind": "full training" if stop == epochs else "stopped early",
                "networks": len(looked_at),
                "failed": 0,
                "against": f"mean of the other {table.accuracy.shape[1] - 1} repeats, mean over the repeats",
                **_agreement(scores, target, settings),
                "spearman_on_subset": plain(over_pairings(spearman, scores[:, :n], target[:, :n])),
                "seconds": round(measured.mean_seconds(name), 6),
            }
        )
    return told


def _agreement(x: Numbers, y: Numbers, settings: Settings) -> dict[str, Any]:
    return agreement(x, y, resamples=settings.resamples, seed=settings.seed)


def _median_accuracy(evaluations: Iterable[Evaluation]) -> float:
    return round(float(np.median([evaluation.accuracy or 0.0 for evaluation in evaluations])), 4)


def _score(evaluation: Evaluation) -> float:
    """Return what orders the networks; the worst value for a failure."""
    score = evaluation.accuracy if evaluation.proxy is None else evaluation.proxy
    return -math.inf if score is None else score


def surroundings() -> dict[str, Any]:
    """Return the hardware and the versions; JSON-ready."""
    import torch

    return {
        "hardware": {
            "machine": platform.machine(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "threads": 1,
            "load_at_the_end": round(os.getloadavg()[0], 2),
        },
        "versions": {name: version(name) for name in ("nas-gym", "numpy", "scipy", "torch")}
        | {"python": platform.python_version()},
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do what the command line asks for; return what ``--json`` prints."""
    kept = arguments.out.with_suffix(".json")
    told: dict[str, Any]
    if arguments.redraw:
        told = json.loads(kept.read_text(encoding="utf-8"))
    else:
        table = load_table() if arguments.table is None else read_table(arguments.table)
        settings = Settings(
            arguments.subset, arguments.networks, arguments.supernet_epochs, arguments.resamples, arguments.seed
        )
        dataset = fashion_chain_dataset(arguments.data_root)
        recipe, partial = RECIPE.settled(dataset.input_shape, "cpu"), arguments.out.with_suffix(".partial.jsonl")
        told = measure(table, fashion_chain_space(), dataset, recipe, settings, partial) | surroundings()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.unlink()
    draw(told, arguments.out)
    write_page(told, arguments.page)
    for row in told["rewards"]:
        print(
            f"{row['name']:34}  {row['networks']:5,} networks  Spearman {row['spearman'] or math.nan:6.3f} "
            f"{row['spearman_95']}  Kendall {row['kendall'] or math.nan:6.3f}  {row['seconds']:.4f} s"
        )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="folder of torchvision's FashionMNIST")
    parser.add_argument("--table", metavar="PARQUET", help="by default the one that ships with the package")
    parser.add_argument("--subset", type=int, default=Settings.subset, help="networks on which everything is measured")
    parser.add_argument("--networks", type=int, help="networks of the table that are looked at; by default all")
    parser.add_argument("--supernet-epochs", type=int, help="by default its recipe's, within three minutes")
    parser.add_argument("--resamples", type=int, default=Settings.resamples, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--out", type=Path, default=Path("docs/images/rewards.png"), help="the figure")
    parser.add_argument("--page", type=Path, default=Path("docs/rewards.md"), help="with markers for the table")
    parser.add_argument("--redraw", action="store_true", help="take the numbers from the JSON beside the figure")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    try:
        told = run(arguments)
    except NasGymError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main()
