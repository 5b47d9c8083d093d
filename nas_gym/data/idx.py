"""Reader of the idx format, packed or not: what MNIST and its kin are published in."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_gym.data.messages import one_line, quoted
from nas_gym.errors import DatasetError

_UINT8 = 0x08


def read_idx(path: Path, n_dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an idx file of bytes, writable.

    The format: two zero bytes, one for the type (8: uint8), one for the number of dimensions, the dimensions
    as big-endian uint32, then the values, last dimension fastest.

    Args:
        path: The file; a name that ends in ``.gz`` is unpacked in memory.
        n_dimensions: How many dimensions the array must have.

    Raises:
        DatasetError: If the file cannot be read or is not such an array.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{quoted(path)} cannot be read ({one_line(error)}); fetch the file again") from error
    start = 4 + 4 * n_dimensions
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").tolist()) if len(content) >= start else ()
    if content[:4] != bytes([0, 0, _UINT8, n_dimensions]) or len(content) != start + math.prod(shape):
        raise DatasetError(
            f"expected an idx file of bytes with {n_dimensions} dimensions in {quoted(path)}, got "
            f"{len(content)} bytes "
            f"that do not fit its header {content[:start].hex()!r}; fetch the file again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()
