"""Parquet files into numpy without pandas: pyarrow's own ways import it, which takes longer than the reading."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

Made = TypeVar("Made")


def read_parquet(path: str | os.PathLike[str]) -> pa.Table:
    """Return a file's columns. Unlike ``pyarrow.parquet.read_table`` this imports no ``pyarrow.dataset``, so no pandas.

    Raises:
        OSError: The file can't be read.
        pyarrow.ArrowException: It is no Parquet.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def read_as(
    path: str | os.PathLike[str], key: bytes, make: Callable[[pa.Table, dict[str, Any]], Made], *, expected: str
) -> Made:
    """Return what a file's columns, and the JSON that its metadata has under a key, are made into.

    Args:
        path: Of the file.
        key: Of the metadata.
        make: From the columns and the JSON.
        expected: Ends the message, such as ``"no table; expected a file of such a script"``, parted at the semicolon.

    Raises:
        ConfigurationError: The file is missing or damaged, or lacks a part.
    """
    import pyarrow as pa

    try:
        read = read_parquet(path)
        return make(read, json.loads((read.schema.metadata or {})[key]))
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what, _, source = expected.partition("; ")
        raise ConfigurationError(f"{str(path)!r} is {what} ({reason}); {source}") from None


def numbers_of(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without gaps, (n,). Unlike its ``to_numpy`` this imports no pandas.

    Raises:
        ValueError: There are gaps.
    """
    if column.null_count:
        raise ValueError("a column of numbers has gaps")
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])
