"""The store in a PostgreSQL database that several searches share, on a real server."""

import itertools
import json
import os
import random
import signal
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
from postgresql import PASSWORD, Server, running_server
from test_store import CANDIDATE, ROOT, THREADED_WRITER, keys, put
from typer.testing import CliRunner

from nas_gym import store as store_module
from nas_gym.cli import app
from nas_gym.errors import StoreError, StoreUnavailableError
from nas_gym.evaluation import Evaluation
from nas_gym.store import _TABLE, ResultStore
from nas_gym.testing_evaluators import check_store

NAMES = itertools.count()
# Puts the same 40 questions as everybody else, in an order of its own, many at once and one by one.
RIVAL = """
import random, sys
from test_store import CANDIDATE, Evaluation, ResultStore
store = ResultStore(sys.argv[1])
generator = random.Random(sys.argv[2])
for turn in range(6):
    keys = generator.sample(range(40), 40)
    answers = [(CANDIDATE, Evaluation(key=f"k{i}", accuracy=0.5, device=sys.argv[2])) for i in keys]
    store.put_many("space", answers[:20])
    for candidate, evaluation in answers[20:]:
        store.put("space", candidate, evaluation)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    """The address of an empty database."""
    name = f"test{next(NAMES)}"
    admin = sa.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return server.url(name)


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., ResultStore]]:
    """A function that opens the store; all are closed at the end."""
    stores: list[ResultStore] = []

    def open_(**options: Any) -> ResultStore:
        stores.append(ResultStore(url, **options))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def sentence(error: BaseException) -> str:
    message = str(error)
    assert message and "\n" not in message and PASSWORD not in message
    return message


def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=env)


def test_contract(opened: Callable[..., ResultStore]) -> None:
    check_store(opened, reopen=opened)


def test_the_plain_address_takes_the_driver_that_the_extra_installs(url: str) -> None:
    store = ResultStore(url.replace("postgresql+psycopg://", "postgresql://"))
    put(store, "k")
    assert keys(store) == ["k"] and store.url.drivername == "postgresql+psycopg"
    store.close()


def test_a_table_that_another_process_is_making(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(sa.schema.CreateTable(_TABLE))
        opening = pool.submit(ResultStore, url)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        deadline = time.monotonic() + 20
        while not connection.exec_driver_sql(waiting).scalar_one() and time.monotonic() < deadline:
            connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
            time.sleep(0.01)
        connection.commit()
        store = opening.result(timeout=20)
    engine.dispose()
    put(store, "k")
    assert keys(store) == ["k"]
    store.close()


def test_two_processes_put_the_same_questions_at_once(url: str, opened: Callable[..., ResultStore]) -> None:
    processes = [start(RIVAL, url, name) for name in ("a", "b")]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]  # no deadlock, no clash
    assert sorted(keys(opened())) == sorted(f"k{i}" for i in range(40))


def test_a_killed_writer_loses_nothing_committed(url: str, opened: Callable[..., ResultStore]) -> None:
    generator = random.Random(2)
    committed: list[str] = []
    for round_ in range(2):
        process = start(THREADED_WRITER, url, f"r{round_} ", "10000")
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(generator.randrange(20, 60))]
        time.sleep(generator.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        committed += [line.strip() for line in lines if line.endswith("\n")]
    assert len(committed) > 40 and set(committed) <= set(keys(opened()))


def test_connections_are_made_anew_after_a_restart(server: Server, opened: Callable[..., ResultStore]) -> None:
    store = opened()
    for how in ("fast", "immediate"):  # the second is a crash: what was committed is there
        put(store, f"before {how}")
        server.stop(how)
        server.start()
        assert store.get("space", f"before {how}", "full", 0) is not None
        put(store, f"after {how}")
    assert keys(store) == ["before fast", "after fast", "before immediate", "after immediate"]


def test_a_connection_that_breaks_during_a_commit(url: str, opened: Callable[..., ResultStore]) -> None:
    store, broken = opened(), list[int]()

    def terminate(connection: sa.Connection) -> None:
        if not broken:
            broken.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            with admin.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({broken[0]}, 5000)")

    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    sa.event.listen(store._engine, "commit", terminate)
    put(store, "k")
    admin.dispose()
    assert broken and keys(store) == ["k"]


def test_a_server_that_is_down(server: Server, url: str, opened: Callable[..., ResultStore]) -> None:
    store = opened()
    put(store, "k0")
    server.stop()
    try:
        for use in (lambda: put(store, "k1"), lambda: keys(store), lambda: len(store), lambda: ResultStore(url)):
            with pytest.raises(StoreUnavailableError, match="server is up") as caught:
                use()
            assert "refused" in sentence(caught.value)
    finally:
        server.start()
    put(store, "k2")
    assert keys(store) == ["k0", "k2"]


def test_what_can_be_wrong_with_an_address(server: Server, url: str) -> None:
    for wrong, word in (
        (server.url("nowhere"), "does not exist"),
        (server.url("postgres", password="wrong"), "authentication failed"),
        (url.replace("127.0.0.1", "no-such-host.invalid"), "resolve"),
    ):
        with pytest.raises(StoreError, match=word) as caught:
            ResultStore(wrong, patience_seconds=5)
        sentence(caught.value)


def test_a_database_of_something_else(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE evaluations (key TEXT)")
    with pytest.raises(StoreError, match="does not exist") as caught:
        ResultStore(url)
    sentence(caught.value)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE evaluations")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    engine.dispose()
    with pytest.raises(StoreError, match="permission denied"):
        ResultStore(url.replace(f"nas:{PASSWORD}", "reader:reader"))


def test_somebody_who_holds_the_table(url: str, opened: Callable[..., ResultStore]) -> None:
    store = opened(patience_seconds=0.2)
    put(store, "k0")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE evaluations IN SHARE ROW EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailableError, match="lock timeout") as caught:
            put(store, "k1")
        sentence(caught.value)
        assert keys(store) == ["k0"]  # reading goes on
    engine.dispose()
    put(store, "k1")
    assert keys(store) == ["k0", "k1"]


def test_numbers_are_in_the_order_of_the_commits(url: str, opened: Callable[..., ResultStore]) -> None:
    """A commit under way elsewhere that has its number already: a reader must not pass it by."""
    store = opened(patience_seconds=30)
    other = opened()
    inside, go = threading.Event(), threading.Event()

    def wait(connection: sa.Connection) -> None:
        inside.set()
        assert go.wait(timeout=20)

    sa.event.listen(other._engine, "commit", wait)
    slow = threading.Thread(target=put, args=(other, "slow"))
    slow.start()
    assert inside.wait(timeout=20)  # its row is inserted and not committed
    quick = threading.Thread(target=put, args=(store, "quick"))
    quick.start()
    quick.join(timeout=0.3)
    seen = keys(store)
    go.set()
    slow.join()
    quick.join()
    assert keys(store)[: len(seen)] == seen and sorted(keys(store)) == ["quick", "slow"]


def test_text_and_numbers(opened: Callable[..., ResultStore]) -> None:
    store = opened()
    hard = Evaluation(key="k", accuracy=0.1 + 0.2, loss=5e-324, device="nul \0, half \udcff, é 🙂", parameters=2**62)
    store.put("é " * 5000, CANDIDATE, hard)
    assert list(store) == [("é " * 5000, CANDIDATE, hard)] and store.get("é " * 5000, "k", "full", 0) == hard
    for namespace, word in (("nul \0", "NUL"), ("half \udcff", "surrogates")):
        with pytest.raises(StoreError, match=word) as caught:
            store.put(namespace, CANDIDATE, hard)
        assert not isinstance(caught.value, StoreUnavailableError)
        sentence(caught.value)
    assert len(store) == 1


def test_a_guilty_row_among_others(opened: Callable[..., ResultStore]) -> None:
    store = opened()
    go, errors = threading.Barrier(8), list[str]()

    def work(namespace: str) -> None:
        go.wait()
        try:
            store.put(namespace, CANDIDATE, Evaluation(key="k", accuracy=0.5))
        except StoreError:
            errors.append(namespace)

    threads = [threading.Thread(target=work, args=(f"{i}" if i % 4 else f"\0{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(errors) == ["\x000", "\x004"] and len(store) == 6


@pytest.mark.slow
def test_the_second_of_two_searches_trains_nothing(url: str, tmp_path: Path) -> None:
    def search(name: str) -> dict[str, Any]:
        options = ["--agent", "random", "--evaluations", "6", "--env-arg", "epochs=1", "--store", url, "--json"]
        program = [sys.executable, "-m", "nas_gym", "search", *options, "--run-dir", str(tmp_path / name)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stderr + done.stdout
        return dict(json.loads(done.stdout.splitlines()[-1]))

    first, second = search("first"), search("second")
    store = ResultStore(url)
    assert first["evaluations"] == second["evaluations"] == 6 == second["from_store"]
    assert (
        first["best"]["key"] == second["best"]["key"] and len(store) == first["unique"] + 3 * 2
    )  # the best three twice more
    histories = [(tmp_path / name / "history.jsonl").read_text(encoding="utf-8") for name in ("first", "second")]
    assert histories[0] == histories[1]
    store.close()


def test_a_run_keeps_no_password_and_finds_it_where_libpq_does(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.delenv("PGPASSWORD", raising=False)
    settings = ["--env-arg", "evaluator=hash", "--agent", "random", "--evaluations", "6", "--explain", "none"]
    started = CliRunner().invoke(app, ["search", *settings, "--store", url, "--run-dir", str(run)])
    assert started.exit_code == 0, started.output
    assert PASSWORD not in started.output
    written = {path for path in run.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()}
    assert not written
    assert "127.0.0.1" in json.loads((run / "run.json").read_text())["settings"]["store"]
    monkeypatch.setattr(store_module, "_told", {})  # as in another process
    refused = CliRunner().invoke(app, ["resume", str(run)])
    assert refused.exit_code == 2
    assert "PGPASSWORD" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert CliRunner().invoke(app, ["resume", str(run)]).exit_code == 0
