"""``nas-gym tensorboard``: TensorBoard with the tab, from the same interpreter."""

import json
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.console import Console

from nas_gym.commands import JsonOption, errors, reporting


def tensorboard(
    run: Annotated[Path, typer.Argument(help="A run directory, or a folder of several.", show_default=False)],
    flags: Annotated[
        list[str] | None, typer.Argument(help="After --: TensorBoard's own options.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option(help="To listen at; 0.0.0.0 for all the network.")] = "localhost",
    port: Annotated[
        int | None,
        typer.Option(help="To listen at; 0: any.", show_default="the first free one from 6006", min=0, max=65535),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start TensorBoard with the tab "NAS decisions", and check that the tab is there."""
    with reporting():
        from nas_gym.tensorboard import TAB
        from nas_gym.tensorboard.launch import launch

        board = launch(run, host=host, port=port, flags=flags or [])
        if not board.everywhere:
            errors.print(
                "the command tensorboard of this environment does not show the tab, this one does: "
                "pip install nas-gym there again"
            )
        if as_json:
            print(json.dumps({"url": board.url}), flush=True)
        else:
            shown = Console(highlight=False, soft_wrap=True, emoji=False)
            shown.print(f"the tab {TAB!r} is at {board.url}", markup=False)
            shown.print("Ctrl-C ends it")
        try:
            Event().wait()
        except KeyboardInterrupt:
            errors.print("ended")
