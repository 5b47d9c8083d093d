"""Pictures and tables of what has been decided: matplotlib without pyplot, so that no figure outlives its caller."""

import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas_gym import standard_error
from nas_gym.architecture import INPUT, Architecture, Shape
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.operations import cost
from nas_gym.spaces import Prefix, SearchSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, whose colours stay apart under every common colour blindness (jfly.uni-koeln.de/color).
COLOURS = {
    "activation": "#8A8A8A",
    "convolution": "#0072B2",
    "pooling": "#E69F00",
    "normalisation, dropout": "#CC79A7",
    "fully connected": "#009E73",
    "stop": "#D55E00",
    "hyper-parameter": "#56B4E9",
    "other": "#333333",
}
_WORDS = {
    "conv": "convolution",
    "separable": "convolution",
    "residual": "convolution",
    "pool": "pooling",
    "norm": "normalisation, dropout",
    "dropout": "normalisation, dropout",
    "connected": "fully connected",
    "stop": "stop",
}
_CURVES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 3 / (1 + np.exp(-2 * x)),
    "tanh": lambda x: 2 * np.tanh(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
}
_INK, _PALE, _GHOST = "#222222", "#666666", "#BDBDBD"

# Sizes in pixels.
_DPI = 100
_WIDTH, _MARGIN, _HEADER, _FOOTER = 1000, 26, 84, 52
_FEWEST_COLUMNS, _MOST_COLUMNS = 5, 6
_BOX_HEIGHT, _GAP, _ROW_GAP = 160, 24, 44
_GLYPH = 38


@dataclass(frozen=True)
class _Box:
    """One slot: the decision that fills it, or a ghost."""

    slot: str
    state: Literal["decided", "next", "open", "left out"]
    left: float
    top: float
    width: float
    choice: str = ""
    kind: str = "other"
    size: str = ""
    note: str = ""
    share: float = 0.0  # place of the choice among the slot's choices, from 0 to 1


def decision_table(space: SearchSpace, prefix: Prefix, evaluation: Evaluation | None = None) -> str:
    """Return the decisions so far as a text table, then what is still open, then the result if there is one."""
    boxes = _boxes(space, prefix)
    rows = [("slot", "choice", "network after it")]
    rows += [(b.slot, b.choice, " · ".join(filter(None, (b.size, b.note)))) for b in boxes if b.state == "decided"]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    rows.insert(1, ("─" * widths[0], "─" * widths[1], "─" * widths[2]))
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    coming = [box.slot for box in boxes if box.state in ("next", "open")]
    if coming:
        then = f", then {coming[1]}" if len(coming) > 1 else ""
        then += f" to {coming[-1]}" if len(coming) > 2 else ""
        lines.append(f"next: {coming[0]} ({int(space.legal(prefix).sum())} choices are legal){then}")
    else:
        lines.append("complete: nothing is left to decide")
    if evaluation is not None:
        lines.append("result: " + ", ".join(_result(evaluation)))
    return "\n".join(lines)


