"""``nas-gym tune``: hyper-parameters of the training that suit the winner of a search."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting


def tune(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    trials: Annotated[int, typer.Option(help="Full trainings that both stages are worth; pruning makes it more.")] = 40,
    minutes: Annotated[
        float | None, typer.Option(help="Time for all of it, instead of --trials.", show_default="no limit")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a training.", show_default="those of the search, at least 8")
    ] = None,
    broad: Annotated[float, typer.Option(help="Share of the budget for the broad stage.")] = 0.5,
    top: Annotated[int, typer.Option(help="Recipes that are trained again before one is chosen; 0: none.")] = 3,
    repeats: Annotated[int, typer.Option(help="Trainings of each of them, with new seeds.")] = 3,
    workers: Annotated[int, typer.Option(help="Trainings at once, in processes of their own.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier tuning of this run first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find hyper-parameters that suit the winner, on validation images only; the same command goes on."""
    with reporting():
        from nas_gym.winner.tuning.request import TuningRequest
        from nas_gym.winner.tuning.result import TUNING
        from nas_gym.winner.tuning.telling import print_tuning, telling
        from nas_gym.winner.tuning.tuning import tune as run_it

        request = TuningRequest(
            trials=trials, minutes=minutes, epochs=epochs, broad=broad, top=top, repeats=repeats, seed=seed
        )
        try:
            with telling(errors) as teller:
                content = run_it(run, request, n_workers=workers, fresh=fresh, watch=teller)
        except KeyboardInterrupt:
            errors.print("interrupted; the trials that are finished are kept")
            words = [word for word in sys.argv[1:] if word != "--fresh"]
            errors.print(f"go on with: {shlex.join(['nas-gym', *words])}", markup=False)
            raise typer.Exit(130) from None
        if as_json:
            print(json.dumps(content))
        else:
            print_tuning(content, Console(highlight=False, emoji=False), str(run / TUNING), str(run))
