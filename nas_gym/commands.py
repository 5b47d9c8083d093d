"""What all commands share: how they report a mistake, and their common options."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nas_gym.errors import NasGymError

errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, last.")]


@contextmanager
def reporting(resume: Path | None = None) -> Iterator[None]:
    """Turn a user's mistake into a sentence and exit code 2, and Ctrl-C into a hint and exit code 130."""
    try:
        yield
    except NasGymError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        errors.print("interrupted; nothing that was evaluated is lost")
        if resume is not None and resume.exists():
            errors.print(f"go on with: nas-gym resume {resume}", markup=False)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        raise typer.Exit(1) from None
