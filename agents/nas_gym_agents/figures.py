"""Pictures of a search: heat maps of policy and attributions, shap's plots of the decisions, learning curves.

All functions are pure: from rows of the decision log (`nas_gym.explain.read_decisions`) and its header to matplotlib
figures that pyplot does not know, so there is nothing to close. shap draws through pyplot; `drawn_by_shap` lends it a
figure and leaves pyplot's figures, its backend, its settings and the random generators as they were.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrow
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nas_gym.explain.pictures import drawn_by_shap
from nas_gym.explain.record import FORCED, UNEXPLAINED, Header, unpack_mask

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = "cividis"  # the same order for every kind of colour vision, and in grey
NEVER = "#e8e8e8"
BEST = "#d55e00"  # vermilion and grey stay apart for every kind of colour vision
SCALE = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
CELL = 0.34  # inches
LETTER = 0.085  # inches, at the size of the labels
MOST_DOTS = 1_000
POSITIVE, NEGATIVE = "#ff0051", "#008bfb"  # shap's
PRIOR = "prior preference"


def action_shares(decisions: "pd.DataFrame", header: Header) -> NDArray[np.float64]:
    """Return the mean probability of every action, per slot: float64, (n_slots, n_actions).

    Agents without a policy: how often every action was taken. Forced decisions are left out; what was never legal, and
    the actions of slots that were never decided, are NaN.
    """
    shares = np.full((len(header.slots), header.n_actions), np.nan)
    free = decisions[(decisions["flags"] & FORCED) == 0]
    for slot, rows in free.groupby("slot"):
        if not 0 <= slot < len(shares):
            continue
        known = rows["probabilities"].dropna()
        if len(known):
            mean = np.stack(known.to_list()).astype(np.float64).mean(0)
        else:
            mean = np.bincount(rows["action"], minlength=header.n_actions)[: header.n_actions] / len(rows)
        legal = np.any([unpack_mask(mask, header.n_actions) for mask in rows["mask"].unique()], axis=0)
        shares[slot] = np.where(legal, mean, np.nan)
    return shares


def step_action_heatmap(decisions: "pd.DataFrame", header: Header) -> Figure:
    """Return a heat map of `action_shares`: one row per slot, in the order of the steps, one column per choice.

    Slots with the same choices share a panel. Grey: never legal, or never decided.
    """
    shares = action_shares(decisions, header)
    panels: dict[tuple[str, ...], list[int]] = {}
    for slot, choices in enumerate(header.choices):
        panels.setdefault(choices, []).append(slot)
    names = LETTER * max(map(len, header.slots)) + 0.2
    lines = _lines(panels, names)
    width = max(sum(names + CELL * len(choices) for choices in line) for line in lines) + 0.5
    height = sum(_height(line, panels) for line in lines) + 0.9
    figure = Figure(figsize=(width, height))
    no_policy = decisions["probabilities"].isna().all()
    title = "How often each choice was taken" if no_policy else "Mean probability of each choice, in %"
    figure.suptitle(title, x=0.02, y=1 - 0.1 / height, ha="left", va="top", fontsize=11)
    top = height - 0.5
    for line in lines:
        left = 0.1
        for choices in line:
            left += names
            size = (CELL * len(choices), CELL * len(panels[choices]))
            place = (left / width, (top - size[1]) / height, size[0] / width, size[1] / height)
            _panel(figure.add_axes(place), shares[panels[choices]], [header.slots[s] for s in panels[choices]], choices)
            left += size[0]
        top -= _height(line, panels)
    bar = figure.add_axes((names / width, 0.35 / height, min(4.0, width - names - 0.3) / width, 0.12 / height))
    figure.colorbar(figure.axes[0].collections[0], cax=bar, orientation="horizontal", ticks=SCALE)
    bar.set_xticklabels([f"{share:.0%}" for share in SCALE], fontsize=8)
    return figure


def _lines(panels: Mapping[tuple[str, ...], list[int]], names: float) -> list[list[tuple[str, ...]]]:
    """Return the panels in lines that are no wider than the widest panel."""
    widest = max(CELL * len(choices) for choices in panels) + names
    lines: list[list[tuple[str, ...]]] = []
    used = np.inf
    for choices in panels:
        width = names + CELL * len(choices)
        if used + width > widest:
            lines.append([])
            used = 0.0
        lines[-1].append(choices)
        used += width
    return lines


def _height(line: Sequence[tuple[str, ...]], panels: Mapping[tuple[str, ...], list[int]]) -> float:
    rows = max(len(panels[choices]) for choices in line)
    letters = max(len(choice) for choices in line for choice in choices)
    return CELL * rows + 0.7 * LETTER * letters + 0.3


def _panel(axes: "Axes", shares: NDArray[np.float64], slots: Sequence[str], choices: Sequence[str]) -> None:
    norm = PowerNorm(0.5, 0.0, 1.0)  # the square root, so that what is near chance can be told apart
    _cells(axes, shares[:, : len(choices)], slots, choices, norm)
    for (row, column), share in np.ndenumerate(shares[:, : len(choices)]):
        if share >= 0.095:
            axes.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", **_ink(norm(share)))


def _cells(
    axes: "Axes", values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], norm: Normalize
) -> None:
    colours = colormaps[COLOURS].with_extremes(bad=NEVER)
    axes.pcolormesh(np.ma.masked_invalid(values), cmap=colours, norm=norm, edgecolors="white", linewidth=1)
    axes.invert_yaxis()
    middles = np.arange(max(len(rows), len(columns))) + 0.5
    axes.set_yticks(middles[: len(rows)], rows, fontsize=9)
    axes.set_xticks(middles[: len(columns)], columns, fontsize=9, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _ink(brightness: float) -> dict[str, Any]:
    return {"ha": "center", "va": "center", "fontsize": 8, "color": "black" if brightness > 0.55 else "white"}


def group_step_heatmap(decisions: "pd.DataFrame", header: Header) -> Figure:
    """Return a heat map of the mean absolute attribution of every group (row) at the decision of every slot (column).

    Forced and unexplained decisions are left out. Grey: the group was never decided before, so nothing to attribute.
    """
    values = np.full((len(header.groups), len(header.slots)), np.nan)
    for slot, rows in explained(decisions).groupby("slot"):
        if 0 <= slot < len(header.slots):
            phi, decided = np.abs(np.stack(rows["phi"].to_list())), np.stack(rows["observation"].to_list()) > 0
            values[:, slot] = np.where(decided.any(0), phi.mean(0), np.nan)
    top = max(float(np.nanmax(values, initial=0.0)), 1e-6)
    names = LETTER * max(map(len, header.groups)) + 0.6
    cell = 0.5
    width, height = names + cell * len(header.slots) + 1.4, 0.38 * len(header.groups) + names + 0.8
    figure = Figure(figsize=(width, height))
    box = (names / width, (names + 0.1) / height, cell * len(header.slots) / width, 0.38 * len(header.groups) / height)
    axes = figure.add_axes(box)
    _cells(axes, values, header.groups, header.slots, Normalize(0.0, top))
    axes.set_xlabel("… moved the decision of")
    axes.set_ylabel("The choice for …")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(column + 0.5, row + 0.5, f"{value:.2f}", **_ink(value / top))
    title = "Mean |attribution| in nats of log-probability"
    figure.suptitle(title, x=0.02, y=1 - 0.1 / height, ha="left", va="top", fontsize=11)
    bar = figure.add_axes((box[0] + box[2] + 0.2 / width, box[1], 0.14 / width, box[3]))
    figure.colorbar(axes.collections[0], cax=bar)
    bar.tick_params(labelsize=8)
    return figure


def explained(decisions: "pd.DataFrame") -> "pd.DataFrame":
    """Return the decisions that averages of attributions speak of: explained, and not forced."""
    return decisions[(decisions["flags"] & (FORCED | UNEXPLAINED)) == 0]


def attribution_waterfalls(decisions: "pd.DataFrame", header: Header) -> list[tuple[str, Figure]]:
    """Return shap's waterfall of every decision of one episode, with the name of its slot.

    Read it from the bottom: from the log-probability that the uniform policy gives the choice, the prior preference
    leads to the baseline `phi0`, and the attributions of the earlier decisions, sorted by size, to what the policy gave
    the choice. Forced decisions, and those without attributions, are left out.
    """
    return [(_slot(row, header), _waterfall(row, header)) for row in _records(explained(decisions))]


def _waterfall(row: Mapping[Any, Any], header: Header) -> Figure:
    groups = [g for g in range(len(row["phi"])) if row["observation"][g]]
    prior = row["phi0"] - row["log_uniform"]
    values = np.array([row["phi"][g] for g in groups] or [prior], dtype=np.float64)
    names = [header.groups[g] for g in groups] or [PRIOR]
    data = [_choice(header, g, row["observation"][g] - 1) for g in groups] or ["nothing decided"]
    start = row["phi0"] if groups else row["log_uniform"]
    with drawn_by_shap() as (shap, figure):
        one = shap.Explanation(values, start, np.array(data, dtype=object), feature_names=names)
        if groups:  # shap fits its scale to what is there; the invisible bar leaves room for its numbers
            steps = np.cumsum([row["log_uniform"], prior, *values[np.argsort(np.abs(values))]])
            bars, room = figure.add_subplot(), 0.16 * np.ptp(steps)
            bars.barh(-1, np.ptp(steps) + 2 * room, left=steps.min() - room, alpha=0)
            bars.barh(-1, prior, left=row["log_uniform"], height=0.8, color=_colour(prior))
        shap.plots.waterfall(one, max_display=len(values), show=False)
    _point_arrows(figure, values, start)
    if groups:
        _name_prior(figure, prior, max(row["log_uniform"], row["phi0"]))
    _name_ends(figure, row, header)
    return figure


def _point_arrows(figure: Figure, values: NDArray[np.float64], start: float) -> None:
    """Put arrows of values shorter than shap's arrow heads in their place: shap turns them round."""
    upwards = values[np.argsort(-np.abs(values))][::-1]
    tips = start + np.cumsum(upwards)
    for arrow in figure.axes[0].patches:
        if isinstance(arrow, FancyArrow):
            row = round(float(arrow.get_xy()[:, 1].mean()))
            if not np.isclose(np.ptp(arrow.get_xy()[:, 0]), abs(upwards[row])):
                tail = tips[row] - upwards[row]
                arrow.set_xy([(tail, row - 0.4), (tips[row], row), (tail, row + 0.4)])


