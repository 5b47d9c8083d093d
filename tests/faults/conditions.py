"""What a search has to live with: a full database or disk, little patience with locks, a clock that jumps."""

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa


@contextmanager
def under(
    *,
    max_pages: int | None = None,
    patience: float | None = None,
    clock: bool = False,
    file_limit_kb: int | None = None,
) -> Iterator[None]:
    """Put this process under conditions.

    Args:
        max_pages: SQLite files don't grow beyond so many pages, as if the disk were full.
        patience: Seconds that the run's store waits for a lock.
        clock: Whether `time.time` jumps by a day, back and forth, at every call.
        file_limit_kb: Size beyond which no file of this process grows: root is stopped by it too.
    """
    from injection import jumping_clock

    from nas_gym.store import ResultStore
    from nas_gym_agents import runner

    with ExitStack() as stack:
        if max_pages is not None:
            stack.enter_context(full_database(max_pages))
        if patience is not None:
            store = runner.ResultStore
            stack.callback(setattr, runner, "ResultStore", store)
            runner.ResultStore = functools.partial(ResultStore, patience_seconds=patience)  # type: ignore[misc,assignment]
        if clock:
            stack.enter_context(jumping_clock())
        if file_limit_kb is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_kb * 1024, resource.RLIM_INFINITY))
        yield


@contextmanager
def full_database(max_pages: int) -> Iterator[None]:
    """Let no SQLite database that this process opens grow beyond so many pages."""

    def limit(connection: object, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={max_pages}")  # type: ignore[attr-defined]

    sa.event.listen(sa.Engine, "connect", limit)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", limit)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files under a folder with what is in them, lock files left out."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if _kept(file)}


def _kept(file: Path) -> bool:
    return file.is_file() and file.name != ".lock"
