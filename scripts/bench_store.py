"""Results per second that the store commits, each synced to the disk before its caller goes on.

    python scripts/bench_store.py [--json] [--store URL]

Subjects: one put after the other; puts from 8 threads, which share transactions; `put_many` of 100; and everything
through `StoredEvaluator` over an evaluator that answers at once from a pool of threads, which is the path of a search
with parallel workers. Each result is an evaluation with a curve of 20 epochs and a candidate of six operations.
Beside them the straightforward alternative: Python's sqlite3, one row and one commit after the other, with the same
journal and sync. The subjects take turns. What a commit costs is the disk's: the script names the folder it measured.
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nas_gym
from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.evaluation import Evaluation, Fidelity, StoredEvaluator
from nas_gym.store import ResultStore

TARGET = 2000  # results per second
REFERENCE = "sqlite3, a transaction a row"
Answer = tuple[Candidate, Evaluation]
Subject = Callable[[ResultStore, Sequence[Answer]], None]


class AtOnce:
    """Answers at once, from a pool's threads: an evaluator whose own time is next to nothing."""

    identity = "at once"
    capacity = 8

    def __init__(self, answers: Sequence[Answer], pool: ThreadPoolExecutor) -> None:
        self.answers = {candidate.key: evaluation for candidate, evaluation in answers}
        self.pool = pool

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return one future per candidate."""
        return [self.pool.submit(self.answers.__getitem__, candidate.key) for candidate in candidates]


def answers(n: int) -> list[Answer]:
    """Return as many different candidates with an evaluation each."""
    made = []
    for number in range(n):
        units = [
            Operation("linear", (("units", size),), (place,)) for place, size in ((0, 8), (2, number + 1), (4, 10))
        ]
        relus = [Operation("relu", (), (place,)) for place in (1, 3)]
        steps = (Operation("flatten"), units[0], relus[0], units[1], relus[1], units[2])
        candidate = Candidate(Architecture((1, 8, 8), steps))
        curve = tuple((epoch + 0.5) / 21 for epoch in range(20))
        made.append((candidate, Evaluation(key=candidate.key, accuracy=curve[-1], curve=curve, device="cpu")))
    return made


def one_by_one(store: ResultStore, rows: Sequence[Answer]) -> None:
    for candidate, evaluation in rows:
        store.put("space", candidate, evaluation)


def from_threads(store: ResultStore, rows: Sequence[Answer]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: store.put("space", *row), rows))


def hundreds(store: ResultStore, rows: Sequence[Answer]) -> None:
    for start in range(0, len(rows), 100):
        store.put_many("space", rows[start : start + 100])


def through_evaluator(store: ResultStore, rows: Sequence[Answer]) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = StoredEvaluator(AtOnce(rows, pool), store, namespace="space")
        for future in stored.submit([candidate for candidate, _ in rows]):
            future.result()


SUBJECTS: dict[str, tuple[Subject, int]] = {  # what, and the share of the rows that is enough for it
    "put, one by one": (one_by_one, 10),
    "put, 8 threads": (from_threads, 2),
    "put_many of 100": (hundreds, 1),
    "StoredEvaluator, asynchronous": (through_evaluator, 1),
}


def plain(path: Path, rows: Sequence[Answer]) -> float:
    """Return the rows per second of the straightforward alternative."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE evaluations (key TEXT PRIMARY KEY, evaluation TEXT, candidate TEXT)")
        started = time.perf_counter()
        for candidate, evaluation in rows:
            texts = [json.dumps(part.to_json()) for part in (evaluation, candidate)]
            connection.execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?)", (evaluation.key, *texts))
            connection.commit()
        return len(rows) / (time.perf_counter() - started)


def rate(subject: Subject, place: str | Path, rows: Sequence[Answer]) -> float:
    """Return the results per second of a subject, and check that nothing is missing."""
    store = ResultStore(place)
    before = len(store)
    started = time.perf_counter()
    subject(store, rows)
    seconds = time.perf_counter() - started
    held = len(store) - before
    store.close()
    if held != len(rows):
        raise SystemExit(f"{held} of {len(rows)} results are in the store")
    return len(rows) / seconds


def emptied(url: str) -> str:
    """Return the URL of a database whose table of results is gone."""
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS evaluations"))
    engine.dispose()
    return url


def measure(n: int, repetitions: int, url: str | None, folder: Path) -> dict[str, list[float]]:
    """Return the results per second of every turn, by subject."""
    rates: dict[str, list[float]] = {REFERENCE: []} | {name: [] for name in SUBJECTS}
    for turn in range(repetitions):
        rates[REFERENCE].append(plain(folder / f"plain{turn}.sqlite", answers(max(1, n // 10))))
        for number, (name, (subject, divisor)) in enumerate(SUBJECTS.items()):
            rows = answers(max(1, n // divisor))  # fresh: keys are not known yet
            place = emptied(url) if url else folder / f"{turn}-{number}.sqlite"
            rates[name].append(rate(subject, place, rows))
    return rates


def report(n: int, repetitions: int, url: str | None, folder: Path) -> dict[str, Any]:
    """Measure everything and return it as JSON-ready data."""
    rates = measure(n, repetitions, url, folder)
    reference = statistics.median(rates[REFERENCE])
    rows = {
        name: {
            "results_per_second": round(statistics.median(values), 1),
            "slowest": round(min(values), 1),
            "fastest": round(max(values), 1),
            "ratio_to_plain": round(statistics.median(values) / reference, 2),
        }
        for name, values in rates.items()
    }
    return {
        "rates": rows,
        "target_results_per_second": TARGET,
        "target_met": rows["StoredEvaluator, asynchronous"]["results_per_second"] >= TARGET,
        "results_per_turn": n,
        "repetitions": repetitions,
        "backend": "sqlite" if url is None else url.split(":", 1)[0],
        "hardware": {"cores": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine()},
        "versions": {"python": platform.python_version(), "nas-gym": nas_gym.__version__}
        | {"sqlalchemy": version("sqlalchemy"), "sqlite": sqlite3.sqlite_version},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=4000, help="of one turn; the slow subjects get a share")
    parser.add_argument("--repetitions", type=int, default=5, help="how often the subjects take turns")
    parser.add_argument("--folder", type=Path, help="whose disk is measured; default: that of temporary files")
    parser.add_argument(
        "--store", help="URL of a scratch database; its table of results is DROPPED; default: SQLite files"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        measured = report(arguments.results, arguments.repetitions, arguments.store, folder)
    finally:
        shutil.rmtree(folder)
    print(f"{'results/s':32}" + "".join(f"{name:>12}" for name in ("median", "slowest", "fastest", "to plain")))
    for name, row in measured["rates"].items():
        print(f"{name:32}" + "".join(f"{value:12,}" for value in row.values()))
    print(f"medians of {arguments.repetitions} turns of {arguments.results:,} results in {folder.parent}")
    print(f"target {TARGET:,} results/s: {'met' if measured['target_met'] else 'missed'}")
    if arguments.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
