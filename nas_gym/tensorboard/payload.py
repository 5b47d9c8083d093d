"""How a record of the tab is kept in an event file: JSON, compressed; nothing of TensorBoard is needed for it.

A record says its kind and the schema. Numbers are written with as many digits as give back the very float32 or float16
that the decision log holds: 9 and 5 significant digits (IEEE 754-2008, section 5.12.2). What is not a finite number is
null, since JSON has no word for it.
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SCHEMA = 1
LARGEST = 16 * 2**20  # bytes of a record's text; a larger one is not ours
LEVEL = 9  # of zlib: TensorBoard's checksum costs more per byte than compressing does


class PayloadError(ValueError):
    """The bytes are no record of the tab: foreign, damaged, or of another schema."""


def pack(kind: str, content: Mapping[str, Any]) -> bytes:
    """Return a record as bytes.

    Args:
        kind: What it is, such as ``"episode"``.
        content: JSON-ready, without NaN or infinities.
    """
    text = json.dumps({"kind": kind, "schema": SCHEMA, **content}, ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode(), LEVEL)


def unpack(data: Any, kind: str) -> dict[str, Any]:
    """Return the content of a record that `pack` made.

    Args:
        data: Anything; what event files hold is not to be trusted.
        kind: What it should be.

    Raises:
        PayloadError: It is no such record.
    """
    if not isinstance(data, bytes):
        raise PayloadError(f"a record is made of bytes, got {type(data).__name__}")
    try:
        opened = zlib.decompressobj()
        text = opened.decompress(data, LARGEST)
        if not opened.eof:
            raise PayloadError("the record is cut off, or larger than any of ours")
        content = json.loads(text, parse_constant=_refuse)
    except (zlib.error, ValueError, RecursionError) as error:
        raise PayloadError(f"no compressed JSON ({error})") from None
    if not isinstance(content, dict) or content.get("kind") != kind or content.get("schema") != SCHEMA:
        raise PayloadError(f"no {kind!r} of schema {SCHEMA}")
    return content


def single(value: float | None) -> float | None:
    """Return a number that gives back its float32 and is short as text; None if it is no finite number."""
    return None if value is None else singles([value])[0]


def singles(values: ArrayLike) -> list[float | None]:
    """Return numbers as `single` does; flat."""
    return _rounded(np.asarray(values, dtype=np.float32).ravel().tolist(), "%.9g")


def halves(values: ArrayLike) -> list[float | None]:
    """Return numbers that give back their float16 and are short as text; flat."""
    return _rounded(np.asarray(values, dtype=np.float16).ravel().tolist(), "%.5g")


def _rounded(values: Iterable[float], digits: str) -> list[float | None]:
    return [float(digits % value) if math.isfinite(value) else None for value in values]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
