"""Pictures of what mattered in a search; drawn without pyplot, and the same for the same importance."""

from collections.abc import Callable
from textwrap import fill
from typing import Any, TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nas_gym.explain.archive import UNDECIDED
from nas_gym.explain.importance_record import Importance
from nas_gym.explain.importance_words import trust_words
from nas_gym.explain.pictures import drawn_by_shap
from nas_gym.explain.search_pictures import ablation_figure, motifs_figure
from nas_gym.explain.variance_shares import VarianceShares

T = TypeVar("T")
COLOURS = "cividis"
BAR, REFERENCE, INK, NEVER = "#0072b2", "#d55e00", "#1f2933", "#e8e8e8"
# Okabe and Ito's, apart for every kind of colour vision; the last is for all other choices.
PARTNERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#9aa5b1")
MOST_PANELS = 4
WORTH_COLOURS = 0.01  # of the variance
SPREAD = 0.25  # of the dots of a choice, to both sides
LETTER = 0.085  # inches
WIDE = 95  # letters of a line of a title


def figures(importance: Importance) -> dict[str, Figure]:
    """Return the figures that an importance has something to show in, by name."""
    drawn: dict[str, Callable[[Importance], Figure]] = {}
    if importance.surrogate is not None and importance.attributions is not None:
        drawn |= {"importance": importance_figure, "beeswarm": beeswarm_figure, "dependence": dependence_figure}
    if importance.path is not None:
        drawn["ablation"] = ablation_figure
    if importance.motifs.motifs:
        drawn["motifs"] = motifs_figure
    return {name: draw(importance) for name, draw in drawn.items()}


