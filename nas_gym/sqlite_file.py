"""A look at a SQLite file that changes nothing, before anything opens it for writing."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from nas_gym.errors import StoreError

_MAGIC = b"SQLite format 3\0"


def check_sqlite_file(path: Path, table: str, columns: Sequence[str]) -> None:
    """Refuse a path that can't become, or a file that is not, an undamaged database with a table of these columns.

    Neither the file nor its folder is changed. A missing or empty file, and a database without any table, are fine:
    that is what a kill at the very beginning leaves.

    Raises:
        StoreError: The file is refused; the message says why.
    """
    shown = repr(str(path))
    try:
        if "\0" in str(path):
            raise ValueError("a null character in its name")
        if not path.parent.is_dir():
            raise StoreError(f"{str(path.parent)!r}, where the store {shown} should be, is no folder; make it first")
        if not path.exists() or _unfinished(path, "-journal"):  # SQLite itself undoes an unfinished beginning
            return
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"the store {shown} can't be read ({reason}); name another file") from None
    if start and start != _MAGIC:
        raise StoreError(f"{shown} is no SQLite database, or a damaged one; restore a copy or name another file")
    if start:
        _look_inside(path, table, set(columns))


def _look_inside(path: Path, table: str, columns: set[str]) -> None:
    # Without a write-ahead log nobody is writing, and the file can be read without locks, which would be new files.
    alone = not _unfinished(path, "-wal")
    place = f"file:{quote(str(path.absolute()))}?mode=ro" + ("&immutable=1" if alone else "")
    try:
        with closing(sqlite3.connect(place, uri=True)) as connection:
            (faults,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found = {row[1] for row in connection.execute("SELECT * FROM pragma_table_info(?)", (table,))}
    except sqlite3.Error as error:
        if alone and _unfinished(path, "-wal"):  # somebody began to write while we read
            return _look_inside(path, table, columns)
        faults, tables, found = str(error), [], set()
    if faults != "ok":
        reason = faults.splitlines()[-1]
        raise StoreError(f"the store {str(path)!r} is damaged ({reason}); restore a copy or name another file")
    if tables and not columns <= found:
        raise StoreError(f"{str(path)!r} is a database of something else; name another file")
    return None


def _unfinished(path: Path, suffix: str) -> bool:
    return path.with_name(path.name + suffix).exists()
