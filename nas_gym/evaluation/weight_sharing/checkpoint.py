"""The file that keeps a supernet: whole or not there, and never taken for another one's."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nas_gym.errors import ConfigurationError


def write_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write a supernet's state; a kill at any moment leaves the file before or the new one.

    Raises:
        ConfigurationError: The file can't be written.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            torch.save({"identity": identity, "state": state}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:  # the second is what torch raises when the disk is full
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise ConfigurationError(
            f"the checkpoint {str(path)!r} can't be written ({reason}); make room there or name another file"
        ) from None
    finally:
        with suppress(OSError):  # it is in its place, or of no use
            unfinished.unlink(missing_ok=True)


def read_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the state that `write_checkpoint` wrote, or None if there is no file.

    Raises:
        ConfigurationError: The file is damaged, no checkpoint, or that of a supernet with other settings.
    """
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["identity"], content["state"]
    except Exception as error:  # whatever a foreign or damaged file makes of unpickling
        raise ConfigurationError(
            f"{str(path)!r} is no checkpoint of a supernet, or a damaged one ({type(error).__name__}); "
            "remove it or name another file"
        ) from None
    if found != identity:
        raise ConfigurationError(
            f"{str(path)!r} is the checkpoint of another supernet ({found}), expected was {identity}; name another file"
        )
    return dict(state)
