"""What a table is like as a benchmark: size, optimum, noise, what goes with what; in numbers and for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym.tables.home import SHIPPED, load_benchmark, tables_home

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
DRAWS = (10, 30, 100, 300, 1000)
BINS = 20
WIDE = 110  # columns of a terminal that has room for a distribution in every row
Floats = NDArray[np.float64]


def description(table: BenchmarkTable) -> dict[str, Any]:
    """Return the figures of a table, JSON-ready. Accuracies are in [0, 1], costs in seconds, latencies in ms."""
    reward = table.mean_accuracy().astype(np.float64)
    possible = float(np.prod([len(slot.choices) for slot in table.slots], dtype=np.float64))
    return {
        "name": table.name,
        "kind": table.kind,
        "rows": len(table),
        "lists_of_choices": int(possible),
        "slots": [{"name": slot.name, "choices": list(slot.choices)} for slot in table.slots],
        "default_fidelity": table.default_fidelity,
        "default_score": table.default_score,
        "fidelities": {fidelity: _fidelity(table, fidelity) for fidelity in table.accuracies},
        "scores": {name: _spread(values) for name, values in table.scores.items()},
        "best": _best(table),
        "random_search": _random_search(reward, table.scores[table.default_score].astype(np.float64)),
        "within_a_tenth_of_a_point": int((reward >= reward.max() - 0.001).sum()),
        "spearman": _spearman(table),
        "parameters": None if table.parameters is None else _spread(table.parameters),
        "macs": None if table.macs is None else _spread(table.macs),
        "devices": {device: _spread(values) for device, values in table.latencies.items()},
        "facts": {name: value for name, value in table.facts.items() if isinstance(value, str | int | float)},
    }


def known_tables() -> list[dict[str, Any]]:
    """Return a row per table: the shipped one and those in `tables_home`."""
    home = tables_home()
    places = sorted(home.glob("*.parquet")) if home.is_dir() else []
    rows = []
    for name, place in [(SHIPPED, "with the package"), *((path.stem, str(path)) for path in places)]:
        row: dict[str, Any] = {"name": name, "rows": "", "rewards": "", "scores": "", "place": place}
        try:
            table = load_benchmark(name)
        except ConfigurationError as error:
            row["rewards"] = f"can't be read: {error}"
        else:
            row |= {"rows": len(table), "rewards": ", ".join(table.accuracies), "scores": ", ".join(table.scores)}
        rows.append(row)
    return rows


def _spread(values: NDArray[Any]) -> dict[str, float]:
    """Return quantiles by name, and the mean and the standard deviation, of the finite numbers of an array."""
    numbers = values.astype(np.float64)
    found = {f"q{round(100 * q)}": float(np.quantile(numbers, q)) for q in QUANTILES}
    return found | {"mean": float(numbers.mean()), "deviation": float(numbers.std())}


def _fidelity(table: BenchmarkTable, fidelity: str) -> dict[str, Any]:
    """Return trainings, spread, noise and cost at a fidelity.

    The noise is the standard deviation between trainings of one row, pooled over the rows.
    """
    trainings = table.accuracies[fidelity].astype(np.float64)
    means, n = trainings.mean(axis=1), trainings.shape[1]
    noise = float(np.sqrt(trainings.var(axis=1, ddof=1).mean())) if n > 1 else None
    cost = table.costs.get(fidelity)
    counts, _ = np.histogram(means, BINS)
    return {
        "trainings": n,
        **_spread(means),
        "noise": noise,
        "cost_seconds": None if cost is None else _spread(cost),
        "histogram": counts.tolist(),
    }


def _best(table: BenchmarkTable) -> list[dict[str, Any]]:
    """Return the best row by every fidelity and every score."""
    rankings = [(f"reward {fidelity}", table.mean_accuracy(fidelity)) for fidelity in table.accuracies]
    rankings += [(f"score {name}", values) for name, values in table.scores.items()]
    best = []
    for name, values in rankings:
        row = int(np.argmax(values))
        decided = [
            slot.choices[action]
            for slot, action in zip(table.slots, table.decisions[row].tolist(), strict=True)
            if action >= 0
        ]
        best.append(
            {
                "by": name,
                "key": table.keys[row],
                "decisions": decided,
                "reward": float(table.mean_accuracy()[row]),
                "scores": {score: float(column[row]) for score, column in table.scores.items()},
            }
        )
    return best


def _random_search(reward: Floats, score: Floats) -> dict[str, dict[str, float]]:
    """Return what random search reaches on average by number of draws: the best reward, and its row's score.

    Exact for independent draws: the best of n is the k-th smallest of N with probability (k^n - (k - 1)^n) / N^n.
    """
    order, n = np.argsort(reward, kind="stable"), len(reward)
    ranks = np.arange(n + 1) / n
    shares = {draws: np.diff(ranks**draws) for draws in DRAWS}
    return {
        str(draws): {"reward": float(share @ reward[order]), "score": float(share @ score[order])}
        for draws, share in shares.items()
    }


def _spearman(table: BenchmarkTable) -> dict[str, dict[str, float]]:
    """Return the rank correlations between fidelities, scores, sizes and the cost of a query."""
    from scipy.stats import rankdata

    columns: dict[str, NDArray[Any]] = {f"reward {f}": table.mean_accuracy(f) for f in table.accuracies}
    columns |= {f"score {name}": values for name, values in table.scores.items()}
    sizes = {"parameters": table.parameters, "MACs": table.macs, "cost": table.costs.get(table.default_fidelity)}
    columns |= {name: values for name, values in sizes.items() if values is not None}
    varied = {name: values for name, values in columns.items() if np.ptp(values) > 0}
    if len(table) < 2 or not varied:
        return {}
    ranks = np.stack([rankdata(values) for values in varied.values()])
    matrix = np.corrcoef(ranks).reshape(len(varied), len(varied))
    return {one: dict(zip(varied, map(float, row), strict=True)) for one, row in zip(varied, matrix, strict=True)}


def print_description(told: Mapping[str, Any], console: Console) -> None:
    """Print the figures of `description` for people."""
    console.print(f"\n[bold]{_plain(told['name'])}[/bold]  {_plain(_headline(told))}")
    for fact in ("citation", "licence", "source"):
        if fact in told["facts"]:
            console.print(f"[dim]{fact}: {_plain(told['facts'][fact])}[/dim]")
    console.print()
    wide = console.width >= WIDE
    grids = (_decision_grid, partial(_reward_grid, wide=wide), _best_grid, _random_grid, _correlation_grid)
    for grid in [make(told) for make in grids]:
        if grid.row_count:
            console.print(grid)
            console.print()
    for sentence in _sentences(told):
        console.print(f"• {sentence}", markup=False)
    console.print()


def _headline(told: Mapping[str, Any]) -> str:
    rows, possible, n = told["rows"], told["lists_of_choices"], len(told["slots"])
    whole = f"all {rows:,}" if rows == possible else f"{rows:,} of {possible:,} thinkable"
    return f"{whole} lists of {n} decisions, each with what its network reached"


def _grid(title: str, *columns: str) -> Grid:
    from rich import box
    from rich.table import Table as RichTable

    grid = RichTable(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.padding = (0, 1, 0, 0)
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return grid


def _decision_grid(told: Mapping[str, Any]) -> Grid:
    """Return the slots; neighbours with the same choices share a line."""
    grid = _grid("Decisions", "slot")
    grid.add_column("choices")
    slots, start = told["slots"], 0
    for end in range(1, len(slots) + 1):
        if end < len(slots) and slots[end]["choices"] == slots[start]["choices"]:
            continue
        first, last = slots[start]["name"], slots[end - 1]["name"]
        grid.add_row(
            _plain(first if first == last else f"{first} … {last}"), _plain(", ".join(slots[start]["choices"]))
        )
        start = end
    return grid


def _reward_grid(told: Mapping[str, Any], wide: bool) -> Grid:
    """Return the accuracies, with their distribution where there is room for it."""
    grid = _grid("Accuracies in %", "", "n", "worst", "median", "95 %", "best", "dev.", "noise", "cost s")
    if wide:
        grid.add_column("from worst to best", no_wrap=True)
    for fidelity, one in told["fidelities"].items():
        mark = " ←" if fidelity == told["default_fidelity"] else ""
        cost = one["cost_seconds"]
        grid.add_row(
            f"reward {_plain(fidelity)}{mark}",
            str(one["trainings"]),
            *_percents(one),
            "–" if one["noise"] is None else f"{100 * one['noise']:.2f}",
            "–" if cost is None else f"{cost['mean']:,.4g}",
            *([_bars(one["histogram"])] if wide else []),
        )
    for name, one in told["scores"].items():
        mark = " ←" if name == told["default_score"] else ""
        grid.add_row(f"score {_plain(name)}{mark}", "", *_percents(one))
    return grid


def _percents(one: Mapping[str, float]) -> list[str]:
    return [f"{100 * one[name]:.2f}" for name in ("q0", "q50", "q95", "q100", "deviation")]


def _best_grid(told: Mapping[str, Any]) -> Grid:
    """Return the best rows; those that are the best in several ways share a line."""
    scores = list(told["scores"])
    grid = _grid("The best", "by", f"reward\n{told['default_fidelity']}", *(f"score\n{name}" for name in scores))
    grid.add_column("decisions")
    merged: dict[str, list[Any]] = {}
    for one in told["best"]:
        merged.setdefault(one["key"], [[], one])[0].append(one["by"])
    for names, one in merged.values():
        grid.add_row(
            _plain("\n".join(names)),
            f"{100 * one['reward']:.2f}",
            *(f"{100 * one['scores'][name]:.2f}" for name in scores),
            _plain(" → ".join(one["decisions"])),
        )
    return grid


def _random_grid(told: Mapping[str, Any]) -> Grid:
    draws, searched, scored = told["random_search"], told["default_fidelity"], told["default_score"]
    grid = _grid("What random search reaches on average", "draws", *(f"{int(n):,}" for n in draws))
    for name, title in (("reward", f"reward {searched}"), ("score", f"its score {scored}")):
        grid.add_row(_plain(title), *(f"{100 * one[name]:.2f}" for one in draws.values()))
    return grid


def _correlation_grid(told: Mapping[str, Any]) -> Grid:
    """Return the lower triangle of the rank correlations."""
    names = list(told["spearman"])
    grid = _grid("Rank correlation (Spearman)", "", *(_plain(name).replace(" ", "\n", 1) for name in names[:-1]))
    for i, name in enumerate(names[1:], start=1):
        row = [_shaded(told["spearman"][name][other]) for other in names[:i]]
        grid.add_row(_plain(name), *row, *[""] * (len(names) - 1 - i))
    return grid


def _shaded(value: float) -> str:
    style = "green" if value >= 0.7 else "yellow" if value >= 0.3 else "red" if value < 0 else "default"
    return f"[{style}]{value:.2f}[/{style}]"


def _sentences(told: Mapping[str, Any]) -> Iterable[str]:
    near, rows = told["within_a_tenth_of_a_point"], told["rows"]
    yield f"Within 0.1 points of the best reward: {near:,} of {rows:,} rows ({100 * near / rows:.2g} %)."
    one = told["fidelities"][told["default_fidelity"]]
    if one["noise"] is not None:
        ratio = one["deviation"] / one["noise"] if one["noise"] else float("inf")
        yield (
            f"Two trainings of one row differ by a deviation of {100 * one['noise']:.2f} points, rows by "
            f"{100 * one['deviation']:.2f}: {ratio:.1f} times as much."
        )
    for name, unit in (("parameters", "parameters"), ("macs", "MACs")):
        if told[name] is not None:
            yield f"From {told[name]['q0']:,.0f} to {told[name]['q100']:,.0f} {unit}, median {told[name]['q50']:,.0f}."
    if told["devices"]:
        shown = ", ".join(f"{device} ({one['q50']:.3g})" for device, one in told["devices"].items())
        yield f"Latency on {len(told['devices'])} devices (median in ms): {shown}."


def _bars(counts: list[int]) -> str:
    """Return a histogram in one line, on a scale of square roots so that rare rows show."""
    levels, most = " ▁▂▃▄▅▆▇█", max(counts)
    return "".join(levels[int(np.ceil(8 * np.sqrt(count / most)))] for count in counts)


def _plain(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))
