"""Reading what a tuning came to."""

import json
import os
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError

TUNING = "tuning"  # folder of a run
BEST_FILE = "best.json"
SCHEMA = 1


def read_tuning(run: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what ``RUN/tuning/best.json`` holds; None: the run was not tuned, or not to the end.

    Raises:
        RunError: It is damaged.
    """
    file = Path(run) / TUNING / BEST_FILE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA or not isinstance(content["recipe"], dict):
            raise ValueError(f"schema {content['schema']}")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error!r}); run nas-gym tune --fresh") from None


def tuned_recipe(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the tuned settings of the training, as `nas_gym.winner.request.Request.recipe` takes them.

    Raises:
        RunError: The run was not tuned to the end, or the file is damaged.
    """
    content = read_tuning(run)
    if content is None:
        raise RunError(f"{str(run)!r} has no tuned recipe; run nas-gym tune {run} first, or leave out --tuned")
    return dict(content["recipe"])
