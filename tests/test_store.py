"""The store of results: nothing committed is lost, nothing damaged is touched, every fault is one sentence."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.errors import StoreError, StoreUnavailableError
from nas_gym.evaluation import Evaluation
from nas_gym.store import ResultStore

ROOT = Path(__file__).parents[1]
CANDIDATE = Candidate(Architecture((2,), (Operation("linear", (("units", 2),)),)))
# Puts keys k0, k1, … and prints each once it is committed.
WRITER = """
import sys
from test_store import CANDIDATE, Evaluation, ResultStore
store = ResultStore(sys.argv[1])
for i in range(int(sys.argv[3])):
    store.put("space", CANDIDATE, Evaluation(key=f"{sys.argv[2]}{i}", accuracy=0.5, curve=(0.5,) * 300))
    print(f"{sys.argv[2]}{i}", flush=True)
"""
# The same from eight threads at once, which share transactions.
THREADED_WRITER = r"""
import sys, threading
from test_store import CANDIDATE, Evaluation, ResultStore
store = ResultStore(sys.argv[1])
def work(thread):
    for i in range(int(sys.argv[3])):
        key = f"{sys.argv[2]}{thread}-{i}"
        store.put("space", CANDIDATE, Evaluation(key=key, accuracy=0.5, curve=(0.5,) * 300))
        sys.stdout.write(key + "\n")
        sys.stdout.flush()
for thread in range(8):
    threading.Thread(target=work, args=(thread,)).start()
