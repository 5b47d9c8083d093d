"""Builds the table ``fashion-chain``: every candidate of its space, trained three times.

    python scripts/build_table.py --data-root DATA --store STORE.sqlite
    python scripts/build_table.py --data-root DATA --store STORE.sqlite --export nas_gym/tables/fashion-chain.parquet
    python scripts/build_table.py --report nas_gym/tables/fashion-chain.parquet --json

Every training is committed to the store as it ends, with its accuracy on the test split beside it, so that an
interrupted build continues where it stopped when the same command is given again. ``--workers 2`` trains in two
processes. The report tells from the finished table alone whether it is a worthy benchmark (`table_report`).
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError, NasGymError
from nas_gym.evaluation import Evaluation, Evaluator, Recipe, StoredEvaluator
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import ChainSpace, Prefix
from nas_gym.store import ResultStore
from nas_gym.tables import Table, fashion_chain_dataset, fashion_chain_space, read_table, write_table
from nas_gym.tables.fashion_chain import DATA, NAME, RECIPE, REPEATS

CHUNK = 64  # trainings between two lines of progress


def walk(space: ChainSpace) -> dict[Prefix, Candidate]:
    """Return every complete prefix of a space with its candidate, in lexicographic order."""
    return {prefix: space.candidate(prefix) for prefix in _complete(space, ())}


def _complete(space: ChainSpace, prefix: Prefix) -> Iterator[Prefix]:
    if space.next_slot(prefix) is None:
        yield prefix
        return
    for action in np.flatnonzero(space.legal(prefix)):
        yield from _complete(space, (*prefix, int(action)))


def distinct(space: ChainSpace) -> dict[str, tuple[Prefix, Candidate]]:
    """Return the first prefix and candidate of every key, sorted by key."""
    found: dict[str, tuple[Prefix, Candidate]] = {}
    for prefix, candidate in walk(space).items():
        found.setdefault(candidate.key, (prefix, candidate))
    return dict(sorted(found.items()))


def tests_of(identity: str) -> str:
    """Return the namespace of the accuracies on the test split that go with an evaluator's identity."""
    return f"{identity} test"


def trainer(dataset: Dataset, recipe: Recipe, place: str) -> TrainingEvaluator:
    """Return an evaluator that puts the test accuracy of everything it trains into the store at a place."""
    store = ResultStore(place)

    def keep(candidate: Candidate, evaluation: Evaluation, module: nn.Module) -> None:
        tested = replace(evaluation, accuracy=evaluator.test_accuracy(module), loss=None, curve=())
        store.put(tests_of(evaluator.identity), candidate, tested)

    evaluator = TrainingEvaluator(dataset, recipe, device="cpu", keep=keep)
    return evaluator


def fashion_trainer(data_root: str | None, place: str) -> TrainingEvaluator:
    """Return the evaluator of the table, also in a worker process."""
    return trainer(fashion_chain_dataset(data_root), RECIPE, place)


def build(space: ChainSpace, evaluator: Evaluator, store: ResultStore, *, repeats: int) -> None:
    """Train every candidate that has no answer in the store yet, repeat by repeat."""
    stored = StoredEvaluator(evaluator, store)
    candidates = [candidate for _, candidate in distinct(space).values()]
    started = time.monotonic()
    for repeat in range(repeats):
        for first in range(0, len(candidates), CHUNK):
            chunk = candidates[first : first + CHUNK]
            for future in stored.submit(chunk, repeat=repeat):
                future.result()
            seconds = time.monotonic() - started
            print(f"repeat {repeat}: {first + len(chunk):5,} of {len(candidates):,}  {seconds:7,.0f} s", flush=True)


