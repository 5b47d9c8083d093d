"""How worthy a benchmark a table is: noise against spread, how rare the best are, what local search needs.

Imported by ``build_table.py --report``; everything is computed from the finished table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.spaces import Prefix
from nas_gym.tables import Table

SEEDS = 500
EVALUATIONS = (30, 100, 300)
BEST_SHARE = 0.1  # of the candidates, whose noise counts where the best are compared


def report(table: Table, walked: Mapping[Prefix, Candidate]) -> dict[str, Any]:
    """Print and return the figures of a table.

    Args:
        table: A finished table.
        walked: Every complete prefix of its space with its candidate.
    """
    means = table.mean_accuracy
    target = within_noise(table.accuracy)
    neighbours = neighbourhood(table, walked)
    told = {
        "candidates": len(table),
        "trainings": table.accuracy.size,
        "train_hours": round(float(table.train_seconds.sum()) / 3600, 2),
        "variance": variances(table.accuracy),
        "best": {
            "actions": table.actions[int(means.argmax())],
            "mean_accuracy": round(float(means.max()), 4),
            "mean_test_accuracy": round(float(table.mean_test_accuracy[means.argmax()]), 4),
            "within_noise": int(target.sum()),
            "share_within_noise": round(float(target.mean()), 4),
        },
        "quantiles": {str(q): round(float(np.quantile(means, q)), 4) for q in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)},
        "neighbours": round(float(np.mean([len(row) for row in neighbours])), 1),
        "local_optima": int(sum(bool(len(row)) and means[i] > means[row].max() for i, row in enumerate(neighbours))),
        "searches": {
            name: _searched(search, neighbours, means, target)
            for name, search in (("local search", local_search), ("random search", random_search))
        },
    }
    _print(told)
    return told


def variances(accuracy: NDArray[np.float64]) -> dict[str, float]:
    """Return the variances within and between candidates, as a one-way analysis of variance estimates them.

    The mean square between the candidates' means holds a share of the noise, 1 / repeats, which is taken off.

    Args:
        accuracy: Shape (n, repeats).
    """
    within = float(accuracy.var(axis=1, ddof=1).mean())
    between = float(accuracy.mean(axis=1).var(ddof=1)) - within / accuracy.shape[1]
    return {
        "repeat_deviation": round(within**0.5, 5),
        "candidate_deviation": round(max(between, 0.0) ** 0.5, 5),
        "ratio": round(within / between, 5),
        "best_tenth_repeat_deviation": round(_noise_of_best(accuracy), 5),
    }


def within_noise(accuracy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which candidates can't be told from the best: bool, shape (n,).

    Those whose mean is within two standard errors of the difference of two means, 2 sqrt(2 s² / repeats), of the best
    mean. s² is the variance between repeats, pooled over the best tenth of the candidates: three repeats alone estimate
    it badly, and that of bad candidates is larger.

    Args:
        accuracy: Shape (n, repeats).
    """
    means = accuracy.mean(axis=1)
    margin = 2 * (2 / accuracy.shape[1]) ** 0.5 * _noise_of_best(accuracy)
    return np.asarray(means >= means.max() - margin)


def _noise_of_best(accuracy: NDArray[np.float64]) -> float:
    """Return the deviation between repeats, pooled over the best candidates."""
    n = max(1, round(BEST_SHARE * len(accuracy)))
    best = np.argsort(-accuracy.mean(axis=1), kind="stable")[:n]
    return float(accuracy[best].var(axis=1, ddof=1).mean() ** 0.5)


