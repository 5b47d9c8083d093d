"""``nas-gym compress``: the winner of a run, smaller and faster."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting
from nas_gym.errors import ConfigurationError


def compress(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    ratios: Annotated[
        str, typer.Option(help="Shares of the channels to prune, parted by commas; none: no pruning.")
    ] = "0.25,0.5,0.7",
    minutes: Annotated[
        float | None, typer.Option(help="Time for all of it; it chooses the epochs.", show_default="10, or --epochs")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of a fine-tuning; students get three times as many.", show_default="as many as fit"),
    ] = None,
    students: Annotated[int, typer.Option(help="Smaller networks of the search that learn from the winner.")] = 2,
    no_distil: Annotated[bool, typer.Option("--no-distil", help="The same as --students 0.")] = False,
    no_int8: Annotated[bool, typer.Option("--no-int8", help="Leave out the int8 forms.")] = False,
    points: Annotated[float, typer.Option(help="Points of validation accuracy that a chosen variant may lose.")] = 1.0,
    calibration_images: Annotated[int, typer.Option(help="Training images that give int8 its ranges.")] = 512,
    threads: Annotated[int, typer.Option(help="Of ONNX Runtime, where latency is measured.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the trainings.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make the winner smaller and faster: pruned, distilled, int8, compared with it; the same command goes on."""
    with reporting():
        from nas_gym.winner.compression.request import Request

        request = Request(
            ratios=parsed_ratios(ratios),
            minutes=minutes,
            epochs=epochs,
            students=0 if no_distil else students,
            quantise=not no_int8,
            points=points,
            calibration_images=calibration_images,
            threads=threads,
            seed=seed,
        )
        from nas_gym.winner.compression.compressing import COMPRESSED
        from nas_gym.winner.compression.compressing import compress as run_it
        from nas_gym.winner.compression.showing import print_compressed, telling

        try:
            with telling(errors) as teller:
                content = run_it(run, request, teller)
        except KeyboardInterrupt:
            errors.print("interrupted; variants and epochs that are finished are kept")
            errors.print(f"go on with: {shlex.join(['nas-gym', *sys.argv[1:]])}", markup=False)
            raise typer.Exit(130) from None
        if as_json:
            print(json.dumps(content))
        else:
            print_compressed(content, Console(highlight=False, emoji=False), run / COMPRESSED)


def parsed_ratios(text: str) -> tuple[float, ...]:
    """Return ratios from text, such as ``0.25,0.5``; none of ``none``.

    Raises:
        ConfigurationError: A part is no number.
    """
    if text.strip().lower() in ("", "none"):
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--ratios takes numbers such as 0.25,0.5, or none, got {text!r}") from None
