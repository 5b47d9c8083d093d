"""Objectives that are known, in place of trainings; run as a program it is killed in the middle of a search."""

import math
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from nas_gym.winner.tuning.optuna_package import journal
from nas_gym.winner.tuning.space import Choice, Range, Space, Value
from nas_gym.winner.tuning.trials import Report
from nas_gym.winner.tuning.two_stages import Found, search

EPOCHS, BUDGET = 4, 160
SPACE = Space(
    {
        "learning_rate": Range(1e-3, 1.0, log=True),
        "weight_decay": Range(1e-6, 1e-2, log=True),
        "label_smoothing": Range(0.0, 0.3),
        "crop": Range(0, 4, whole=True),
        "optimizer": Choice(("sgd", "adam")),
        "flip": Choice((False, True)),
    }
)
FIRST = {
    "learning_rate": 0.001,
    "weight_decay": 5e-4,
    "label_smoothing": 0.0,
    "crop": 0,
    "optimizer": "sgd",
    "flip": False,
}


class Planted:
    """One hyper-parameter matters: the learning rate, best at 0.1; it grows to its accuracy over the epochs.

    Args:
        killed_at: Call and epoch at which this process is killed.
        stopped_at: Call and epoch at which KeyboardInterrupt is raised.

    Attributes:
        seen: The values and the seed of every call.
        epochs: How many epochs there were.
    """

    def __init__(self, killed_at: tuple[int, int] | None = None, stopped_at: tuple[int, int] | None = None) -> None:
        self.killed_at, self.stopped_at = killed_at, stopped_at
        self.seen: list[tuple[dict[str, Value], int]] = []
        self.epochs = 0

    def __call__(self, values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        self.seen.append((dict(values), seed))
        for epoch in range(1, EPOCHS + 1):
            here = (len(self.seen), epoch)
            if here == self.killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if here == self.stopped_at:
                raise KeyboardInterrupt
            self.epochs += 1
            if not report(epoch, accuracy(values) * epoch / EPOCHS):
                break
        return None


def accuracy(values: Mapping[str, Value]) -> float:
    """Return what a planted training reaches: 1 at a learning rate of 0.1, less by its distance in powers of ten."""
    return 1 - 0.25 * abs(math.log10(float(values["learning_rate"])) + 1)


def planted_search(train: Planted, file: Path | None = None, seed: int = 0) -> Found:
    """Return what a search of the planted objective finds."""
    storage = None if file is None else journal(file)
    return search(SPACE, FIRST, [train], budget=BUDGET, epochs=EPOCHS, seed=seed, shuffles=40, storage=storage)


if __name__ == "__main__":
    planted_search(Planted(killed_at=(int(sys.argv[2]), int(sys.argv[3]))), Path(sys.argv[1]))