def assembled(
    space: ChainSpace, store: ResultStore, identity: str, dataset: Dataset, *, name: str, repeats: int, facts: Any
) -> Table:
    """Return the table of what a store holds of a space.

    Raises:
        ConfigurationError: A training is missing or failed.
    """
    namespaces = (identity, tests_of(identity))
    known = {(where, e.key, e.repeat): e for where, _, e in store if where in namespaces}
    rows = distinct(space)
    asked = [(where, key, repeat) for where in namespaces for key in rows for repeat in range(repeats)]
    lacking = [question for question in asked if question not in known or not known[question].ok]
    if lacking:
        raise ConfigurationError(
            f"a table needs every training, yet {len(lacking):,} of {len(asked):,} answers are missing or failed; "
            "give the command without --export to train what is missing"
        )
    trained = [[known[identity, key, repeat] for repeat in range(repeats)] for key in rows]
    tested = [[known[namespaces[1], key, repeat].accuracy for repeat in range(repeats)] for key in rows]
    n_validation, n_test = len(dataset.validation), len(dataset.test)
    return Table(
        name=name,
        keys=tuple(rows),
        actions=tuple(prefix for prefix, _ in rows.values()),
        parameters=np.array([evaluations[0].parameters for evaluations in trained]),
        macs=np.array([evaluations[0].macs for evaluations in trained]),
        curve_correct=_counts([[e.curve for e in evaluations] for evaluations in trained], n_validation),
        test_correct=_counts(tested, n_test),
        loss=np.array([[e.loss for e in evaluations] for evaluations in trained], dtype=np.float32),
        train_seconds=np.array([[e.train_seconds for e in row] for row in trained], dtype=np.float32),
        n_validation=n_validation,
        n_test=n_test,
        facts=facts | {"trained with": sorted({e.versions for row in trained for e in row})},
    )


def _counts(accuracies: Any, n: int) -> Any:
    """Return accuracies as numbers of images; they are whole by construction."""
    return np.rint(np.asarray(accuracies, dtype=np.float64) * n).astype(np.uint16)


def facts_of(space: ChainSpace, dataset: Dataset, evaluator: TrainingEvaluator) -> dict[str, Any]:
    """Return what decides the numbers of the table, and on what they were computed; JSON-ready, without a date."""
    import torch

    return {
        "recipe": asdict(evaluator.recipe),
        "evaluation_seed": evaluator.evaluation_seed,
        "identity": evaluator.identity,
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "options": DATA},
        "space": {
            "name": space.name,
            "input_shape": list(space.input_shape),
            "activations": list(space.activations),
            "catalogue": [layer.name for layer in space.catalogue],
            "max_layers": space.max_layers,
            "limits": asdict(space.limits),
        },
        "train_seconds": "wall clock, one thread; other processes may have shared the machine",
        "hardware": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "versions": {name: version(name) for name in ("nas-gym", "numpy", "torch")}
        | {"python": platform.python_version()},
    }


def workers(arguments: argparse.Namespace) -> Evaluator:
    """Return the evaluator that the command line asks for: in this process, or in several."""
    if arguments.workers == 1:
        return fashion_trainer(arguments.data_root, arguments.store)
    from nas_gym.evaluation.processes import ProcessEvaluator

    return ProcessEvaluator(partial(fashion_trainer, arguments.data_root, arguments.store), workers=arguments.workers)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do what the command line asks for; return what ``--json`` prints."""
    if arguments.report:
        from table_report import report

        table = read_table(arguments.report)
        return report(table, walk(fashion_chain_space()))
    space = fashion_chain_space()
    store = ResultStore(arguments.store)
    if not arguments.export:
        build(space, workers(arguments), store, repeats=REPEATS)
        return {"store": arguments.store, "evaluations": len(store)}
    evaluator = fashion_trainer(arguments.data_root, arguments.store)
    facts = facts_of(space, evaluator.dataset, evaluator)
    table = assembled(space, store, evaluator.identity, evaluator.dataset, name=NAME, repeats=REPEATS, facts=facts)
    write_table(table, arguments.export)
    return {"table": arguments.export, "candidates": len(table), "bytes": Path(arguments.export).stat().st_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="folder of torchvision's FashionMNIST")
    parser.add_argument("--store", default="fashion-chain.sqlite", help="SQLite file of the trainings")
    parser.add_argument("--workers", type=int, default=1, help="processes that train")
    parser.add_argument("--export", metavar="PARQUET", help="write the table from a finished store")
    parser.add_argument("--report", metavar="PARQUET", help="tell how worthy a benchmark a finished table is")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    try:
        told = run(arguments)
    except NasGymError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if arguments.json:
        print(json.dumps(told | {"cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