def decision_picture(space: SearchSpace, prefix: Prefix, evaluation: Evaluation | None = None) -> NDArray[np.uint8]:
    """Return a drawing of the decisions so far: uint8, (height, 1000, 3); the size depends on the space alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(decision_figure(space, prefix, evaluation))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[:, :, :3].copy()


def decision_figure(space: SearchSpace, prefix: Prefix, evaluation: Evaluation | None = None) -> "Figure":
    """Return a drawing of the decisions so far as a figure that pyplot does not know.

    Every slot has its place. A decided one shows its choice, the size of the network's output after it, and that size
    as a stack of sheets: their side is the resolution, their number grows with the channels. Slots that are still open
    are dashed; those that *stop* left out are only named.
    """
    from matplotlib.figure import Figure

    boxes = _boxes(space, prefix)
    height = max(box.top for box in boxes) + _BOX_HEIGHT + _FOOTER
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, _WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    shape: Shape = getattr(space, "input_shape", ())
    largest = max([*shape[1:], *(side for box in boxes for side in _shape(box.size)[1:]), 1])
    _draw_header(axes, boxes, shape, evaluation)
    _draw_arrows(axes, boxes)
    for box in boxes:
        _draw_box(axes, box, largest)
    _draw_legend(axes, space, height)
    return figure


def architecture_table(architecture: Architecture) -> str:
    """Return the architecture as a Markdown table: one row per operation, and the totals."""
    lines = ["| # | operation | input | output shape | parameters | MACs |", "|--:|---|---|--:|--:|--:|"]
    shapes = (*architecture.shapes, architecture.input_shape)  # so that shapes[INPUT] is the input's
    for position, operation in enumerate(architecture.operations):
        spent = cost(operation.kind, operation.settings, tuple(shapes[i] for i in operation.inputs))
        sources = ", ".join("input" if i == INPUT else str(i) for i in operation.inputs)
        size = "×".join(map(str, spent.shape))
        lines.append(f"| {position} | {operation} | {sources} | {size} | {spent.parameters:,} | {spent.macs:,} |")
    size = "×".join(map(str, architecture.output_shape))
    lines.append(f"| | **total** | | {size} | **{architecture.parameters:,}** | **{architecture.macs:,}** |")
    return "\n".join(lines)


def _boxes(space: SearchSpace, prefix: Prefix) -> list[_Box]:
    outline: Callable[[Prefix], Sequence[str]] | None = getattr(space, "outline", None)
    after = outline(prefix) if outline else [""] * len(prefix)
    filled = [space.next_slot(prefix[:end]) for end in range(len(prefix) + 1)]
    decided, following = dict(zip(filled, zip(prefix, after, strict=True), strict=False)), filled[-1]
    n_rows = -(-len(space.slots) // _MOST_COLUMNS)
    n_columns = max(-(-len(space.slots) // n_rows), _FEWEST_COLUMNS)
    width = (_WIDTH - 2 * _MARGIN - (n_columns - 1) * _GAP) / n_columns
    boxes = []
    for index, slot in enumerate(space.slots):
        row, column = divmod(index, n_columns)
        place = (_MARGIN + column * (width + _GAP), _HEADER + row * (_BOX_HEIGHT + _ROW_GAP), width)
        if index in decided:
            action, text = decided[index]
            size, _, note = text.partition(" · ")
            choice, share = slot.choices[action], action / max(len(slot.choices) - 1, 1)
            boxes.append(_Box(slot.name, "decided", *place, choice, kind_of(slot.name, choice), size, note, share))
        elif following is None or index < following:
            boxes.append(_Box(slot.name, "left out", *place))
        else:
            boxes.append(_Box(slot.name, "next" if index == following else "open", *place))
    return boxes


def kind_of(slot: str, choice: str) -> str:
    """Return what sort of operation a choice is: one of `COLOURS`."""
    if slot == "activation":
        return slot
    number = re.fullmatch(r"[-+.e\d]+", choice)
    return "hyper-parameter" if number else next((_WORDS[word] for word in _WORDS if word in choice), "other")


def _shape(size: str) -> Shape:
    return tuple(map(int, re.findall(r"\d+", size)))


def _result(evaluation: Evaluation) -> list[str]:
    if not evaluation.ok:
        return [f"{evaluation.status} ({evaluation.reason})"]
    if evaluation.accuracy is None:
        return [f"proxy {evaluation.proxy:.6g}", f"{evaluation.parameters:,} parameters", f"{evaluation.macs:,} MACs"]
    shown = f"validation accuracy {standard_error.shown(evaluation.accuracy, evaluation.standard_error)}"
    return [shown, f"{evaluation.parameters:,} parameters", f"{evaluation.macs:,} MACs"]


def _write(
    axes: "Axes", x: float, y: float, text: str, size: float, width: float, *, lines: int = 1, **style: Any
) -> None:
    """Write text of ``size`` points, in at most so many lines of like length, made smaller until it fits the width."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    longest = max(4, int(width / (0.8 * size)))
    broken = textwrap.wrap(text, longest, max_lines=lines, placeholder=" …")
    shorter = (textwrap.wrap(text, length, break_long_words=False) for length in range(1, longest))
    broken = next((balanced for balanced in shorter if len(balanced) == len(broken) > 1), broken)
    font = FontProperties(family="DejaVu Sans", size=size, weight=style.pop("weight", "normal"))
    widest = max([text_to_path.get_text_width_height_descent(line, font, False)[0] for line in broken], default=0.0)
    font.set_size(size * min(1.0, width / max(widest * _DPI / 72, 1e-9)))
    settings = {"color": _INK, "va": "center_baseline", "linespacing": 1.15, "parse_math": False, **style}
    axes.text(x, y, "\n".join(broken), fontproperties=font, **settings)


def _draw_header(axes: "Axes", boxes: list[_Box], shape: Shape, evaluation: Evaluation | None) -> None:
    taken = sum(box.state == "decided" for box in boxes)
    following = next((box.slot for box in boxes if box.state == "next"), None)
    title, coming = ("Growing network", f"next: {following}") if following else ("Complete network", "")
    size = f"input {'×'.join(map(str, shape))}" if shape else ""
    facts = (size, f"{taken} decision{'' if taken == 1 else 's'}", coming)
    _write(axes, _MARGIN, 32, title, 16, 420, weight="bold")
    _write(axes, _MARGIN, 60, " · ".join(filter(None, facts)), 10, 420, color=_PALE)
    if evaluation is None:
        return
    right = _WIDTH - _MARGIN
    shown, *rest = _result(evaluation)
    if not evaluation.ok:
        _write(axes, right, 40, shown, 12, 520, lines=2, weight="bold", ha="right", color=COLOURS["stop"])
        return
    _write(axes, right, 32, shown, 16, 500, weight="bold", ha="right", color=COLOURS["fully connected"])
    _write(axes, right, 60, " · ".join(rest), 10, 400, ha="right", color=_PALE)


