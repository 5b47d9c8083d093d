"""The Pareto picture of a compression: accuracy over file size and over latency."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas_gym.report.canvas import GRID, INK, SOFT, bare, new_figure
from nas_gym.winner.compression.table import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
# Okabe and Ito's colours, apart for every kind of colour vision; shapes say the same.
_LOOK = {"plain": (INK, "o", 10), "pruned": ("#0072b2", "s", 9), "distilled": ("#d55e00", "^", 10.5)}
_WORDS = {
    "plain": "the winner as it is",
    "pruned": "pruned, fine-tuned",
    "distilled": "distilled into a smaller network",
}
_BAND, _FRONT = "#e8f3ec", "#8795a1"


def figure(content: Mapping[str, Any]) -> "Figure":
    """Return accuracy over file size and over latency at batch 1, one mark for every variant.

    Filled marks are float32, hollow ones int8; bars are 95 % intervals of the accuracy and interquartile ranges of the
    latency. The stairs are the Pareto front; the band is what loses at most so many points; rings are what was chosen.

    Args:
        content: Of ``compressed.json``.
    """
    import matplotlib

    with matplotlib.rc_context(
        {"font.size": 11, "axes.labelsize": 11.5, "axes.titlesize": 12.5, "text.parse_math": False}
    ):
        drawn = new_figure(13.2, 6.4)
        left, right = drawn.subplots(1, 2, sharey=True)
        rows = content["variants"]
        _panel(left, content, lambda row: row["size_bytes"] / 1000, content["pareto"]["size_bytes"], "smallest")
        _panel(right, content, lambda row: row["latency"]["1"]["median_ms"], content["pareto"]["latency_1"], "fastest")
        for row in rows:
            one = row["latency"]["1"]
            right.plot(
                [one["low_ms"], one["high_ms"]],
                [100 * row["test_accuracy"]] * 2,
                color=_LOOK[row["kind"]][0],
                lw=1.0,
                alpha=0.4,
                zorder=3,
            )
        left.set(xlabel="file size, kB", ylabel="test accuracy, %")
        left.set_title("Smaller", loc="left", fontweight="bold")
        right.set_title("Faster", loc="left", fontweight="bold")
        threads = content["request"]["threads"]
        right.set_xlabel(f"latency of one image, ms (ONNX Runtime, CPU, {threads} thread{'s' if threads > 1 else ''})")
        _limits(left, rows, content["request"]["points"])
        drawn.suptitle(_title(content), x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
        drawn.legend(
            handles=_legend(rows, content["request"]["points"]), loc="outside lower center", ncols=4, frameon=False
        )
        _label(left, rows, lambda row: row["size_bytes"] / 1000)
        _label(right, rows, lambda row: row["latency"]["1"]["median_ms"])
    return drawn


def _title(content: Mapping[str, Any]) -> str:
    rows = {row["name"]: row for row in content["variants"]}
    small, fast = (rows[content["chosen"][name]] for name in ("smallest", "fastest"))
    told = [
        f"{times:.1f}× {word} at {signed(-row['points_lost_test'], 1)} points"
        for row, times, word in (
            (small, small["times_smaller"], "smaller"),
            (fast, fast["times_faster"]["1"], "faster"),
        )
        if row["name"] != content["variants"][0]["name"]
    ]
    return f"{content['dataset']}: {', '.join(told) or 'nothing smaller or faster is as good'}"


def _panel(
    axes: "Axes", content: Mapping[str, Any], cost: Callable[[Row], float], front: Sequence[str], choice: str
) -> None:
    rows = {row["name"]: row for row in content["variants"]}
    first = 100 * content["variants"][0]["test_accuracy"]
    axes.axhspan(first - content["request"]["points"], first, color=_BAND, zorder=0, lw=0)
    on_front = [rows[name] for name in front]
    axes.plot(
        [cost(row) for row in on_front],
        [100 * row["test_accuracy"] for row in on_front],
        drawstyle="steps-post", color=_FRONT, lw=1.6, zorder=1,
    )  # fmt: skip
    for row in rows.values():
        colour, marker, size = _LOOK[row["kind"]]
        x, y, (low, high) = cost(row), 100 * row["test_accuracy"], row["test_interval"]
        axes.plot([x, x], [100 * low, 100 * high], color=colour, lw=1.0, alpha=0.4, zorder=2)
        face = "white" if row["numbers"] == "int8" else colour
        axes.plot(x, y, marker, color=colour, markerfacecolor=face, markeredgewidth=1.9, markersize=size, zorder=4)
        if row["name"] == content["chosen"][choice]:
            axes.plot(x, y, "o", color=INK, markerfacecolor="none", markeredgewidth=1.5, markersize=size + 11, zorder=5)
    axes.set_xscale("log")
    _plain_numbers(axes, [cost(row) for row in rows.values()])
    bare(axes, "left", "bottom")
    axes.grid(color=GRID, zorder=0, which="major")


def _plain_numbers(axes: "Axes", values: Sequence[float]) -> None:
    """Mark a logarithmic axis at 1, 2 and 5 times powers of ten, in plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(values) / 1.35, max(values) * 1.5
    marks = [m * 10.0**power for power in range(-6, 10) for m in (1, 2, 5) if low <= m * 10.0**power <= high]
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _limits(axes: "Axes", rows: Sequence[Row], points: float) -> None:
    """Show the intervals of all variants, and at least the band."""
    lows = [100 * row["test_interval"][0] for row in rows]
    tops = [100 * row["test_interval"][1] for row in rows]
    low = min(*lows, 100 * rows[0]["test_accuracy"] - points)
    room = 0.05 * (max(tops) - low)
    axes.set_ylim(low - room, max(tops) + room)


