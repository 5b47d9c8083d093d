"""Pictures with images in them: SHAP overlays, their sanity check, confusions, feature maps, filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.report.canvas import GRID, INK, SOFT, TOWARDS, bare, new_figure, shortened
from nas_gym.winner.inspection.activations import FeatureMaps
from nas_gym.winner.inspection.attribution import Attribution
from nas_gym.winner.inspection.confusions import Confusion
from nas_gym.winner.inspection.pictures import frame, show_image, show_map, show_overlay, titled
from nas_gym.winner.inspection.sanity import Randomised, Sanity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 1.3  # inches of an image
_LETTERS = 18
_MOST_FILTERS = 64


@dataclass(frozen=True, eq=False)
class Explained:
    """An image with what speaks for its classes.

    Attributes:
        pixels: In 0..1, (height, width, channels).
        true: Number of its class.
        answered: Of the class the network names.
        probability: Of that class, in [0, 1].
        position: Among the samples.
        maps: Of the answered class and, where that is wrong, of the true one.
    """

    pixels: NDArray[np.float32]
    true: int
    answered: int
    probability: float
    position: int
    maps: tuple[Attribution, ...]


def overlays_figure(shown: Sequence[Explained], names: Sequence[str], title: str, sentence: str) -> "Figure":
    """Return images side by side with the maps of their classes, several images in a row."""
    each = 1 + max(len(one.maps) for one in shown)
    beside = max(1, 6 // each)
    rows = -(-len(shown) // beside)
    figure = new_figure(_CELL * each * beside + 0.4 * (beside - 1), rows * (_CELL + 0.42))
    blocks = figure.subfigures(rows, beside, squeeze=False)
    for number, block in enumerate(blocks.flat):
        if number >= len(shown):
            continue
        one = shown[number]
        axes = block.subplots(1, each, squeeze=False)[0]
        show_image(axes[0], one.pixels)
        wrong = one.true != one.answered
        axes[0].set_title(_named(names, one.true, "true: " if wrong else ""), fontsize=8.5, color=INK, loc="left")
        texts = [f"{_named(names, one.answered, 'answer: ' if wrong else 'for: ')}\n{one.probability:.0%} sure"]
        texts += [f"for the true:\n{_named(names, one.true)}"]
        for place, (panel, found) in enumerate(zip(axes[1:], one.maps, strict=True)):
            show_overlay(panel, one.pixels, found.values)
            panel.set_title(texts[place], fontsize=8.5, color=INK, loc="left")
    titled(figure, title, sentence)
    return figure


def sanity_figure(image: Explained, randomised: Randomised, sanity: Sanity, sentence: str) -> "Figure":
    """Return the maps of one image as weights are drawn anew, above the correlations of all images' maps."""
    stages = sanity.stages
    figure = new_figure(max(7.0, 1.25 * len(stages) + 1.6), 4.9)
    upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=[1.15, 2]))
    panels = upper.subplots(1, len(stages) + 1)
    show_image(panels[0], image.pixels)
    panels[0].set_title("image", fontsize=8.5, color=INK)
    for panel, stage, values in zip(panels[1:], stages, randomised.values, strict=True):
        show_overlay(panel, image.pixels, values)
        panel.set_title("trained" if not stage.layers else f"last {stage.layers}\nrandom", fontsize=8.5, color=INK)
    axes = lower.add_subplot()
    _correlations(axes, sanity)
    titled(figure, "Do the maps depend on what was learned?", sentence)
    return figure


def confusions_figure(
    found: Sequence[Confusion], pixels: Mapping[int, NDArray[np.float32]], names: Sequence[str], sentence: str
) -> "Figure":
    """Return a row for every confused pair: what it is, how often, and the images of which the network is surest.

    Args:
        found: The pairs.
        pixels: Of the examples, by their positions: in 0..1, (height, width, channels).
        names: Of the classes.
        sentence: What is seen.
    """
    columns = max(3, *(len(one.examples) for one in found))
    figure = new_figure(2.4 + (_CELL - 0.15) * columns, len(found) * (_CELL + 0.12))
    panels = figure.subplots(len(found), columns + 1, squeeze=False, width_ratios=[2.1, *[1.0] * columns])
    for row, one in zip(panels, found, strict=True):
        for panel in row:
            panel.set_axis_off()
        row[0].text(0, 0.62, f"{names[one.true]} → {names[one.answered]}", fontsize=11, weight="bold", color=INK)
        row[0].text(0, 0.3, f"{counted(one.count)},\n{one.share:.1%} of the class", fontsize=9, color=SOFT, va="center")
        for panel, example in zip(row[1:], one.examples, strict=False):
            panel.set_axis_on()
            show_image(panel, pixels[example.position])
            panel.set_title(f"{example.probability:.0%} sure", fontsize=8.5, color=INK)
    titled(figure, "Most confused classes: true → answered", sentence)
    return figure


