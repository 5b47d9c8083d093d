"""The pictures of a report: anytime curves, what was reached at the end, who is ahead of whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_gym_agents.benchmark.summary import AgentSummary, Curve, Summary, TrackSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008: apart for every kind of colour vision. Beyond them, other dashes.
_HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6f00", "#8a8f98")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "D")
_APART = 0.062  # of the height of a picture, between labels
_SHOWN = 0.02  # share of the budget at which the picture begins
_BEGUN = 0.06  # share of the budget before which curves may leave the picture below


@dataclass(frozen=True)
class Theme:
    """Colours of what is no data.

    Attributes:
        ink: Text and axes.
        paper: Behind everything.
        grid: Lines behind the data.
        low: Of the improvement matrix, at probability 0.
        middle: At probability 1/2.
        high: At probability 1.
    """

    ink: str
    paper: str
    grid: str
    low: str
    middle: str
    high: str


LIGHT = Theme("#1f2933", "#ffffff", "#e4e7eb", "#e8a273", "#f6f7f9", "#6baed6")
DARK = Theme("#e4e7eb", "#161b22", "#30363d", "#9a4a12", "#21262d", "#1f6fa8")


def anytime_figure(summary: Summary, env: str, theme: Theme = LIGHT) -> "Figure":
    """Return curves of the score of the best observed reward, against evaluations and against cost, for every track."""
    tracks = _tracks(summary, env)
    rows = 2 if all(one.by_cost is not None for track in tracks for one in track.agents) else 1
    figure = _figure((6.4 * len(tracks) + 0.6, 4.1 * rows), theme)
    grid: Any = figure.subplots(rows, len(tracks), squeeze=False, sharey="row")
    unit = "different candidates" if summary.results.plan.unit == "unique" else "evaluations, repeats included"
    optimum = summary.results.facts(env).get("optimum")
    for column, track in enumerate(tracks):
        for row, x_label in enumerate((unit, "simulated seconds")[:rows]):
            axes: Axes = grid[row][column]
            curves = [(one.agent, one.by_evaluations if row == 0 else one.by_cost) for one in track.agents]
            _draw_curves(axes, [(name, curve) for name, curve in curves if curve is not None], theme)
            axes.set_xlabel(x_label)
            if column == 0:
                axes.set_ylabel(f"{_score_name(summary, env)} of the best so far, %")
            if row == 0:
                axes.set_title(_track_title(track.track), loc="left")
            if optimum is not None:
                axes.axhline(100 * optimum, color=theme.ink, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
                axes.annotate(
                    f"optimum {100 * optimum:.2f}",
                    (0.01, 100 * optimum),
                    xycoords=("axes fraction", "data"),
                    xytext=(2, 3),
                    textcoords="offset points",
                    fontsize=8.5,
                    color=theme.ink,
                )
    for row in grid:
        _fit_height(row, [track.agents for track in tracks], optimum)
    for row_number, row in enumerate(grid):
        for axes, track in zip(row, tracks, strict=True):
            ends = [one.by_evaluations if row_number == 0 else one.by_cost for one in track.agents]
            _label_ends(axes, [one.agent for one in track.agents], [c for c in ends if c is not None], theme)
    return figure


def final_figure(summary: Summary, env: str, theme: Theme = LIGHT) -> "Figure":
    """Return what every agent reached at the end: interquartile means with intervals over the single searches."""
    tracks = _tracks(summary, env)
    ordered = [one.agent for one in tracks[0].ordered]
    figure = _figure((9.6, 0.9 + 0.52 * len(ordered) * (1 + 0.35 * (len(tracks) - 1))), theme)
    axes = figure.subplots()
    colours = _colours(summary)
    spread = np.random.default_rng(0)
    for t, track in enumerate(tracks):
        shift = 0.0 if len(tracks) == 1 else 0.36 * t - 0.18
        for one in track.agents:
            place = ordered.index(one.agent) + shift
            jitter = place + spread.uniform(-0.1, 0.1, len(one.final))
            faint = min(0.7, 0.15 + 12 / len(one.final))
            axes.plot(100 * one.final, jitter, ".", color=colours[one.agent], alpha=faint, markersize=4, zorder=2)
            low, middle, high = (100 * value for value in (one.iqm.low, one.iqm.value, one.iqm.high))
            axes.plot([low, high], [place, place], color=theme.ink, linewidth=2, solid_capstyle="butt", zorder=4)
            axes.plot(
                [middle],
                [place],
                _MARKERS[t % 2],
                color=colours[one.agent],
                markeredgecolor=theme.ink,
                markersize=8,
                zorder=5,
            )
    optimum = summary.results.facts(env).get("optimum")
    if optimum is not None:
        axes.axvline(100 * optimum, color=theme.ink, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    values = np.concatenate([one.final for track in tracks for one in track.agents])
    low = float(np.quantile(values, 0.02))
    high = max(float(values.max()), optimum or 0.0)
    axes.set_xlim(100 * low - 8 * (high - low) - 1e-3, 100 * high + 4 * (high - low) + 1e-3)
    axes.set_yticks(range(len(ordered)), ordered)
    axes.invert_yaxis()
    axes.set_xlabel(f"{_score_name(summary, env)} of the answer, %" + (" (dashed: optimum)" if optimum else ""))
    if len(tracks) > 1:
        named = "    ".join(f"{mark} {_track_title(t.track)}" for mark, t in zip("●◆", tracks, strict=False))
        axes.set_title(named, loc="left", fontsize=10)
    axes.grid(axis="y", visible=False)
    return figure


def improvement_figure(summary: Summary, env: str, theme: Theme = LIGHT) -> "Figure":
    """Return the probabilities that a search of the row's agent ends better than one of the column's, by track."""
    from matplotlib.colors import LinearSegmentedColormap

    tracks = _tracks(summary, env)
    n = len(tracks[0].agents)
    side = max(0.8 * n, 4.2)
    figure = _figure((len(tracks) * (side + 0.4) + 1.8, 0.55 * n + 2.0), theme)
    grid: Any = figure.subplots(1, len(tracks), squeeze=False)
    shades = LinearSegmentedColormap.from_list("improvement", [theme.low, theme.middle, theme.high])
    names = [one.agent for one in tracks[0].ordered]
    for axes, track in zip(grid[0], tracks, strict=True):
        values = np.full((n, n), 0.5)
        for (first, second), one in track.improvement.items():
            values[names.index(first), names.index(second)] = one.value
        axes.imshow(values, cmap=shades, vmin=0, vmax=1, aspect="auto")
        for (first, second), one in track.improvement.items():
            sure = one.low > 0.5 or one.high < 0.5
            axes.text(
                names.index(second),
                names.index(first),
                f"{one.value:.2f}",
                ha="center",
                va="center",
                fontsize=9,
                weight="bold" if sure else "normal",
                color=theme.ink,
            )
        axes.set_xticks(range(n), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), names if axes is grid[0][0] else [""] * n)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(_track_title(track.track), loc="left")
    return figure


def _tracks(summary: Summary, env: str) -> list[TrackSummary]:
    return [track for (name, _), track in summary.tracks.items() if name == env]


def _figure(size: tuple[float, float], theme: Theme) -> "Figure":
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Themed(Figure):
        """A figure whose axes are themed."""

        def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
            axes = super().add_subplot(*args, **kwargs)
            axes.set_facecolor(theme.paper)
            axes.tick_params(colors=theme.ink, labelsize=9)
            for name, spine in axes.spines.items():
                spine.set_color(theme.ink)
                spine.set_linewidth(0.8)
                spine.set_visible(name in ("left", "bottom"))
            axes.xaxis.label.set_color(theme.ink)
            axes.yaxis.label.set_color(theme.ink)
            for title in (axes.title, axes._left_title):  # type: ignore[attr-defined]
                title.set_color(theme.ink)
                title.set_fontsize(11)
            axes.grid(color=theme.grid, linewidth=0.8)
            axes.set_axisbelow(True)
            return axes

    with mpl.rc_context():
        figure = Themed(figsize=size, layout="constrained", facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def _colours(summary: Summary) -> dict[str, str]:
    return {agent: _HUES[i % len(_HUES)] for i, agent in enumerate(summary.results.plan.agents)}


def _draw_curves(axes: "Axes", curves: Sequence[tuple[str, Curve]], theme: Theme) -> None:
    for i, (_, curve) in enumerate(curves):
        colour, dashes = _HUES[i % len(_HUES)], _DASHES[(i // len(_HUES)) % len(_DASHES)]
        axes.fill_between(
            curve.spent, 100 * curve.low, 100 * curve.high, step="post", color=colour, alpha=0.15, linewidth=0
        )
        steps: dict[str, Any] = {"drawstyle": "steps-post", "linewidth": 1.8, "zorder": 3}
        axes.plot(curve.spent, 100 * curve.middle, dashes, color=colour, **steps)
    axes.set_xscale("log")
    last = max(float(curve.spent[-1]) for _, curve in curves)
    axes.set_xlim(max(min(float(curve.spent[0]) for _, curve in curves), _SHOWN * last), last)
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _fit_height(row: Sequence["Axes"], tracks: Sequence[Sequence[AgentSummary]], optimum: float | None) -> None:
    """Show what happens after the beginning; the first few evaluations say nothing."""
    shown = []
    for agents in tracks:
        for one in agents:
            curve = one.by_evaluations
            begun = curve.spent >= _BEGUN * curve.spent[-1]
            shown += [curve.low[begun], curve.high[begun]]
    values = np.concatenate(shown)
    low = float(np.nanmin(values))
    high = max(float(np.nanmax(values)), optimum or 0.0)
    room = max(high - low, 1e-4)
    row[0].set_ylim(100 * (low - 0.03 * room), 100 * (high + 0.10 * room))


def _label_ends(axes: "Axes", names: Sequence[str], curves: Sequence[Curve], theme: Theme) -> None:
    """Write every agent's name beside the end of its curve, apart from the others."""
    bottom, top = axes.get_ylim()
    ends = np.array([(100 * curve.middle[-1] - bottom) / (top - bottom) for curve in curves])
    places = _spread(np.clip(ends, 0, 1), _APART)
    for i, name in enumerate(names):
        colour = _HUES[i % len(_HUES)]
        axes.annotate(
            name,
            xy=(1.0, float(np.clip(ends[i], 0, 1))),
            xycoords="axes fraction",
            xytext=(1.045, float(places[i])),
            textcoords="axes fraction",
            va="center",
            fontsize=9.5,
            color=theme.ink,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 1.6,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _spread(wanted: np.ndarray[Any, Any], apart: float) -> np.ndarray[Any, Any]:
    """Return places at least so far apart, in the order wanted and near it, within [0, 1] if there is room."""
    order = np.argsort(wanted, kind="stable")
    places = wanted[order].astype(float)
    for _ in range(200):
        gaps = np.diff(places)
        close = np.flatnonzero(gaps < apart - 1e-9)
        if not len(close):
            break
        for i in close:
            push = (apart - (places[i + 1] - places[i])) / 2
            if push > 0:
                places[i] -= push
                places[i + 1] += push
        if places[-1] > 1:
            places -= np.linspace(0, 1, len(places)) * (places[-1] - 1)
    if places[0] < 0:
        places += -places[0]
    result = np.empty_like(places)
    result[order] = places
    return result


def _score_name(summary: Summary, env: str) -> str:
    score = summary.results.facts(env).get("score")
    return "reward" if score is None else f"{score} accuracy"


def _track_title(track: str) -> str:
    if not track.startswith("noise "):
        return "noise-free rewards"
    return f"noisy rewards (±{100 * float(track.split()[1]):g} points)"