"""


def put(store: ResultStore, *keys: str, **fields: Any) -> None:
    for key in keys:
        store.put("space", CANDIDATE, Evaluation(**{"key": key, "accuracy": 0.5} | fields))


def keys(store: ResultStore) -> list[str]:
    return [evaluation.key for _, _, evaluation in store]


def writer(path: Path, prefix: str, n: int, code: str = WRITER) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    program = [sys.executable, "-c", code, str(path), prefix, str(n)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=env)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., ResultStore]]:
    """A function that opens the store at `path` (or elsewhere); all are closed at the end."""
    stores: list[ResultStore] = []

    def open_(place: Any = path, **options: Any) -> ResultStore:
        stores.append(ResultStore(place, **options))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def refused(path: Path) -> Callable[..., str]:
    """A function that opens a store, expects a refusal of one sentence that changes nothing, and returns it."""

    def check(place: Any = path) -> str:
        before = files(path.parent)
        with pytest.raises(StoreError) as caught:
            ResultStore(place, patience_seconds=0.1)
        assert files(path.parent) == before
        message = str(caught.value)
        assert message and "\n" not in message and "Traceback" not in message
        return message

    return check


def test_round_trip_and_reopening(path: Path, opened: Callable[..., ResultStore]) -> None:
    evaluation = Evaluation(key="k", accuracy=0.1 + 0.2, curve=(1 / 3,), reason="", device="café 🙂", cost_seconds=2.5)
    store = opened()
    store.put("ñ space", CANDIDATE, evaluation)
    assert store.get("ñ space", "k", "full", 0) == evaluation
    store.close()
    assert files(path.parent).keys() == {"results.sqlite"}  # no log is left once it is closed
    again = opened(str(path))
    assert list(again) == [("ñ space", CANDIDATE, evaluation)] and len(again) == 1


def test_settings_of_the_file(path: Path, opened: Callable[..., ResultStore]) -> None:
    store = opened()
    with ThreadPoolExecutor(3) as pool:  # every connection, not only the first

        def settings(barrier: threading.Barrier) -> tuple[Any, ...]:
            with store._engine.connect() as connection:
                barrier.wait(timeout=10)
                names = ("journal_mode", "synchronous")
                return tuple(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names)

        found = list(pool.map(settings, [threading.Barrier(3)] * 3))
    assert found == [("wal", 2)] * 3


def test_iteration_is_in_the_order_of_commits_whatever_the_clock(
    opened: Callable[..., ResultStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    for number, clock in enumerate((100.0, 50.0, 50.0, 0.0, 75.0)):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        put(store, f"k{number}")
    assert keys(store) == ["k0", "k1", "k2", "k3", "k4"]
    put(store, "k1", "k4", accuracy=0.25)
    assert keys(store) == ["k0", "k2", "k3", "k1", "k4"] and len(store) == 5


def test_iteration_over_many_pages(opened: Callable[..., ResultStore], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_gym.store._PAGE", 3)
    store = opened(None)
    for n in range(8):
        assert keys(store) == [f"k{i}" for i in range(n)]
        put(store, f"k{n}")
    seen = []
    for _, _, evaluation in store:
        seen.append(evaluation.key)
        if len(seen) < 4:
            put(store, f"new{len(seen)}")
    assert seen == [f"k{i}" for i in range(8)] + ["new1", "new2", "new3"]


def test_in_memory() -> None:
    for place in (None, "sqlite://", "sqlite:///:memory:"):
        store, other = ResultStore(place), ResultStore(place)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i, store=store: put(store, f"k{i}"), range(40)))
            found = list(pool.map(lambda i, store=store: store.get("space", f"k{i}", "full", 0), range(40)))
        assert all(evaluation is not None for evaluation in found)
        assert len(store) == 40 and len(other) == 0
        store.close()
        other.close()
    assert not Path(":memory:").exists()


def test_threads(opened: Callable[..., ResultStore]) -> None:
    store = opened()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: put(store, f"k{i % 20}", repeat=i // 40), range(80)))
    assert len(store) == 40 and sorted(set(keys(store))) == sorted(f"k{i}" for i in range(20))


def test_kill_at_random_instants_loses_nothing_committed(path: Path, opened: Callable[..., ResultStore]) -> None:
    generator = random.Random(0)
    committed: list[str] = []
    for round_ in range(6):
        process = writer(path, f"r{round_} ", 10_000)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(generator.randrange(1, 12))]
        time.sleep(generator.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        committed += [line.strip() for line in lines if line.endswith("\n")]
        store = opened()
        found = keys(store)
        store.close()
        assert set(committed) <= set(found) and len(found) == len(set(found))
        assert len(found) <= len(committed) + round_ + 1  # of each kill, at most one whose key was not printed yet
    assert len(committed) > 6


def test_kill_while_threads_share_transactions_loses_nothing_committed(
    path: Path, opened: Callable[..., ResultStore]
) -> None:
    generator = random.Random(1)
    committed: list[str] = []
    for round_ in range(4):
        process = writer(path, f"r{round_} ", 10_000, THREADED_WRITER)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(generator.randrange(20, 60))]
        time.sleep(generator.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        committed += [line.strip() for line in lines if line.endswith("\n")]
        store = opened()
        found = keys(store)
        store.close()
        assert set(committed) <= set(found) and len(found) == len(set(found))
        # Of each kill: per thread at most one that was committed and not printed.
        assert len(found) <= len(committed) + 8 * (round_ + 1)
    assert len(committed) > 80


def test_puts_at_the_same_time_share_a_transaction(path: Path, opened: Callable[..., ResultStore]) -> None:
    store = opened(patience_seconds=30)
    commits: list[Any] = []
    sa.event.listen(store._engine, "commit", commits.append)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(7) as pool:
        puts = [pool.submit(put, store, f"k{i}") for i in range(7)]
        deadline = time.monotonic() + 20
        while len(store._group._waiting) < 6 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not any(one.done() for one in puts)
        other.execute("ROLLBACK")
        for one in puts:
            one.result()
    other.close()
    assert len(commits) == 2 and sorted(keys(store)) == [f"k{i}" for i in range(7)]


def test_many_in_one_transaction(opened: Callable[..., ResultStore]) -> None:
    store = opened()
    put(store, "k1", "k2", accuracy=0.25)
    commits: list[Any] = []
    sa.event.listen(store._engine, "commit", commits.append)
    answers = [Evaluation(key=key, accuracy=number / 8) for number, key in enumerate(("k0", "k1", "k3", "k0"))]
    store.put_many("space", [(CANDIDATE, answer) for answer in answers])
    assert len(commits) == 1
    assert keys(store) == ["k2", "k1", "k3", "k0"]  # what is replaced moves to the end; of one question the last counts
    assert store.get("space", "k0", "full", 0) == answers[3] and store.get("space", "k1", "full", 0) == answers[1]
    store.put_many("space", [])
    assert len(commits) == 1


def test_many_are_committed_all_or_none(opened: Callable[..., ResultStore]) -> None:
    store = opened()
    put(store, "k0")
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    long = [(CANDIDATE, Evaluation(key=f"k{i}", accuracy=0.25, curve=(0.5,) * 100)) for i in range(50)]
    with pytest.raises(StoreUnavailableError, match="full"):
        store.put_many("space", long)
    assert [evaluation.accuracy for _, _, evaluation in store] == [0.5]


def test_text_that_no_database_holds(opened: Callable[..., ResultStore]) -> None:
    store = opened()
    with pytest.raises(StoreError, match="surrogates"):
        store.put("a folder \udcff", CANDIDATE, Evaluation(key="k", accuracy=0.5))
    put(store, "k", device="\udcff \0")  # inside JSON it is escaped
    assert next(iter(store))[2].device == "\udcff \0"


def test_get_many(opened: Callable[..., ResultStore], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_gym.store._PAGE", 3)
    store = opened()
    put(store, *(f"k{i}" for i in range(5)))
    put(store, "k0", repeat=1, accuracy=0.75)
    asked = [("k4", "full", 0), ("missing", "full", 0), ("k0", "full", 1), ("k0", "full", 0), ("k4", "full", 0)]
    assert store.get_many("space", asked) == [store.get("space", *question) for question in asked]
    assert [found is None for found in store.get_many("space", asked)] == [False, True, False, False, False]
    assert store.get_many("elsewhere", asked) == [None] * 5 and store.get_many("space", []) == []


def test_kill_at_the_very_beginning(path: Path, opened: Callable[..., ResultStore]) -> None:
    for wait in (0.0, 0.002, 0.004):
        process = writer(path, "k", 3)
        deadline = time.monotonic() + 30
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(wait)
        process.kill()
        process.communicate()
        store = opened()
        assert set(keys(store)) <= {"k0", "k1", "k2"}
        store.close()
        for file in path.parent.iterdir():
            file.unlink()


def test_two_processes_write_at_once(path: Path, opened: Callable[..., ResultStore]) -> None:
    processes = [writer(path, prefix, 40) for prefix in ("a", "b")]
    printed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert printed == [[f"{prefix}{i}" for i in range(40)] for prefix in ("a", "b")]
    found = keys(opened())
    assert sorted(found) == sorted(printed[0] + printed[1])
    assert [key for key in found if key.startswith("a")] == printed[0]  # each in its own order


def test_a_reader_sees_what_another_process_has_committed(path: Path, opened: Callable[..., ResultStore]) -> None:
    store = opened()
    process = writer(path, "k", 200)
    assert process.stdout is not None
    for _ in range(5):
        key = process.stdout.readline().strip()
        assert store.get("space", key, "full", 0) is not None
        put(store, f"mine {key}")
    process.kill()
    process.communicate()
    assert {f"mine k{i}" for i in range(5)} <= set(keys(store))


@pytest.fixture
def whole(path: Path) -> bytes:
    """The bytes of a store that holds 60 answers."""
    store = ResultStore(path)
    put(store, *(f"k{i}" for i in range(60)), curve=(0.5,) * 100)
    store.close()
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.5, 0.9])
def test_truncated(path: Path, whole: bytes, refused: Callable[..., str], share: float) -> None:
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in refused()


@pytest.mark.parametrize(("start", "length"), [(0, 16), (0, 100), (16, 84), (100, 1000)])
def test_overwritten_header(path: Path, whole: bytes, refused: Callable[..., str], start: int, length: int) -> None:
    path.write_bytes(whole[:start] + b"\xa7" * length + whole[start + length :])
    assert "damaged" in refused()


def test_garbage_in_a_random_page(path: Path, whole: bytes, refused: Callable[..., str]) -> None:
    generator = random.Random(0)
    pages = len(whole) // 4096
    assert pages > 10
    for page in generator.sample(range(1, pages), 8):
        garbage = generator.randbytes(4096)
        path.write_bytes(whole[: page * 4096] + garbage + whole[(page + 1) * 4096 :])
        try:
            store = ResultStore(path)
        except StoreError as error:
            assert "damaged" in str(error)
            refused()
        else:  # an overflow page: nothing but the text of one row is hit
            with pytest.raises(StoreError, match="damaged"):
                list(store)
            store.close()


def test_damage_under_an_unfinished_log(path: Path, whole: bytes) -> None:
    process = writer(path, "new", 100_000)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.kill()
    process.communicate()
    assert path.with_name("results.sqlite-wal").stat().st_size > 0
    damaged = whole[:4096] + b"\xa7" * (len(whole) - 4096)  # more than the log can mend
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="damaged"):
        ResultStore(path)
    assert path.read_bytes() == damaged


def test_a_row_that_is_not_of_this_program(path: Path, whole: bytes, opened: Callable[..., ResultStore]) -> None:
    store = opened()
    good = store.get("space", "k1", "full", 0)
    for column, value in (
        ("evaluation", "{"),
        ("evaluation", "[]"),
        ("evaluation", json.dumps({"key": "k", "status": "lost"})),
        ("evaluation", b"\xff\xfe"),
        ("candidate", "{}"),
        ("candidate", '{"architecture": 3}'),
    ):
        with sqlite3.connect(path) as connection:
            (before,) = connection.execute(f"SELECT {column} FROM evaluations WHERE key = 'k0'").fetchone()
            connection.execute(f"UPDATE evaluations SET {column} = ? WHERE key = 'k0'", (value,))
        connection.close()
        with pytest.raises(StoreError, match="damaged") as caught:
            list(store)
        assert "\n" not in str(caught.value)
        assert store.get("space", "k1", "full", 0) == good  # the other rows are still there
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE evaluations SET {column} = ? WHERE key = 'k0'", (before,))
        connection.close()
    assert len(list(store)) == 60


def test_a_database_of_something_else(path: Path, refused: Callable[..., str]) -> None:
    for statement in ("CREATE TABLE studies (id INTEGER)", "CREATE TABLE evaluations (key TEXT, accuracy REAL)"):
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        assert "something else" in refused()
        path.unlink()


def test_places_that_are_no_files(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "file").write_text("hello", encoding="utf-8")
    assert "directory" in refused(tmp_path).lower()
    assert "no folder" in refused(tmp_path / "missing" / "results.sqlite")
    assert "no folder" in refused(tmp_path / "file" / "results.sqlite")  # fails as root too
    assert "no folder" in refused(f"sqlite:///{tmp_path}/missing/results.sqlite")
    assert "no SQLite database" in refused(tmp_path / "file")
    assert "null" in refused("a\0b")
    refused(tmp_path / ("n" * 300))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("://", "no database URL"),
        ("postgresql://host:port/x", "no database URL"),
        ("nonsense://host/x", "driver"),
        ("sqlite+nonsense:///x.sqlite", "driver"),
        ("mssql+pymssql://me:secret@host/x", "driver"),
    ],
)
def test_addresses(url: str, words: str, refused: Callable[..., str]) -> None:
    message = refused(url)
    assert words in message and "secret" not in message


def test_without_the_driver_of_postgresql(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for url in ("postgresql://me:secret@host/x", "postgresql+psycopg://me:secret@host/x"):
        message = refused(url)
        assert 'pip install "nas-gym[postgresql]"' in message and "secret" not in message


def test_an_empty_file_becomes_a_store(path: Path, opened: Callable[..., ResultStore]) -> None:
    path.touch()
    put(opened(), "k")
    assert path.stat().st_size > 0


def test_a_file_name_with_odd_characters(tmp_path: Path, opened: Callable[..., ResultStore]) -> None:
    odd = tmp_path / "é #1 100%?&mode=ro 'x'.sqlite"
    put(opened(odd), "k")
    assert odd.exists() and keys(opened(odd)) == ["k"]


def test_database_full(path: Path, opened: Callable[..., ResultStore]) -> None:
    store = opened()
    put(store, "k0")
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    committed = ["k0"]
    with pytest.raises(StoreError, match="full") as caught:
        for i in range(1, 50):
            put(store, f"k{i}", curve=(0.5,) * 100)
            committed.append(f"k{i}")
    assert "\n" not in str(caught.value)
    assert keys(store) == committed
    with pytest.raises(StoreError, match="full"):
        put(store, "k0", curve=(0.25,) * 5000)
    assert keys(store) == committed and store.get("space", "k0", "full", 0) is not None  # a replacement that failed
    with store._engine.connect() as connection:
        connection.execute(sa.text("PRAGMA max_page_count=1000000"))
    put(store, "later")
    assert keys(store) == [*committed, "later"]


def test_locked_by_another_process(path: Path, opened: Callable[..., ResultStore]) -> None:
    store = opened(patience_seconds=0.1)
    put(store, "k0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="locked"):
            put(store, "k1")
        assert keys(store) == ["k0"]  # reading goes on
    finally:
        other.execute("ROLLBACK")
        other.close()
    put(store, "k1")
    assert keys(store) == ["k0", "k1"]


def test_a_lock_that_is_let_go_in_time(path: Path, opened: Callable[..., ResultStore]) -> None:
    store = opened(patience_seconds=20)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    timer.start()
    put(store, "k")
    timer.join()
    other.close()
    assert keys(store) == ["k"]


def test_the_same_question_from_elsewhere_in_between(
    opened: Callable[..., ResultStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    put(store, "k", accuracy=0.25)
    delete, calls = sa.delete, []

    def raced(table: Any) -> Any:  # the first time as if the row had come after we looked
        calls.append(table)
        return delete(table).where(sa.false()) if len(calls) == 1 else delete(table)

    monkeypatch.setattr(sa, "delete", raced)
    put(store, "k", accuracy=0.75)
    kept = store.get("space", "k", "full", 0)
    assert kept is not None and kept.accuracy == 0.75 and len(store) == 1 and len(calls) == 2


def test_imports_in_any_order() -> None:
    for first in ("nas_gym.store", "nas_gym.evaluation", "nas_gym.objective", "nas_gym.testing_evaluators"):
        subprocess.run([sys.executable, "-c", f"import {first}, nas_gym.store"], check=True, cwd=ROOT)