def importance_figure(importance: Importance) -> Figure:
    """Return bars of three measures of importance for every slot, and what pairs of slots add."""
    shares, reference = _known(importance.surrogate), importance.table
    n = len(importance.archive.slots)
    both = [shares] if reference is None else [shares, reference]
    heights = 0.32 * n + 0.9, max(3.2, 0.5 * n + 2.0)
    figure = Figure(figsize=(12, sum(heights) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    bars, maps = np.ravel(figure.subfigures(2, 1, height_ratios=heights, squeeze=False))
    figure.suptitle(_heading("Which decisions mattered in this search", importance), x=0.01, ha="left", fontsize=11)
    _bars(bars, importance)
    top = max(1.0, *(100 * np.max(one.pairs) for one in both))
    for axes, one in zip(maps.subplots(1, 2), [*both, None][:2], strict=True):
        if one is None or n == 1:
            axes.set_axis_off()
        else:
            _pair_map(axes, one, importance.archive.names, top)
    return figure


def _bars(part: SubFigure, importance: Importance) -> None:
    order = importance.order[::-1]  # matplotlib counts from below
    names = [importance.archive.names[slot] for slot in order]
    shares, reference = _known(importance.surrogate), importance.table
    assert importance.attributions is not None
    permutation = np.array(importance.permutation)[order]
    left, middle, right = part.subplots(1, 3, sharey=True)
    places = np.arange(len(order))
    left.barh(places, 100 * np.array(shares.main)[order], color=BAR, height=0.6, label="by the surrogate")
    if reference is not None:
        left.plot(
            100 * np.array(reference.main)[order],
            places,
            "D",
            color=REFERENCE,
            markersize=6,
            label="by the whole table",
        )
        left.legend(loc="lower right", frameon=False, fontsize=8)
    left.set_title(
        f"Alone: its share of the variance\nof the reward, in % (functional ANOVA){_length(shares)}", **_title()
    )
    middle.barh(places, permutation[:, 0], xerr=permutation[:, 1], color=BAR, height=0.6, ecolor=INK, capsize=3)
    middle.set_title("Shuffled: rise of the held-out error, in\nvariances of the reward (permutation)", **_title())
    right.barh(places, importance.attributions.mean[order], color=BAR, height=0.6)
    right.set_title("How far it moves a prediction on average,\nin units of the reward (mean |SHAP|)", **_title())
    left.set_yticks(places, names, fontsize=9)
    for axes in (left, middle, right):
        _plain(axes)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _length(shares: VarianceShares) -> str:
    if abs(shares.length) < 0.0005:
        return ""
    return f"\namong networks of one length (length: {100 * shares.length:.0f} %)"


def _pair_map(axes: Axes, shares: VarianceShares, names: tuple[str, ...], top: float) -> None:
    """Draw the lower triangle of what pairs add, in colours from 0 to ``top`` per cent."""
    n = len(names)
    values = 100 * np.array(shares.pairs)
    shown = np.ma.masked_where(~np.tri(n, k=-1, dtype=bool), values)[1:, :-1]
    colours = colormaps[COLOURS].with_extremes(bad="white")
    axes.pcolormesh(shown, cmap=colours, vmin=0.0, vmax=top, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    axes.set_aspect("auto")
    for (row, column), value in np.ndenumerate(shown):
        if not np.ma.getmaskarray(shown)[row, column]:
            ink = "black" if value > 0.55 * top else "white"
            text = f"{value:.1f}".replace("-0.0", "0.0")
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=ink)
    axes.set_yticks(np.arange(n - 1) + 0.5, names[1:], fontsize=9)
    axes.set_xticks(np.arange(n - 1) + 0.5, names[:-1], fontsize=9, rotation=40, ha="right")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    who = "the surrogate" if shares.source == "surrogate" else "the whole table"
    title = f"Together: what a pair adds beyond its two decisions, in % of the variance, by {who} ({shares.over})"
    if not shares.complete:
        title += "; below 0 where both tell the same"
    axes.set_title(fill(title, 62), **_title())


def beeswarm_figure(importance: Importance) -> Figure:
    """Return shap's beeswarm: a dot per network and slot, at what its choice added to the prediction."""
    found = _known(importance.attributions)
    typical = _mean_rewards(importance)[found.rows]
    style = {"color": colormaps[COLOURS], "color_bar_label": "mean reward of its choice"}
    with drawn_by_shap() as (shap, figure):
        names = list(importance.archive.names)
        size = (10, 0.42 * len(names) + 1.6)
        explanation = shap.Explanation(found.values, found.start, typical, feature_names=names)
        axes = shap.plots.beeswarm(explanation, max_display=None, show=False, plot_size=size, **style)
    axes.set_xlabel("what the choice added to the predicted reward (SHAP value)", fontsize=11)
    axes.tick_params(axis="y", labelsize=10)
    figure.axes[-1].yaxis.label.set_fontsize(10)
    text = "What every network's choices added to its predicted reward: a dot is a network"
    figure.suptitle(_heading(text, importance), x=0.01, y=1.0, ha="left", va="bottom", fontsize=11)
    return figure


def _mean_rewards(importance: Importance) -> NDArray[np.float64]:
    """Return, for every network and slot, the mean reward of the networks with the same choice."""
    decisions, rewards = importance.archive.decisions, importance.archive.rewards
    means = np.empty(decisions.shape)
    for slot in range(decisions.shape[1]):
        codes = decisions[:, slot] + 1
        with np.errstate(invalid="ignore"):
            means[:, slot] = (np.bincount(codes, weights=rewards) / np.bincount(codes))[codes]
    return means


def dependence_figure(importance: Importance) -> Figure:
    """Return shap's dependence plots of the slots that move predictions most, by choice."""
    found, archive = _known(importance.attributions), importance.archive
    slots = [int(slot) for slot in np.argsort(-found.mean, kind="stable")[:MOST_PANELS]]
    widest = max(len(np.unique(archive.decisions[:, slot])) for slot in slots)
    columns = 2 if widest <= 10 and len(slots) > 1 else 1
    lines = -(-len(slots) // columns)
    letters = max(len(archive.choice(s, int(a))) for s in slots for a in np.unique(archive.decisions[:, s]))
    width = columns * max(5.2, 0.42 * widest + 3.2)
    blank = Figure(figsize=(width, lines * (3.1 + 0.6 * LETTER * letters) + 0.9), layout="constrained")
    with drawn_by_shap(blank) as (shap, figure):
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, slot in zip(panels, slots, strict=False):
            _dependence(shap, axes, importance, slot)
        for axes in panels[len(slots) :]:
            axes.set_axis_off()
    text = (
        "What each choice added to the predicted reward of the networks that have it. Where there are colours, they\n"
        "are the choices of the decision that it acts together with most"
    )
    figure.suptitle(_heading(text, importance), x=0.01, ha="left", fontsize=11)
    return figure


def _dependence(shap: Any, axes: Axes, importance: Importance, slot: int) -> None:
    found, archive = _known(importance.attributions), importance.archive
    decisions = archive.decisions[found.rows]
    taken = sorted(np.unique(archive.decisions[:, slot]).tolist(), key=lambda action: (action == UNDECIDED, action))
    shift = np.random.default_rng(0).uniform(-SPREAD, SPREAD, len(decisions))
    places = np.array([taken.index(action) for action in decisions[:, slot].tolist()]) + shift
    partner = _partner(importance, slot)
    axes.axhline(0, color="#888888", linewidth=0.8, zorder=0)
    groups = _groups(importance, decisions[:, partner], partner, alone=partner == slot)
    for _, colour, dots in groups:
        values, name = found.values[dots, slot], archive.names[slot]
        one = shap.Explanation(values, found.start, places[dots], feature_names=name)
        shap.plots.scatter(one, color=colour, hist=False, x_jitter=0, dot_size=18, ax=axes, show=False)
    axes.set_xlim(-0.6, len(taken) - 0.4)
    names = [archive.choice(slot, action) for action in taken]
    axes.set_xticks(range(len(taken)), names, fontsize=9, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlabel("")
    axes.set_ylabel("SHAP value, in units of the reward", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.set_title(f"The choice for {archive.names[slot]}", loc="left", fontsize=10)
    if partner != slot:
        handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=label) for label, colour, _ in groups]
        style: dict[str, Any] = {"title_fontsize": 8, "fontsize": 8, "frameon": False, "markerscale": 0.8}
        axes.legend(
            handles=handles, title=archive.names[partner], loc="upper left", bbox_to_anchor=(1.0, 1.02), **style
        )


def _partner(importance: Importance, slot: int) -> int:
    """Return the slot that a slot acts together with most; itself, if that adds less than `WORTH_COLOURS`."""
    pairs = np.array(_known(importance.surrogate).pairs)[slot]
    return int(np.argmax(pairs)) if pairs.max() >= WORTH_COLOURS else slot


def _groups(
    importance: Importance, actions: NDArray[np.int16], partner: int, *, alone: bool
) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Return label, colour and dots of every group of networks: by the choice of the slot that this one acts with."""
    if alone:
        return [("", BAR, np.ones(len(actions), dtype=bool))]
    kinds, counts = np.unique(actions, return_counts=True)
    often = kinds[np.argsort(-counts, kind="stable")].tolist()
    most = len(PARTNERS) if len(often) <= len(PARTNERS) else len(PARTNERS) - 1
    groups = [
        (importance.archive.choice(partner, action), colour, np.asarray(actions == action))
        for action, colour in zip(often[:most], PARTNERS, strict=False)
    ]
    rest = np.isin(actions, often[most:])
    return [*groups, ("others", PARTNERS[-1], rest)] if rest.any() else groups


def _heading(text: str, importance: Importance) -> str:
    return f"{text}\n{fill(trust_words(importance.trust), WIDE)}"


def _title() -> dict[str, Any]:
    return {"loc": "left", "fontsize": 9.5}


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _known(part: T | None) -> T:
    assert part is not None, "drawn only where it is there"
    return part
