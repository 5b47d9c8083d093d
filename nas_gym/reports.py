"""What the commands print: tables and accounts for people, objects for programs."""

import importlib.metadata
import json
import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas_gym import standard_error
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.run import Ranked, Run
from nas_gym.run_directory import DECISIONS, FIGURES, POLICY

PACKAGES = (
    "nas-gym",
    "torch",
    "torchvision",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "deap",
    "shap",
    "tensorboard",
    "numpy",
    "sqlalchemy",
)


def run_as_json(run: Run, top: int, pareto: str | None = None) -> dict[str, Any]:
    """Return a run as JSON-ready data: settings, result, the best networks, the explanation, the history.

    Args:
        run: The run.
        top: How many networks.
        pareto: The cost (`nas_gym.costs.COSTS`) whose front with the accuracy is told too; None: none.
    """
    best = run.best(top)
    front = {} if pareto is None else {"pareto": [_ranked_as_json(ranked) for ranked in run.pareto(pareto)]}
    return front | {
        "run_dir": str(run.path),
        "state": run.content["state"],
        "settings": run.settings,
        "result": run.result,
        "best": [_ranked_as_json(ranked) for ranked in best],
        "explanation": run.explanation() if best else [],
        "history": [episode.to_json() for episode in run.history],
    }


def print_run(run: Run, top: int, console: Console, pareto: str | None = None) -> None:
    """Print a run for people; with the name of a cost, also its Pareto front with the accuracy."""
    best = run.best(top)  # reads the store before anything is printed
    front = None if pareto is None else run.pareto(pareto)
    _print_head(run, console)
    if not best:
        console.print("No network has been evaluated successfully yet.")
        return
    _print_networks(best, console, _title(run))
    if front is not None:
        _print_networks(front, console, f"Pareto front of accuracy and {pareto}: no network beats these in both")
    _print_explanation(run, console)
    _print_next(run, console)


def draw_front(run: Run, cost: str | None, file: Path) -> None:
    """Draw the Pareto front of accuracy and a cost into a file, whose name says the format.

    Raises:
        ConfigurationError: No cost is named, or the file can't be written.
        RunError: No network of the run tells the cost.
    """
    from nas_gym.pareto_figure import pareto_figure

    if cost is None:
        raise ConfigurationError("--figure draws a Pareto front; name its cost with --pareto, such as --pareto macs")
    figure = pareto_figure(run.best(len(run.history)), run.pareto(cost), cost)
    try:
        figure.savefig(file, dpi=110)
    except (OSError, ValueError) as error:  # ValueError: matplotlib knows no such format
        raise ConfigurationError(f"the figure {str(file)!r} can't be written ({error})") from None


def print_end(run: Run, summary: dict[str, Any], console: Console) -> None:
    """Print the end of a search for people."""
    _print_head(run, console)
    best = run.best(3)
    if not best:
        console.print("No network was evaluated successfully; the failures are in the history (nas-gym show --json).")
        return
    _print_networks(best, console, _title(run))
    console.print(f"\n{_ending(summary)}{_untrained(run)}", soft_wrap=True)
    _print_explanation(run, console)
    _print_next(run, console)


def _title(run: Run) -> str:
    objective = run.settings.get("env_args", {}).get("objective")
    return "Best networks" if objective is None else f"Best networks, by the objective {objective}"


def _untrained(run: Run) -> str:
    """Return what the numbers of a search that trained nothing are."""
    evaluator = str(run.settings.get("env_args", {}).get("evaluator", "training"))
    if evaluator == "supernet":
        return "\nIts accuracy is that of weights shared by all networks: it ranks them, and says less than a training."
    if evaluator.startswith("proxy:"):
        return "\nA proxy ranks networks without training them; train the best ones before you trust it."
    return ""