def _name_prior(figure: Figure, prior: float, end: float) -> None:
    """Name the row below shap's, and make room for it."""
    axes = figure.axes[0]
    axes.text(end, -1, f" {prior:+.2f}".replace("-", "−"), va="center", color=_colour(prior), fontsize=12)
    axes.axhline(-1, color="#cccccc", linewidth=0.5, dashes=(1, 5), zorder=-1)
    axes.set_yticks([*axes.get_yticks(), -1], [*(label.get_text() for label in axes.get_yticklabels()), PRIOR])
    axes.get_yticklabels()[-1].set_color("black")
    axes.set_ylim(-1.6, axes.get_ylim()[1])
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + 0.5)


def _colour(value: float) -> str:
    return POSITIVE if value >= 0 else NEGATIVE


def _name_ends(figure: Figure, row: Mapping[Any, Any], header: Header) -> None:
    """Write what the decision is and what the two ends are, in place of shap's E[f(X)] and f(x)."""
    axes, start, end = figure.axes
    total = row["phi0"] + float(np.sum(row["phi"]))
    chance = f"\nchance, 1 of {row['n_valid']}: {np.exp(row['log_uniform']):.1%}"
    start.set_xticks([row["log_uniform"]], [chance], fontsize=11)
    end.set_xticks([total], [f"policy: {np.exp(total):.1%}"], fontsize=11)
    axes.set_xlabel("\nlog-probability of the choice, in nats", fontsize=11)
    title = f"{_slot(row, header)} = {_choice(header, row['slot'], row['action'])}"
    axes.set_title(title, pad=30, fontsize=13, loc="left")


