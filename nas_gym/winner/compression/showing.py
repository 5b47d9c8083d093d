"""What a compression came to, as files and in words."""

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nas_gym.explain.record import write_atomically
from nas_gym.progress import time_left
from nas_gym.winner.compression.plan import Plan
from nas_gym.winner.compression.table import as_csv, markdown, sentences, terminal
from nas_gym.winner.export import write_file

TABLE, NUMBERS, FIGURE = "compressed.md", "compressed.csv", "pareto.png"
_DPI = 150


def write_shown(content: Mapping[str, Any], place: Path) -> None:
    """Write table and figure of a compression: ``compressed.md``, ``compressed.csv``, ``pareto.png``."""
    from nas_gym.winner.compression.figure import figure

    write_atomically(place / TABLE, markdown(content))
    write_atomically(place / NUMBERS, as_csv(content))
    picture = io.BytesIO()
    figure(content).savefig(picture, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    write_file(place / FIGURE, picture.getvalue())


def print_compressed(content: Mapping[str, Any], console: Console, place: Path) -> None:
    """Print what a compression came to, for people."""
    console.print(terminal(content))
    for sentence in sentences(content):
        console.print(sentence, markup=False, soft_wrap=True)
    console.print(f"models, table and figure: {place}", markup=False, soft_wrap=True)
    best = place / f"{content['chosen']['smallest']}.onnx"
    console.print(f"try it: nas-gym predict {best} IMAGES", markup=False, soft_wrap=True)


class Teller:
    """Tells how a compression goes on: a bar on a terminal, else a line for every network.

    Args:
        console: Where to.
        bar: Shown where the console is a terminal.
    """

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console, self._bar = console, bar
        self._task = None if bar is None else bar.add_task("preparing", total=None, left="")
        self._costs: dict[str, float] = {}
        self._begun, self._share = time.monotonic(), 0.0
        self._finished = 0.0

    def probing(self, done: int, total: int) -> None:
        """Show groups of layers that were probed."""
        self._show("what each layer matters", done / total, "")

    def planned(self, plan: Plan, costs: Mapping[str, float]) -> None:
        """Say what is done."""
        self._costs, self._begun = dict(costs), time.monotonic()
        trained = [f"{step.name} ({step.epochs} epochs)" for step in plan.steps if step.epochs]
        if trained:
            self._say(f"Training {', '.join(trained)}.")
        for note in plan.notes:
            self._say(f"Note: {note}.")

    def training(self, name: str, done: int, total: int) -> None:
        """Show a step of a training."""
        whole = sum(self._costs.values())
        if whole:
            self._share = (self._finished + self._costs[name] * done / total) / whole
            self._show(f"training {name}", self._share, time_left(time.monotonic() - self._begun, self._share))

    def made(self, notes: Sequence[Mapping[str, Any]]) -> None:
        """Say what was made of one network."""
        self._finished += self._costs.get(notes[0]["name"], 0.0)
        told = [
            f"{note['name']} left out: {note['refused']}"
            if "refused" in note
            else f"{note['name']} differs from PyTorch by {note['difference']:.1e}"
            for note in notes
        ]
        left = time_left(time.monotonic() - self._begun, self._share)
        self._say("; ".join(told) + (f"; {left} of training" if left else ""))

    def measuring(self, done: int, total: int) -> None:
        """Show parts of the measurement."""
        self._show("measuring all variants", done / total, "")

    def _show(self, what: str, share: float, left: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=what, completed=share, total=1.0, left=left)

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, soft_wrap=True)


@contextmanager
def telling(console: Console) -> Iterator[Teller]:
    """Show a bar while the block runs, or lines where there is no terminal; yields who tells."""
    if not console.is_terminal:
        yield Teller(console, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=console) as bar:
        yield Teller(console, bar)
