"""Pickles without code: plain containers and numpy's values are read, and anything else is refused by its name."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from typing import IO, Any, NoReturn

import numpy as np

from nas_gym.errors import ConfigurationError


def allowed() -> dict[tuple[str, str], Any]:
    """Return what a pickle may ask for, by module and name."""
    from numpy._core import multiarray

    allowed: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
    }
    for module in ("builtins", "__builtin__"):
        allowed |= {(module, kind.__name__): kind for kind in (set, frozenset, complex)}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed |= {(module, name): getattr(multiarray, name) for name in ("scalar", "_reconstruct")}
    return allowed


class RestrictedUnpickler(pickle.Unpickler):
    """Makes dicts, lists, sets, numbers, text, OrderedDicts and numpy's scalars, arrays and dtypes; nothing else.

    Whatever else a pickle asks for (a class, a function) is refused by name before it is looked up, so that nothing of
    it is imported or called.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._allowed = allowed()

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the allowed classes and functions; ``pickle`` calls this for every name.

        Raises:
            ConfigurationError: The name is not allowed.
        """
        known = self._allowed.get((module, name))
        if known is None:
            refuse(f"{module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside the pickle."""
        refuse("objects outside of it")


def refuse(name: str) -> NoReturn:
    """Raise the error of a pickle that asks for something that is not allowed."""
    raise ConfigurationError(
        f"the pickle asks for {name}; only plain containers and numpy's numbers are read, and nothing was executed"
    )


def read_pickle(stream: IO[bytes]) -> Any:
    """Return what a pickle holds.

    Raises:
        ConfigurationError: It asks for anything but plain containers and numpy's values, or is damaged.
    """
    try:
        return RestrictedUnpickler(stream).load()
    except ConfigurationError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"the pickle is damaged ({reason})") from None
