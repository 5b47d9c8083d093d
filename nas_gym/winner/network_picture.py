"""A picture of an architecture as it was trained: blocks of operations in reading order, and what skips ahead."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nas_gym.architecture import INPUT, Architecture, Operation, Shape
from nas_gym.drawing import COLOURS
from nas_gym.operations import ACTIVATIONS, cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _DPI = 6, 100
_WIDTH, _HEIGHT, _GAP, _ROW_GAP, _MARGIN, _HEADER, _ARC = 148, 78, 22, 46, 26, 72, 24  # pixels
_APPENDED = ("batch_norm", "dropout", *ACTIVATIONS)  # drawn in the block of what they are applied to
_KINDS = {
    "conv": "convolution",
    "linear": "fully connected",
    "flatten": "fully connected",
    "batch_norm": "normalisation, dropout",
    "dropout": "normalisation, dropout",
    **dict.fromkeys(("max_pool", "average_pool", "global_average_pool", "smooth"), "pooling"),
    **dict.fromkeys(ACTIVATIONS, "activation"),
}
_INK, _PALE, _SKIP = "#222222", "#666666", "#D55E00"


@dataclass(frozen=True)
class Block:
    """Operations that are drawn as one box.

    Attributes:
        positions: Of the operations in the architecture, in order; empty for the input.
        inputs: Numbers of the blocks it takes its inputs from.
        lines: What is written on it.
        kind: Key of `nas_gym.drawing.COLOURS`.
    """

    positions: tuple[int, ...]
    inputs: tuple[int, ...]
    lines: tuple[str, str, str]
    kind: str


def blocks(architecture: Architecture) -> list[Block]:
    """Return the blocks of an architecture; the first one is its input, the last one its output."""
    operations = architecture.operations
    consumers = [0] * len(operations)
    for operation in operations:
        for source in set(operation.inputs) - {INPUT}:
            consumers[source] += 1
    groups: list[list[int]] = []
    of = {INPUT: 0}  # number of the block of an operation; the input is block 0
    for position, operation in enumerate(operations):
        (source, *others) = operation.inputs
        joins = not others and source != INPUT and consumers[source] == 1 and groups[of[source] - 1][-1] == source
        after_flatten = joins and operation.kind == "linear" and operations[source].kind == "flatten"
        if joins and (operation.kind in _APPENDED or after_flatten):
            groups[of[source] - 1].append(position)
        else:
            groups.append([position])
            source = position
        of[position] = len(groups) if source == position else of[source]
    first = Block((), (), ("input", "", _size(architecture.input_shape)), "other")
    return [first, *(_block(architecture, group, of) for group in groups)]


def architecture_figure(architecture: Architecture, title: str = "") -> "Figure":
    """Return a figure that pyplot does not know: a box per block in reading order, orange where a value skips ahead."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = blocks(architecture)
    n_rows = -(-len(found) // _COLUMNS)
    width = 2 * _MARGIN + _COLUMNS * _WIDTH + (_COLUMNS - 1) * _GAP
    height = _HEADER + n_rows * _HEIGHT + (n_rows - 1) * _ROW_GAP + _MARGIN
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    totals = f"{architecture.parameters:,} parameters, {architecture.macs:,} MACs for one image"
    axes.text(_MARGIN, 26, " · ".join(filter(None, (title, totals))), fontsize=11, color=_INK, va="center")
    for number, block in enumerate(found):
        _draw_block(axes, number, block)
        for source in block.inputs:
            (_draw_arrow if source == number - 1 else _draw_skip)(axes, source, number)
    return figure


def _block(architecture: Architecture, group: list[int], of: dict[int, int]) -> Block:
    operations = architecture.operations
    main, *others = (operations[position] for position in group)
    shapes = (*architecture.shapes, architecture.input_shape)  # so that shapes[INPUT] is the input's
    spent = [cost(o.kind, o.settings, tuple(shapes[i] for i in o.inputs)) for o in (main, *others)]
    parameters = sum(one.parameters for one in spent)
    size = _size(spent[-1].shape) + (f" · {parameters:,} par." if parameters else "")
    inputs = tuple(dict.fromkeys(of[source] for source in main.inputs))
    return Block(
        tuple(group),
        inputs,
        (operation_title(main), ", ".join(map(operation_title, others)), size),
        _KINDS.get(main.kind, "other"),
    )


def _size(shape: Shape) -> str:
    return "×".join(map(str, shape))


def operation_title(operation: Operation) -> str:
    """Return an operation in words, such as ``"conv 3×3/2 to 32"``."""
    values = dict(operation.settings)
    if operation.kind == "conv":
        stride = f"/{values['stride']}" if values["stride"] > 1 else ""
        groups = f", {values['groups']} groups" if values["groups"] > 1 else ""
        name = "depthwise" if 1 < values["groups"] == values["channels"] else "conv"
        shown = "" if name == "depthwise" else f" to {values['channels']}{groups}"
        return f"{name} {values['kernel']}×{values['kernel']}{stride}{shown}"
    name = operation.kind.replace("_", " ")
    return " ".join([name, *(f"{value:g}" for key, value in operation.settings if key in ("kernel", "units", "rate"))])


def _corner(number: int) -> tuple[float, float]:
    row, column = divmod(number, _COLUMNS)
    return _MARGIN + column * (_WIDTH + _GAP), _HEADER + row * (_HEIGHT + _ROW_GAP)


def _draw_block(axes: "Axes", number: int, block: Block) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    (left, top), colour = _corner(number), COLOURS[block.kind]
    style: dict[str, Any] = {"facecolor": to_rgba(colour, 0.12), "edgecolor": colour, "linewidth": 1.6, "zorder": 2}
    axes.add_patch(FancyBboxPatch((left, top), _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=8", **style))
    looks = ((10, "bold", _INK), (8, "normal", _INK), (8, "normal", _PALE))
    for line, y, (size, weight, ink) in zip(block.lines, (18, 40, 61), looks, strict=True):
        fitting = min(float(size), 1.62 * (_WIDTH - 12) / max(len(line), 1))  # of letters 0.6 as wide as they are high
        style = {"fontsize": fitting, "weight": weight, "color": ink, "ha": "center", "va": "center", "zorder": 3}
        axes.text(left + _WIDTH / 2, top + y, line, **style)


def _draw_arrow(axes: "Axes", source: int, target: int) -> None:
    """Draw the way to the next box: to the right, or to the start of the next row."""
    (left, top), (end, below) = _corner(source), _corner(target)
    start, middle = left + _WIDTH, _HEIGHT / 2
    x, y = [start, end], [top + middle, below + middle]
    if below != top:
        out, back, turn = start + _GAP / 2, end - _GAP / 2, below - _ROW_GAP / 2
        x, y = [start, out, out, back, back, end], [top + middle] * 2 + [turn] * 2 + [below + middle] * 2
    axes.plot(x, y, color=_INK, linewidth=1.3, zorder=1)
    axes.plot(end - 4, y[-1], color=_INK, marker=">", markersize=6, linestyle="none", zorder=1)


def _draw_skip(axes: "Axes", source: int, target: int) -> None:
    """Draw a value that skips boxes, as an arc over them."""
    from matplotlib.patches import FancyArrowPatch

    (left, top), (end, below) = _corner(source), _corner(target)
    same = top == below
    start = (left + _WIDTH * 0.7, top if same else top + _HEIGHT)
    bend = -2 * _ARC / (end - left - 0.4 * _WIDTH) if same else 0.0  # the control point is twice as high as the arc
    arc = FancyArrowPatch(
        start,
        (end + _WIDTH * 0.3, below),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=11,
        color=_SKIP,
        linewidth=1.3,
        zorder=4,
        shrinkA=0,
        shrinkB=0,
    )
    axes.add_patch(arc)
