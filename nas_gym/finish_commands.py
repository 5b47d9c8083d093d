"""``nas-gym finish``: everything that comes after a search, in one command."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.winner_commands import parsed_width

TITLES = {
    "tune": "Tuning the recipe",
    "retrain": "Training the winner for long",
    "inspect": "Looking into the network",
    "compress": "Making it smaller and faster",
    "export": "Exporting it",
    "report": "Writing the report",
}


def finish(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    minutes: Annotated[float, typer.Option(help="Time for all steps together.")] = 30.0,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A step to leave out: tune, inspect, compress, export, report; repeatable.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="More images for the long training, as in nas-gym retrain; repeatable.")
    ] = None,
    width: Annotated[
        str, typer.Option(help="Factor of the winner's channels; auto: as wide as the time allows.")
    ] = "1.0",
    workers: Annotated[int, typer.Option(help="Trainings at once while tuning.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Tune, retrain, inspect, compress and export the winner of a search, and report it; the same command goes on."""
    with reporting():
        from nas_gym.winner.finishing import FinishRequest
        from nas_gym.winner.finishing import finish as run_it

        request = FinishRequest(
            minutes=minutes,
            leave_out=tuple(leave_out or ()),
            also=tuple(also or ()),
            width=parsed_width(width),
            workers=workers,
            seed=seed,
        )
        try:
            content = run_it(run, request, _telling)
        except KeyboardInterrupt:
            errors.print("interrupted; what is finished is kept")
            errors.print(f"go on with: {shlex.join(['nas-gym', *sys.argv[1:]])}", markup=False)
            raise typer.Exit(130) from None
        if as_json:
            print(json.dumps(content))
        else:
            _print(run, content, Console(highlight=False, emoji=False))


@contextmanager
def _telling(step: str) -> Iterator[Any]:
    errors.print(f"\n{TITLES[step]}", style="bold")
    if step == "tune":
        from nas_gym.winner.tuning.telling import telling
    elif step == "retrain":
        from nas_gym.winner.telling import telling  # type: ignore[assignment]
    elif step == "inspect":
        from nas_gym.winner.inspection.telling import telling  # type: ignore[assignment]
    elif step == "compress":
        from nas_gym.winner.compression.showing import telling  # type: ignore[assignment]
    else:
        yield None
        return
    with telling(errors) as watch:
        yield watch


def _print(run: Path, content: Mapping[str, Any], console: Console) -> None:
    import nas_gym
    from nas_gym.report.finished import sentences
    from nas_gym.report.material import Material

    console.print("")
    for sentence in sentences(Material(nas_gym.load(run))):
        console.print(sentence.replace("**", "").replace("`", ""), markup=False)
    for name, step in content["steps"].items():
        if step["state"] != "done":
            console.print(f"left out: {name} ({step['why']})", markup=False)
    total = sum(step.get("seconds", 0.0) for step in content["steps"].values())
    page = f"; the page: {run / 'report.html'}" if content["steps"]["report"]["state"] == "done" else ""
    console.print(f"{total / 60:.1f} minutes in all{page}", markup=False, soft_wrap=True)
