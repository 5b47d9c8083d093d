"""Pictures of a retrained winner: curves, confusion, calibration, classes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _INK, _GRID = "#0072b2", "#d55e00", "#1f2933", "#e4e7eb"  # apart for every kind of colour vision
_NUMBERED = 20  # classes up to which every cell of a confusion matrix shows its number


def curves_figure(curves: Sequence[Sequence[Mapping[str, float]]]) -> "Figure":
    """Return training loss and accuracy on the watched training images over epochs, a line for every seed.

    Args:
        curves: Rows of `nas_gym.winner.training.train`, by seed.
    """
    figure = _figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    for number, rows in enumerate(curves):
        epochs = [row["epoch"] for row in rows]
        shade = 1 - 0.6 * number / max(1, len(curves))
        left.plot(epochs, [row["training_loss"] for row in rows], color=_BLUE, alpha=shade)
        right.plot(epochs, [row["accuracy"] for row in rows], color=_ORANGE, alpha=shade)
    left.set(xlabel="epoch", ylabel="nats", title="Training loss, augmented images")
    right.set(xlabel="epoch", ylabel="accuracy", title="Averaged weights, some training images")
    for axes in (left, right):
        _plain(axes)
    return figure


def confusion_figure(matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> "Figure":
    """Return a confusion matrix: rows are true classes, shades are shares of the row, numbers are images.

    Args:
        matrix: Counts, (classes, classes).
        class_names: One per class.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    n = len(class_names)
    side = min(14.0, 3.0 + 0.55 * n)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(n), class_names, rotation=90 if max(map(len, class_names)) > 2 else 0)
    axes.set_yticks(range(n), class_names)
    axes.set(xlabel="answered", ylabel="true class", title="Confusion on the test images")
    if n <= _NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            if not count:
                continue
            colour = "white" if shares[row, column] > 0.5 else _INK
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    return figure


def calibration_figure(calibration: Mapping[str, Any]) -> "Figure":
    """Return a reliability diagram (Guo et al. 2017, arXiv 1706.04599, figure 1): accuracy over confidence, and counts.

    Args:
        calibration: Of `nas_gym.winner.calibration.Calibration.to_json`.
    """
    edges = np.asarray(calibration["edges"])
    accuracies = np.array([np.nan if v is None else v for v in calibration["accuracies"]], dtype=np.float64)
    confidences = np.array([np.nan if v is None else v for v in calibration["confidences"]], dtype=np.float64)
    counts, width = np.asarray(calibration["counts"]), edges[1] - edges[0]
    figure = _figure(5, 6)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    bars: dict[str, Any] = {"width": width, "align": "edge", "color": _BLUE, "edgecolor": "white"}
    upper.bar(edges[:-1], accuracies, **bars, label="share of right answers")
    upper.plot(confidences, confidences, "o", color=_ORANGE, label="as many as the network says")
    upper.plot([0, 1], [0, 1], "--", color=_INK, linewidth=0.8)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.set_title(f"Calibration on the test images: expected error {calibration['error']:.4f}")
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    lower.bar(edges[:-1], counts, **bars)
    lower.set(xlabel="confidence", ylabel="images")
    for axes in (upper, lower):
        _plain(axes)
    return figure


def classes_figure(report: Mapping[str, Any], class_names: Sequence[str]) -> "Figure":
    """Return precision and recall of every class, its F1 score beside its name.

    Args:
        report: scikit-learn's classification report as a mapping.
        class_names: One per class.
    """
    figure = _figure(7, min(14.0, 2.0 + 0.35 * len(class_names)))
    axes = figure.add_subplot()
    places = np.arange(len(class_names))
    precision, recall = ([report[name][key] for name in class_names] for key in ("precision", "recall"))
    axes.hlines(places, precision, recall, color=_GRID, linewidth=3, zorder=1)
    axes.plot(precision, places, "o", color=_BLUE, label="precision", zorder=2)
    axes.plot(recall, places, "D", color=_ORANGE, label="recall", zorder=2)
    axes.set_yticks(places, [f"{name}   F1 {report[name]['f1-score']:.3f}" for name in class_names])
    axes.invert_yaxis()
    axes.set_title(f"Classes on the test images: macro F1 {report['macro avg']['f1-score']:.4f}")
    axes.set_xlabel("precision: right of those answered; recall: found of those there")
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    _plain(axes)
    return figure


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: "Axes") -> None:
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