def _draw_arrows(axes: "Axes", boxes: list[_Box]) -> None:
    """Draw the chain: from every box to the next one that *stop* did not leave out."""
    chain = [box for box in boxes if box.state != "left out"]
    for source, target in itertools.pairwise(chain):
        start, end, turn = source.left + source.width, target.left, target.top - _ROW_GAP / 2
        x, y = [start, end], [source.top + _BOX_HEIGHT / 2, target.top + _BOX_HEIGHT / 2]
        if source.top != target.top:
            out, back = start + _GAP / 2, end - _GAP / 2
            x, y = [start, out, out, back, back, end], [y[0], y[0], turn, turn, y[1], y[1]]
        decided = target.state == "decided"
        colour = _INK if decided else _GHOST
        axes.plot(x, y, color=colour, linewidth=1.4, linestyle="-" if decided else (0, (3, 2)), zorder=1)
        axes.plot(end - 4, y[-1], color=colour, marker=">", markersize=6, linestyle="none", zorder=1)


def _draw_box(axes: "Axes", box: _Box, largest: int) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    colour, centre = COLOURS[box.kind], box.left + box.width / 2
    styles: dict[str, dict[str, Any]] = {
        "decided": {"facecolor": to_rgba(colour, 0.1), "edgecolor": colour, "linewidth": 1.8},
        "next": {"facecolor": "white", "edgecolor": _INK, "linewidth": 1.4, "linestyle": (0, (4, 2))},
        "open": {"facecolor": "white", "edgecolor": _GHOST, "linewidth": 1.2, "linestyle": (0, (4, 3))},
        "left out": {"facecolor": "none", "edgecolor": "none"},
    }
    style = {"boxstyle": "round,pad=0,rounding_size=9", "zorder": 2, **styles[box.state]}
    axes.add_patch(FancyBboxPatch((box.left, box.top), box.width, _BOX_HEIGHT, **style))
    inner = box.width - 18
    muted = _PALE if box.state in ("decided", "next") else _GHOST
    _write(axes, centre, box.top + 16, box.slot, 8.5, inner, ha="center", color=muted, zorder=3)
    if box.state == "next":
        _write(axes, centre, box.top + _BOX_HEIGHT / 2, "?", 26, inner, ha="center", color=_PALE, zorder=3)
    if box.state != "decided":
        return
    _write(axes, centre, box.top + 45, box.choice, 11, inner, lines=2, weight="bold", ha="center", zorder=3)
    _draw_glyph(axes, box, centre, box.top + 93, colour, largest)
    _write(axes, centre, box.top + 129, box.size, 9.5, inner, ha="center", zorder=3)
    _write(axes, centre, box.top + 146, box.note, 8, inner, ha="center", color=_PALE, zorder=3)


def _draw_glyph(axes: "Axes", box: _Box, x: float, y: float, colour: str, largest: int) -> None:
    """Draw what the decision is about: a function, a place on a scale, a stop sign, or the network's output."""
    from matplotlib.patches import Rectangle

    shape = _shape(box.size)
    if box.kind == "activation" and box.choice in _CURVES:
        t = np.linspace(-3, 3, 61)
        axes.plot([x - 36, x + 36], [y + 12, y + 12], color=_GHOST, linewidth=0.8, zorder=3)
        axes.plot(x + 12 * t, y + 12 - 11 * _CURVES[box.choice](t), color=_INK, linewidth=2, zorder=3)
    elif box.kind == "hyper-parameter":
        axes.plot([x - 40, x + 40], [y, y], color=_GHOST, linewidth=3, solid_capstyle="round", zorder=3)
        axes.plot(x - 40 + 80 * box.share, y, color=colour, marker="o", markersize=11, zorder=3)
    elif box.kind == "stop":
        axes.plot(x, y, color=colour, marker="8", markersize=24, zorder=3)
    elif len(shape) == 3:
        n_sheets = min(1 + int(np.log2(shape[0])), 9)
        height, width = (max(_GLYPH * side / largest, 4.0) for side in shape[1:])
        for sheet in range(n_sheets):
            shift = sheet - (n_sheets - 1) / 2
            corner = (x - width / 2 - 4 * shift, y - height / 2 + 2.5 * shift)
            style: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.7}
            axes.add_patch(Rectangle(corner, width, height, zorder=3, **style))
    elif len(shape) == 1:
        length = min(_GLYPH, 6 * float(np.log2(1 + shape[0]))) / 2
        axes.plot([x, x], [y - length, y + length], color=colour, linewidth=8, solid_capstyle="round", zorder=3)


def _draw_legend(axes: "Axes", space: SearchSpace, height: float) -> None:
    present = {kind_of(slot.name, choice) for slot in space.slots for choice in slot.choices}
    shown = [kind for kind in COLOURS if kind in present]
    room = (_WIDTH - 2 * _MARGIN) / max(sum(len(kind) + 4 for kind in shown), 1)  # pixels for one letter
    x = float(_MARGIN)
    for kind in shown:
        axes.plot(x + 6, height - 24, color=COLOURS[kind], marker="s", markersize=9, linestyle="none")
        _write(axes, x + 18, height - 24, kind, 9, room * (len(kind) + 1), color=_PALE)
        x += min(room, 9) * (len(kind) + 4)
