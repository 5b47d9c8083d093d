"""The history of a run: one line per episode, in order."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes:
        number: Run-wide, from 0.
        actions: The decisions.
        slots: The slot each of them filled (or should have filled).
        key: Of the candidate; None after an illegal action.
        status: Of the evaluation, or ``"illegal_action"``.
        reward: What the agent got.
        accuracy: Validation accuracy in [0, 1]; None for a failure.
    """

    number: int
    actions: tuple[int, ...]
    slots: tuple[int, ...]
    key: str | None
    status: str
    reward: float
    accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the episode as JSON-ready data."""
        return asdict(self) | {"actions": list(self.actions), "slots": list(self.slots)}


class HistoryFile:
    """A file of episodes, one JSON line each; every line is flushed, and a half-written last one is ignored.

    Args:
        path: Made if it is missing, else continued.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def append(self, episode: Episode) -> None:
        """Add an episode."""
        self._file.write(json.dumps(episode.to_json()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_history(path: Path) -> list[Episode]:
    """Return the episodes of a file; a last line that a kill cut short is left out.

    Raises:
        RunError: The file can't be read, or another line is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"the history {str(path)!r} can't be read ({error}); nas-gym resume rebuilds it") from None
    return list(_episodes(path, lines))


def _episodes(path: Path, lines: list[str]) -> Iterator[Episode]:
    for number, line in enumerate(lines[:-1]):  # after the last newline nothing, or an unfinished line
        try:
            data = json.loads(line)
            yield Episode(**data | {"actions": tuple(data["actions"]), "slots": tuple(data["slots"])})
        except (ValueError, TypeError, KeyError):
            raise RunError(f"line {number + 1} of {str(path)!r} is damaged; nas-gym resume rebuilds it") from None
