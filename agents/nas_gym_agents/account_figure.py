"""One picture of what moved a controller at every decision of one network, from chance to the choice."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nas_gym.explain.record import FORCED, Header
from nas_gym.explain.words import is_close_to_chance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PRIOR, TOWARDS, AWAY, INK = "#9aa5b1", "#0072b2", "#d55e00", "#1f2933"  # apart for every kind of colour vision
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
NAMED = 0.10  # nats: shorter segments carry no name
HEIGHT = 0.56


def account_figure(decisions: "pd.DataFrame", header: Header, title: str = "") -> Figure:
    """Return a figure with one row per decision of one episode: from the uniform policy's probability to the choice's.

    The axis is logarithmic in probability, so that attributions, which add up in nats, are lengths: a grey segment for
    the prior preference, then one for every earlier decision that moved the policy, the strongest first.

    Args:
        decisions: Explained rows of one episode (`nas_gym.explain.read_decisions`).
        header: Of their log.
        title: Printed above.
    """
    rows = [row for row in decisions.sort_values("step").to_dict("records") if row["phi"] is not None]
    figure = Figure(figsize=(11, 1.5 + 0.62 * max(1, len(rows))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends = [end for place, row in enumerate(rows) for end in _draw_row(axes, place, row, header)]
    axes.set_yticks(range(len(rows)), [_label(row, header) for row in rows])
    axes.invert_yaxis()
    low = min([*ends, np.log(0.02)]) - 0.15
    axes.set_xlim(low, 0.15)
    ticks = [tick for tick in TICKS if np.log(tick) >= low]
    axes.set_xticks(np.log(ticks), [f"{100 * tick:g} %" for tick in ticks])
    axes.set_xlabel("probability of the choice (logarithmic: equal lengths are equal factors)")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e7eb")
    axes.set_axisbelow(True)
    if title:
        figure.suptitle(title, color=INK, fontsize=12)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _draw_row(axes: "Axes", place: int, row: Mapping[Any, Any], header: Header) -> list[float]:
    """Draw one decision; return the ends of its segments in nats."""
    start = float(row["log_uniform"])
    ends = [start]
    phi = np.asarray(row["phi"], dtype=float)
    moves = [
        (float(row["phi0"]) - start, PRIOR, ""),
        *(
            (float(phi[group]), TOWARDS if phi[group] > 0 else AWAY, _short(header.groups[group]))
            for group in np.argsort(-np.abs(phi))
            if phi[group]
        ),
    ]
    lane = HEIGHT / len(moves)
    for number, (length, colour, name) in enumerate(moves):
        middle = place - HEIGHT / 2 + (number + 0.5) * lane
        axes.barh(middle, length, height=lane * 0.9, left=ends[-1], color=colour, linewidth=0)
        if name and abs(length) >= NAMED:
            side = ends[-1] + length / 2
            axes.text(side, middle, name, color="white", fontsize=6.5, ha="center", va="center_baseline", clip_on=True)
        ends.append(ends[-1] + length)
    axes.plot([start, start], [place - HEIGHT / 2, place + HEIGHT / 2], color=INK, linewidth=1, linestyle=":")
    axes.plot([ends[-1]], [place], marker="D", color=INK, markersize=5)
    axes.text(0.17, place, _verdict(row), color=INK, fontsize=8.5, va="center", ha="left", clip_on=False)
    return ends


def _label(row: Mapping[Any, Any], header: Header) -> str:
    slot = row["slot"]
    if not 0 <= slot < len(header.slots):
        return f"decision {row['step'] + 1}"
    return f"{header.slots[slot]}:  {header.choices[slot][row['action']]}"


def _verdict(row: Mapping[Any, Any]) -> str:
    if row["flags"] & FORCED:
        return "forced"
    probability = 100 * float(np.exp(row["logp"]))
    return f"{probability:.0f} %" + ("  (close to chance)" if is_close_to_chance(dict(row)) else "")


def _short(group: str) -> str:
    return group.replace("layer ", "L").replace("activation", "act.")


def _legend() -> list[Any]:
    return [
        Line2D([], [], color=INK, linestyle=":", label="uniform over the legal choices"),
        Patch(color=PRIOR, label="prior preference"),
        Patch(color=TOWARDS, label="earlier decision, towards it"),
        Patch(color=AWAY, label="earlier decision, away from it"),
        Line2D([], [], color=INK, linestyle="", marker="D", label="the policy's probability"),
    ]
