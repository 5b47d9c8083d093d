"""Live progress bars, of a search and of reading files; silent where standard error is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

PARTS = 10_000


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Any], None] | None]:
    """Show a bar while the block runs; yields a function that takes the search's tally, or None."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        BarColumn(bar_width=24),
        TextColumn("best {task.fields[best]} · {task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        bar = progress.add_task("search", total=PARTS, best="–", counts="starting", left="")

        def watch(tally: Any) -> None:
            failed = sum(tally.failures.values())
            counts = f"{tally.evaluations} evaluations, {tally.unique} distinct, {tally.from_store} from the store"
            progress.update(
                bar,
                completed=int(PARTS * tally.share),
                best="–" if tally.best is None else f"{tally.best:.4f}",
                counts=f"{counts}, {failed} failed" if failed else counts,
                left=time_left(tally.seconds, tally.share),
            )

        yield watch


@contextmanager
def of_files(console: Console) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while files are read; yields a function that takes how many are read and how many there are."""
    if not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@contextmanager
def bar_on(console: Console) -> Iterator[Progress | None]:
    """Show a bar with a description and the time left while the block runs; yields None where there is no terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=console) as bar:
        yield bar


class Teller:
    """Tells how something goes on, in sentences and, where there is a terminal, with a bar.

    Args:
        console: Where to.
        bar: Shown on a terminal (`bar_on`); None: there is none.
        what: What the bar says first.
    """

    def __init__(self, console: Console, bar: Progress | None, what: str) -> None:
        self._console, self._bar = console, bar
        self._task = None if bar is None else bar.add_task(what, total=None, left="")

    def _show(self, what: str, done: float, total: float, left: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=what, completed=done, total=total, left=left)

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, soft_wrap=True)


def time_left(seconds: float, share: float) -> str:
    """Return an estimate of the time left, from the share of the budget spent so far."""
    if share <= 0.01 or share >= 1:
        return ""
    left = seconds * (1 - share) / share
    return f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
