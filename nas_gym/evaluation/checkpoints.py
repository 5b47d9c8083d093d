"""Files of unfinished trainings, from which a later one goes on."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_gym.errors import ConfigurationError

_DIGEST = hashlib.sha256().digest_size


class Checkpoints:
    """Keeps the states of unfinished trainings in a folder, whole or not at all.

    A training is named by a question: text with everything that decides its numbers. What can't be read, is damaged
    or answers another question counts as absent; what can't be written is a warning: a later training then starts
    from the beginning. Processes may share the folder.

    Args:
        folder: One file per training; made when the first one is written.

    Raises:
        ConfigurationError: Something that is no folder has this name.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigurationError(f"checkpoints go into a folder, but {str(folder)!r} is a file; name another place")

    def latest(self, question: str, most: int) -> dict[str, Any] | None:
        """Return the state with the most epochs, up to ``most`` of them; None if there is none."""
        for epochs, path in sorted(self._files(question), reverse=True):
            state = _read(path, question) if epochs <= most else None
            if state is not None:
                return state
        return None

    def write(self, question: str, epochs: int, state: dict[str, Any]) -> None:
        """Write the state after so many epochs, and remove those with fewer."""
        path = self.folder / f"{_name(question)}-{epochs:06d}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, question, state)
        except OSError as error:
            warnings.warn(f"the checkpoint {path} can't be written ({error}); go on without", stacklevel=2)
        else:
            self._remove(question, lambda other: other < epochs)

    def remove(self, question: str) -> None:
        """Remove all states of a training."""
        self._remove(question, lambda other: True)

    def _remove(self, question: str, chosen: Callable[[int], bool]) -> None:
        for epochs, path in self._files(question):
            if chosen(epochs):
                path.unlink(missing_ok=True)

    def _files(self, question: str) -> list[tuple[int, Path]]:
        found = [(path.stem.rpartition("-")[2], path) for path in self.folder.glob(f"{_name(question)}-*.pt")]
        return [(int(epochs), path) for epochs, path in found if epochs.isdecimal()]


def _name(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:32]


def _write(path: Path, question: str, state: dict[str, Any]) -> None:
    import torch

    buffer = io.BytesIO()
    torch.save({"question": question, "state": state}, buffer)
    content = buffer.getvalue()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            # torch does not check what it reads: a flipped bit would be trained on.
            file.write(hashlib.sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(path: Path, question: str) -> dict[str, Any] | None:
    import torch

    try:
        content = path.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            return None
        found = torch.load(io.BytesIO(content[_DIGEST:]), map_location="cpu", weights_only=True)
        return dict(found["state"]) if found["question"] == question else None
    except Exception:  # whatever is wrong with a file, it is no checkpoint
        return None
