"""A picture of what taught a policy its decisions: from the untaught probability to the one that decided."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nas_gym_agents.account_figure import AWAY, INK, PRIOR, TICKS, TOWARDS
from nas_gym_agents.influence.result import EVALUATION, UNEXPLAINED, Influence, Taught, Teacher
from nas_gym_agents.influence.words import OTHERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 4  # networks towards a choice, and as many away from it
WIDE = 0.005  # nats; other sources that did less have no bar


def influence_figure(influence: Influence, title: str = "") -> Figure:
    """Return a figure with one panel per taught decision: a waterfall from the untaught policy to the one that decided.

    The axis is logarithmic in probability, so that shares, which add up in nats, are lengths.

    Args:
        influence: What taught the decisions.
        title: Printed above.
    """
    taught = [one for one in influence.decisions if one.version]
    columns = 2 if len(taught) > 1 else 1
    rows = max(1, -(-len(taught) // columns))
    heights = [
        0.9 + 0.24 * max([len(_bars(one)) for one in taught[columns * k : columns * (k + 1)]] or [1])
        for k in range(rows)
    ]
    figure = Figure(figsize=(5.6 * columns, sum(heights) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).reshape(-1)
    for axes, one in zip(panels, taught, strict=False):
        _panel(axes, one, "before" if influence.began_with else "untaught")
    for axes in panels[len(taught) :]:
        axes.set_axis_off()
    if not taught:
        panels[0].text(
            0.5, 0.5, f"decided by the {influence.first_policy}", ha="center", color=INK, transform=panels[0].transAxes
        )
    if title:
        figure.suptitle(title, color=INK, fontsize=12)
    legend = [
        Patch(color=TOWARDS, label="reward of a network, towards the choice"),
        Patch(color=AWAY, label="away from it"),
        Patch(color=PRIOR, label="all else"),
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _bars(taught: Taught) -> list[tuple[str, float, bool]]:
    """Return every bar: name, nats, whether it is one network. Networks towards come first, networks away last."""
    teachers = taught.teachers
    towards = [one for one in teachers[:NAMED] if one.nats > 0]
    away = [one for one in teachers[max(len(towards), len(teachers) - NAMED) :] if one.nats < 0]
    others = len(teachers) - len(towards) - len(away)
    rest = taught.of(EVALUATION) - sum(one.nats for one in (*towards, *away))
    named = [(_name(one), one.nats, True) for one in (*towards, *away)]
    plain = [(f"{others} other network" + ("s" if others > 1 else ""), rest, False)] if others else []
    sources = {**OTHERS, UNEXPLAINED: "unexplained"}
    plain += [(name, taught.of(source), False) for source, name in sources.items() if abs(taught.of(source)) >= WIDE]
    return named[: len(towards)] + plain + named[len(towards) :]


def _name(teacher: Teacher) -> str:
    if not teacher.made:
        return f"episode {teacher.first}, no network"
    return f"network {teacher.first}" + (f" ({teacher.episodes}×)" if teacher.episodes > 1 else "")


def _panel(axes: "Axes", taught: Taught, start: str) -> None:
    bars = _bars(taught)
    end = taught.untaught
    ends = [end]
    for place, (_, nats, network) in enumerate(bars):
        colour = PRIOR if not network else TOWARDS if nats > 0 else AWAY
        axes.barh(place, nats, left=end, height=0.75, color=colour, linewidth=0)
        right = max(end, end + nats)
        axes.annotate(
            f"{nats:+.2f}", (right, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5, color=INK
        )
        ends.append(end := end + nats)
    low, high = min(ends), max(ends)
    room = 0.12 * max(high - low, 0.1)
    axes.set_xlim(low - room, high + 2.2 * room)
    for value, style in ((taught.untaught, ":"), (taught.logp, "-")):
        axes.axvline(value, color=INK, linewidth=1, linestyle=style, zorder=0)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars], fontsize=8)
    axes.invert_yaxis()
    _probabilities(axes)
    axes.set_title(
        f"{taught.slot}:  {taught.choice}   {100 * np.exp(taught.untaught):.2g} % {start} → "
        f"{100 * np.exp(taught.logp):.2g} % after {taught.version} updates",
        fontsize=9,
        color=INK,
        loc="left",
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _probabilities(axes: "Axes") -> None:
    low, high = axes.get_xlim()
    ticks: Sequence[Any] = [tick for tick in TICKS if low <= np.log(tick) <= high]
    if len(ticks) < 2:  # a narrow axis
        ticks = sorted({float(f"{np.exp(value):.1g}") for value in np.linspace(low, high, 5)[1:-1]})
    axes.set_xticks(np.log(ticks), [f"{100 * tick:g} %" for tick in ticks], fontsize=8)
