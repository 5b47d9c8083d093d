"""Rewards that arrive later: evaluations that were asked for and are waited for, in the order of their episodes."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from nas_gym.evaluation import Evaluation
from nas_gym_envs.budget import Budget


@dataclass(frozen=True)
class Settled:
    """The outcome of an episode whose reward came later.

    Attributes:
        ticket: ``info["ticket"]`` of the episode's last step.
        reward: What that step would have returned: a float, or with a vector objective an array.
        evaluation: Of the candidate.
        info: What that step's info would have held: ``evaluation`` and, where it applies, ``failure``.
    """

    ticket: int
    reward: Any
    evaluation: Evaluation
    info: dict[str, Any]


class Promises:
    """The evaluations that episodes wait for, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Future[Evaluation], bool]] = deque()
        self._tickets = 0
        self._open = 0  # of those that wait, the ones that are not there yet
        self._changed: threading.Condition | None = None  # made when needed: an environment without can be copied

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def add(self, future: Future[Evaluation], *, first: bool) -> int:
        """Return the ticket of one more evaluation; `first`: whether it is its key's first in the budget."""
        ticket, self._tickets = self._tickets, self._tickets + 1
        self._changed = self._changed or threading.Condition()
        with self._changed:
            self._open += 1
        self._waiting.append((ticket, future, first))
        future.add_done_callback(self._arrived)
        return ticket

    def settle(
        self, leave: int, reward: Callable[[Evaluation], Any], budget: Budget | None, trainings: int = 1
    ) -> Iterator[Settled]:
        """Yield outcomes, oldest first, until at most ``leave`` are still to come and the oldest is one of them."""
        while self._waiting:
            ticket, future, first = self._waiting[0]
            assert self._changed is not None, "made with the first promise"
            with self._changed:
                self._changed.wait_for(lambda: future.done() or self._open <= leave)  # noqa: B023  called at once
            if not future.done():
                return
            self._waiting.popleft()
            evaluation = future.result()
            if budget is not None:
                budget.charge_rest(evaluation, first=first, trainings=trainings)
            yield Settled(ticket, reward(evaluation), evaluation, outcome(evaluation))

    def _arrived(self, _: Future[Evaluation]) -> None:
        assert self._changed is not None, "made with the first promise"
        with self._changed:
            self._open -= 1
            self._changed.notify_all()


def outcome(evaluation: Evaluation) -> dict[str, Any]:
    """Return what the info of an episode's last step tells of its evaluation."""
    told: dict[str, Any] = {"evaluation": evaluation.deterministic()}
    if not evaluation.ok:
        told["failure"] = {"kind": evaluation.status, "reason": evaluation.reason}
    return told
