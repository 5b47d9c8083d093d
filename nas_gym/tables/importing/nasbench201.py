"""Tables out of the official NAS-Bench-201 file, ``NAS-Bench-201-v1_1-096897.pth``.

It is one torch archive of a few gigabytes that unpacks to many times that in memory; the NATS-Bench directory holds
the same trainings and is read architecture by architecture.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas_gym.errors import ConfigurationError
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym.tables.importing.records import TOPOLOGY, from_records
from nas_gym.tables.importing.unpickling import allowed, refuse

SCHEDULES = {"12": "less", "200": "full"}  # as this file names the two schedules


def import_nasbench201(path: Path, name: str, dataset: str) -> BenchmarkTable:
    """Return the table of the official file.

    Args:
        path: The file.
        name: Of the table.
        dataset: One of `nas_gym.tables.importing.records.DATASETS`.

    Raises:
        ConfigurationError: It is damaged, is something else, or asks for code.
    """
    content = _read(path)
    texts = content.get("meta_archs") if isinstance(content, dict) else None
    records = content.get("arch2infos") if isinstance(content, dict) else None
    if not isinstance(texts, list) or not isinstance(records, dict) or not records:
        raise ConfigurationError(f"{str(path)!r} needs meta_archs and arch2infos, as NAS-Bench-201 writes them")
    return from_records(_records(texts, records), TOPOLOGY, dataset, name)


def _records(texts: list[str], records: Mapping[int, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number in sorted(records):
        known = isinstance(number, int) and 0 <= number < len(texts) and isinstance(texts[number], str)
        if not known or not isinstance(records[number], dict):
            raise ConfigurationError(f"arch2infos holds {number!r}, which is no architecture of meta_archs")
        yield texts[number], {ours: records[number].get(theirs) for ours, theirs in SCHEDULES.items()}


def _read(path: Path) -> Any:
    """Return what a torch archive holds; torch's own restricted unpickler reads it, with numpy's values added."""
    import torch

    safe = [(value, f"{module}.{name}") for (module, name), value in allowed().items() if module.startswith("numpy")]
    try:
        with torch.serialization.safe_globals([*safe, *_number_types()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            try:
                refuse(asked[1])
            except ConfigurationError as refused:
                raise ConfigurationError(f"{str(path)!r} can't be read: {refused}") from None
        raise ConfigurationError(f"{str(path)!r} is damaged: {str(error).splitlines()[0]}") from None
    except Exception as error:  # a damaged archive raises nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"{str(path)!r} is no torch archive, or is damaged ({reason})") from None


def _number_types() -> list[type]:
    """Return the classes of numpy's numbers, which torch asks for by the dtype it has made."""
    import numpy as np

    return [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32)]
