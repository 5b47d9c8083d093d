"""Evaluators with faults, chosen by the candidate's key, and the ledger in which they note what they do."""

import ctypes
import os
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, TrainingEvaluator

DAY = 86_400.0
GUARD_MB = 4_000  # what a fault takes at most where there is no limit, so that it harms no machine

# What becomes of a candidate with the fault, in worker processes with limits.
STATUS = {
    "fine": "ok",
    "kill once": "ok",
    "kill twice": "ok",
    "segfault once": "ok",
    "exit once": "ok",
    "kill always": "crashed",
    "hang": "timeout",
    "stop": "timeout",
    "nan": "diverged",
    "memory": "out_of_memory",
    "raise": "invalid",
    "quit": "crashed",
}
DEATHS = {"kill once": 1, "kill twice": 2, "segfault once": 1, "exit once": 1, "kill always": 3}
IN_MODULE = ("nan", "memory", "raise")  # only where there is a module


class Ledger:
    """A file to which processes append a line for every training that begins or is done, before it is answered."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def note(self, word: str, key: str) -> None:
        """Append one line; lines of several processes do not mix."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{word} {key} {os.getpid()}\n".encode())
        finally:
            os.close(file)

    def lines(self) -> list[tuple[str, str, int]]:
        """Return word, key and process of all lines."""
        if not self.path.exists():
            return []
        split = [line.split() for line in self.path.read_text().splitlines()]
        return [(word, key, int(process)) for word, key, process in split]

    def count(self, word: str) -> Counter[str]:
        """Return how often a word was noted for each key."""
        return Counter(key for noted, key, _ in self.lines() if noted == word)


def fault_of(key: str, faults: Sequence[str]) -> str:
    """Return the fault of a candidate."""
    return faults[zlib.crc32(key.encode()) % len(faults)]


def strike(fault: str, tries: int) -> None:
    """Let a fault happen to this process, if it is one that happens to processes.

    Args:
        fault: Of the candidate.
        tries: Trainings of it that have begun, this one included.
    """
    if fault in DEATHS and tries <= DEATHS[fault]:
        if fault.startswith("segfault"):
            ctypes.string_at(0)
        if fault.startswith("exit"):
            os._exit(7)
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "quit":
        sys.exit(3)
    if fault == "hang":
        while True:
            time.sleep(60)
    if fault == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)


class Faulty:
    """What the evaluators below share: a ledger, the faults, and a pause.

    Args:
        ledger: Path of the ledger.
        faults: One of them per candidate, by the hash of its key; names of `STATUS`.
        pause: Seconds that a training takes at least.
        clock: Whether the clock on the wall jumps a day back and forth in the process that trains.
    """

    def __init__(self, ledger: str, faults: Sequence[str], pause: float = 0.0, clock: bool = False) -> None:
        self.ledger, self.faults, self.pause, self.clock = Ledger(ledger), tuple(faults), pause, clock

    def submit(self, inner: Any, candidates: Sequence[Candidate], **how: Any) -> list[Future[Evaluation]]:
        """Return the answers of an evaluator's `submit`, unless a fault comes in between."""
        return [self._one(inner, candidate, **how) for candidate in candidates]

    def _one(self, inner: Any, candidate: Candidate, **how: Any) -> Future[Evaluation]:
        key, fault = candidate.key, fault_of(candidate.key, self.faults)
        self.ledger.note("begin", key)
        with jumping_clock() if self.clock else nullcontext():
            time.sleep(self.pause)
            if fault not in IN_MODULE:
                strike(fault, self.ledger.count("begin")[key])
            with infected(fault) if fault in IN_MODULE else nullcontext():
                (answer,) = inner([candidate], **how)
        self.ledger.note("done", key)
        return answer


class FaultyHash(HashEvaluator):
    """`HashEvaluator` with faults: cheap, so that many searches can be run."""

    def __init__(self, faulty: Faulty) -> None:
        super().__init__()
        self.faulty = faulty

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Answer, or not."""
        return self.faulty.submit(super().submit, candidates, fidelity=fidelity, repeat=repeat)


class FaultyTraining(TrainingEvaluator):
    """`TrainingEvaluator` with faults, some of them in the module's forward."""

    faulty: Faulty

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Train, or not."""
        return self.faulty.submit(super().submit, candidates, fidelity=fidelity, repeat=repeat)


@contextmanager
def infected(fault: str) -> Iterator[None]:
    """Let every module's forward fail in the way of a fault inside."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    def before(module: Any, arguments: Any) -> None:
        if fault == "raise":
            raise ValueError("injected: the module refuses its input")
        if fault == "nan":
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.fill_(float("nan"))
        if fault == "memory":
            taken = [torch.ones(8_000_000) for _ in range(GUARD_MB // 32)]  # touched, 32 MB each
            raise RuntimeError(f"there was no limit on memory below {len(taken) * 32} MB")

    hook = register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def jumping_clock() -> Iterator[None]:
    """Let `time.time` jump by a day at every call: ahead, back, ahead, …"""
    true, calls = time.time, iter(range(sys.maxsize))
    time.time = lambda: true() + (DAY if next(calls) % 2 else -DAY)
    try:
        yield
    finally:
        time.time = true
