"""Searches whose trainings fail or whose workers are lost, and searches under jumping clocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audit import Row
from driver_kills import ledger_of
from faulty_env import ID
from injection import IN_MODULE, STATUS, Ledger, fault_of
from lives import Nursery, Settings

import nas_gym
from nas_gym.history import Episode

_PPO = {"agent": "maskable-ppo", "agent_args": {"n_steps": 32, "batch_size": 16, "n_epochs": 2}}
_LIMITS = {"workers": "2", "time_limit_seconds": 4.0}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A search with faults.

    Attributes:
        title: In the table.
        faults: Of the candidates (`Faulty`).
        agent: Its settings; agents that learn only under faults that leave rewards alone.
        evaluations: Its budget.
        training: Whether networks are trained.
        workers: Of `Workers`; None: in the search's own process.
        clock: Whether clocks jump, the workers' and the driver's.
    """

    title: str
    faults: Sequence[str]
    agent: Settings = field(default_factory=lambda: {"agent": "random"})
    evaluations: int = 14
    training: bool = False
    workers: Settings | None = None
    clock: bool = False

    def settings(self, run: Path) -> Settings:
        """Return the settings of a search."""
        env_args = {"max_layers": 2, "ledger": str(ledger_of(run).path), "faults": list(self.faults)}
        env_args |= {"training": self.training, "clock": self.clock}
        return {**self.agent, "confirm": 0, "evaluations": self.evaluations, "seed": 5, "env": ID, "env_args": env_args}

    def run(self, nursery: Nursery, folder: Path) -> Row:
        """Search without faults, then with them, and return what came of it."""
        name = "-".join(self.title.split())
        reference, run = folder / f"{name}-reference", folder / name
        undisturbed = replace(self, faults=("fine",), clock=False)
        row = Row(self.title)
        code, said = nursery.run(reference, undisturbed.settings(reference))
        if not code:
            code, said = nursery.run(run, self.settings(run), workers=self.workers, clock=self.clock)
        if code:
            row.broken.append(f"{run.name} ended with exit code {code}: {said}")
            return row
        lossless = all(STATUS[fault] == "ok" for fault in self.faults)
        row.finished(run, reference if lossless else None)
        if not lossless and (wrong := self.unexpected(nas_gym.load(run).history, nas_gym.load(reference).history)):
            row.unequal += 1
            row.broken += wrong
        self._count(row, ledger_of(run))
        return row

    def unexpected(self, history: Sequence[Episode], reference: Sequence[Episode]) -> list[str]:
        """Return in what a history is not the undisturbed one with the failures that were injected."""
        wanted = [self._expected(episode) for episode in reference]
        wrong = [f"{e} in place of {w}" for e, w in zip(history, wanted, strict=False) if e != w]
        return wrong + ([f"{len(history)} episodes"] if len(history) != len(wanted) else [])

    def _expected(self, episode: Episode) -> Episode:
        status = STATUS[fault_of(str(episode.key), self.faults)]
        return episode if status == "ok" else replace(episode, status=status, reward=0.0, accuracy=None)

    def _count(self, row: Row, ledger: Ledger) -> None:
        begun, done = ledger.count("begin"), ledger.count("done")
        for key, times in begun.items():
            fault = fault_of(key, self.faults)
            struck = times if fault in IN_MODULE else times - done[key]
            row.injected += struck
            row.retried += times - 1
            if fault == "fine" and (times, done[key]) != (1, 1):
                row.broken.append(f"a healthy training was begun {times} times")
        missing = set(self.faults) - {fault_of(key, self.faults) for key in begun}
        if missing:
            row.broken.append(f"the faults {missing} struck nobody")


SCENARIOS = (
    Scenario(title="worker killed once", faults=("fine", "kill once"), agent=_PPO, workers=_LIMITS),
    Scenario(title="worker killed twice", faults=("fine", "kill twice"), workers=_LIMITS),
    Scenario(title="worker crashes once", faults=("fine", "segfault once", "exit once"), workers=_LIMITS),
    Scenario(title="worker killed every time", faults=("fine", "fine", "kill always"), workers=_LIMITS),
    Scenario(title="training ends its process", faults=("fine", "fine", "quit"), workers=_LIMITS),
    Scenario(title="worker hangs", faults=("fine", "fine", "hang"), workers=_LIMITS),
    Scenario(title="worker stopped", faults=("fine", "fine", "stop"), workers=_LIMITS),
    Scenario(
        title="loss not a number",
        faults=("fine", "fine", "nan"),
        training=True,
        evaluations=8,
        workers={"workers": "2"},
    ),
    Scenario(title="loss not a number, one process", faults=("fine", "fine", "nan"), training=True, evaluations=8),
    Scenario(
        title="exception in the module",
        faults=("fine", "fine", "raise"),
        training=True,
        evaluations=8,
        workers={"workers": "2"},
    ),
    Scenario(
        title="exception in the module, one process", faults=("fine", "fine", "raise"), training=True, evaluations=8
    ),
    Scenario(
        title="out of memory",
        faults=("fine", "fine", "memory"),
        training=True,
        evaluations=8,
        workers={"workers": "2", "memory_limit_mb": 1500.0},
    ),
    Scenario(title="clocks jump", faults=("fine", "kill once"), agent=_PPO, workers=_LIMITS, clock=True),
    Scenario(title="clocks jump and workers hang", faults=("fine", "fine", "hang"), workers=_LIMITS, clock=True),
)


def scenario(title: str, **changed: Any) -> Scenario:
    """Return one of `SCENARIOS`, with changes."""
    return replace(next(one for one in SCENARIOS if one.title == title), **changed)
