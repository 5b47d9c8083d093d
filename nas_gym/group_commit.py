"""Commits of many callers in one transaction: a disk is asked to sync once for all who wait."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from nas_gym.errors import StoreError, StoreUnavailableError

Row = TypeVar("Row")
Item = TypeVar("Item")
_MOST = 1000  # items of one transaction, so that the first does not wait for a crowd


class _Order(Generic[Row]):
    """The rows of one caller, which are committed all or not at all."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.done = False
        self.error: StoreError | None = None


class GroupCommit(Generic[Row]):
    """Lets threads that write at the same time share a transaction.

    Whoever comes while a commit is under way waits for the next one, and one of them commits for all that wait.

    Args:
        commit: Commits rows in one transaction, or raises StoreError and commits none.
    """

    def __init__(self, commit: Callable[[Sequence[Row]], None]) -> None:
        self._commit = commit
        self._waiting: list[_Order[Row]] = []
        self._leading = False
        self._changed = threading.Condition()

    def put(self, rows: Sequence[Row]) -> None:
        """Return once all the rows are committed.

        Raises:
            StoreError: None of them was.
        """
        order, leading, group = _Order(rows), False, list[_Order[Row]]()
        try:
            with self._changed:
                self._waiting.append(order)
                self._changed.wait_for(lambda: order.done or not self._leading)
                if not order.done:
                    leading = self._leading = True
                    group, self._waiting = self._waiting, []
            if leading:
                self._commit_all(group)
        finally:
            with self._changed:
                # When this thread is interrupted, it alone is: another one commits what the others wait for.
                undone = [other for other in group + self._waiting if not other.done and other is not order]
                self._waiting = undone
                if leading:
                    self._leading = False
                    self._changed.notify_all()
        if order.error is not None:
            raise order.error

    def _commit_all(self, group: Sequence[_Order[Row]]) -> None:
        try:
            self._commit([row for order in group for row in order.rows])
        except StoreError as error:
            if len(group) > 1 and not isinstance(error, StoreUnavailableError):
                for order in group:  # which one is at fault shows when each is alone
                    self._commit_all([order])
                return
            for order in group:
                order.error = type(error)(*error.args)  # each raises its own: a traceback belongs to one thread
        for order in group:
            order.done = True


class LaterCommits(Generic[Item]):
    """Commits for those who do not wait, on a thread that lives as long as there is something to commit.

    What arrives while a commit is under way goes together into the next one. The thread is no daemon: a program
    that ends in order commits first what has arrived.

    Args:
        commit: Commits items, raises nothing, and returns what to call once the next commit may begin.
    """

    def __init__(self, commit: Callable[[Sequence[Item]], Callable[[], None]]) -> None:
        self._commit = commit
        self._waiting: list[Item] = []
        self._unfinished = 0
        self._running = False
        self._changed = threading.Condition()

    def add(self, item: Item) -> None:
        """Have an item committed soon."""
        with self._changed:
            self._waiting.append(item)
            self._unfinished += 1
            start, self._running = not self._running, True
        if start:
            self._start()

    def wait(self) -> None:
        """Return once everything that was added is committed and told."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unfinished)

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="nas-gym commits").start()
        except RuntimeError:  # none can be started: the program is about to end
            self._run()

    def _run(self) -> None:
        with self._changed:
            items, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        tell = self._commit(items)
        with self._changed:
            self._running = more = bool(self._waiting)
        if more:
            self._start()  # before telling: whoever is told may add more and wait for it
        try:
            tell()
        finally:
            with self._changed:
                self._unfinished -= len(items)
                self._changed.notify_all()
