"""Pictures and tables of what has been decided: matplotlib without pyplot, so that no figure outlives its caller."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import INPUT, Architecture
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.operations import cost
from nas_gym.spaces import Prefix, SearchSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, whose colours stay apart under every common colour blindness (jfly.uni-koeln.de/color).
COLOURS = {
    "activation": "#999999",
    "convolution": "#0072B2",
    "pooling": "#E69F00",
    "normalisation, dropout": "#CC79A7",
    "fully connected": "#009E73",
    "stop": "#D55E00",
    "hyper-parameter": "#56B4E9",
    "other": "#666666",
}
_LAYER_KINDS = (
    (("conv", "separable", "residual"), "convolution"),
    (("max pool", "average pool", "global pool"), "pooling"),
    (("batch norm", "dropout"), "normalisation, dropout"),
    (("fully connected", "linear"), "fully connected"),
    (("stop",), "stop"),
)
_INK, _PALE, _GHOST = "#222222", "#6b6b6b", "#b9b9b9"
_DPI = 100
# Sizes in pixels.
_WIDTH, _MARGIN, _HEADER, _FOOTER = 1000, 24, 76, 62
_COLUMNS, _BOX_HEIGHT, _GAP, _ROW_GAP = 6, 148, 22, 46

State = Literal["decided", "next", "open", "left out"]


@dataclass(frozen=True)
class _Box:
    """What one slot looks like: the decision that fills it, or a ghost."""

    slot: str
    state: State
    choice: str = ""
    kind: str = "other"
    size: str = ""
    note: str = ""


def decision_table(space: SearchSpace, prefix: Prefix, evaluation: Evaluation | None = None) -> str:
    """Return the decisions so far as a text table, then what is still open, then the result if there is one."""
    boxes = _boxes(space, prefix)
    rows = [("slot", "choice", "network after it")]
    rows += [(b.slot, b.choice, " · ".join(filter(None, (b.size, b.note)))) for b in boxes if b.state == "decided"]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    following = next((box.slot for box in boxes if box.state == "next"), None)
    later = [box.slot for box in boxes if box.state == "open"]
    if following is not None:
        shown = f", then {later[0]}" if len(later) == 1 else f", then {later[0]} to {later[-1]}" if later else ""
        lines.append(f"next: {following} ({int(space.legal(prefix).sum())} legal choices){shown}")
    else:
        lines.append(f"complete after {len(prefix)} decisions")
    if evaluation is not None:
        lines.append(f"result: {_result(evaluation)}")
    return "\n".join(lines)


def decision_picture(space: SearchSpace, prefix: Prefix, evaluation: Evaluation | None = None) -> NDArray[np.uint8]:
    """Return a drawing of the decisions so far: uint8, (height, width, 3); its size depends on the space alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(decision_figure(space, prefix, evaluation))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[:, :, :3].copy()


def decision_figure(space: SearchSpace, prefix: Prefix, evaluation: Evaluation | None = None) -> "Figure":
    """Return the drawing as a figure that pyplot does not know: 1000 pixels wide, a box for every slot.

    A box tells the choice, a glyph of the map after it (side: its resolution; depth: its channels) and the size.
    Undecided slots are dashed ghosts; slots that *stop* left out are hardly there.
    """
    from matplotlib.figure import Figure

    boxes = _boxes(space, prefix)
    n_rows = -(-len(boxes) // _COLUMNS)
    height = _HEADER + n_rows * _BOX_HEIGHT + (n_rows - 1) * _ROW_GAP + _FOOTER
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, _WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    _draw_header(axes, boxes, evaluation)
    _draw_arrows(axes, boxes)
    largest = _shape(boxes[0].size or _size(getattr(space, "input_shape", ())))
    for box, (left, top) in zip(boxes, _places(len(boxes)), strict=True):
        _draw_box(axes, box, left, top, largest)
    _draw_legend(axes, boxes, height)
    return figure
