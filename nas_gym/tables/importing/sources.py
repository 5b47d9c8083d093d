"""Which importer reads a source, and how its table is kept: with where it came from, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nas_gym.errors import ConfigurationError
from nas_gym.tables.benchmark import BenchmarkTable, write_benchmark
from nas_gym.tables.home import tables_home
from nas_gym.tables.importing.columns import Layout, Numbers, device_columns, import_columns, read_file
from nas_gym.tables.importing.layouts import known_layout
from nas_gym.tables.importing.nasbench201 import import_nasbench201
from nas_gym.tables.importing.nasbenchmacro import import_nasbenchmacro
from nas_gym.tables.importing.natsbench import Watch, import_natsbench, record_files, recorded_space
from nas_gym.tables.importing.records import DATASETS, TOPOLOGY

_NAMES = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet16"}


def import_table(
    source: Path,
    *,
    name: str = "",
    dataset: str = "cifar10",
    layout: Layout | None = None,
    devices: Path | None = None,
    watch: Watch | None = None,
) -> BenchmarkTable:
    """Return the table of a source, with its name and SHA-256 among the facts.

    Args:
        source: An official NATS-Bench directory, the official NAS-Bench-201 file (``.pth``), NAS-Bench-Macro's JSON, or
            a CSV, TSV or Parquet file.
        name: Of the table; empty: after the benchmark, or the file.
        dataset: Of the official benchmarks, which have several: one of `DATASETS`.
        layout: What the columns of a CSV or Parquet file mean; None: it is one of the known layouts.
        devices: Another file whose columns are devices' latencies.
        watch: Called with the files that are read and their number, where there are many.

    Raises:
        ConfigurationError: The source is missing, damaged, unknown or asks for code.
    """
    if dataset not in DATASETS:
        raise ConfigurationError(f"the data set is one of {', '.join(DATASETS)}, got {dataset!r}")
    if not source.exists():
        raise ConfigurationError(f"{str(source)!r} is missing: there is nothing to import")
    ending = source.suffix.lower()
    if layout is not None and (source.is_dir() or ending in (".pth", ".pt", ".json")):
        raise ConfigurationError(f"columns are named for CSV and Parquet files alone, not for {str(source)!r}")
    if source.is_dir():
        chosen = name or f"{recorded_space(source).name}-{_NAMES[dataset]}"
        table = import_natsbench(source, chosen, dataset, watch)
    elif ending in (".pth", ".pt"):
        table = import_nasbench201(source, name or f"{TOPOLOGY.name}-{_NAMES[dataset]}", dataset)
    elif ending == ".json":
        table = import_nasbenchmacro(source, name or "nasbenchmacro-cifar10")
    elif ending in (".csv", ".tsv", ".parquet"):
        return _columns(source, name, layout, devices)
    else:
        raise ConfigurationError(
            f"{str(source)!r} is none of what can be imported: a NATS-Bench directory, a .pth of NAS-Bench-201, a "
            ".json of NAS-Bench-Macro, a .csv, .tsv or .parquet"
        )
    return _told(table, {"source": source.name, "sha256": digest(source)})


def save_table(table: BenchmarkTable, path: Path | None = None) -> Path:
    """Write a table to a path, or into `tables_home` under its name, and return the path; whole or not at all.

    Raises:
        ConfigurationError: The name can't be a file's, or the path can't be written.
    """
    if path is None:
        if not table.name or table.name != Path(table.name).name or table.name.startswith("."):
            raise ConfigurationError(f"the name of a table is a file's without its ending, got {table.name!r}")
        path = tables_home() / f"{table.name}.parquet"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_benchmark(table, path)
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} can't be written: {error.strerror or error}") from None
    return path


def digest(source: Path) -> str:
    """Return the SHA-256 of a file; of a directory of NATS-Bench, that of its files' names and digests."""
    if source.is_dir():
        lines = [f"{digest(path)}  {path.name}\n" for path in record_files(source)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _columns(source: Path, name: str, layout: Layout | None, devices: Path | None) -> BenchmarkTable:
    read = read_file(source)
    if layout is None:
        known = known_layout(read.column_names)
        if known is None:
            raise ConfigurationError(
                f"the columns of {str(source)!r} are not known; name them with --decision, --reward and --score: it "
                f"has {', '.join(read.column_names[:30])}"
            )
        name, layout = name or known.name, known.layout
    beside = source.parent / layout.device_file if layout.device_file else None
    if devices is None and beside is not None and beside.is_file():
        devices = beside
    facts = {"source": source.name, "sha256": digest(source)}
    latencies: Mapping[str, Numbers] = {}
    if devices is not None:
        latencies = device_columns(devices, read)
        facts |= {"devices_source": devices.name, "devices_sha256": digest(devices)}
    return _told(import_columns(read, layout, name or source.stem, latencies), facts)


def _told(table: BenchmarkTable, facts: Mapping[str, str]) -> BenchmarkTable:
    return replace(table, facts={**table.facts, **facts})
