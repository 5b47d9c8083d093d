"""A retraining in words: how it goes on, what was chosen, what came out."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nas_gym import standard_error

if TYPE_CHECKING:
    from nas_gym.winner.training import Row, Step

_NAMING, _TRAINING = "naming the winner", "training"


class Teller:
    """Tells how a retraining goes on: sentences at its turns, a line for every epoch or a bar.

    Args:
        console: Where to.
        bar: Shown where the console is a terminal; else every epoch gets a line.

    Attributes:
        told: Whether a plan was told.
    """

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console = console
        self._bar = bar
        self._task = None if bar is None else bar.add_task(_NAMING, total=None, left="")
        self._first: tuple[int, int, float] | None = None  # seed, steps and time of this process's first step
        self._left = ""
        self.told = False

    def named(self, done: int, total: int) -> None:
        """Show trainings of contenders."""
        self._show(_NAMING, done, total, "")

    def planned(self, plan: dict[str, Any], kept: bool) -> None:
        """Say what was chosen."""
        self.told = True
        if kept:
            self._say("Going on as it was planned.")
        for sentence in plan_in_words(plan):
            self._say(sentence)

    def stepped(self, seed: int, seeds: int, step: "Step") -> None:
        """Show a step of a long training."""
        now = time.monotonic()
        if self._first is None or self._first[0] != seed:
            self._first = (seed, step.done, now)
        steps = step.done - self._first[1]
        if steps:
            left = _duration((step.total - step.done) * (now - self._first[2]) / steps)
            self._left = f"{left} left" + (" for this seed" if seeds > 1 else "")
        self._show(_of_seed(seed, seeds), step.done, step.total, self._left)

    def epoch(self, seed: int, seeds: int, rows: "Sequence[Row]", total: int) -> None:
        """Show the last of the finished epochs of a long training."""
        if self._bar is None and rows:
            left = f", {self._left}" if self._left and len(rows) < total else ""
            self._say(f"{_of_seed(seed, seeds)}: {epoch_in_words(rows[-1], total)}{left}")

    def _show(self, what: str, done: int, total: int, left: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=what, completed=done, total=total, left=left)

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


def plan_in_words(plan: Mapping[str, Any]) -> list[str]:
    """Return sentences that say who the winner is and how it is trained."""
    return [_winner_in_words(plan), _schedule_in_words(plan), _data_in_words(plan["data"])]


def epoch_in_words(row: "Row", total: int) -> str:
    """Return what is told of an epoch, of so many."""
    return (
        f"epoch {row['epoch']:.0f} of {total}, training loss {row['training_loss']:.4f}, "
        f"accuracy on some training images {row['accuracy']:.4f}, {row['seconds']:.0f} s"
    )


def print_winner(content: Mapping[str, Any], console: Console, place: str, *, plan: bool = True) -> None:
    """Print what a retraining came to, for people; with its plan, or only what came out."""
    for sentence in plan_in_words(content) if plan else ():
        console.print(sentence, markup=False, soft_wrap=True)
    console.print(_class_table(content))
    for sentence in result_in_words(content):
        console.print(sentence, markup=False, soft_wrap=True)
    console.print(f"weights, reports, pictures and curves: {place}", markup=False, soft_wrap=True)


def _of_seed(seed: int, seeds: int) -> str:
    return f"{_TRAINING}, seed {seed + 1} of {seeds}" if seeds > 1 else _TRAINING


def _winner_in_words(plan: Mapping[str, Any]) -> str:
    naming = plan["naming"]
    first, others = naming["contenders"][0], len(naming["contenders"]) - 1
    n = len(first["accuracies"])
    accuracy = standard_error.shown(first["validation_accuracy"], first["validation_standard_error"])
    text = f"The winner among {others + 1}: validation accuracy {accuracy}"
    text += f" (mean of {n} trainings)" if n > 1 else " (one training)"
    lead = naming["lead"]
    if lead is not None:
        error = lead["standard_error"]
        spread = "" if error is None else f" ± {error:.4f}"
        clear = error is not None and lead["accuracy"] > 2 * error
        text += f", ahead of the next by {lead['accuracy']:.4f}{spread}" + ("" if clear else ", which may be chance")
    return f"{text}. {' → '.join(str(choice) for choice in plan['choices'].values())}."


def _schedule_in_words(plan: Mapping[str, Any]) -> str:
    schedule, scaling = plan["schedule"], plan["scaling"]
    trained, searched = scaling["trained"], scaling["searched"]
    text = f"It is trained for {schedule['epochs']} epoch{'' if schedule['epochs'] == 1 else 's'}"
    if scaling["width"] != 1 or scaling["depth"] != 1:
        depth = "" if scaling["depth"] == 1 else f" with {scaling['depth']} residual blocks for each one"
        text += (
            f", {scaling['width']:g} times as wide{depth}: {trained['parameters']:,} parameters and "
            f"{trained['macs']:,} MACs instead of {searched['parameters']:,} and {searched['macs']:,}"
        )
    else:
        text += f" as it was searched: {trained['parameters']:,} parameters, {trained['macs']:,} MACs"
    each = schedule["seconds_per_epoch"]
    if each is not None:
        text += f"; an epoch takes about {_duration(each)} here, {_duration(each * schedule['epochs'])} in all"
    return f"{text}."


def _data_in_words(data: Mapping[str, Any]) -> str:
    text = f"{data['training_images']:,} training images (validation included), {data['test_images']:,} test images"
    left_out = data["left_out_as_test_images"]
    return f"{text}; {left_out:,} were left out as they are test images, too." if left_out else f"{text}."


def result_in_words(content: Mapping[str, Any]) -> list[str]:
    """Return sentences that say how good a retrained winner is."""
    metrics, touches = content["metrics"], content["test_touches"]
    accuracy = standard_error.shown(metrics["test_accuracy"], metrics["test_standard_error"])
    flipped = content["recipe"]["flip_at_test"]
    alone = f" ({metrics['plain_accuracy']:.4f} without mirrored images)" if flipped else ""
    sentences = [
        f"Test accuracy {accuracy}{alone}, macro F1 {metrics['macro_f1']:.4f}, expected calibration error "
        f"{metrics['calibration_error']:.4f}, in {content['minutes']:.1f} minutes."
    ]
    over = content["over_seeds"]["test_accuracy"]
    if over["n"] > 1:
        f1 = content["over_seeds"]["macro_f1"]
        sentences.append(
            f"Over {over['n']} seeds: test accuracy {over['mean']:.4f}, standard deviation {over['sd']:.4f}; "
            f"macro F1 {f1['mean']:.4f}, {f1['sd']:.4f}."
        )
    sentences += _not_converged(content)
    times = touches["by_retrainings"]
    if times > 1:
        sentences.append(
            f"This is retraining number {times} of this run that is measured on test images: the best of several is "
            "no longer an unbiased number."
        )
    return sentences


def _not_converged(content: Mapping[str, Any]) -> list[str]:
    """Return a sentence if a training ended no better than guessing, whose loss is ln(classes) with smoothing, too."""
    losses = [seed["training_loss"] for seed in content["per_seed"] if seed.get("training_loss") is not None]
    guessing = math.log(len(content["class_names"]))
    if not losses or max(losses) < guessing:
        return []
    return [
        f"The training loss ended at {max(losses):.2f} nats, no better than the {guessing:.2f} of guessing: it "
        "did not converge. Try a smaller learning rate: --recipe-arg learning_rate="
        f"{content['recipe']['learning_rate'] / 3:.2g}."
    ]


def _class_table(content: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="Test images by class", title_justify="left")
    for name in ("class", "precision", "recall", "F1", "images"):
        table.add_column(name, justify="left" if name == "class" else "right", no_wrap=True)
    report = content["classification_report"]
    for name in (*content["class_names"], "macro avg", "weighted avg"):
        row = report[name]
        numbers = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1-score")]
        table.add_row(name, *numbers, f"{row['support']:.0f}")
    return table


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.2f} s"
