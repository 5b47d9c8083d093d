"""How the pictures of an inspection look: images as they are, and maps of signed numbers in blue and orange."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.report.canvas import AWAY, DPI, INK, SOFT, TOWARDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

_INK_UNDER_COLOURS = 0.22  # how dark the image is below the colours, of 1
_STRONG = 99.0  # percentile of the absolute values that has the full colour: one pixel must not pale all others


def signed_colours() -> "LinearSegmentedColormap":
    """Return a colour map from orange (below 0) over white to blue (above 0), apart for every kind of colour vision."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", [AWAY, "#ffffff", TOWARDS])


def show_image(axes: "Axes", pixels: NDArray[np.float32]) -> None:
    """Show an image.

    Args:
        axes: Where.
        pixels: In 0..1, (height, width, channels).
    """
    grey = pixels.shape[2] != 3
    axes.imshow(pixels.mean(2) if grey else pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    frame(axes)


def show_overlay(axes: "Axes", pixels: NDArray[np.float32], values: NDArray[np.float64]) -> None:
    """Show signed values over a pale grey image: blue above 0, orange below, as strong as they are large.

    Args:
        axes: Where.
        pixels: In 0..1, (height, width, channels).
        values: (height, width).
    """
    light = pixels.mean(2)
    grey = 1 - _INK_UNDER_COLOURS * (light if light.mean() < 0.5 else 1 - light)  # what is drawn is dark, on white
    scale = float(np.percentile(np.abs(values), _STRONG)) or float(np.abs(values).max()) or 1.0
    strength = np.clip(np.abs(values) / scale, 0, 1)[..., None] ** 0.75
    colours = np.where(values[..., None] > 0, _rgb(TOWARDS), _rgb(AWAY))
    axes.imshow(grey[..., None] * (1 - strength) + colours * strength, vmin=0, vmax=1, interpolation="nearest")
    frame(axes)


def show_map(axes: "Axes", values: NDArray[Any], scale: float) -> None:
    """Show signed values from ``-scale`` to ``scale``."""
    axes.imshow(values, cmap=signed_colours(), vmin=-scale, vmax=scale, interpolation="nearest")
    frame(axes)


def frame(axes: "Axes") -> None:
    """Leave no ticks and a thin, pale frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#cbd2d9", linewidth=0.6)


def titled(figure: "Figure", title: str, sentence: str = "") -> None:
    """Write a title and, below it, a sentence that says what is seen, above all that is drawn in a figure."""
    import textwrap

    lines = textwrap.wrap(sentence, int(figure.get_figwidth() * 13.5))
    height = figure.get_figheight()
    figure.text(0.0, 1 + 0.12 / height, "\n".join(lines), fontsize=9.5, color=SOFT, va="bottom", linespacing=1.3)
    figure.text(0.0, 1 + (0.2 + 0.18 * len(lines)) / height, title, fontsize=13, color=INK, va="bottom", weight="bold")


def png(figure: "Figure") -> bytes:
    """Return a figure as a PNG, cropped to what is drawn, the same bytes for the same figure."""
    import io

    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=DPI,
        bbox_inches="tight",
        pad_inches=0.15,
        facecolor="white",
        metadata={"Software": None},
    )
    return buffer.getvalue()


def _rgb(colour: str) -> NDArray[np.float64]:
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(colour))
