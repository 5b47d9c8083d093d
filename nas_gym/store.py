"""The store of results: every evaluation, committed before its reward is returned."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from nas_gym.architecture import Candidate
from nas_gym.errors import NasGymError, StoreError, StoreUnavailableError
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.group_commit import GroupCommit
from nas_gym.sqlite_file import check_sqlite_file

_METADATA = sa.MetaData()
_TABLE = sa.Table(
    "evaluations",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True),  # in the order of the commits
    sa.Column("question", sa.String(64), nullable=False, unique=True),  # digest of the next four, of any length
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("fidelity", sa.Text, nullable=False),
    sa.Column("repeat", sa.Integer, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("accuracy", sa.Float),
    sa.Column("created", sa.Float, nullable=False),  # seconds since 1970, for people: clocks jump
    sa.Column("evaluation", sa.Text, nullable=False),
    sa.Column("candidate", sa.Text, nullable=False),
)
_PSYCOPG = "postgresql+psycopg"
_told: dict[sa.URL, sa.URL] = {}  # addresses with their passwords by those without, which are what a run keeps
_PAGE = 500  # rows read at once
# What shows that the database, not a row, is at fault. (Some drivers call a lost connection an InterfaceError.)
_UNAVAILABLE = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)


class ResultStore:
    """A `nas_gym.evaluation.Store` in a database: a SQLite file, memory, or a server's.

    SQLite files use write-ahead logging and a full sync per commit, so that a power failure loses nothing either.
    Threads may share one object, processes one database. Threads that put at the same time share a transaction.

    Args:
        place: Path of a SQLite file, or any SQLAlchemy URL (``postgresql://user:password@host/name``). A password
            that this process was told once need not be told again; others are found as the driver does. None:
            in memory.
        patience_seconds: How long to wait for another process that has the database locked, or for a server.

    Raises:
        StoreError: The place can't be opened as a database of results; a file that is there stays as it is.
    """

    def __init__(self, place: str | Path | None = None, *, patience_seconds: float = 60.0) -> None:
        self.url = _url(place)
        sqlite = self.url.get_backend_name() == "sqlite"
        memory = sqlite and self.url.database in (None, "", ":memory:")
        if sqlite and not memory and not self.url.query:
            check_sqlite_file(Path(str(self.url.database)), _TABLE.name, [column.name for column in _TABLE.columns])
        # Memory is one connection, which threads must take in turn.
        self._turn: AbstractContextManager[Any] = threading.RLock() if memory else nullcontext()
        self._patience_seconds = patience_seconds
        self._group = GroupCommit(self._commit)
        options: dict[str, Any] = {"pool_pre_ping": not sqlite}  # a server may have been restarted
        if sqlite:
            options["connect_args"] = {"timeout": patience_seconds, "check_same_thread": False}
        elif self.url.drivername == _PSYCOPG and "connect_timeout" not in self.url.query:
            options["connect_args"] = {"connect_timeout": max(1, round(patience_seconds))}
        if memory:
            options["poolclass"] = StaticPool
        with self._translated():
            self._engine = sa.create_engine(self.url, **options)
            try:
                if sqlite:
                    sa.event.listen(self._engine, "connect", _synchronous)
                self._prepare(wal=sqlite and not memory)
            except BaseException:
                self._engine.dispose()
                raise

    def get(self, namespace: str, key: str, fidelity: str, repeat: int) -> Evaluation | None:
        """Return a committed evaluation, or None.

        Raises:
            StoreError: The database can't be read.
        """
        query = sa.select(_TABLE.c.evaluation).where(_TABLE.c.question == _digest(namespace, key, fidelity, repeat))
        with self._translated(), self._turn, self._engine.connect() as connection:
            text = connection.execute(query).scalar_one_or_none()
        return None if text is None else self._evaluation(text)

    def get_many(self, namespace: str, questions: Sequence[tuple[str, str, int]]) -> list[Evaluation | None]:
        """Return the committed evaluations of (key, fidelity, repeat), in order, each an evaluation or None.

        Raises:
            StoreError: The database can't be read.
        """
        digests = [_digest(namespace, *question) for question in questions]
        texts: dict[str, str] = {}
        query = sa.select(_TABLE.c.question, _TABLE.c.evaluation)
        with self._translated(), self._turn, self._engine.connect() as connection:
            for start in range(0, len(digests), _PAGE):
                rows = connection.execute(query.where(_TABLE.c.question.in_(digests[start : start + _PAGE])))
                texts.update((question, text) for question, text in rows)
        return [self._evaluation(texts[digest]) if digest in texts else None for digest in digests]

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        """Commit an evaluation with its candidate.

        Raises:
            StoreError: The database can't be written; nothing was.
        """
        self._group.put([_row(namespace, candidate, evaluation)])

    def put_many(self, namespace: str, answers: Sequence[tuple[Candidate, Evaluation]]) -> None:
        """Commit evaluations with their candidates in one transaction.

        Raises:
            StoreError: The database can't be written; none of them was.
        """
        if answers:
            self._group.put([_row(namespace, candidate, evaluation) for candidate, evaluation in answers])

    def __iter__(self) -> Iterator[tuple[str, Candidate, Evaluation]]:
        """Iterate over (namespace, candidate, evaluation) in the order they were committed.

        Raises:
            StoreError: The database can't be read.
        """
        columns = _TABLE.c
        query = sa.select(columns.number, columns.namespace, columns.candidate, columns.evaluation)
        query = query.order_by(columns.number).limit(_PAGE)
        last = -1
        while True:  # a page at a time, so that no transaction stays open while the caller works
            with self._translated(), self._turn, self._engine.connect() as connection:
                rows = connection.execute(query.where(columns.number > last)).all()
            for last, namespace, candidate, evaluation in rows:  # noqa: B007  last is where the next page begins
                yield namespace, self._candidate(candidate), self._evaluation(evaluation)
            if len(rows) < _PAGE:
                return

    def __len__(self) -> int:
        """Return the number of evaluations."""
        with self._translated(), self._turn, self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_TABLE)).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _prepare(self, *, wal: bool) -> None:
        with self._engine.connect() as connection:
            if wal and connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() != "wal":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            try:
                connection.execute(sa.schema.CreateTable(_TABLE, if_not_exists=True))
                connection.commit()
            except (IntegrityError, ProgrammingError):
                # Another process made it at the same time (to PostgreSQL that is a fault), or only others may make it.
                connection.rollback()
                if not sa.inspect(connection).has_table(_TABLE.name):
                    raise
            connection.execute(sa.select(_TABLE).limit(1))  # all columns are there

    def _commit(self, rows: Sequence[dict[str, Any]]) -> None:
        last = {row["question"]: place for place, row in enumerate(rows)}  # of one question the last answer counts
        kept = [row for place, row in enumerate(rows) if last[row["question"]] == place]
        with self._translated():
            try:
                self._replace(kept)
            except DBAPIError as error:
                # Another process put the same question between our two statements, or the connection was lost. Once
                # more is harmless even if the first commit went through.
                if not isinstance(error, IntegrityError) and not error.connection_invalidated:
                    raise
                self._replace(kept)

    def _replace(self, rows: Sequence[dict[str, Any]]) -> None:
        with self._turn, self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Writers take turns (readers don't wait): numbers then are in the order of the commits, and two
                # transactions that put the same questions in different orders can't lock each other out.
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(1000 * self._patience_seconds))}")
                connection.exec_driver_sql(f"LOCK TABLE {_TABLE.name} IN SHARE ROW EXCLUSIVE MODE")
            replaced = sa.delete(_TABLE).where(_TABLE.c.question == sa.bindparam("replaced"))
            connection.execute(replaced, [{"replaced": row["question"]} for row in rows])
            connection.execute(sa.insert(_TABLE), list(rows))

    @property
    def _shown(self) -> str:
        return repr(self.url.render_as_string(hide_password=True))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn whatever can go wrong with a database into StoreError."""
        try:
            yield
        except _UNAVAILABLE as error:
            local = self.url.get_backend_name() == "sqlite"
            what = "its address, the password (a run keeps none: set PGPASSWORD) and that its server is up"
            what = "the path, the disk and who else has it open" if local else what
            raise StoreUnavailableError(f"{self._unusable(error)}; check {what}") from None
        except DBAPIError as error:
            raise StoreError(f"{self._unusable(error)}; check its address and what it holds") from None
        except (NoSuchModuleError, ImportError) as error:
            advice = '; pip install "nas-gym[postgresql]"' if self.url.drivername == _PSYCOPG else ""
            raise StoreError(
                f"the store {self._shown} needs a database driver that is not installed ({_first_line(error)}){advice}"
            ) from None
        except UnicodeEncodeError as error:
            raise StoreError(f"{self._unusable(error)}; rename what has that name") from None
        except SQLAlchemyError as error:
            raise StoreError(f"{self._unusable(error)}; check its address") from None

    def _unusable(self, error: Exception) -> str:
        cause = getattr(error, "orig", None) or error
        return f"the store {self._shown} can't be used ({_first_line(cause)})"

    def _evaluation(self, text: str) -> Evaluation:
        with self._understood():
            return Evaluation.from_json(json.loads(text))

    def _candidate(self, text: str) -> Candidate:
        with self._understood():
            return Candidate.from_json(text)

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn whatever can be wrong with what is in a row into StoreError."""
        try:
            yield
        except (NasGymError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(
                f"the store {self._shown} holds a row that is damaged or not of this program ({_first_line(error)}); "
                "restore a copy or start a new run"
            ) from None


def _synchronous(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=FULL")


def _row(namespace: str, candidate: Candidate, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "question": _digest(namespace, evaluation.key, evaluation.fidelity, evaluation.repeat),
        "namespace": namespace,
        "key": evaluation.key,
        "fidelity": evaluation.fidelity,
        "repeat": evaluation.repeat,
        "status": evaluation.status,
        "accuracy": evaluation.accuracy,
        "created": time.time(),
        "evaluation": json.dumps(evaluation.to_json()),
        "candidate": json.dumps(candidate.to_json()),
    }


def _digest(namespace: str, key: str, fidelity: str, repeat: int) -> str:
    return hashlib.sha256(json.dumps([namespace, key, fidelity, repeat]).encode()).hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _url(place: str | Path | None) -> sa.URL:
    if place is None:
        return sa.URL.create("sqlite")
    if isinstance(place, str) and "://" in place:
        try:
            url = sa.make_url(place)
        except (SQLAlchemyError, ValueError):
            raise StoreError(f"{place!r} is no database URL; expected such as sqlite:///results.sqlite") from None
        # The driver that our extra installs, whatever this version of SQLAlchemy takes by default.
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername=_PSYCOPG)
        public = _without_password(url)
        if public == url:
            return _told.get(url, url)
        _told[public] = url
        return url
    return sa.URL.create("sqlite", database=str(place))


def public_address(place: str) -> str:
    """Return a store's address as others may read it, without its password; a file, or no address, as it is."""
    try:
        url = sa.make_url(place) if "://" in place else None
    except (SQLAlchemyError, ValueError):
        return place
    public = None if url is None else _without_password(url)
    return place if public is None or public == url else public.render_as_string(hide_password=False)


def _without_password(url: sa.URL) -> sa.URL:
    query = {name: value for name, value in url.query.items() if name != "password"}
    return sa.URL.create(url.drivername, url.username, None, url.host, url.port, url.database, query)
