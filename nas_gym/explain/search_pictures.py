"""Pictures of the ablation path and of the motifs of a search."""

from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_gym.explain.ablation import Step
from nas_gym.explain.importance_record import Importance
from nas_gym.explain.importance_words import trust_words
from nas_gym.explain.motifs import Motif

GAIN, LOSS, INK, PALE = "#0072b2", "#d55e00", "#1f2933", "#9aa5b1"
MOST_MOTIFS, MOST_CHANCE = 14, 6
LINE = 60
LETTER = 0.078  # inches


def ablation_figure(importance: Importance) -> Figure:
    """Return the path from the median network to the best one: a bar per step, from the reward before to that after."""
    path, told = importance.path, importance.archive.told
    assert path is not None, "drawn only where it is there"
    labels = [path.start[0].upper() + path.start[1:], *map(_step, path.steps), "The best network"]
    lines = sum(label.count("\n") + 1 for label in labels)
    left = LETTER * max(len(line) for label in labels for line in label.split("\n")) + 0.2
    below = (
        "Each step takes over the decision of the best network that gains most there. One order of many: in another "
        "order, the gains differ."
    )
    if "surrogate" in path.source:
        below += f" {trust_words(importance.trust)}"
    title = "From an ordinary network of the search to its best, decision by decision"
    figure, axes = _figure(left + 5.6, left, 0.18 * lines + 0.18 * len(labels), title, below)
    values = [path.start_value, *(step.value for step in path.steps)]
    room = 0.16 * (max(values) - min(values)) or 0.01
    for row, step in enumerate(path.steps, start=1):
        before, colour = step.value - step.gain, GAIN if step.gain >= 0 else LOSS
        axes.barh(row, step.gain, left=before, color=colour, height=0.6)
        axes.plot([before, before], [row - 1, row + 0.3], color=PALE, linewidth=0.8, zorder=0)
        text = told(step.gain, "+").replace("-", "−")
        axes.text(max(step.value, before), row, f" {text}", va="center", fontsize=9, color=colour)
    for row, value in ((0, path.start_value), (len(labels) - 1, path.end_value)):
        axes.plot(value, row, "o", color=INK, markersize=6)
        axes.text(value, row, f"  {told(value)}", va="center", fontsize=9, color=INK)
    axes.set_xlim(min(values) - 0.4 * room, max(values) + 1.6 * room)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel(f"reward, {path.source}", fontsize=10)
    return figure


def _step(step: Step) -> str:
    return "\n".join(f"{change.slot}: {change.old} → {change.new}" for change in step.changes)


def motifs_figure(importance: Importance) -> Figure:
    """Return for every motif its share in the best tenth and in the rest."""
    motifs = importance.motifs
    shown = motifs.found[:MOST_MOTIFS] or motifs.motifs[:MOST_CHANCE]
    left = LETTER * max(len(line) for motif in shown for line in _wrapped(motif.words).split("\n")) + 0.2
    lines = sum(_wrapped(motif.words).count("\n") + 1 for motif in shown)
    note = f"{len(motifs.found)} of {motifs.tested} motifs pass at a false discovery rate of 5 %"
    note += "" if motifs.found else ": what is shown may be chance"
    below = f"{note}. Networks of one search are not independent, so that q is too low."
    title = "What the best tenth of the networks have more often, or less often, than the rest"
    figure, axes = _figure(left + 6.6, left, 0.17 * lines + 0.17 * len(shown) + 0.1, title, below)
    for row, motif in enumerate(shown):
        top, rest = 100 * motif.in_top / motifs.top, 100 * motif.in_rest / motifs.rest
        axes.plot([rest, top], [row, row], color=PALE, linewidth=2, zorder=1)
        axes.plot(rest, row, "o", color=PALE, markersize=8, zorder=2, label=_once(row, f"the other {motifs.rest}"))
        label = _once(row, f"the best tenth, {motifs.top} networks")
        axes.plot(top, row, "D", color=GAIN, markersize=7, zorder=3, label=label)
        axes.text(1.02, row, _evidence(motif), va="center", fontsize=8.5, color=INK, transform=_beside(axes))
    axes.set_yticks(range(len(shown)), [_wrapped(motif.words) for motif in shown], fontsize=9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(-4, 104)
    axes.set_xlabel("networks that have it, in %", fontsize=10)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False, fontsize=9, borderaxespad=0.1)
    return figure


def _wrapped(words: str) -> str:
    """Return a motif in lines that end at arrows."""
    return fill(words.replace(" ", "\u00a0").replace("→\u00a0", "→ "), LINE)


def _once(row: int, label: str) -> str | None:
    return label if row == 0 else None


def _evidence(motif: Motif) -> str:
    return f"odds ratio {motif.odds:.2g}, q = {motif.q:.2g}"


def _beside(axes: Axes) -> object:
    """Return coordinates that are shares of the axes across and data downwards."""
    return axes.get_yaxis_transform()


def _figure(width: float, left: float, height: float, title: str, below: str) -> tuple[Figure, Axes]:
    """Return a figure with a title, a text below it, and axes of a height in inches; all widths are in inches."""
    text = fill(below, round((width - 0.3) / LETTER))
    head, foot = 0.75 + 0.16 * (text.count("\n") + 1), 0.55
    whole = head + height + foot
    figure = Figure(figsize=(width, whole))
    FigureCanvasAgg(figure)
    figure.text(0.15 / width, 1 - 0.1 / whole, title, ha="left", va="top", fontsize=11)
    figure.text(0.15 / width, 1 - 0.34 / whole, text, ha="left", va="top", fontsize=9, color="#52606d")
    axes = figure.add_axes((left / width, foot / whole, 4.6 / width, height / whole))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e4e7eb")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    return figure, axes
