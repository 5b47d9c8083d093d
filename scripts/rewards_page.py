"""The figure and the table of ``compare_rewards.py``, from the numbers that it measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_gym.errors import ConfigurationError

BEGIN = "<!-- written by scripts/compare_rewards.py: begin -->"
END = "<!-- written by scripts/compare_rewards.py: end -->"

_KINDS = {  # colours that are apart for every kind of colour vision; markers say the same
    "proxy": ("#d55e00", "o", "no training: proxies"),
    "supernet": ("#cc79a7", "D", "one supernet for all networks"),
    "cheaper training": ("#0072b2", "s", "cheaper trainings"),
    "stopped early": ("#009e73", "^", "full trainings, stopped early"),
    "full training": ("#1f2933", "*", "one full training"),
}
_INK, _MUTED, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_TICKS = (-0.95, -0.9, -0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
_LARGEST = 0.9995  # correlation that the figure can show
_COUNTED = ("parameters", "macs")  # proxies that look at no weights

Told = Mapping[str, Any]
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels


def draw(told: Told, out: Path) -> None:
    """Draw what rewards cost against how well they order networks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, FuncFormatter, NullFormatter

    rows = [row for row in told["rewards"] if row["spearman"] is not None]
    figure = Figure(figsize=(9, 6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for kind, (colour, marker, label) in _KINDS.items():
        mine = [row for row in rows if row["kind"] == kind]
        if not mine:
            continue
        x, y = ([row[name] for row in mine] for name in ("seconds", "spearman"))
        ends = np.abs(np.array([row["spearman_95"] for row in mine], dtype=np.float64).T - y)
        if kind == "stopped early":
            axes.plot(x, y, "-", color=colour, linewidth=1, alpha=0.5, zorder=2)
        axes.errorbar(x, y, ends, fmt="none", ecolor=colour, elinewidth=1.3, capsize=2.5, zorder=3)
        size = 13 if marker == "*" else 6.5
        axes.plot(x, y, marker, color=colour, markersize=size, markeredgecolor="white", label=label, zorder=4)
    for row in rows:
        if "inference_seconds" in row:
            colour = _KINDS[row["kind"]][0]
            axes.plot([row["inference_seconds"], row["seconds"]], [row["spearman"]] * 2, ":", color=colour, zorder=2)
            axes.plot(row["inference_seconds"], row["spearman"], "D", color=colour, markersize=6, mfc="white", zorder=4)
    ceiling = next((row["spearman"] for row in rows if row["kind"] == "full training"), None)
    if ceiling is not None:
        axes.axhline(ceiling, color=_MUTED, linestyle="--", linewidth=1, zorder=1)
    axes.axhline(0, color=_MUTED, linewidth=0.8, zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("function", functions=(_stretched, np.tanh))
    axes.yaxis.set_major_locator(FixedLocator(_TICKS))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    least = min([0.0] + [row["spearman_95"][0] for row in rows])
    most = max(row["spearman_95"][1] for row in rows)
    axes.set_ylim(np.tanh(_stretched(least) - 0.15), np.tanh(_stretched(most) + 0.3))
    axes.set_xlim(min(_left(row) for row in rows) / 2, max(row["seconds"] for row in rows) * 2.5)
    axes.set(
        xlabel="cost of one network, on one thread",
        ylabel="Spearman correlation with full training (stretched towards 1)",
    )
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    table = told["table"]
    axes.set_title(
        f"{table['looked_at']:,} networks of the table {table['name']}; bars are 95 % intervals. Cheaper "
        f"trainings: {told['settings']['subset']:,} of them",
        loc="left",
        fontsize=10,
    )
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    canvas.draw()  # type: ignore[no-untyped-call]
    _label(axes, canvas, rows, ceiling)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def _stretched(correlation: Any) -> Any:
    """Return Fisher's z: an axis that stretches towards 1, where the trainings crowd."""
    return np.arctanh(np.clip(correlation, -_LARGEST, _LARGEST))


def _left(row: Told) -> float:
    return float(row.get("inference_seconds", row["seconds"]))


def _label(axes: Any, canvas: Any, rows: Sequence[Told], ceiling: float | None) -> None:
    """Write the names beside the points, each where it covers least, and the line's name where there is room."""
    renderer = canvas.get_renderer()
    place = axes.transData.transform
    scale = renderer.points_to_pixels(1.0)
    taken: list[Box] = []
    legend = axes.get_legend().get_window_extent(renderer)
    taken.append((legend.x0, legend.y0, legend.x1, legend.y1))
    for row in rows:
        x, y = place((row["seconds"], row["spearman"]))
        low, high = (place((row["seconds"], end))[1] for end in row["spearman_95"])
        taken += [(x - 5 * scale, y - 5 * scale, x + 5 * scale, y + 5 * scale), (x - 4, low - 2, x + 4, high + 2)]
        if "inference_seconds" in row:
            left = place((row["inference_seconds"], row["spearman"]))[0]
            taken += [(left - 5 * scale, y - 5 * scale, left + 5 * scale, y + 5 * scale), (left, y - 2, x, y + 2)]
    limits = axes.get_window_extent(renderer)
    for level in (0.0, ceiling):
        if level is None:
            continue
        height = place((1, level))[1]
        taken.append((limits.x0, height - 2, limits.x1, height + 2))
    ordered = sorted(rows, key=lambda row: -row["seconds"])
    for row in ordered:
        point = place((row["seconds"], row["spearman"]))
        text = axes.text(0, 0, short(row["name"]), fontsize=9, color=_KINDS[row["kind"]][0], in_layout=False)
        extent = text.get_window_extent(renderer)
        size = (extent.width + 2 * scale, extent.height)
        box = min(_places(point, size, scale), key=lambda placed: _covered(placed[0], taken, limits) + placed[1])[0]
        taken.append(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        text.set(transform=None, position=middle, ha="center", va="center")
        near = (min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3]))
        if math.dist(near, point) > 12 * scale:
            ends = [axes.transData.inverted().transform(end) for end in (near, point)]
            axes.plot(*zip(*ends, strict=True), color=_MUTED, linewidth=0.6, zorder=1.5, scalex=False, scaley=False)
    if ceiling is not None:
        x = axes.get_xlim()[0] * 1.1
        axes.annotate(
            "noise ceiling: one full training against the others",
            *((x, ceiling), (0, 4), "data", "offset points"),
            fontsize=9,
            color=_MUTED,
        )


def _places(point: Sequence[float], size: tuple[float, float], scale: float) -> Iterator[tuple[Box, float]]:
    """Give boxes of a size around a point, with what their distance costs."""
    width, height = size
    for radius in (6, 10, 16, 24, 34, 46, 60):
        for angle in range(0, 360, 15):
            direction = (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
            x = point[0] + direction[0] * (radius * scale + width / 2)
            y = point[1] + direction[1] * (radius * scale + height / 2)
            yield (x - width / 2, y - height / 2, x + width / 2, y + height / 2), radius * scale


def _covered(box: Box, taken: Sequence[Box], limits: Any) -> float:
    """Return what a box covers, in square pixels; a lot for what lies outside the axes."""
    area = 0.0
    for other in taken:
        across = min(box[2], other[2]) - max(box[0], other[0])
        up = min(box[3], other[3]) - max(box[1], other[1])
        area += max(across, 0) * max(up, 0) * 5
    outside = max(limits.x0 - box[0], box[2] - limits.x1, limits.y0 - box[1], box[3] - limits.y1, 0)
    return area + 1000 * float(outside)


def short(name: str) -> str:
    """Return the name of a reward as the figure has it."""
    plain = name.removeprefix("evaluator=").removeprefix("proxy:").removeprefix("fidelity=")
    return plain.replace(" learning_rate=", ", rate ")


def duration(seconds: float) -> str:
    """Return seconds as text of two digits, in milliseconds below a second."""
    if seconds >= 0.9995:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == round(seconds) else f"{seconds:.1f} s"
    ms = seconds * 1000
    return f"{ms:.0f} ms" if ms >= 10 or ms == round(ms) else f"{ms:.1f} ms"


def percent(share: float) -> str:
    """Return a share as text: two digits below 10 %."""
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 else f"{share:.1%}".replace("%", " %")


def write_page(told: Told, page: Path) -> None:
    """Put the table and what it shows into a page, between its markers.

    Raises:
        ConfigurationError: The page is missing or has no markers.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ConfigurationError(f"{str(page)!r} is no page with the markers {BEGIN} and {END}; add them first")
    written = "\n".join(lines(told))
    page.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}", encoding="utf-8")


def lines(told: Told) -> list[str]:
    """Return the part of the page that depends on the numbers."""
    table, settings = told["table"], told["settings"]
    recipe = table["recipe"]
    head = (
        f"Full training: {recipe['epochs']} epochs, the mean of {table['repeats']} repeats, on {table['data']} "
        f"({table['n_validation']:,} validation images); {table['looked_at']:,} networks of the table "
        f"`{table['name']}`. Costs are {told['clock']}, means over the same "
        f"{settings['subset']:,} of them, drawn at random."
    )
    rows = [
        f"| reward | networks | Spearman | on the {settings['subset']:,} | Kendall | regret | cost | of a training |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows += [_row(row) for row in told["rewards"]]
    notes = [*findings(told), *(_supernet(told, net) for net in told["supernets"]), *_failures(told["rewards"])]
    hardware, versions = told["hardware"], told["versions"]
    seconds = f"in {sum(told['part_seconds'].values()):,.0f} s" if not told["resumed"] else "in several runs"
    made = (
        f"Measured on {hardware['cores']} cores ({hardware['machine']}, {hardware['cpu']}), one thread, {seconds}"
        f"; Python {versions['python']}, torch {versions['torch']}; seed {settings['seed']}, "
        f"{settings['resamples']:,} resamples, evaluation seed {told['seeds']['evaluation']}, repeat "
        f"{told['seeds']['repeat']} (the table has those from 0 to {table['repeats'] - 1})."
    )
    return [head, "", *rows, "", *(f"* {note}" for note in notes), "", made]


def findings(told: Told) -> list[str]:
    """Return in plain sentences what the numbers say."""
    rows = {row["name"]: row for row in told["rewards"] if row["spearman"] is not None}
    proxies = sorted((row for row in rows.values() if row["kind"] == "proxy"), key=lambda row: -row["spearman"])
    counted = [row for row in proxies if short(row["name"]) in _COUNTED]
    clever = [row for row in proxies if short(row["name"]) not in _COUNTED]
    notes = []
    if counted and clever:
        best, other = counted[0], clever[0]
        if best["spearman_95"][0] > other["spearman_95"][1]:
            verdict = f"No other proxy comes up to counting {_plainly(best)}"
        elif best["spearman_95"][1] < other["spearman_95"][0]:
            verdict = f"`{short(other['name'])}` beats counting {_plainly(best)}"
        else:
            verdict = f"The best of the other proxies and counting {_plainly(best)} can't be told apart"
        weaker = ", ".join(f"`{short(row['name'])}` {row['spearman']:.2f}" for row in clever)
        notes.append(f"**{verdict}**: Spearman {best['spearman']:.2f}; {weaker}.")
    full = next((row for row in rows.values() if row["kind"] == "full training"), None)
    trained = [row for row in rows.values() if row["kind"] in ("supernet", "cheaper training", "stopped early")]
    if counted and trained:
        known = counted[0]["spearman_on_subset"] or 0.0
        worse = [row for row in trained if (row["spearman_on_subset"] or 0.0) <= known]
        if worse:
            names = ", ".join(f"`{row['name']}` ({row['spearman_on_subset'] or 0:.2f})" for row in worse)
            notes.append(
                f"No better than {_plainly(counted[0])} alone ({known:.2f}), on the same "
                f"{told['settings']['subset']:,} networks, though they train: {names}."
            )
    if full is not None and trained:
        worth = ", ".join(map(_worth, unbeaten(list(rows.values()))))
        notes.append(
            f"One full training has {full['spearman']:.3f}: that is the noise ceiling, for repeats differ. On the same "
            f"{told['settings']['subset']:,} networks, nothing cheaper is as good as these: {worth}."
        )
    chance, again = told["regret_of_a_random_tenth"], told["full_training_again"]
    notes.append(
        f"Regret is the mean accuracy, in points of a percent, by which the tenth of the networks that a reward picks "
        f"lies below the best tenth. A tenth picked at random has {100 * chance:.1f}, one more full training "
        f"{100 * again['regret_of_best_tenth']:.2f} (Spearman {again['spearman']:.3f}, on the {again['networks']:,})."
    )
    return notes


def unbeaten(rows: Sequence[Told]) -> list[Told]:
    """Return the rewards that no cheaper one equals in Spearman's correlation on the subset, the cheapest first."""
    front: list[Told] = []
    for row in sorted(rows, key=lambda row: float(row["seconds"])):
        if row["spearman_on_subset"] is not None and (
            not front or row["spearman_on_subset"] > front[-1]["spearman_on_subset"]
        ):
            front.append(row)
    return front


def _worth(row: Told) -> str:
    cost = percent(row["share_of_full_training"])
    name = row["name"] if row["kind"] == "full training" else f"`{short(row['name'])}`"
    return f"{name} ({row['spearman_on_subset']:.2f} for {cost} of the cost)"


def _plainly(row: Told) -> str:
    return {"parameters": "parameters", "macs": "MACs"}[short(row["name"])]


def _row(row: Told) -> str:
    def shown(name: str) -> str:
        if row[name] is None:
            return "–"
        low, high = (math.nan if end is None else end for end in row[f"{name}_95"])
        return f"{row[name]:.3f} ({low:.3f} to {high:.3f})"

    name = row["name"] if row["kind"] == "full training" else f"`{row['name']}`"
    on_subset = "–" if row["spearman_on_subset"] is None else f"{row['spearman_on_subset']:.2f}"
    cells = [name, f"{row['networks']:,}", shown("spearman"), on_subset, shown("kendall")]
    cells += [f"{100 * row['regret_of_best_tenth']:.2f}", duration(row["seconds"])]
    cells.append(percent(row["share_of_full_training"]))
    return f"| {' | '.join(cells)} |"


def _supernet(told: Told, net: Told) -> str:
    inference = next(row["inference_seconds"] for row in told["rewards"] if row["name"] == net["name"])
    fewer = "" if net["epochs"] == net["default_epochs"] else f" instead of the default {net['default_epochs']}"
    told_of_it = (
        f"`{net['name']}` was trained for {net['epochs']} epochs{fewer} at the learning rate {net['learning_rate']:g} "
        f"({net['steps']:,} steps, {net['training_seconds']:.0f} s), shared by the {net['shared_over_networks']:,} "
        f"networks of the space; inference alone costs {duration(inference)}, a hollow mark in the figure."
    )
    if "median_accuracy" in net:
        told_of_it += (
            f" The median of its accuracies is {net['median_accuracy']:.2f}, "
            f"of full trainings {told['table']['median_accuracy']:.2f}."
        )
    return told_of_it


def _failures(rows: Sequence[Told]) -> list[str]:
    failed = [f"`{row['name']}` {row['failed']:,} of {row['networks']:,}" for row in rows if row["failed"]]
    return [f"Failures, which count as the worst value: {', '.join(failed)}."] if failed else []