def neighbourhood(table: Table, walked: Mapping[Prefix, Candidate]) -> list[NDArray[np.intp]]:
    """Return for every row the rows that one changed decision leads to.

    A decision is changed to any other choice that leaves a legal network. Changing a layer to *stop* leaves the
    layers after it out; changing *stop* to a layer is followed by *stop* wherever there is room for more.

    Args:
        table: Whose rows.
        walked: Every complete prefix of its space with its candidate.
    """
    n_choices = 1 + max(max(prefix) for prefix in walked)
    found: list[set[int]] = [set() for _ in table.keys]
    for prefix, candidate in walked.items():
        row = table.rows[candidate.key]
        for changed in _changed(prefix, n_choices):
            if changed in walked:
                found[row].add(table.rows[walked[changed].key])
        found[row].discard(row)
    return [np.array(sorted(rows), dtype=np.intp) for rows in found]


def _changed(prefix: Prefix, n_choices: int) -> list[Prefix]:
    stop = n_choices - 1
    ways: list[Prefix] = []
    for place, before in enumerate(prefix):
        for action in range(n_choices):
            if action == before:
                continue
            start = (*prefix[:place], action)
            ways += [start] if place and action == stop else [start + prefix[place + 1 :]]
            if place and before == stop:
                ways.append((*start, stop))
    return ways


def local_search(
    neighbours: Sequence[NDArray[np.intp]], means: NDArray[np.float64], n: int, generator: np.random.Generator
) -> list[int]:
    """Return the rows that first-improvement local search with restarts evaluates, in order, n at most."""
    seen: dict[int, None] = {}
    while len(seen) < min(n, len(means)):
        here = int(generator.integers(len(means)))
        seen[here] = None
        better: int | None = here
        while better is not None and len(seen) < n:
            here, better = better, None
            for row in generator.permutation(neighbours[here]):
                if len(seen) >= n and int(row) not in seen:
                    break
                seen[int(row)] = None
                if means[row] > means[here]:
                    better = int(row)
                    break
    return list(seen)[:n]


def random_search(
    neighbours: Sequence[NDArray[np.intp]], means: NDArray[np.float64], n: int, generator: np.random.Generator
) -> list[int]:
    """Return n distinct rows, drawn uniformly."""
    return [int(row) for row in generator.permutation(len(means))[:n]]


def _searched(
    search: Any, neighbours: list[NDArray[np.intp]], means: NDArray[np.float64], target: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return for every number of evaluations how often the best were found, and the regret, over `SEEDS` seeds."""
    told: dict[str, Any] = {}
    runs = [search(neighbours, means, max(EVALUATIONS), np.random.default_rng(seed)) for seed in range(SEEDS)]
    for n in EVALUATIONS:
        regrets = [means.max() - means[run[:n]].max() for run in runs]
        told[str(n)] = {
            "found_best": round(float(np.mean([regret == 0 for regret in regrets])), 3),
            "found_within_noise": round(float(np.mean([target[run[:n]].any() for run in runs])), 3),
            "median_regret": round(float(np.median(regrets)), 4),
            "mean_regret": round(float(np.mean(regrets)), 4),
        }
    return told


def _print(told: Mapping[str, Any]) -> None:
    variance, best = told["variance"], told["best"]
    print(f"{told['candidates']:,} candidates, {told['trainings']:,} trainings, {told['train_hours']} hours")
    print("mean accuracy, quantiles:", ", ".join(f"{q}: {value:.4f}" for q, value in told["quantiles"].items()))
    print(
        f"deviation between repeats {variance['repeat_deviation']:.4f} (best tenth "
        f"{variance['best_tenth_repeat_deviation']:.4f}), between candidates {variance['candidate_deviation']:.4f}; "
        f"ratio of the variances {variance['ratio']:.4f}"
    )
    print(
        f"best {best['mean_accuracy']:.4f} (test {best['mean_test_accuracy']:.4f}), {best['within_noise']} within "
        f"noise of it ({best['share_within_noise']:.2%}); {told['local_optima']} local optima, "
        f"{told['neighbours']} neighbours"
    )
    for name, rows in told["searches"].items():
        for n, row in rows.items():
            print(
                f"{name}, {n:>3} evaluations: best found {row['found_best']:.1%}, within noise "
                f"{row['found_within_noise']:.1%}, median regret {row['median_regret']:.4f}"
            )