def _short(row: Row) -> str:
    """Return what stands beside a mark, such as ``−50 % int8``."""
    name = {"plain": "winner", "pruned": f"−{100 * (row['ratio'] or 0):.0f} % channels"}.get(row["kind"])
    name = name or f"student {row['name'].split('-')[1]}"
    return f"{name}, int8" if row["numbers"] == "int8" else name


def _label(axes: "Axes", rows: Sequence[Row], cost: Callable[[Row], float]) -> None:
    """Write names beside marks, each where it hides the least of what is drawn already."""
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    drawn: Any = axes.figure
    drawn.canvas.draw()
    renderer, scale = drawn.canvas.get_renderer(), drawn.dpi / 72
    marks = [axes.transData.transform((cost(row), 100 * row["test_accuracy"])) for row in rows]
    taken = [Bbox.from_bounds(x - 9 * scale, y - 9 * scale, 18 * scale, 18 * scale) for x, y in marks]
    for line in axes.lines:  # error bars, and the front
        corners = axes.transData.transform(line.get_xydata())
        (left, low), (right, high) = corners.min(0), corners.max(0)
        thin = min(right - left, high - low) < 1 and len(corners) == 2
        taken += [Bbox.from_extents(left - scale, low - scale, right + scale, high + scale)] if thin else []
    frame = axes.get_window_extent()
    for row in sorted(rows, key=lambda row: -row["test_accuracy"]):
        best: tuple[float, Any, Any] | None = None
        for dx, dy, side, height in _PLACES:
            text = axes.annotate(
                _short(row), (cost(row), 100 * row["test_accuracy"]), (dx, dy), textcoords="offset points",
                ha=side, va=height, fontsize=9.5, color=INK if row["numbers"] == "float32" else SOFT, zorder=6,
                path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.85)],
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            hidden = sum(_overlap(box, other) for other in taken) + 5 * (box.width * box.height - _overlap(box, frame))
            hidden += 0.01 * (abs(dx) + abs(dy))
            if best is None or hidden < best[0] - 1e-9:
                if best is not None:
                    best[1].remove()
                best = (hidden, text, box)
            else:
                text.remove()
        assert best is not None, "there are places"
        taken.append(best[2])


_PLACES = (
    *((11, 0, "left", "center"), (-11, 0, "right", "center"), (0, 11, "center", "bottom"), (0, -11, "center", "top")),
    *((9, 9, "left", "bottom"), (9, -9, "left", "top"), (-9, 9, "right", "bottom"), (-9, -9, "right", "top")),
    *((11, 16, "left", "bottom"), (11, -16, "left", "top"), (-11, 16, "right", "bottom"), (-11, -16, "right", "top")),
)


def _overlap(first: Any, second: Any) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return float(max(0.0, width) * max(0.0, height))


def _legend(rows: Sequence[Row], points: float) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def mark(label: str, **look: Any) -> Any:
        shown: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 1.9, "color": SOFT, "label": label}
        return Line2D([], [], **shown | look)

    kinds = {row["kind"] for row in rows}
    shown = [
        mark(words, marker=_LOOK[kind][1], color=_LOOK[kind][0], markersize=_LOOK[kind][2])
        for kind, words in _WORDS.items()
        if kind in kinds
    ]
    return [
        *shown,
        mark("filled: float32", marker="o", markersize=9),
        mark("hollow: int8", marker="o", markersize=9, markerfacecolor="white"),
        mark(
            "chosen on validation images",
            marker="o",
            color=INK,
            markersize=15,
            markerfacecolor="none",
            markeredgewidth=1.5,
        ),
        Line2D([], [], color=_FRONT, lw=1.6, label="Pareto front"),
        Patch(color=_BAND, label=f"at most {points:g} point{'' if points == 1 else 's'} lost"),
    ]
