"""The picture of a Pareto front: what more accuracy costs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas_gym.run import Ranked

_LABELS = {
    "parameters": "parameters",
    "macs": "multiply-accumulates of one sample",
    "latency_ms": "latency of one sample in ms",
    "peak_memory_mb": "peak memory of the training in MB",
}
_FRONT, _OTHERS, _INK, _GRID = "#0072b2", "#9aa5b1", "#1f2933", "#e4e7eb"  # apart for every kind of colour vision


def pareto_figure(networks: "Sequence[Ranked]", front: "Sequence[Ranked]", cost: str) -> "Figure":
    """Return a figure of accuracy over a cost: all networks pale, the front joined, with standard errors as bars.

    Args:
        networks: All that were evaluated.
        front: Those of the front, the cheapest first (`Run.pareto`).
        cost: One of `nas_gym.costs.COSTS`; the axis is logarithmic.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = {ranked.candidate.key for ranked in front}
    others = _points([ranked for ranked in networks if ranked.candidate.key not in best], cost)
    points = _points(front, cost)
    axes.plot(*others[:2], "o", color=_OTHERS, markersize=4, label="other networks", zorder=2)
    axes.plot(points[0], points[1], drawstyle="steps-post", color=_FRONT, linewidth=1.2, zorder=3)
    x, y, error = points
    axes.errorbar(x, y, error, fmt="none", ecolor=_INK, elinewidth=1, capsize=3, zorder=4)
    axes.plot(x, y, "o", color=_FRONT, markersize=7, label="Pareto front; bars are standard errors", zorder=5)
    if (np.concatenate([points[0], others[0]]) > 0).all():
        axes.set_xscale("log")
    axes.set(xlabel=_LABELS.get(cost, cost), ylabel="validation accuracy")
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _points(networks: "Sequence[Ranked]", cost: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return cost, accuracy and standard error (NaN where it is not known) of networks that tell both: shape (3, n)."""
    known = [
        (getattr(ranked.evaluation, cost), ranked.accuracy, np.nan if (e := ranked.standard_error) is None else e)
        for ranked in networks
        if ranked.accuracy is not None and getattr(ranked.evaluation, cost) is not None
    ]
    return np.array(known, dtype=np.float64).reshape(-1, 3).T
