"""The folder of an inspection: written whole or not at all, and read again."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_gym.errors import ConfigurationError, RunError
from nas_gym.winner.inspection.layers import INSPECTION

CONTENT_FILE = "inspection.json"
PAGE = "inspection.md"
SCHEMA = 1
_UNFINISHED = ".inspection.unfinished"
_OLD = ".inspection.old"


@dataclass(frozen=True)
class Settings:
    """What is asked of an inspection.

    Attributes:
        images: On which accuracy is measured, at most, of the test and of the validation split each.
        seed: Of all that is drawn.
        repeats: Shufflings in permutation importances.
        patch: Side of a patch in pixels; None: chosen by the size of the images.
        device: Where the network computes: ``auto``, ``cpu``, ``cuda`` ….

    Raises:
        ConfigurationError: A number is out of its range.
    """

    images: int = 500
    seed: int = 0
    repeats: int = 5
    patch: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        least = (("images", 2), ("seed", 0), ("repeats", 1), ("patch", 1))
        for name, smallest in least:
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ConfigurationError(f"{name} is a whole number from {smallest} on, got {value}")

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return asdict(self)


def read_inspection(run: Path) -> dict[str, Any] | None:
    """Return what an inspection of a run found; None where there is none, or what is there is not complete.

    A damaged ``inspection.json`` counts as none: it is made again.
    """
    folder = run / INSPECTION
    try:
        content = json.loads((folder / CONTENT_FILE).read_text(encoding="utf-8"))
        whole = content["schema"] == SCHEMA and all((folder / name).is_file() for name in content["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(content) if whole else None


def write_inspection(run: Path, files: Mapping[str, bytes]) -> None:
    """Put files in place of an earlier inspection, all of them or none.

    Raises:
        RunError: They can't be written; what was there is there.
    """
    place, folder, old = run / _UNFINISHED, run / INSPECTION, run / _OLD
    try:
        for left in (place, old):
            shutil.rmtree(left, ignore_errors=True)
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
        if folder.exists():
            folder.rename(old)
        place.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(place, ignore_errors=True)
        raise RunError(
            f"the inspection can't be written to {str(folder)!r} ({error.strerror or error}); see to the disk, then "
            "give the same command again"
        ) from error
