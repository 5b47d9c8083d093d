"""Reading what a tuning came to."""

import os
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError
from nas_gym.winner.record import read_record

TUNING = "tuning"  # folder of a run
BEST_FILE = "best.json"
SCHEMA = 1


def read_tuning(run: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what ``RUN/tuning/best.json`` holds; None: the run was not tuned, or not to the end.

    Raises:
        RunError: It is damaged.
    """
    file, mend = Path(run) / TUNING / BEST_FILE, "run nas-gym tune --fresh"
    content = read_record(file, SCHEMA, mend)
    if content is not None and not isinstance(content.get("recipe"), dict):
        raise RunError(f"{str(file)!r} is damaged (no recipe in it); {mend}")
    return content


def tuned_recipe(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the tuned settings of the training, as `nas_gym.winner.request.Request.recipe` takes them.

    Raises:
        RunError: The run was not tuned to the end, or the file is damaged.
    """
    content = read_tuning(run)
    if content is None:
        raise RunError(f"{str(run)!r} has no tuned recipe; run nas-gym tune {run} first, or leave out --tuned")
    return dict(content["recipe"])
