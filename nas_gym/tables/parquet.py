"""Parquet files into numpy without pandas: pyarrow's own ways import it, which takes longer than the reading."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: str | os.PathLike[str]) -> pa.Table:
    """Return a file's columns. Unlike ``pyarrow.parquet.read_table`` this imports no ``pyarrow.dataset``, so no pandas.

    Raises:
        OSError: The file can't be read.
        pyarrow.ArrowException: It is no Parquet.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


def numbers_of(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without gaps, (n,). Unlike its ``to_numpy`` this imports no pandas.

    Raises:
        ValueError: There are gaps.
    """
    if column.null_count:
        raise ValueError("a column of numbers has gaps")
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])