def _ending(summary: dict[str, Any]) -> str:
    """Return what is known of the best network, and how it was chosen."""
    found, confirmation = summary["best"], summary.get("confirmation")
    n = found.get("trainings", 1)
    over = f" (mean of {n} trainings)" if n > 1 else ""
    accuracy = standard_error.shown(found["validation_accuracy"], found.get("validation_standard_error"))
    of_first = ", test accuracy" if n == 1 else ", test accuracy of the first training"
    if found.get("score"):
        of_first = f", {found['score']} accuracy in the table"
    test = standard_error.shown(found["test_accuracy"], found.get("test_standard_error"))
    tested = "" if found["test_accuracy"] is None else f"{of_first} [bold]{test}[/bold]"
    latency = ""
    if found.get("latency_ms") is not None:
        spread = found.get("latency_iqr_ms")
        latency = f", {found['latency_ms']:.2f} ms" + ("" if spread is None else f" (IQR {spread:.2f})")
    chosen = ""
    if confirmation:
        failed = f", of which {confirmation['failed']} failed" if confirmation["failed"] else ""
        chosen = (
            f"\nThe best {confirmation['candidates']} were trained {confirmation['repeats']} more times each{failed}, "
            "beyond the budget, before it was named."
        )
    measured = f"validation accuracy [bold]{accuracy}[/bold]{over}"
    if found["validation_accuracy"] is None:
        measured = "not trained, chosen by its proxy"
    return (
        f"Best network: {measured}{tested}, "
        f"{found['parameters']:,} parameters, {found['macs']:,} MACs{latency}.{chosen}"
    )


def _print_head(run: Run, console: Console) -> None:
    settings, history = run.settings, run.history
    evaluated = [episode for episode in history if episode.key is not None]
    kinds = Counter(episode.status for episode in history if episode.status != "ok")
    named = f" ({', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))})" if kinds else ""
    distinct = len({episode.key for episode in evaluated})
    updates = f", {run.result['updates']} policy updates" if run.result and run.result.get("updates") else ""
    console.print(
        f"{settings['env']} searched by {settings['agent']}, seed {settings['seed']}: {run.content['state']}; "
        f"{len(evaluated)} evaluations, {distinct} distinct networks, {kinds.total()} failures{named}{updates}.\n",
        markup=False,
    )


def _print_networks(networks: list[Ranked], console: Console, title: str) -> None:
    timed = any(ranked.evaluation.latency_ms is not None for ranked in networks)
    table = Table(title=title, expand=False)
    for name in ("", "validation", "parameters", "MACs, latency" if timed else "MACs", "episode"):
        table.add_column(name, no_wrap=True)
    table.add_column("decisions")
    for place, ranked in enumerate(networks, start=1):
        evaluation = ranked.evaluation
        table.add_row(
            str(place),
            _value(evaluation) + (f"\n({ranked.n} trainings)" if ranked.n > 1 else ""),
            f"{evaluation.parameters:,}",
            f"{evaluation.macs:,}" + _latency(evaluation),
            str(ranked.episode),
            escape(" → ".join(choice for _, choice in ranked.choices)),
        )
    console.print(table)


def _value(evaluation: Evaluation) -> str:
    if evaluation.accuracy is None and evaluation.proxy is not None:
        return f"proxy {evaluation.proxy:.6g}"
    return standard_error.shown(evaluation.accuracy, evaluation.standard_error)


def _latency(evaluation: Evaluation) -> str:
    if evaluation.latency_ms is None:
        return ""
    spread = "" if evaluation.latency_iqr_ms is None else f"\n(IQR {evaluation.latency_iqr_ms:.2f})"
    return f"\n{evaluation.latency_ms:.2f} ms{spread}"


def _print_explanation(run: Run, console: Console) -> None:
    console.print("\n[bold]What moved the controller when it designed the best network[/bold]")
    for paragraph in run.explanation():
        console.print(f"• {paragraph}", markup=False)
    _print_checks(run, console)


