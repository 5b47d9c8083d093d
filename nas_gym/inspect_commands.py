"""``nas-gym inspect``: what the network of a run has learned."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting


def inspect(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    images: Annotated[
        int, typer.Option(help="Images on which accuracy is measured, at most, of test and validation split each.")
    ] = 500,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    repeats: Annotated[int, typer.Option(help="Shufflings of every patch or feature.")] = 5,
    patch: Annotated[
        int | None, typer.Option(help="Side of a patch in pixels.", show_default="about an eighth of the image")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the network of a run looks at, which layers it needs and what it confuses, with pictures."""
    with reporting():
        from nas_gym.winner.inspection.folder import Settings
        from nas_gym.winner.inspection.inspecting import inspect_run
        from nas_gym.winner.inspection.telling import print_inspection, telling

        settings = Settings(images=images, seed=seed, repeats=repeats, patch=patch, device=device)
        with telling(errors) as watch:
            content: Mapping[str, Any] = inspect_run(run, settings, watch)
        if as_json:
            print(json.dumps(content))
        else:
            print_inspection(content, run, Console(highlight=False, emoji=False))
