"""Pictures of values with their intervals, and heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.report.canvas import AWAY, GRID, INK, OTHERS, TOWARDS, bare, is_narrow, new_figure, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = "cividis"  # the same order for every kind of colour vision, and in grey
_MOST_ROWS = 24


@dataclass(frozen=True)
class Interval:
    """A named value, None where it is not known, with the ends of its interval where they are."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


def signed(value: float) -> str:
    """Return a value as it is written beside its bar, and in tables."""
    return f"{value:+#.3g}".removesuffix(".")


def interval_figure(
    rows: Sequence[Interval], unit: str, width: float, *, pale: bool = False, loss: bool = False
) -> "Figure":
    """Return bars from zero, blue for gains and orange for losses, with lines for the intervals.

    Args:
        rows: Those with a value, the first on top.
        unit: Under the axis.
        width: In inches.
        pale: Whether all are grey, as what is not to be trusted.
        loss: Whether values above zero are losses.
    """
    narrow = is_narrow(width)
    figure = new_figure(width, 0.6 + (0.44 if narrow else 0.3) * len(rows))
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        value = row.value or 0.0
        colour = OTHERS if pale else TOWARDS if (value > 0) != loss else AWAY
        axes.barh(place, value, height=0.4 if narrow else 0.6, color=colour, zorder=2)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.4, zorder=3)
        end = max(value, 0.0, row.high or 0.0)
        axes.annotate(signed(value), (end, place), (6, 0), "data", "offset points", va="center", fontsize=9)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_ylim(len(rows) - 0.45, -0.8 if narrow else -0.6)
    axes.set_xmargin(0.12)
    axes.autoscale_view(scaley=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(unit)
    axes.grid(axis="x")
    bare(axes, "bottom")
    names = [row.name for row in rows]
    axes.set_yticks([] if narrow else range(len(rows)), [] if narrow else names)
    for place, name in enumerate(names if narrow else []):
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(name, (0, place), (0, 7), va="bottom", fontsize=9, **where)
    return figure


@dataclass(frozen=True)
class HeatMap:
    """Values in a grid.

    Attributes:
        values: float64, NaN where there is none, shape (n_rows, n_columns).
        rows: Their names.
        columns: Their names.
        of_rows: What the rows are.
        of_columns: What the columns are.
        unit: What the colours are.
        top: The value of the brightest colour.
        form: How a value is written.
    """

    values: NDArray[np.float64]
    rows: Sequence[str]
    columns: Sequence[str]
    of_rows: str
    of_columns: str
    unit: str
    top: float
    form: str = "{:.2f}"


def heat_figure(heat: HeatMap, width: float) -> "Figure":
    """Return a heat map with its numbers in it where they fit; nothing is drawn where there is no value."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    narrow = is_narrow(width)
    n_rows, n_columns = heat.values.shape
    figure = new_figure(width, 1.35 + (0.26 if n_rows <= _MOST_ROWS else 0.13) * n_rows)
    axes = figure.add_subplot()
    colours = colormaps[_COLOURS].with_extremes(bad="none")
    norm = Normalize(0.0, max(heat.top, 1e-9))
    mesh = axes.pcolormesh(np.ma.masked_invalid(heat.values), cmap=colours, norm=norm, edgecolors=GRID, linewidth=0.5)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(n_columns) + 0.5, [shortened(name, 16) for name in heat.columns])
    axes.tick_params(length=0)
    if narrow or sum(map(len, heat.columns)) > 80:
        axes.tick_params(axis="x", rotation=55 if narrow else 30)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    every = -(-n_rows // _MOST_ROWS)
    axes.set_yticks(np.arange(0, n_rows, every) + 0.5, heat.rows[::every])
    axes.set(xlabel=heat.of_columns, ylabel=heat.of_rows)
    bare(axes)
    if n_columns <= (6 if narrow else 14) and n_rows <= _MOST_ROWS:
        for (row, column), value in np.ndenumerate(heat.values):
            if not np.isnan(value):
                ink = "#000000" if norm(value) > 0.55 else "#ffffff"
                text = heat.form.format(value)
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=ink)
    bar = figure.colorbar(
        mesh, ax=axes, location="top", shrink=0.5 if not narrow else 0.9, aspect=40, anchor=(0.0, 0.0)
    )
    bar.set_label(heat.unit, loc="left")
    bar.outline.set_visible(False)
    return figure
