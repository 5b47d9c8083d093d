"""Pictures of numbers: what patches, features and layers are worth, and how weights are distributed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.report.canvas import AWAY, GRID, INK, SOFT, TOWARDS, bare, new_figure, shortened
from nas_gym.winner.inspection.activations import QUANTILES, Weights
from nas_gym.winner.inspection.layers import LayerImportance
from nas_gym.winner.inspection.permutation import FeatureImportances, PatchImportances
from nas_gym.winner.inspection.pictures import frame, show_image, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_FEATURES = 30


def patches_figure(found: PatchImportances, mean_image: NDArray[np.float32], sentence: str) -> "Figure":
    """Return the mean image beside a heat map of the accuracy that every patch is worth, in percentage points.

    Args:
        found: By patch.
        mean_image: Of the measured images, in 0..1, (height, width, channels).
        sentence: What is seen.
    """
    figure = new_figure(8.2, 4.2)
    left, right = figure.subplots(1, 2)
    show_image(left, mean_image)
    left.set_title("mean of the images", fontsize=9, color=SOFT)
    points = 100 * found.lost
    height, width = mean_image.shape[:2]
    heat = np.repeat(np.repeat(points, found.size, 0), found.size, 1)[:height, :width]
    top = max(float(points.max()), 300 * float(found.standard_error.max()), 1e-9)  # noise alone must not look dark
    right.imshow(heat, cmap="Blues", vmin=0, vmax=top, interpolation="nearest")
    frame(right)
    right.set_title(f"points of accuracy lost, patches of {found.size}×{found.size} pixels", fontsize=9, color=SOFT)
    for (row, column), value in np.ndenumerate(points):
        y = (row * found.size + min((row + 1) * found.size, height)) / 2 - 0.5
        x = (column * found.size + min((column + 1) * found.size, width)) / 2 - 0.5
        sure = value > 2 * 100 * found.standard_error[row, column]
        colour = "white" if value > 0.6 * top else INK if sure else "#9aa5b1"
        right.text(x, y, f"{value:.1f}".replace("-0.0", "0.0"), ha="center", va="center", fontsize=7.5, color=colour)
    titled(figure, "Which parts of an image the network needs", sentence)
    return figure


def features_figure(found: FeatureImportances, sentence: str) -> "Figure":
    """Return the features of a table by the accuracy they are worth, with standard errors."""
    order = np.argsort(-found.lost, kind="stable")[:_MOST_FEATURES]
    figure = new_figure(7.0, 1.0 + 0.26 * len(order))
    axes = figure.add_subplot()
    places = np.arange(len(order))
    axes.barh(places, 100 * found.lost[order], xerr=100 * found.standard_error[order], color=TOWARDS, height=0.65)
    axes.set_yticks(places, [f"feature {one}" for one in order])
    axes.invert_yaxis()
    axes.set_xlabel("points of accuracy lost when the feature is shuffled")
    axes.grid(axis="x", color=GRID)
    bare(axes, "bottom")
    titled(figure, "Which features the network needs", sentence)
    return figure


def layers_figure(layers: Sequence[LayerImportance], accuracy: float, sentence: str) -> "Figure":
    """Return what every layer is worth, from the first to the last, beside its parameters and MACs."""
    figure = new_figure(9.6, 1.2 + 0.33 * len(layers))
    left, right = figure.subplots(1, 2, width_ratios=[2.6, 1], sharey=True)
    places = np.arange(len(layers))
    plain, matched = (
        np.array([(getattr(one, name), getattr(one, low), getattr(one, high)) for one in layers]) * 100
        for name, low, high in (
            ("lost_accuracy", "low", "high"),
            ("matched_lost_accuracy", "matched_low", "matched_high"),
        )
    )
    left.hlines(places, matched[:, 0], plain[:, 0], color=GRID, linewidth=4, zorder=1)
    for values, colour, marker, shift, label in (
        (plain, TOWARDS, "o", -0.13, "replaced as it is"),
        (matched, AWAY, "D", 0.13, "replaced, mean and deviation kept"),
    ):
        left.hlines(places + shift, values[:, 1], values[:, 2], color=colour, linewidth=1.4, zorder=2)
        left.plot(values[:, 0], places + shift, marker, color=colour, markersize=5.5, label=label, zorder=3)
    left.axvline(0, color=INK, linewidth=0.8)
    left.axvline(100 * accuracy, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
    left.set_yticks(places, [f"{n}. {shortened(one.name, 40)}" for n, one in enumerate(layers, start=1)], fontsize=8.5)
    left.set_ylim(len(layers) - 0.4, -0.6)
    left.set_xlabel(f"points of accuracy lost (dashed: all of the {100 * accuracy:.1f} there are)", fontsize=9)
    left.grid(axis="x", color=GRID)
    bare(left, "bottom")
    left.tick_params(axis="y", length=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    _shares(right, layers, places)
    titled(figure, "What every layer is worth", sentence)
    return figure


def _shares(axes: Any, layers: Sequence[LayerImportance], places: NDArray[np.int64]) -> None:
    """Draw the shares of parameters and MACs that layers have."""
    for shift, name, colour in ((-0.17, "parameters", "#5b6876"), (0.17, "macs", "#b8c2cc")):
        counts = np.array([getattr(one, name) for one in layers], dtype=np.float64)
        axes.barh(places + shift, 100 * counts / max(1.0, counts.sum()), height=0.32, color=colour)
    axes.set_xlabel("share of parameters (dark)\nand of MACs (pale), %", fontsize=9)
    axes.grid(axis="x", color=GRID)
    bare(axes, "bottom")
    axes.tick_params(axis="y", length=0)


def weights_figure(found: Sequence[Weights], sentence: str) -> "Figure":
    """Return the distribution of the weights of every layer, beside the one they were drawn from."""
    figure = new_figure(8.6, 0.9 + 0.62 * len(found))
    panels = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, one in zip(panels, found, strict=True):
        reach = max(abs(one.quantiles[QUANTILES.index(0.05)]), abs(one.quantiles[QUANTILES.index(0.95)]))
        reach = 2.2 * max(reach, one.drawn_with)
        edges = np.linspace(-reach, reach, 61)
        counts, _ = np.histogram(np.clip(one.values, -reach, reach), edges, density=True)
        axes.fill_between(edges, [*counts, counts[-1]], step="post", color=TOWARDS, alpha=0.85, linewidth=0)
        fine = np.linspace(-reach, reach, 1001)
        axes.plot(fine, _before(fine, one), color=AWAY, linewidth=1.3)
        axes.set(yticks=[], xlim=(-reach, reach))
        axes.tick_params(labelsize=7, colors=SOFT, length=2)
        axes.text(-0.02, 0.5, shortened(one.name, 34), transform=axes.transAxes, ha="right", va="center", fontsize=8.5)
        text = f"{one.count:,} weights\ndeviation {one.deviation:.3f}\n{one.nearly_zero:.0%} nearly zero"
        axes.text(1.015, 0.5, text, transform=axes.transAxes, va="center", fontsize=8, color=SOFT)
        bare(axes, "bottom")
    titled(figure, "Weights by layer", sentence)
    return figure


def _before(places: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Return the density from which weights were drawn: normal, in the last linear layer uniform."""
    deviation = weights.drawn_with
    if weights.uniform:
        return np.where(np.abs(places) <= deviation * 3**0.5, 1 / (2 * deviation * 3**0.5), 0.0)
    density: NDArray[np.float64] = np.exp(-0.5 * (places / deviation) ** 2) / (deviation * (2 * np.pi) ** 0.5)
    return density
