"""A tuning on a terminal: a bar with the time left, or a line now and then where there is no terminal."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress

from nas_gym.progress import Teller, bar_on
from nas_gym.winner.tuning.importance import Importance
from nas_gym.winner.tuning.space import Space, shown
from nas_gym.winner.tuning.trials import Trial
from nas_gym.winner.tuning.words import importance_in_words, plan_in_words, result_in_words, spaces_in_words

_LINE_EVERY = 15.0  # seconds, without a terminal


class TuningTeller(Teller):
    """Tells how a tuning goes on; see `nas_gym.winner.tuning.tuning.Watch`.

    Args:
        console: Where to.
        bar: Shown where the console is a terminal.
        clock: In seconds.
    """

    def __init__(self, console: Console, bar: Progress | None, clock: Any = time.monotonic) -> None:
        super().__init__(console, bar, "tuning")
        self._clock = clock
        self._plan: dict[str, Any] = {}
        self._begun: tuple[float, int] | None = None  # when, and what was spent before
        self._before = 0  # epochs of the broad stage, once it is over
        self._told = -_LINE_EVERY
        self._broad: list[Trial] = []

    def planned(self, plan: dict[str, Any], kept: bool) -> None:
        """Say what is planned."""
        self._plan = plan
        self._say(("Going on. " if kept else "") + plan_in_words(plan))

    def tried(self, stage: str, trials: Sequence[Trial], spent: int) -> None:
        """Show how far a stage is."""
        if stage == "broad":
            self._broad, self._before = list(trials), spent
        else:
            spent += self._before
        complete = [trial.score for trial in [*(self._broad if stage != "broad" else ()), *trials] if not trial.pruned]
        best = f"best {max(complete):.4f}" if complete else "none complete yet"
        self._tell(f"{stage} stage", spent, f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'}, {best}")

    def narrowed(self, found: Sequence[Importance], space: Space) -> None:
        """Say what matters."""
        self._before = sum(len(trial.curve) for trial in self._broad) or self._before
        kept = ", ".join(f"{one.name} ({one.share:.0%})" for one in found if one.important)
        fixed = ", ".join(f"{name}={shown(value)}" for name, value in space.fixed.items())
        self._say(
            f"What matters: {kept}. Searched on: {', '.join(space.free) or 'nothing'}. Fixed: {fixed or 'nothing'}."
        )

    def confirmed(self, done: int, total: int) -> None:
        """Show how far the confirmation is."""
        spent = self._plan["budget_epochs"] + done * self._plan["epochs"]
        self._tell("confirming the best", spent, f"{done} of {total} trainings")

    def _tell(self, what: str, spent: int, told: str) -> None:
        now = self._clock()
        if self._begun is None:
            self._begun = (now, spent - 1)
        request = self._plan["request"]
        again = (request["top"] + 1) * request["repeats"] if request["top"] else 0
        total = self._plan["budget_epochs"] + again * self._plan["epochs"]
        since, before = self._begun
        left = (total - spent) * (now - since) / max(1, spent - before)
        told += f", about {_duration(left)} left" if now > since else ""
        if self._bar is not None:
            self._show(what, spent, total, told)
        elif now - self._told >= _LINE_EVERY:
            self._told = now
            self._say(f"{what}: {told}")


@contextmanager
def telling(console: Console) -> Iterator[TuningTeller]:
    """Show a bar while the block runs, or lines where there is no terminal; yields who tells."""
    with bar_on(console) as bar:
        yield TuningTeller(console, bar)


def print_tuning(content: Mapping[str, Any], console: Console, place: str, run: str) -> None:
    """Print what a tuning came to, for people."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title="Hyper-parameters, the most important first", title_justify="left", box=SIMPLE)
    for name in ("", "importance", "chance", "untuned", "tuned", "second stage"):
        table.add_column(
            name, justify="right" if name in ("importance", "chance") else "left", no_wrap=name != "second stage"
        )
    for name, share, chance, _, after in spaces_in_words(content):
        values = shown(content["untuned"][name]), shown(content["recipe"][name])
        table.add_row(name, share, chance, *values, after.removesuffix(", logarithmic"))
    console.print(table)
    for sentence in [*importance_in_words(content), *result_in_words(content)]:
        console.print(sentence, markup=False, soft_wrap=True)
    console.print(f"pictures and page: {place}", markup=False, soft_wrap=True)
    if content["improved"]:
        console.print(f"train with it: nas-gym retrain {run} --tuned", markup=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
