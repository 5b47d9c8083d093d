"""How the pictures of a report look: one palette, drawn wide and narrow, as SVG for light and dark pages and as PNG."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_gym.html_page import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Apart for every kind of colour vision (Okabe and Ito, jfly.uni-koeln.de/color), and each with its like on a dark page.
INK, SOFT, PAPER, GRID = "#1f2933", "#5b6876", "#fffffe", "#e4e7eb"
PRIOR, TOWARDS, AWAY, OTHERS = "#9aa5b1", "#0072b2", "#d55e00", "#a3adb8"
ON_DARK = {
    INK: "#e4e7eb",
    SOFT: "#9fb0c0",
    PAPER: "#161b22",
    GRID: "#30363d",
    PRIOR: "#7b8794",
    TOWARDS: "#56b4e9",
    AWAY: "#ff9d5c",
    OTHERS: "#7c8894",
}
WIDE, NARROW = 8.6, 3.9  # inches; 96 pixels each on a page
DPI = 120
MOST_VECTORS = 400  # marks of one kind beyond which they are kept as pixels
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

Drawing = Callable[[float], "Figure"]
"""Draws a picture so many inches wide."""


@dataclass(frozen=True)
class Drawn:
    """A picture as it goes into files.

    Attributes:
        image: For the page of HTML.
        png: For Markdown.
    """

    image: Image
    png: bytes


def drawn(drawing: Drawing) -> Drawn:
    """Return a picture in all of its forms; the same drawing gives the same bytes."""
    with _style():
        wide = drawing(WIDE)
        light, png = _svg(wide), _png(wide)
        narrow = _svg(drawing(NARROW))
    return Drawn(Image(light, _on_dark(light), narrow, _on_dark(narrow)), png)


def new_figure(width: float, height: float, *, placed: bool = False) -> "Figure":
    """Return a figure that pyplot does not know, sizes in inches.

    Args:
        width: Of the figure.
        height: Of the figure.
        placed: Whether whoever draws says where the axes lie; if not, they are laid out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=None if placed else "constrained")
    FigureCanvasAgg(figure)
    return figure


def is_narrow(width: float) -> bool:
    """Return whether a picture is for a narrow screen."""
    return width < (WIDE + NARROW) / 2


def bare(axes: "Axes", *sides: str) -> None:
    """Leave only the given sides of a frame, and a pale grid behind the data."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
    axes.set_axisbelow(True)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many letters."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    colours = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    style: Any = {
        **dict.fromkeys(colours, INK),
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "axes.labelsize": 9.5,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "grid.color": GRID,
        "svg.fonttype": "none",
        "svg.hashsalt": "nas-gym",
        "text.parse_math": False,
    }
    with matplotlib.rc_context(style):
        yield


def _svg(figure: "Figure") -> bytes:
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONT}", text)
    return re.sub(r"font: ([\d.]+px) [^;\"]*", rf"font: \1 {_FONT}", text).strip().encode()


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _on_dark(svg: bytes) -> bytes:
    """Return an SVG with the palette's colours replaced by those for dark pages."""
    pattern = re.compile("|".join(ON_DARK), re.IGNORECASE)
    return pattern.sub(lambda found: ON_DARK[found[0].lower()], svg.decode()).encode()


def spread(values: Sequence[float], share: float = 0.06) -> tuple[float, float]:
    """Return limits that hold all values, with some room on both sides."""
    low, high = min(values), max(values)
    room = share * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room
