"""Where benchmark tables are: shipped with the package, in the user's folder of tables, or at a path."""

import os
from functools import lru_cache
from pathlib import Path

from nas_gym.errors import ConfigurationError
from nas_gym.tables.benchmark import BenchmarkTable, read_benchmark, shipped_benchmark

SHIPPED = "fashion-chain"


def tables_home() -> Path:
    """Return the folder of imported tables: ``$NAS_GYM_TABLES``, else ``nas-gym/tables`` among the user's data."""
    home = os.environ.get("NAS_GYM_TABLES")
    if home:
        return Path(home).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "nas-gym" / "tables"


def load_benchmark(name: str | os.PathLike[str] = SHIPPED) -> BenchmarkTable:
    """Return a benchmark table by name or path.

    A table that was read before comes from memory as long as its file is the same.

    Args:
        name: ``"fashion-chain"``, the table that ships with the package; the path of a Parquet file; or the name of a
            table in `tables_home`.

    Raises:
        ConfigurationError: It is missing (the message says how to get it) or damaged.
    """
    if name == SHIPPED:
        return _shipped()
    given = Path(name).expanduser()
    inside = tables_home() / f"{name}.parquet"
    place = given if given.suffix or given.parent != Path() else inside
    if not place.is_file():
        raise ConfigurationError(
            f"the table {str(name)!r} is missing ({place} was expected); make it with: nas-gym table import SOURCE "
            f"--name {given.stem}"
        )
    facts = place.stat()
    return _read(str(place), facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=1)
def _shipped() -> BenchmarkTable:
    from nas_gym.tables import load_table

    return shipped_benchmark(load_table(SHIPPED))


@lru_cache(maxsize=4)
def _read(place: str, changed: int, size: int) -> BenchmarkTable:
    return read_benchmark(place)