def feature_maps_figure(
    found: Sequence[FeatureMaps], place: int, pixels: NDArray[np.float32], name: str, sentence: str
) -> "Figure":
    """Return the feature maps of all convolutions for one image: a row per convolution, from the first to the last.

    Args:
        found: By convolution.
        place: Of the image among those the maps are of.
        pixels: The image, in 0..1, (height, width, channels).
        name: Of its class.
        sentence: What is seen.
    """
    columns = max(len(one.channels) for one in found)
    figure = new_figure(2.9 + 0.95 * columns, 1.12 * (len(found) + 1))
    panels = figure.subplots(len(found) + 1, columns + 1, squeeze=False, width_ratios=[2.4, *[1.0] * columns])
    for panel in panels.flat:
        panel.set_axis_off()
    panels[0, 0].text(0, 0.5, "the image", fontsize=9.5, color=INK, va="center")
    panels[0, 1].set_axis_on()
    show_image(panels[0, 1], pixels)
    for row, one in zip(panels[1:], found, strict=True):
        size = "×".join(map(str, one.maps.shape[2:]))
        words = one.name.replace(" + ", "\n+ ").replace("_", " ")
        row[0].text(0, 0.5, f"{words}\n{len(one.channels)} of {one.of} maps, {size}", fontsize=8.5, va="center")
        for panel, channel, values in zip(row[1:], one.channels, one.maps[place], strict=False):
            panel.set_axis_on()
            panel.imshow(values, cmap="viridis", interpolation="nearest")
            frame(panel)
            panel.set_title(f"{channel}", fontsize=7, color=SOFT, pad=2)
    titled(figure, f"What every convolution makes of an image of class {name}", sentence)
    return figure


def filters_figure(filters: NDArray[np.float32], sentence: str) -> "Figure":
    """Return the filters of the first convolution, largest first; filters of three channels as colours.

    Args:
        filters: (filters, channels, height, width).
        sentence: What is seen.
    """
    coloured, shown = filters.shape[1] == 3, filters[:_MOST_FILTERS]
    tiles = list(shown) if coloured else [one[None] for one in shown.reshape(-1, *shown.shape[2:])][:_MOST_FILTERS]
    columns = min(8, max(4, round(len(tiles) ** 0.5 * 1.6)))
    rows = -(-len(tiles) // columns)
    figure = new_figure(max(5.5, 0.85 * columns), 0.85 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    scale = float(np.abs(shown).max()) or 1.0
    for panel, tile in zip(panels.flat, tiles, strict=False):
        panel.set_axis_on()
        if coloured:
            own = float(np.abs(tile).max()) or 1.0
            panel.imshow(0.5 + tile.transpose(1, 2, 0) / (2 * own), interpolation="nearest")
            frame(panel)
        else:
            show_map(panel, tile[0], scale)
    titled(figure, "Filters of the first convolution", sentence)
    return figure


def counted(n: int, what: str = "image") -> str:
    """Return a number of things as text: ``"1 image"``, ``"2 images"``."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _named(names: Sequence[str], number: int, before: str = "") -> str:
    return shortened(f"{before}{names[number]}", _LETTERS)


def _correlations(axes: "Axes", sanity: Sanity) -> None:
    stages = sanity.stages
    places = np.arange(len(stages))
    errors = [one.standard_error or 0.0 for one in stages]
    axes.axhline(0, color=GRID, linewidth=1, zorder=0)
    axes.plot([0, len(stages) - 1], [sanity.contrast] * 2, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(len(stages) - 0.85, sanity.contrast, "contrast alone", fontsize=8.5, color=SOFT, va="center")
    strengths, signs = [one.correlation for one in stages], [one.signed for one in stages]
    axes.errorbar(places, strengths, yerr=errors, color=INK, marker="o", capsize=2, linewidth=1.6)
    axes.plot(places, signs, color=TOWARDS, marker="s", linewidth=1.6)
    axes.text(len(stages) - 0.85, strengths[-1], "strengths", color=INK, fontsize=9, va="center", weight="bold")
    axes.text(len(stages) - 0.85, signs[-1], "signed values", color=TOWARDS, fontsize=9, va="center", weight="bold")
    axes.set_xticks(places, [one.name if not one.layers else f"… {shortened(one.name, 16)}" for one in stages])
    for label in axes.get_xticklabels():
        label.set(rotation=20, ha="right", fontsize=8)
    axes.set(xlim=(-0.3, len(stages) + 0.5), ylim=(min(-0.25, *signs) - 0.05, 1.05))
    axes.set_ylabel("rank correlation\nwith the trained network's maps", fontsize=9)
    axes.set_xlabel("weights drawn anew, from the last layer down to …", fontsize=9)
    bare(axes, "left", "bottom")
