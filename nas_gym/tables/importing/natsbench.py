"""Tables out of the official NATS-Bench directories: ``NATS-tss-v1_0-3ffb9-simple`` and ``NATS-sss-v1_0-50262-simple``.

Each holds ``meta.pickle.pbz2`` with the strings of all architectures, and for each one a pickle under bzip2,
``000000.pickle.pbz2`` …; architectures whose files are not there are left out.
"""

from __future__ import annotations

import bz2
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nas_gym.errors import ConfigurationError
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym.tables.importing.records import SIZE, TOPOLOGY, RecordedSpace, from_records
from nas_gym.tables.importing.unpickling import read_pickle

ENDING = ".pickle.pbz2"
META = f"meta{ENDING}"
Watch = Callable[[int, int], None]


def import_natsbench(folder: Path, name: str, dataset: str, watch: Watch | None = None) -> BenchmarkTable:
    """Return the table of an official directory.

    Args:
        folder: The directory.
        name: Of the table.
        dataset: One of `nas_gym.tables.importing.records.DATASETS`.
        watch: Called with the files that are read and their number.

    Raises:
        ConfigurationError: It is no such directory, or a file is damaged or asks for code.
    """
    texts = _architectures(folder)
    return from_records(_records(folder, texts, watch), recorded_space(folder), dataset, name)


def recorded_space(folder: Path) -> RecordedSpace:
    """Return which space a directory is of, by its first architecture.

    Raises:
        ConfigurationError: It is no such directory.
    """
    return TOPOLOGY if "|" in _architectures(folder)[0] else SIZE


def record_files(folder: Path) -> list[Path]:
    """Return the files of a directory that make a table, sorted: that of all strings, and one an architecture."""
    pattern = re.compile(rf"\d+{re.escape(ENDING)}")
    files = [path for path in folder.iterdir() if pattern.fullmatch(path.name) or path.name == META]
    return sorted(files, key=lambda path: path.name)


def _architectures(folder: Path) -> list[str]:
    if not (folder / META).is_file():
        raise ConfigurationError(f"{str(folder)!r} is no directory of NATS-Bench: it has no {META}")
    meta = _read(folder / META)
    texts = meta.get("meta_archs") if isinstance(meta, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f"{str(folder / META)!r} needs the strings of all architectures (meta_archs)")
    return texts


def _records(folder: Path, texts: list[str], watch: Watch | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    files = [path for path in record_files(folder) if path.name != META]
    if not files:
        raise ConfigurationError(f"{str(folder)!r} holds no architecture, such as 000000{ENDING}")
    for done, path in enumerate(files):
        if watch is not None:
            watch(done, len(files))
        number = int(path.name.removesuffix(ENDING))
        record = _read(path)
        if number >= len(texts) or not isinstance(record, dict):
            raise ConfigurationError(f"{str(path)!r} is the record of no architecture of {META}")
        yield texts[number], record


def _read(path: Path) -> Any:
    """Return what a compressed pickle holds."""
    try:
        with bz2.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError, ValueError) as error:
        raise ConfigurationError(f"{str(path)!r} is damaged: {error}") from None
    import io

    try:
        return read_pickle(io.BytesIO(content))
    except ConfigurationError as error:
        raise ConfigurationError(f"{str(path)!r} can't be read: {error}") from None
