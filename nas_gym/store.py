"""The store of results: every evaluation, committed before its reward is returned."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool

from nas_gym.architecture import Candidate
from nas_gym.errors import StoreError
from nas_gym.evaluation.evaluation import Evaluation

_METADATA = sa.MetaData()
_TABLE = sa.Table(
    "evaluations",
    _METADATA,
    sa.Column("namespace", sa.String(500), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("fidelity", sa.String(100), primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("accuracy", sa.Float),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("evaluation", sa.Text, nullable=False),
    sa.Column("candidate", sa.Text, nullable=False),
)
_MAGIC = b"SQLite format 3\0"


class ResultStore:
    """Evaluations in a database, by namespace, key, fidelity and repeat.

    Contract: `put` returns once the row is committed; a reader in any process then sees it; a kill at any instant
    loses nothing that was committed and leaves nothing half-written; a second `put` of the same question replaces
    the first. SQLite files use write-ahead logging and a full sync per commit, so a power failure loses nothing either.

    Args:
        place: Path of a SQLite file, or any SQLAlchemy URL; None: in memory.

    Raises:
        StoreError: The place can't be opened as a database of results.
    """

    def __init__(self, place: str | Path | None = None) -> None:
        self.url = _url(place)
        try:
            memory = self.url.get_backend_name() == "sqlite" and not self.url.database
            self._engine = sa.create_engine(
                self.url,
                **({"poolclass": StaticPool} if memory else {}),
                connect_args={"timeout": 60} if self.url.get_backend_name() == "sqlite" else {},
            )
            with self._translated(), self._engine.connect() as connection:
                if self.url.get_backend_name() == "sqlite":
                    self._prepare_sqlite(connection)
            with self._translated():
                _METADATA.create_all(self._engine)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise StoreError(f"the store {self._shown} can't be used: {error}") from None

    def get(self, namespace: str, key: str, fidelity: str, repeat: int) -> Evaluation | None:
        """Return a committed evaluation, or None.

        Raises:
            StoreError: The database can't be read.
        """
        columns = _TABLE.c
        query = sa.select(columns.evaluation).where(
            columns.namespace == namespace,
            columns.key == key,
            columns.fidelity == fidelity,
            columns.repeat == repeat,
        )
        with self._translated(), self._engine.connect() as connection:
            text = connection.execute(query).scalar_one_or_none()
        return None if text is None else Evaluation.from_json(json.loads(text))

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        """Commit an evaluation with its candidate.

        Raises:
            StoreError: The database can't be written; nothing was.
        """
        question = {
            "namespace": namespace,
            "key": evaluation.key,
            "fidelity": evaluation.fidelity,
            "repeat": evaluation.repeat,
        }
        answer = {
            "status": evaluation.status,
            "accuracy": evaluation.accuracy,
            "created": time.time(),
            "evaluation": json.dumps(evaluation.to_json()),
            "candidate": json.dumps(candidate.to_json()),
        }
        same = [_TABLE.c[name] == value for name, value in question.items()]
        with self._translated(), self._engine.begin() as connection:
            connection.execute(sa.delete(_TABLE).where(*same))
            connection.execute(sa.insert(_TABLE).values(**question, **answer))

    def __iter__(self) -> Iterator[tuple[str, Candidate, Evaluation]]:
        """Iterate over (namespace, candidate, evaluation) in the order they were committed."""
        columns = _TABLE.c
        query = sa.select(columns.namespace, columns.candidate, columns.evaluation).order_by(columns.created)
        with self._translated(), self._engine.connect() as connection:
            for namespace, candidate, evaluation in connection.execute(query):
                yield namespace, Candidate.from_json(candidate), Evaluation.from_json(json.loads(evaluation))

    def __len__(self) -> int:
        """Return the number of evaluations."""
        with self._translated(), self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_TABLE)).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @property
    def _shown(self) -> str:
        return repr(self.url.render_as_string(hide_password=True))

    def _prepare_sqlite(self, connection: sa.Connection) -> None:
        sa.event.listen(self._engine, "connect", _set_pragmas)
        if self.url.database:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            faults = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if faults != "ok":
                raise StoreError(f"the store {self._shown} is damaged ({faults}); restore a copy or start a new run")

    def _translated(self) -> "_Translated":
        return _Translated(self._shown)


class _Translated:
    """Turns the database's exceptions into StoreError."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DBAPIError):
            reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
            raise StoreError(
                f"the store {self._shown} can't be used ({reason}); check the path, the disk and who else has it open"
            ) from None


def _set_pragmas(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=FULL")


def _url(place: str | Path | None) -> sa.URL:
    if place is None:
        return sa.URL.create("sqlite")
    if isinstance(place, str) and "://" in place:
        try:
            url = sa.make_url(place)
        except ArgumentError:
            raise StoreError(f"{place!r} is no database URL; expected such as sqlite:///results.sqlite") from None
        if url.get_backend_name() != "sqlite" or not url.database:
            return url
        place = url.database
    path = Path(place)
    _check_file(path)
    return sa.URL.create("sqlite", database=str(path))


def _check_file(path: Path) -> None:
    """Refuse what is no SQLite file before any connection touches it."""
    if not path.parent.is_dir():
        raise StoreError(f"the folder {str(path.parent)!r} of the store does not exist; make it first")
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"the store {str(path)!r} can't be read: {error.strerror}") from None
    if start and start != _MAGIC:
        raise StoreError(f"{str(path)!r} is no SQLite database (or a damaged one); restore a copy or name another file")
