"""``nas-gym report``: one page that tells of a run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nas_gym.commands import JsonOption, reporting


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder to write into.", show_default="the run directory")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a report of a run: report.html, which needs no network, and report.md with its pictures."""
    with reporting():
        import nas_gym
        from nas_gym.report import write_report

        written = write_report(nas_gym.load(run), out)
        if as_json:
            print(
                json.dumps(
                    {
                        "run_dir": str(run),
                        "html": str(written.page),
                        "markdown": str(written.markdown),
                        "pictures": [str(path) for path in written.pictures],
                        "sections": written.sections,
                    }
                )
            )
            return
        print(written.page)
        print(written.markdown)
