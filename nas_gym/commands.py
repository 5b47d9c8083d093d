"""What all commands share: how they report a mistake, and their common options."""

import shlex
import sys
from collections.abc import Container, Iterator
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


@contextmanager
def going_on(kept: str, *, without: Container[str] = ()) -> Iterator[None]:
    """Turn Ctrl-C into what is kept, the command that goes on, and exit code 130.

    Args:
        kept: Such as ``"the epochs that are finished are kept"``.
        without: Words of this command that the one that goes on does not have.
    """
    try:
        yield
    except KeyboardInterrupt:
        errors.print(f"interrupted; {kept}")
        words = [word for word in sys.argv[1:] if word not in without]
        errors.print(f"go on with: {shlex.join(['nas-gym', *words])}", markup=False)
        raise typer.Exit(130) from None
