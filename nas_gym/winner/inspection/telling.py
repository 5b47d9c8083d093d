"""What `nas-gym inspect` prints: a bar or lines as it goes on, and what was found, short."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nas_gym import standard_error
from nas_gym.winner.inspection.folder import PAGE
from nas_gym.winner.inspection.layers import INSPECTION, layer_importances
from nas_gym.winner.inspection.words import findings

_MOST_LAYERS = 5


@contextmanager
def telling(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar while the block runs, or a line for each thing where there is no terminal; yields who tells."""
    if not console.is_terminal:
        told: list[str] = []

        def tell(what: str, done: int, total: int) -> None:
            if what not in told:
                told.append(what)
                console.print(f"measuring: {what}", markup=False)

        yield tell
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("reading the network", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def print_inspection(content: Mapping[str, Any], run: Path, console: Console) -> None:
    """Print what was found: accuracy, the layers that matter most, a sentence each, and where the pictures are."""
    accuracy = standard_error.shown(content["test_accuracy"], content["test_standard_error"])
    console.print(f"Accuracy {accuracy} on {content['test_images']:,} test images.", markup=False)
    table = Table(title=f"The {_MOST_LAYERS} layers that matter most, mean and deviation kept", title_justify="left")
    for name in ("layer", "points lost", "95 % interval", "replaced by"):
        table.add_column(name, justify="left" if name in ("layer", "replaced by") else "right")
    layers = sorted(enumerate(layer_importances(run), start=1), key=lambda pair: -pair[1].matched_lost_accuracy)
    for number, one in layers[:_MOST_LAYERS]:
        interval = f"{100 * one.matched_low:.1f} to {100 * one.matched_high:.1f}"
        table.add_row(f"{number}. {one.name}", f"{100 * one.matched_lost_accuracy:.1f}", interval, one.substitute)
    console.print(table)
    for sentence in findings(content):
        console.print(f"  {sentence}", markup=False, soft_wrap=True)
    folder = run / INSPECTION
    console.print(f"{len(content['sentences'])} pictures and {PAGE}: {folder}", markup=False, soft_wrap=True)