def attribution_bar(decisions: "pd.DataFrame", header: Header) -> Figure:
    """Return shap's bar plot: the mean absolute attribution of every group over the explained decisions."""
    with drawn_by_shap() as (shap, figure):
        axes = shap.plots.bar(_explanation(shap, explained(decisions), header), max_display=None, show=False)
    axes.set_xlabel("mean |attribution|, in nats of log-probability", fontsize=11)
    return figure


def attribution_beeswarm(decisions: "pd.DataFrame", header: Header) -> Figure:
    """Return shap's beeswarm: one dot per decision and group, at its attribution; the latest `MOST_DOTS` decisions.

    The colour is the probability that the policy gave the choice.
    """
    style = {"color": colormaps[COLOURS], "color_bar_label": "probability of the choice"}
    with drawn_by_shap() as (shap, figure):
        latest = _explanation(shap, explained(decisions).iloc[-MOST_DOTS:], header)
        axes = shap.plots.beeswarm(latest, max_display=None, show=False, **style)
    axes.set_xlabel("attribution, in nats of log-probability", fontsize=11)
    return figure


def _explanation(shap: Any, decisions: "pd.DataFrame", header: Header) -> Any:
    phi = np.stack(decisions["phi"].to_list()).astype(np.float64)
    probability = np.exp(decisions["logp"].to_numpy(np.float64))
    data = np.repeat(probability[:, None], phi.shape[1], axis=1)
    return shap.Explanation(phi, decisions["phi0"].to_numpy(np.float64), data, feature_names=list(header.groups))


