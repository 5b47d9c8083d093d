"""Tables of candidates that were all trained, shipped with the package: benchmarks without a training.

``fashion-chain`` has every candidate of `fashion_chain_space`, trained with three repeats by
``scripts/build_table.py``.
"""

from pathlib import Path

from nas_gym.errors import ConfigurationError
from nas_gym.tables.benchmark import BenchmarkTable, read_benchmark, shipped_benchmark, write_benchmark
from nas_gym.tables.fashion_chain import fashion_chain_dataset, fashion_chain_space
from nas_gym.tables.home import load_benchmark, tables_home
from nas_gym.tables.table import Table, read_table, write_table

__all__ = [
    "TABLES",
    "BenchmarkTable",
    "Table",
    "fashion_chain_dataset",
    "fashion_chain_space",
    "load_benchmark",
    "load_table",
    "read_benchmark",
    "read_table",
    "shipped_benchmark",
    "tables_home",
    "write_benchmark",
    "write_table",
]

TABLES = ("fashion-chain",)
"""The names that `load_table` knows."""


def load_table(name: str = "fashion-chain") -> Table:
    """Return a shipped table.

    Raises:
        ConfigurationError: There is no table of that name.
    """
    if name not in TABLES:
        raise ConfigurationError(f"expected the name of a table, one of {', '.join(TABLES)}, got {name!r}")
    return read_table(Path(__file__).with_name(f"{name}.parquet"))
