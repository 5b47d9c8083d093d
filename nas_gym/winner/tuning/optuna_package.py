"""Optuna, where it is installed, without its log and its warnings of experimental settings; its journal."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.errors import ConfigurationError, RunError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def optuna_package() -> Any:
    """Return the package optuna.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigurationError('Optuna is not installed; pip install "nas-gym[optuna]"') from None
    return optuna


@contextmanager
def quiet() -> Iterator[Any]:
    """Silence Optuna inside and let it speak again afterwards; yields the package."""
    optuna = optuna_package()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(verbosity)


def journal(file: Path) -> "BaseStorage":
    """Return the storage in a journal file of which this process is the only writer; made if it is not there.

    What a kill can leave there is removed first: half a line at the end, and Optuna's lock.

    Raises:
        RunError: It can't be read.
    """
    optuna_package()
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    for left in file.parent.glob(f"{file.name}.lock*"):
        left.unlink(missing_ok=True)
    try:
        if file.exists():
            content = file.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                with file.open("r+b") as opened:
                    opened.truncate(whole)
        storage: BaseStorage = JournalStorage(JournalFileBackend(str(file)))
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(f"{str(file)!r} can't be read ({reason}); begin anew with --fresh") from None
    return storage
