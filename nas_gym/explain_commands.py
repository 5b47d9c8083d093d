"""The command ``nas-gym explain``: what the search's time did not allow, computed afterwards."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting


def explain(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    every: Annotated[bool, typer.Option("--all", help="Explain again what is explained already.")] = False,
    train: Annotated[
        int, typer.Option(help="Replace the decisions of so many of the best networks, and train those.", min=0)
    ] = 0,
    fidelity: Annotated[
        str | None, typer.Option(help="Of these trainings, such as epochs=1.", show_default="that of the search")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Trainings of each of these networks.", min=1)] = 1,
    place: Annotated[
        int, typer.Option("--network", help="Which network's account to print; 1 is the best.", min=1)
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Explain what is not explained yet: every decision, what it earned, what taught it, and what mattered over all."""
    with reporting():
        import nas_gym
        from nas_gym_agents.explaining_credit import Trainings, planned_trainings
        from nas_gym_agents.explanations import explain_afterwards

        loaded = nas_gym.load(run)
        loaded.explanation(place - 1)  # that there is no such network is told before anything is computed
        trainings = Trainings(best=train, fidelity=fidelity, repeats=repeats) if train else None
        if trainings is not None:
            errors.print(f"up to {planned_trainings(loaded, trainings)} trainings", markup=False)
        told = explain_afterwards(loaded, every=every, trainings=trainings)
        if as_json:
            print(json.dumps({"run_dir": str(run), **told}))
        else:
            _print(nas_gym.load(run), told, place - 1)


def _print(run: Any, told: dict[str, Any], place: int) -> None:
    console = Console(highlight=False, emoji=False)
    if "attributions" in told:
        found = told["attributions"]
        console.print(f"{found['explained']} decisions explained", markup=False)
    for paragraph in run.explanation(place):
        console.print(f"\n{paragraph}", markup=False)
    console.print("")
    for check in told["checks"]:
        mark = {True: "passed", False: "FAILED", None: "note"}[check["passed"]]
        console.print(f"{mark}: {check['sentence']}", markup=False)
    for view in told["views"]:
        trusted = "" if view["trusted"] else " (not to be relied on)"
        console.print(f"credit, {view['name']}{trusted}: {view['meaning']} {view['trust']}", markup=False)
    titles = {"influence": "Where the preference came from", "importance": "What mattered in the whole search"}
    for name, title in titles.items():
        console.print(f"\n{title}", style="bold")
        for paragraph in told.get(name, []):
            console.print(f"\n{paragraph}", markup=False)
    reasons: dict[str, list[str]] = {}
    for name, reason in told["missing"].items():
        reasons.setdefault(reason, []).append(name)
    console.print()
    for reason, names in reasons.items():
        console.print(f"no {', '.join(names)}: {reason}", markup=False)
        if "counterfactual" in names:
            console.print("(--train 1 trains what the best network might have been)", markup=False)