def _print_checks(run: Run, console: Console) -> None:
    """Print how many checks of the explanations passed, and what those that did not pass say."""
    judged = [check for check in run.checks or [] if check.get("passed") is not None]
    failed = [check for check in judged if not check["passed"]]
    if judged:
        told = f"{len(judged) - len(failed)} of {len(judged)} checks of these explanations passed"
        console.print(f"{told}{':' if failed else '.'}", markup=False)
    for check in failed:
        console.print(f"  FAILED: {check['sentence']}", markup=False)


def _print_next(run: Run, console: Console) -> None:
    path = run.path
    console.print("\n[bold]Where to look next[/bold]")
    rows = [
        (f"nas-gym tensorboard {path}", "every decision step by step, curves, pictures"),
        (f"nas-gym explain {path}", "what decisions earned, what taught the policy, what mattered over all"),
        (f"nas-gym report {path}", "all of it on one page"),
        (f"python -c \"import nas_gym; print(nas_gym.load('{path}').decisions)\"", "every decision, as a data frame"),
        (str(path / DECISIONS), "the decision log (Parquet)"),
    ]
    if (path / FIGURES).is_dir():
        rows.append((str(path / FIGURES), "the best network and its explanation as pictures"))
    if (path / POLICY).exists():
        rows.append((f"nas-gym sample {path}", "more architectures from the trained policy"))
    for command, meaning in rows:
        console.print(f"  {command}    # {meaning}", markup=False, soft_wrap=True)


def _ranked_as_json(ranked: Ranked) -> dict[str, Any]:
    return {
        "actions": list(ranked.actions),
        "choices": [list(pair) for pair in ranked.choices],
        "key": ranked.candidate.key,
        "episode": ranked.episode,
        "validation_accuracy": ranked.accuracy,
        "validation_standard_error": ranked.standard_error,
        "trainings": ranked.n,
        "proxy": ranked.evaluation.proxy,
        "latency_ms": ranked.evaluation.latency_ms,
        "latency_iqr_ms": ranked.evaluation.latency_iqr_ms,
        "parameters": ranked.evaluation.parameters,
        "macs": ranked.evaluation.macs,
        "candidate": ranked.candidate.to_json(),
    }


def print_samples(drawn: list[dict[str, Any]], console: Console) -> None:
    """Print sampled architectures for people."""
    table = Table("probability", "parameters", "MACs", "validation", "decisions")
    for one in drawn:
        known = one["validation_accuracy"]
        table.add_row(
            f"{one['probability']:.2g}",
            f"{one['parameters']:,}",
            f"{one['macs']:,}",
            "not evaluated" if known is None else standard_error.shown(known, one.get("validation_standard_error")),
            escape(" → ".join(choice for _, choice in one["choices"])),
        )
    console.print(table)


def print_doctor(console: Console, data_root: Path | None, as_json: bool) -> None:
    """Print versions, devices and the data found."""
    import torch

    from nas_gym.data import find_datasets

    facts: dict[str, Any] = {"python": platform.python_version(), "processors": os.cpu_count()}
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    facts["cuda"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts["mps"] = bool(torch.backends.mps.is_available())
    facts["data"] = {"digits": "embedded in scikit-learn", **find_datasets(data_root)}
    if as_json:
        print(json.dumps(facts))
        return
    table = Table("what", "found", title="nas-gym doctor")
    for name, value in facts.items():
        if name == "data":
            for dataset, place in value.items():
                table.add_row(
                    f"data: {dataset}", escape(place) if place else "not found; use --data-root or --download"
                )
        else:
            table.add_row(name, ", ".join(value) or "none" if isinstance(value, list) else str(value))
    console.print(table)


def print_rows(rows: list[dict[str, Any]], console: Console, as_json: bool, name: str) -> None:
    """Print rows of equal fields as a table, or as one object with the rows under a name."""
    if as_json:
        print(json.dumps({name: rows}))
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    return escape("\n".join(f"{n}={v}" for n, v in value.items()) if isinstance(value, dict) else str(value))
