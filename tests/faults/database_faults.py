"""Searches whose database is full, cut short or locked, whose disk is full, and two that share a store."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit import Row, stored
from comparing import committed
from conditions import contents
from driver_kills import ledger_of
from faulty_env import ID
from lives import Nursery, Settings
from phases import Trap

RESULTS = "results.sqlite"
PAGE = 4096  # bytes, SQLite's default
_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


@dataclass(frozen=True)
class Database:
    """Searches with a fault of their database.

    Attributes:
        nursery: Starts their processes.
        folder: Where their runs go.
    """

    nursery: Nursery
    folder: Path

    def settings(self, run: Path, *, seed: int = 3, store: Path | None = None, **env_args: object) -> Settings:
        """Return the settings of a run."""
        env_args = {"max_layers": 3, "pause": 0.003, "ledger": str(ledger_of(run).path), **env_args}
        common = {"agent": "random", "evaluations": 25, "env": ID, "seed": seed, "env_args": env_args}
        return common if store is None else {**common, "store": str(store)}

    def reference(self) -> Path:
        """Return the undisturbed run."""
        run = self.folder / "database-reference"
        self.nursery.run(run, self.settings(run))
        return run

    def resumed(self, row: Row, run: Path) -> None:
        """Go on undisturbed to the end, and check the run."""
        before, lines = committed(run), len(ledger_of(run).lines())
        code, said = self.nursery.run(run, self.settings(run))
        if code:
            row.broken.append(f"{run.name} did not go on: {said}")
            return
        after = committed(run)
        begun = {key for word, key, _ in ledger_of(run).lines()[lines:] if word == "begin"}
        row.doubled += len(begun & {question[1] for question in before})
        row.lost += sum(after.get(question) != answer for question, answer in before.items())
        row.finished(run, self.reference())

    def refused(self, row: Row, code: int, said: str, *words: str) -> None:
        """Check that a search ended with a sentence, exit code 2 and certain words."""
        row.injected += 1
        if code != 2 or not said.startswith("error: ") or not any(word in said for word in words):
            row.broken.append(f"{row.fault}: exit code {code}, {said!r}")

    def full(self, max_pages: int = 7) -> Row:
        """A database that can't grow, and then can."""
        row, run = Row("database full"), self.folder / "full"
        self.refused(row, *self.nursery.run(run, self.settings(run), max_pages=max_pages), "full")
        if not committed(run):
            row.broken.append("nothing was committed before the database was full")
        self.resumed(row, run)
        return row

    def disk_full(self, file_limit_kb: int = 60) -> Row:
        """No file can grow beyond a size, which stops root too; then they can."""
        row, run = Row("disk full"), self.folder / "disk-full"
        code, said = self.nursery.run(run, self.settings(run), file_limit_kb=file_limit_kb)
        self.refused(row, code, said, "full", "disk I/O error", "File too large")
        self.resumed(row, run)
        return row

    def truncated(self, size: Callable[[int], int] = lambda whole: whole // 2) -> Row:
        """A database file that lost its end: it is refused and left alone, and a copy restored."""
        row, run = Row("database file cut short"), self.folder / "truncated"
        self._interrupted(run)
        file, copy = run / RESULTS, self.folder / "copy.sqlite"
        shutil.copy(file, copy)
        with file.open("r+b") as opened:
            opened.truncate(size(file.stat().st_size))
        before = contents(run)
        self.refused(row, *self.nursery.run(run, self.settings(run)), "damaged")
        if contents(run) != before:
            row.broken.append("a refused run was changed")
        shutil.copy(copy, file)
        self.resumed(row, run)
        return row

    def torn_log(self) -> Row:
        """A write-ahead log that lost its end, as a power failure leaves it: the search goes on with what is whole."""
        row, run = Row("write-ahead log cut short"), self.folder / "torn"
        self.nursery.run(run, self.settings(run), trap=Trap("committing", 15))
        log = run / f"{RESULTS}-wal"
        with log.open("r+b") as opened:
            opened.truncate(log.stat().st_size // 2 + 100)
        row.injected += 1
        self.resumed(row, run)
        return row

    def emptied(self) -> Row:
        """A database file of size 0 is a new one: everything is trained again, to the same history."""
        row, run = Row("database file emptied"), self.folder / "emptied"
        self._interrupted(run)
        (run / RESULTS).write_bytes(b"")
        row.injected += 1
        self.resumed(row, run)
        return row

    def _interrupted(self, run: Path) -> None:
        """Leave a run that was killed, with its write-ahead log put back into the database."""
        self.nursery.run(run, self.settings(run), trap=Trap("committing", 15))
        checkpoint = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('pragma wal_checkpoint')"
        closed = subprocess.run(
            [sys.executable, "-c", checkpoint, str(run / RESULTS)],
            check=True,
        )
        assert closed.returncode == 0
        for suffix in ("-wal", "-shm"):
            (run / f"{RESULTS}{suffix}").unlink(missing_ok=True)

    def locked(self, seconds: float = 1.5) -> Row:
        """Another process locks the database for a while; with patience the search waits."""
        row, run = Row("database locked for a while"), self.folder / "locked"
        self.nursery.run(run, self.settings(run), trap=Trap("committing", 5))
        with locked(run / RESULTS):
            life = self.nursery.begin(run, self.settings(run))
            time.sleep(seconds)
            rows = len(committed(run))
        row.injected += 1
        if code := self.nursery.wait(life):
            row.broken.append(f"a search that should wait ended with exit code {code}")
        if rows != len(committed(run)) and rows > 5:
            row.broken.append("the lock kept nobody from writing")
        row.finished(run, self.reference())
        return row

    def locked_for_good(self) -> Row:
        """Another process locks the database for longer than the search's patience; then it lets go."""
        row, run = Row("database locked for good"), self.folder / "locked-for-good"
        self.nursery.run(run, self.settings(run), trap=Trap("committing", 5))
        with locked(run / RESULTS):
            self.refused(row, *self.nursery.run(run, self.settings(run), patience=0.3), "locked")
        self.resumed(row, run)
        return row

    def shared(self, searches: int = 2) -> Row:
        """Searches of different seeds that share a store at once, and ask much the same."""
        row, store = Row("one store, several searches"), self.folder / "shared.sqlite"
        names = [f"sharing-{number}" for number in range(searches)]
        runs = [self.folder / name for name in names]
        alone = [self.folder / f"{name}-alone" for name in names]
        options = {"max_layers": 1, "pause": 0.03}
        for seed, run in enumerate(alone):
            self.nursery.run(run, self.settings(run, seed=seed, **options))
        lives = [
            self.nursery.begin(run, self.settings(run, seed=seed, store=store, **options))
            for seed, run in enumerate(runs)
        ]
        for life, run, lone in zip(lives, runs, alone, strict=True):
            if code := self.nursery.wait(life):
                row.broken.append(f"{run.name} ended with exit code {code}: {life.log.read_text()[-300:]}")
                continue
            row.finished(run, lone)
        asked = [{key for word, key, _ in ledger_of(run).lines() if word == "done"} for run in alone]
        row.injected = len(set.intersection(*asked))  # questions of all searches: one may be asked twice at once
        row.statuses = Counter(evaluation.status for evaluation in stored(runs[0]).values())
        return row


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Have another process hold a database's lock for writing inside."""
    command = [sys.executable, "-c", _LOCKER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        yield
        process.stdin.close()
