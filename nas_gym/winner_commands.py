"""``nas-gym retrain``: what comes after a search."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.errors import ConfigurationError

RunArgument = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
Many = list[str] | None


def retrain(
    run: RunArgument,
    top: Annotated[int, typer.Option(help="Best networks of the search among which the winner is named.")] = 3,
    repeats: Annotated[
        int, typer.Option(help="Trainings of each of them at full fidelity; those of the search count.")
    ] = 3,
    minutes: Annotated[
        float | None, typer.Option(help="Time for all of it; it chooses the schedule.", show_default="10, or --epochs")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of a training.", show_default="as many as fit into the time")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of the winner, with seeds 0, 1, ….")] = 1,
    also: Annotated[
        Many, typer.Option(help="More images: an .npz, a pattern such as 'rest_*.npz', a folder or a name; repeatable.")
    ] = None,
    width: Annotated[
        str, typer.Option(help="Factor of the winner's channels; auto: as wide as the time allows.")
    ] = "1.0",
    depth: Annotated[int, typer.Option(help="Residual blocks in place of each one of the winner.")] = 1,
    recipe_arg: Annotated[
        Many, typer.Option(help="Setting of the long training, NAME=VALUE, such as learning_rate=0.2; repeatable.")
    ] = None,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="Train as nas-gym tune found; --recipe-arg has the last word.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Name the winner of a search, train it on all images for long, and test it once; the same command goes on."""
    with reporting():
        from nas_gym.cli import parse_pairs
        from nas_gym.winner.request import Request
        from nas_gym.winner.result import WINNER
        from nas_gym.winner.retraining import retrain as run_it
        from nas_gym.winner.telling import print_winner, telling
        from nas_gym.winner.tuning.result import read_tuning, tuned_recipe

        request = Request(
            top=top,
            repeats=repeats,
            minutes=minutes,
            epochs=epochs,
            seeds=seeds,
            also=tuple(also or ()),
            width=parsed_width(width),
            depth=depth,
            recipe={**(tuned_recipe(run) if tuned else {}), **parse_pairs(recipe_arg or [], "--recipe-arg")},
        )
        try:
            with telling(errors) as teller:
                content = run_it(run, request, teller)
        except KeyboardInterrupt:
            errors.print("interrupted; the epochs that are finished are kept")
            errors.print(f"go on with: {shlex.join(['nas-gym', *sys.argv[1:]])}", markup=False)
            raise typer.Exit(130) from None
        if tuned and (read_tuning(run) or {}).get("key") != content["key"]:
            errors.print("note: the recipe was tuned for another network than the winner; run nas-gym tune again")
        if as_json:
            print(json.dumps(content))
        else:
            print_winner(content, Console(highlight=False, emoji=False), str(run / WINNER), plan=not teller.told)


def parsed_width(text: str) -> float | Literal["auto"]:
    """Return a width from text.

    Raises:
        ConfigurationError: It is neither ``auto`` nor a number.
    """
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"--width is auto or a number such as 2.0, got {text!r}") from None