def curves_figure(curves: Mapping[int, Sequence[float]], best: int | None = None) -> Figure:
    """Return the validation curves of all trainings, the best one highlighted.

    Args:
        curves: Validation accuracy after every epoch, by the number of the evaluation.
        best: The number of the one to highlight.
    """
    figure = Figure(figsize=(7, 4.5))
    axes = figure.add_subplot()
    lines = [list(enumerate(curve, start=1)) for curve in curves.values()]
    faint = max(0.06, min(0.6, 15 / max(1, len(curves))))
    axes.add_collection(LineCollection(lines, colors="#444444", alpha=faint, linewidths=1))
    axes.scatter([len(c) for c in lines if c], [c[-1][1] for c in lines if c], color="#444444", alpha=faint, s=12)
    if best is not None and best in curves:
        name = f"evaluation {best}: {curves[best][-1]:.3f}"
        axes.plot(range(1, len(curves[best]) + 1), curves[best], color=BEST, linewidth=2.5, marker="o", label=name)
        axes.legend(loc="lower right", frameon=False, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)
    axes.set(xlabel="epoch", ylabel="validation accuracy")
    axes.set_title(f"{len(curves)} trainings", loc="left", fontsize=11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _records(decisions: "pd.DataFrame") -> list[dict[Any, Any]]:
    records: list[dict[Any, Any]] = decisions.sort_values("step").to_dict("records")
    return records


def _slot(row: Mapping[Any, Any], header: Header) -> str:
    return header.slots[row["slot"]] if 0 <= row["slot"] < len(header.slots) else f"decision {row['step'] + 1}"


def _choice(header: Header, slot: int, choice: int) -> str:
    known = 0 <= slot < len(header.choices) and 0 <= choice < len(header.choices[slot])
    return header.choices[slot][choice] if known else f"choice {choice}"
