"""Pictures of a search: the best so far, accuracy against cost, and what trainings took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.history import Episode
from nas_gym.report.canvas import AWAY, INK, MOST_VECTORS, OTHERS, SOFT, TOWARDS, bare, is_narrow, new_figure
from nas_gym.run import Ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Progress:
    """What a search saw, evaluation by evaluation.

    Attributes:
        values: Of every evaluation, float64, NaN for a failure, shape (n,).
        best_so_far: The largest until then, float64; NaN before the first, shape (n,).
        measure: What the values are.
        winner: Evaluation (from 1), mean accuracy and standard error of the best network; None where it has one
            training, or no accuracy.
    """

    values: NDArray[np.float64]
    best_so_far: list[float]
    measure: str
    winner: tuple[int, float, float | None] | None

    @classmethod
    def of(cls, history: Sequence[Episode], best: Ranked) -> "Progress":
        """Return the progress of a history."""
        evaluated = [episode for episode in history if episode.key is not None]
        told = any(episode.accuracy is not None for episode in evaluated)
        seen = [
            episode.accuracy if told else episode.reward if episode.status == "ok" else None for episode in evaluated
        ]
        values = np.array([np.nan if value is None else value for value in seen], dtype=np.float64)
        so_far = np.fmax.accumulate(values) if len(values) else values
        place = next((i for i, episode in enumerate(evaluated, start=1) if episode.number == best.episode), 0)
        winner = None
        if told and best.n > 1 and best.accuracy is not None and place:
            winner = place, best.accuracy, best.standard_error
        known: list[float] = so_far[~np.isnan(so_far)].tolist()
        return cls(values, known, "validation accuracy" if told else "reward", winner)


def progress_figure(progress: Progress, width: float) -> "Figure":
    """Return the best so far over evaluations: every evaluation a pale dot, failures left out."""
    figure = new_figure(width, 3.0 if is_narrow(width) else 3.6)
    axes = figure.add_subplot()
    values, n = progress.values, len(progress.values)
    so_far = progress.best_so_far
    many = n > MOST_VECTORS
    axes.plot(
        np.arange(1, n + 1),
        values,
        "o",
        color=OTHERS,
        markersize=2.5 if many else 3.5,
        alpha=0.35 if many else 0.8,
        markeredgewidth=0,
        label="one evaluation",
        rasterized=many,
    )
    x = np.arange(n - len(so_far) + 1, n + 1)
    axes.plot(x, so_far, drawstyle="steps-post", color=TOWARDS, linewidth=2, label="best so far")
    if progress.winner is not None:
        place, mean, error = progress.winner
        axes.errorbar(
            [place], [mean], [error or 0.0], fmt="D", color=AWAY, markersize=6, capsize=3, label="winner's mean"
        )
    highest = progress.winner[1] + (progress.winner[2] or 0.0) if progress.winner else so_far[-1]
    _crop(axes, values, [so_far[0], so_far[-1], highest])
    axes.set(xlabel="evaluations", ylabel=progress.measure)
    axes.grid(axis="y")
    bare(axes, "bottom")
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.2, borderpad=0)
    return figure


@dataclass(frozen=True)
class Front:
    """Networks, and those of them that no other beats in both accuracy and multiply-accumulates, the cheapest first."""

    networks: Sequence[Ranked]
    best: Sequence[Ranked]


def front_figure(front: Front, width: float) -> "Figure":
    """Return accuracy against multiply-accumulates: all networks pale, the front joined, bars for standard errors."""
    figure = new_figure(width, 3.1 if is_narrow(width) else 3.7)
    axes = figure.add_subplot()
    many = len(front.networks) > MOST_VECTORS
    x, y, _ = _points(front.networks)
    style: dict[str, Any] = {"markersize": 2.5 if many else 3.5, "alpha": 0.35 if many else 0.8, "markeredgewidth": 0}
    axes.plot(x, y, "o", color=OTHERS, label="other networks", rasterized=many, **style)
    x, best, error = _points(front.best)
    axes.plot(x, best, drawstyle="steps-post", color=TOWARDS, linewidth=1.2)
    axes.errorbar(x, best, error, fmt="o", color=TOWARDS, ecolor=INK, elinewidth=1, capsize=3, label="the line")
    _logarithmic(axes, _points(front.networks)[0], "{:,.0f}")
    _crop(axes, y, [best[-1], float(np.max(best + np.nan_to_num(error)))])
    axes.set(xlabel="multiply-accumulates of one sample", ylabel="validation accuracy")
    axes.grid(axis="y")
    bare(axes, "bottom")
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.4, columnspacing=1.2, borderpad=0)
    return figure


def _points(networks: Sequence[Ranked]) -> NDArray[np.float64]:
    """Return multiply-accumulates, accuracies and standard errors (NaN where not known): float64, shape (3, n)."""
    rows = [(one.evaluation.macs, one.accuracy, one.standard_error) for one in networks]
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64).T


def _logarithmic(axes: "Axes", values: NDArray[np.float64], form: str) -> None:
    """Make the horizontal axis logarithmic, with as many numbers as it has room for; not where a value is 0."""
    from matplotlib.ticker import LogLocator, NullLocator

    if values.min() <= 0:
        return
    decades = float(np.log10(values.max() / values.min()))
    axes.set_xscale("log")
    subs = (1, 2, 5) if decades < 1.8 else (1, 3) if decades < 3 else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: form.format(value))


def _crop(axes: "Axes", values: NDArray[np.float64], shown: Sequence[float]) -> None:
    """Leave what is far below the best half of the values out of the picture, and say how many that are.

    Args:
        axes: Their vertical axis is cropped.
        values: NaN is skipped.
        shown: What must be seen besides the best half.
    """
    low, high = min(float(np.nanmedian(values)), *shown), max(float(np.nanmax(values)), *shown)
    low -= 0.8 * (high - low) or 0.01
    low = max(low, float(np.nanmin(values)))
    room = 0.06 * (high - low) or 0.01
    axes.set_ylim(low - room, high + room)
    hidden = int((values < low - room).sum())
    if hidden:
        where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{hidden:,} further below", (1, 0), (-3, 4), color=SOFT, fontsize=8.5, **where)


def seconds_figure(seconds: Sequence[float], width: float) -> "Figure":
    """Return how the seconds of the trainings are distributed, over bins of equal factors."""
    figure = new_figure(width, 2.2)
    axes = figure.add_subplot()
    low, high = max(min(seconds), 1e-3), max(max(seconds), 2e-3)
    bins = np.geomspace(low * 0.999, high * 1.001, min(30, max(6, int(np.sqrt(len(seconds))) + 4)))
    axes.hist(np.clip(seconds, low, None), bins=list(bins), color=TOWARDS, edgecolor="none", rwidth=0.92)
    axes.axvline(float(np.median(seconds)), color=INK, linewidth=1.4, linestyle="--")
    _logarithmic(axes, np.array([low, high]), "{:g}")
    axes.set(xlabel="seconds of one training (logarithmic)", ylabel="trainings")
    axes.grid(axis="y")
    bare(axes, "bottom")
    return figure
