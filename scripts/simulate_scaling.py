"""How busy N workers are when candidates come in batches: a simulation, as a figure.

    python scripts/simulate_scaling.py [--out docs/images/scaling.png] [--sigma 0.8] [--json]

Training times are log-normal (median 1; ``--sigma`` is the standard deviation of their logarithm). A controller submits
a batch of candidates (PPO: those of a rollout; a genetic algorithm: a generation), waits for all of them, learns for
``--update`` median training times, and submits the next batch: the rule that keeps a search equal to the serial one. A
free worker takes the waiting candidate with the most MACs, as ``ProcessEvaluator`` does; the logarithms of MACs and
seconds have the correlation ``--correlation``. Told is the share of the workers' time that is training, from the first
submission to the last answer, and the share without that order. For comparison: an agent that needs no rewards
(random search), with two candidates a worker always submitted and unfinished.
"""

import argparse
import heapq
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np

import nas_gym

WORKERS = (16, 64, 256, 1000)
PER_WORKER = (0.5, 1, 2, 4, 8, 16, 32)


def batches(n_workers: int, batch: int, n_batches: int, arguments: argparse.Namespace, rng: np.random.Generator) -> Any:
    """Return the share of time that workers are busy when whole batches are waited for: two shares.

    One with the candidates in their order, one with the largest first, by a size that is correlated with the time.
    """
    busy, spans = 0.0, [0.0, 0.0]
    known = arguments.correlation
    for _ in range(n_batches):
        size, noise = rng.normal(size=(2, batch))
        times = np.exp(arguments.sigma * (known * size + math.sqrt(1 - known**2) * noise))
        busy += float(times.sum())
        for place, order in enumerate((times, times[np.argsort(-size)])):
            free = [0.0] * min(n_workers, batch)
            for seconds in order:  # each to the worker that is free first
                heapq.heappush(free, heapq.heappop(free) + float(seconds))
            spans[place] += max(free) + arguments.update
    return [busy / (n_workers * span) for span in spans]


def window(n_workers: int, per_worker: int, sigma: float, n_candidates: int, rng: np.random.Generator) -> float:
    """Return the share, until the last is submitted, with so many candidates a worker submitted and unfinished."""
    times = rng.lognormal(0.0, sigma, n_candidates)
    unfinished: list[float] = []  # when they will end
    free = [0.0] * n_workers
    spans, room = [], 0.0
    for seconds in times:
        room = heapq.heappop(unfinished) if len(unfinished) == per_worker * n_workers else 0.0
        start = max(heapq.heappop(free), room)
        spans.append((start, start + float(seconds)))
        heapq.heappush(unfinished, spans[-1][1])
        heapq.heappush(free, spans[-1][1])
    return sum(max(0.0, min(end, room) - start) for start, end in spans) / (n_workers * room)


def simulate(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for every number of workers and candidates."""
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for n in WORKERS:
        for ratio in PER_WORKER:
            repeats = max(30, int(20_000 / (n * ratio)))
            shares = batches(n, int(n * ratio), repeats, arguments, rng)
            row = {"workers": n, "candidates": int(n * ratio), "per_worker": ratio}
            rows.append({**row, "busy_in_order": round(shares[0], 3), "busy": round(shares[1], 3)})
        share = window(n, 2, arguments.sigma, max(20_000, 60 * n), rng)
        rows.append({"workers": n, "candidates": 2 * n, "per_worker": "window of 2", "busy": round(share, 3)})
    return rows


def draw(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Draw the shares against the candidates of a batch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for n, colour in zip(WORKERS, ("#9ecae1", "#4292c6", "#08519c", "#08306b"), strict=True):
        mine = [row for row in rows if row["workers"] == n and "busy_in_order" in row]
        places = [row["per_worker"] for row in mine]
        axes.plot(places, [row["busy"] for row in mine], "o-", color=colour, markersize=5, label=f"{n:,} workers")
        axes.plot(places, [row["busy_in_order"] for row in mine], ":", color=colour, linewidth=1.2)
    steady = min(r["busy"] for r in rows if r["per_worker"] == "window of 2")
    axes.axhline(steady, color="#b35806", linestyle="--", linewidth=1.2)
    axes.text(0.5, steady - 0.05, "an agent that needs no rewards (sliding window)", color="#b35806", fontsize=9)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(PER_WORKER))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{ratio:g}" for ratio in PER_WORKER])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="candidates in a rollout or generation, for each worker", ylabel="time that workers train")
    axes.set_ylim(0, 1.05)
    axes.grid(color="#e0e0e0")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.plot([], [], ":", color="#555555", label="without: in the order of submission")
    axes.legend(frameon=False, loc="lower right")
    axes.set_title(
        f"Log-normal training times (sigma {arguments.sigma:g}), an update takes {arguments.update:g} of their median",
        loc="left",
        fontsize=10,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sigma", type=float, default=0.8, help="standard deviation of the logarithm of the times")
    parser.add_argument("--correlation", type=float, default=0.84, help="of the logarithms of MACs and seconds")
    parser.add_argument("--update", type=float, default=0.05, help="time of an update, in median training times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/images/scaling.png"))
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    rows = simulate(arguments)
    print("workers  " + "  ".join(f"{ratio:>5g}x" for ratio in PER_WORKER) + "  window of 2")
    for n in WORKERS:
        for name, what in (("busy", "largest first"), ("busy_in_order", "in order")):
            shares = [row[name] for row in rows if row["workers"] == n and name in row]
            shown = "  ".join(f"{share:6.1%}" for share in shares[: len(PER_WORKER)])
            print(f"{n:7,}  {shown}  " + (f"{shares[-1]:11.1%}" if name == "busy" else " " * 11) + f"  {what}")
    draw(rows, arguments)
    print(f"drawn: {arguments.out}")
    if arguments.json:
        settings = {
            "sigma": arguments.sigma,
            "correlation": arguments.correlation,
            "update": arguments.update,
            "seed": arguments.seed,
        }
        versions = {"python": platform.python_version(), "numpy": np.__version__, "nas-gym": nas_gym.__version__}
        print(json.dumps({"rows": rows, "settings": settings, "versions": versions}))


if __name__ == "__main__":
    main()
