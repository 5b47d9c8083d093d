"""Group commits: one transaction for all that wait, an error only for whom it concerns, nobody left waiting."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from nas_gym.errors import StoreError, StoreUnavailableError
from nas_gym.group_commit import GroupCommit, LaterCommits


class Disk:
    """Commits rows of text, the first time only once it is let go.

    Args:
        fault: Called with the rows of every transaction; may raise.
    """

    def __init__(self, fault: Callable[[Sequence[str]], None] = lambda rows: None) -> None:
        self.commits: list[list[str]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.fault = fault

    def __call__(self, rows: Sequence[str]) -> None:
        self.begun.set()
        assert self.go.wait(timeout=20)
        self.fault(rows)
        self.commits.append(list(rows))


def together(disk: Disk, rows: Sequence[str]) -> list[BaseException | None]:
    """Put "first" and, while its commit is under way, each of the rows; return what was raised for the rows."""
    group: GroupCommit[str] = GroupCommit(disk)
    with ThreadPoolExecutor(len(rows) + 1) as pool:
        first = pool.submit(group.put, ["first"])
        assert disk.begun.wait(timeout=20)
        puts: list[Future[None]] = []
        for number, row in enumerate(rows):
            puts.append(pool.submit(group.put, [row]))
            until(lambda number=number: len(group._waiting) > number)  # type: ignore[misc]
        disk.go.set()
        first.exception(timeout=20)
        return [one.exception(timeout=20) for one in puts]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_those_who_wait_share_one_commit_in_order() -> None:
    disk = Disk()
    assert together(disk, ["a", "b", "c"]) == [None] * 3
    assert disk.commits == [["first"], ["a", "b", "c"]]


def test_only_the_guilty_one_fails() -> None:
    def fault(rows: Sequence[str]) -> None:
        if "bad" in rows:
            raise StoreError("it does not fit")

    disk = Disk(fault)
    errors = together(disk, ["a", "bad", "c"])
    assert errors[0] is None and errors[2] is None and "fit" in str(errors[1])
    assert disk.commits == [["first"], ["a"], ["c"]]


def test_a_place_at_fault_fails_all_without_trying_each() -> None:
    calls: list[Sequence[str]] = []

    def fault(rows: Sequence[str]) -> None:
        calls.append(rows)
        if len(calls) > 1:
            raise StoreUnavailableError("the disk is full")

    errors = together(Disk(fault), ["a", "b", "c"])
    assert all(isinstance(error, StoreUnavailableError) for error in errors)
    assert len(set(map(id, errors))) == 3 and len(calls) == 2


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_leader_leaves_nobody_waiting(interruption: type[BaseException]) -> None:
    interrupted: list[Sequence[str]] = []

    def fault(rows: Sequence[str]) -> None:
        if len(rows) == 3 and not interrupted:
            interrupted.append(rows)
            raise interruption

    disk = Disk(fault)
    errors = together(disk, ["a", "b", "c"])
    assert sorted(type(error).__name__ for error in errors) == sorted(["NoneType", "NoneType", interruption.__name__])
    assert disk.commits[0] == ["first"] and len({row for rows in disk.commits[1:] for row in rows}) == 2


def test_later_commits_go_together_and_leave_no_thread() -> None:
    disk, told = Disk(), list[str]()
    before = threading.active_count()

    def commit(items: Sequence[str]) -> Callable[[], None]:
        disk(items)
        return lambda: told.extend(items)

    later: LaterCommits[str] = LaterCommits(commit)
    later.wait()  # for nothing
    later.add("first")
    assert disk.begun.wait(timeout=20)
    for item in "abc":
        later.add(item)
    assert told == []
    disk.go.set()
    later.wait()
    assert disk.commits == [["first"], ["a", "b", "c"]] and sorted(told) == ["a", "b", "c", "first"]
    until(lambda: threading.active_count() == before)


def test_who_is_told_may_wait_for_a_later_commit() -> None:
    second = threading.Event()

    def commit(items: Sequence[str]) -> Callable[[], None]:
        def tell() -> None:
            if items == ["first"]:
                later.add("second")
                assert second.wait(timeout=20)
                heard.append("first")
            else:
                second.set()

        return tell

    heard: list[str] = []
    later: LaterCommits[str] = LaterCommits(commit)
    later.add("first")
    later.wait()
    assert heard == ["first"]


def test_without_threads_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    commits: list[Sequence[str]] = []

    def commit(items: Sequence[str]) -> Callable[[], None]:
        commits.append(items)
        return lambda: None

    LaterCommits(commit).add("item")
    assert commits == [["item"]]
