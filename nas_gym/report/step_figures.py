"""Pictures of a network as it grows: its decisions as boxes, and what moved the policy at the next one as bars."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nas_gym.report.canvas import AWAY, GRID, INK, PAPER, PRIOR, SOFT, TOWARDS, bare, is_narrow, new_figure, shortened
from nas_gym.report.numbers import factor, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_COLOURS = {"prior": PRIOR, "towards": TOWARDS, "away": AWAY}
_COLUMNS = {False: 9, True: 4}  # boxes side by side; narrow or not
_BOX = 0.56  # inches, with its gap
_LETTER = 0.077  # inches
_BAR = {False: 0.29, True: 0.42}  # inches for a row; narrow or not


@dataclass(frozen=True)
class Bar:
    """By how much something moved the log-probability of a choice, in nats."""

    name: str
    nats: float
    kind: Literal["prior", "towards", "away"]


@dataclass(frozen=True)
class Step:
    """One decision, ready to be drawn.

    Attributes:
        slots: Names of all slots, in order.
        choices: What was decided before it, by slot.
        slot: Which slot it fills.
        choice: With what.
        chance: Log-probability of the choice under the uniform policy.
        n_legal: Among how many choices.
        policy: Its log-probability under the policy.
        bars: What leads from the one to the other; empty where nothing explains it.
        other: The most probable other choice and its log-probability.
        moved: How every earlier decision moved it, by slot, in nats.
    """

    slots: Sequence[str]
    choices: Mapping[int, str]
    slot: int
    choice: str
    chance: float
    n_legal: int
    policy: float
    bars: Sequence[Bar] = ()
    other: tuple[str, float] | None = None
    moved: Mapping[int, float] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """What stands at the left of the bars."""
        names = [f"chance: one of {self.n_legal}", *(bar.name for bar in self.bars), "the policy's probability"]
        return [*names, *([f"instead: {self.other[0]}"] if self.other else [])]

    @property
    def ends(self) -> list[float]:
        """Every log-probability that the picture shows."""
        along = np.cumsum([self.chance, *(bar.nats for bar in self.bars)]).tolist()
        return [*along, self.policy, *([self.other[1]] if self.other else [])]


@dataclass(frozen=True)
class Scale:
    """What pictures share so that equal lengths are equal factors in all of them.

    Attributes:
        low: The lowest log-probability that has a place.
        high: The highest.
        letters: Of the longest name at the left.
    """

    low: float
    high: float
    letters: int

    @classmethod
    def of(cls, steps: Sequence[Step]) -> "Scale":
        """Return a scale for several pictures, with room for what is written beside the bars."""
        low, high = (end([e for step in steps for e in step.ends]) for end in (min, max))
        letters = max(len(name) for step in steps for name in step.rows)
        return cls(low - 0.12 * (high - low) - 0.05, high + 0.3 * (high - low) + 0.1, letters)


def step_figure(step: Step, scale: Scale, width: float) -> "Figure":
    """Return the network so far as boxes, and below, how chance became the policy's probability.

    Args:
        step: The decision.
        scale: The same for all decisions that are compared.
        width: In inches.
    """
    narrow = is_narrow(width)
    slots = step.slots[: _COLUMNS[True] * (1 + step.slot // _COLUMNS[True])] if narrow else step.slots
    n_lines = -(-len(slots) // _COLUMNS[narrow])
    heights = (_BOX * n_lines + 0.05, _BAR[narrow] * len(step.rows) + 0.1, 0.3)
    whole = sum(heights)
    figure = new_figure(width, whole, placed=True)
    left = 0.02 if narrow else min(0.5, _LETTER * scale.letters / width + 0.02)
    boxes = figure.add_axes((0.0, 1 - heights[0] / whole, 1.0, heights[0] / whole))
    bars = figure.add_axes((left, heights[2] / whole, 0.99 - left, heights[1] / whole))
    _draw_boxes(boxes, slots, {**step.choices, step.slot: step.choice}, step.slot, step.moved, width)
    _draw_bars(bars, step, scale, narrow)
    return figure


def chain_figure(
    slots: Sequence[str], choices: Mapping[int, str], earned: Mapping[int, float], width: float
) -> "Figure":
    """Return a network's decisions as boxes, with what they earned as blue (gain) or orange (loss) under them."""
    narrow = is_narrow(width)
    figure = new_figure(width, _BOX * -(-len(slots) // _COLUMNS[narrow]) + 0.1, placed=True)
    _draw_boxes(figure.add_axes((0.0, 0.0, 1.0, 1.0)), slots, choices, -1, earned, width)
    return figure


def certainty_figure(steps: Sequence[Step], width: float) -> "Figure":
    """Return how probable each choice was to the policy, beside chance: one row per decision."""
    narrow = is_narrow(width)
    figure = new_figure(width, 0.75 + (0.45 if narrow else 0.3) * len(steps))
    axes = figure.add_subplot()
    for place, step in enumerate(steps):
        chance, policy = 100 * math.exp(step.chance), 100 * math.exp(step.policy)
        colour = TOWARDS if policy >= chance else AWAY
        axes.plot([chance, policy], [place, place], color=colour, linewidth=3, solid_capstyle="butt", zorder=2)
        axes.plot(chance, place, "o", color=PAPER, markeredgecolor=INK, markersize=6.5, zorder=3)
        axes.plot(policy, place, "D", color=INK, markersize=6, zorder=4)
        text = percent(policy / 100)
        axes.annotate(text, (max(chance, policy), place), (9, 0), "data", "offset points", va="center", fontsize=9)
    names = [f"{step.slots[step.slot]} = {step.choice}" for step in steps]
    _name_rows(axes, names, narrow)
    axes.set_xlim(0, 108)
    axes.set_xticks([0, 25, 50, 75, 100], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(axis="x")
    axes.plot([], [], "o", color=PAPER, markeredgecolor=INK, markersize=6.5, label="chance")
    axes.plot([], [], "D", color=INK, markersize=6, label="the policy's probability")
    figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3, columnspacing=1.2, borderpad=0)
    return figure


def _name_rows(axes: "Axes", names: Sequence[str], narrow: bool) -> None:
    """Name rows at their left; on narrow pictures above them, so that the data keep their room."""
    axes.set_ylim(len(names) - 0.45, -0.75 if narrow else -0.55)
    axes.tick_params(axis="y", length=0)
    bare(axes, "bottom")
    if not narrow:
        axes.set_yticks(range(len(names)), names)
        return
    axes.set_yticks([])
    for place, name in enumerate(names):
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(name, (0, place), (0, 7), va="bottom", fontsize=9, **where)


def _draw_bars(axes: "Axes", step: Step, scale: Scale, narrow: bool) -> None:
    axes.plot(step.chance, 0, "o", color=PAPER, markeredgecolor=INK, markersize=7, zorder=4)
    _beside(axes, step.chance, 0, percent(math.exp(step.chance)))
    at = step.chance
    for place, bar in enumerate(step.bars, start=1):
        axes.plot([at, at], [place - 1, place], color=SOFT, linewidth=0.8, linestyle=":", zorder=1)
        axes.barh(place, bar.nats, left=at, height=0.45 if narrow else 0.62, color=_COLOURS[bar.kind], zorder=3)
        _beside(axes, max(at, at + bar.nats), place, factor(bar.nats))
        at += bar.nats
    last = len(step.bars) + 1
    axes.plot([at, at], [last - 1, last], color=SOFT, linewidth=0.8, linestyle=":", zorder=1)
    if not step.bars:
        kind = "towards" if step.policy > step.chance else "away"
        axes.plot([step.chance, step.policy], [last, last], color=_COLOURS[kind], linewidth=3, zorder=2)
    axes.plot(step.policy, last, "D", color=INK, markersize=7, zorder=4)
    _beside(axes, step.policy, last, percent(math.exp(step.policy)), weight="bold")
    if step.other is not None:
        value = step.other[1]
        axes.plot(value, last + 1, "D", color=PAPER, markeredgecolor=SOFT, markersize=6, zorder=4)
        _beside(axes, value, last + 1, percent(math.exp(value)), color=SOFT)
    _name_rows(axes, step.rows, narrow)
    axes.set_xlim(scale.low, scale.high)
    ticks = [tick for tick in TICKS if scale.low <= math.log(tick) <= scale.high]
    axes.set_xticks([math.log(tick) for tick in ticks], [f"{100 * tick:g} %" for tick in ticks])
    axes.grid(axis="x")


def _beside(axes: "Axes", x: float, y: float, text: str, **style: Any) -> None:
    axes.annotate(text, (x, y), (7, 0), "data", "offset points", va="center", fontsize=9, **style)


def _draw_boxes(
    axes: "Axes",
    slots: Sequence[str],
    choices: Mapping[int, str],
    new: int,
    moved: Mapping[int, float],
    width: float,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    columns = min(_COLUMNS[is_narrow(width)], len(slots))
    lines = -(-len(slots) // columns)
    axes.set(xlim=(0, columns), ylim=(lines, 0))
    axes.axis("off")
    room = int(0.9 * width / columns / _LETTER)
    most = max([abs(value) for value in moved.values()], default=0.0)
    for slot, name in enumerate(slots):
        line, column = divmod(slot, columns)
        decided = slot in choices
        strength = abs(moved.get(slot, 0.0)) / most if most else 0.0
        colour = TOWARDS if moved.get(slot, 0.0) > 0 else AWAY
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": GRID, "linestyle": (0, (3, 2)), "linewidth": 1}
        if decided:
            style = {"facecolor": "none", "edgecolor": SOFT, "linewidth": 0.9}
        if slot == new:
            style |= {"edgecolor": INK, "linewidth": 2.2}
        place = (column + 0.05, line + 0.05)
        shape = "round,pad=0,rounding_size=0.05"
        axes.add_patch(FancyBboxPatch(place, 0.9, 0.9, boxstyle=shape, mutation_aspect=0.6, **style))
        if decided and strength > 0.02:
            axes.add_patch(FancyBboxPatch((place[0], line + 0.85), 0.9, 0.1, boxstyle="square,pad=0", linewidth=0))
            axes.patches[-1].set(facecolor=colour, alpha=0.25 + 0.75 * strength)
        _write_in_box(axes, column + 0.5, line, name, choices.get(slot, ""), room)


def _write_in_box(axes: "Axes", x: float, line: int, name: str, choice: str, room: int) -> None:
    """Write the names of a slot and of its choice into a box that has room for so many letters in a line."""
    axes.text(x, line + 0.19, shortened(name, room + 3), ha="center", va="center", fontsize=7, color=SOFT)
    wrapped = textwrap.wrap(choice, room, max_lines=3, placeholder="…", break_long_words=True) or [""]
    size, apart = (7.8, 0.25) if len(wrapped) < 3 else (6.6, 0.19)
    for row, text in enumerate(wrapped):
        y = line + 0.57 + apart * (row - (len(wrapped) - 1) / 2)
        axes.text(x, y, text, ha="center", va="center", fontsize=size, color=INK)
