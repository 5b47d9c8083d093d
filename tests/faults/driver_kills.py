"""Searches whose driver is killed, at random instants and at chosen places, until they are done."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import Row
from comparing import committed
from faulty_env import ID
from injection import Ledger
from lives import MARK, Life, Nursery, Settings, environment, marked
from phases import Trap

_PPO = {"agent": "maskable-ppo", "agent_args": {"n_steps": 32, "batch_size": 16, "n_epochs": 2}}
_SMALL = {"max_layers": 3, "pause": 0.003}
SEARCHES: dict[str, Settings] = {
    "random": {"agent": "random", "evaluations": 25, "env_args": _SMALL},
    "genetic": {"agent": "genetic", "evaluations": 30, "env_args": _SMALL},
    "maskable-ppo": {**_PPO, "evaluations": 24, "env_args": _SMALL},
    "trainings": {"agent": "random", "evaluations": 8, "env_args": {"max_layers": 2, "training": True}},
}
_TRAPS = ("training", "committing", "recording", "swapping in", "finishing")
TRAPS = {
    "random": _TRAPS,
    "genetic": _TRAPS,
    "maskable-ppo": (*_TRAPS, "learning", "saving the policy"),
    "trainings": ("writing weights", "training", "committing"),
}
WORKERS = {"workers": "2"}
MOST_KILLS = 6  # of one search


@dataclass(frozen=True)
class Campaign:
    """Kills of one kind of search.

    Attributes:
        nursery: Starts its processes.
        folder: Where its runs go.
        kind: One of `SEARCHES`.
        workers: Of `Workers`; None: none.
    """

    nursery: Nursery
    folder: Path
    kind: str
    workers: Settings | None = None

    @property
    def _name(self) -> str:
        return f"{self.kind}{'-workers' if self.workers else ''}"

    def settings(self, run: Path) -> Settings:
        """Return the settings of a run: only the ledger is its own."""
        common = SEARCHES[self.kind]
        return {
            **common,
            "confirm": 0,
            "env": ID,
            "seed": 3,
            "env_args": {**common["env_args"], "ledger": str(ledger_of(run).path)},
        }

    def reference(self) -> tuple[Path, float]:
        """Run the search undisturbed and without workers, and return its directory and its seconds."""
        run = self.folder / f"{self._name}-reference"
        started = time.monotonic()
        code, said = self.nursery.run(run, self.settings(run))
        if code:
            raise RuntimeError(f"the undisturbed search ended with exit code {code}: {said}")
        return run, time.monotonic() - started

    def kill(self, row: Row, kills: int, chance: random.Random) -> None:
        """Run searches, and kill them, until there were so many kills."""
        reference, seconds = self.reference()
        number, target = 0, row.injected + kills
        while row.injected < target:
            run = self.folder / f"{self._name}-{number:03d}"
            self._kill_one(row, run, min(MOST_KILLS, target - row.injected), seconds, chance)
            row.finished(run, reference)
            number += 1

    def _kill_one(self, row: Row, run: Path, kills: int, seconds: float, chance: random.Random) -> None:
        """Bring one search to its end, killing it at most so often."""
        while True:
            before, lines = committed(run), len(ledger_of(run).lines())
            trap = _trap(self.kind, chance) if kills and not self.workers and chance.random() < 0.4 else None
            life = self.nursery.begin(run, self.settings(run), workers=self.workers, trap=trap)
            if kills and self.workers and chance.random() < 0.8:  # not before they have started
                wait_for_trainings(run, chance, lambda life=life: marked(life.mark))  # type: ignore[misc]
                life.kill()
            elif kills and trap is None:
                time.sleep(chance.uniform(0, seconds))
                life.kill()
            code = self.nursery.wait(life)
            check_life(row, life, code, before, lines)
            if code == 0:
                return
            if code != -9:
                row.broken.append(f"{run.name} ended with exit code {code}: {life.log.read_text()[-300:]}")
                return
            kills -= 1
            row.injected += 1
            row.notes[life.phase] += 1


def ledger_of(run: Path) -> Ledger:
    """Return the ledger of a run."""
    return Ledger(run.with_suffix(".ledger"))


def check_life(row: Row, life: Life, code: int, before: dict[Any, Any], lines: int) -> None:
    """Check that a life trained nothing that was committed, lost nothing of it, and left no process behind."""
    begun = {key for word, key, _ in ledger_of(life.run).lines()[lines:] if word == "begin"}
    row.doubled += len(begun & {question[1] for question in before})
    after = committed(life.run)
    row.lost += sum(after.get(question) != answer for question, answer in before.items())
    if code < 0 and (left := life.survivors({process for _, _, process in ledger_of(life.run).lines()})):
        row.broken.append(f"{len(left)} processes outlived {life.run.name}, killed while {life.phase}")


def _trap(kind: str, chance: random.Random) -> Trap:
    phase = chance.choice(TRAPS[kind])
    entrance = chance.choice((1, 2, 3, 5, 7)) if phase in ("training", "committing", "recording") else 1
    return Trap(phase, entrance, chance.choice((0.0, 0.0, chance.uniform(0, 0.004))), chance.random() < 0.5)


# The command line


def command_line_kills(row: Row, folder: Path, kills: int, chance: random.Random, *, workers: bool = False) -> None:
    """Kill the command line's search and resume, imports included, until there were so many kills."""
    name = "command-workers" if workers else "command"
    reference = folder / f"{name}-reference"
    command(reference, workers=False).wait()
    number, target = 0, row.injected + kills
    while row.injected < target:
        run = folder / f"{name}-{number:03d}"
        number += 1
        for left in range(min(MOST_KILLS, target - row.injected), -1, -1):
            before, lines = committed(run), len(ledger_of(run).lines())
            process = command(run, workers=workers)
            life = Life(process.pid, run.name, run)
            if left:
                if chance.random() < 0.25:
                    time.sleep(chance.uniform(0, 6))
                else:
                    wait_for_trainings(run, chance, lambda process=process: process.poll() is None)  # type: ignore[misc]
                process.kill()
            code = process.wait()
            check_life(row, life, code, before, lines)
            if code != -9:
                break
            row.injected += 1
            row.notes["command line"] += 1
        if code != 0:
            row.broken.append(f"{run.name} ended with exit code {code}")
        row.finished(run, reference)


def command(run: Path, *, workers: bool, more: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
    """Start or resume a search as a user would."""
    options = ["resume", str(run)]
    if not (run / "run.json").exists():
        common = SEARCHES["random"]
        options = ["search", "--env", ID, "--agent", common["agent"], "--evaluations", str(common["evaluations"])]
        options += ["--seed", "3", "--run-dir", str(run), "--env-arg", f"ledger={ledger_of(run).path}"]
        options += [part for name, value in common["env_args"].items() for part in ("--env-arg", f"{name}={value}")]
        options += ["--workers", "2"] if workers else []
    return subprocess.Popen(
        [sys.executable, "-m", "nas_gym", *options, *more],
        env=environment(**{MARK: run.name}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_trainings(run: Path, chance: random.Random, alive: Callable[[], Any]) -> None:
    """Wait until a search has begun or done a few more trainings."""
    ledger = ledger_of(run)
    wanted = len(ledger.lines()) + chance.randrange(1, 16)
    deadline = time.monotonic() + 120
    while len(ledger.lines()) < wanted and time.monotonic() < deadline and alive():
        time.sleep(0.05)
    time.sleep(chance.uniform(0, 0.05))
