"""The evaluator that remembers, over one that answers later: asks for all at once, commits together, then tells."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from networks import perceptron

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError, StoreError, StoreUnavailableError
from nas_gym.evaluation import Evaluation, Fidelity, StoredEvaluator, evaluate
from nas_gym.store import ResultStore

ROOT = Path(__file__).parents[2]
CANDIDATES = [perceptron(n) for n in range(1, 9)]


class Later:
    """Answers when told to.

    Args:
        capacity: How many it claims to work on at once.
    """

    identity = "later"

    def __init__(self, capacity: int = 4) -> None:
        self.capacity = capacity
        self.calls: list[list[str]] = []
        self.promised: dict[str, Future[Evaluation]] = {}

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        self.calls.append([candidate.key for candidate in candidates])
        if any(candidate.hyperparameters for candidate in candidates):
            raise ConfigurationError("hyper-parameters are not known here")
        for candidate in candidates:
            self.promised[candidate.key] = Future()
        return [self.promised[candidate.key] for candidate in candidates]

    def answer(self, *candidates: Candidate) -> None:
        for candidate in candidates:
            self.promised[candidate.key].set_result(Evaluation(key=candidate.key, accuracy=0.5))


class Gated(ResultStore):
    """A store whose first commit waits to be let go, and which refuses some keys or everything."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        self.guilty: set[str] = set()
        self.down = False
        self.looked_up: list[int] = []

    def get_many(self, namespace: str, questions: Sequence[tuple[str, str, int]]) -> list[Evaluation | None]:
        self.looked_up.append(len(questions))
        return super().get_many(namespace, questions)

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        self._enter([evaluation.key])
        super().put(namespace, candidate, evaluation)

    def put_many(self, namespace: str, answers: Sequence[tuple[Candidate, Evaluation]]) -> None:
        self._enter([evaluation.key for _, evaluation in answers])
        super().put_many(namespace, answers)

    def _enter(self, keys: Sequence[str]) -> None:
        self.begun.set()
        assert self.go.wait(timeout=20)
        self.sizes.append(len(keys))
        if self.down:
            raise StoreUnavailableError("the disk is full")
        if self.guilty & set(keys):
            raise StoreError("it does not fit")


@pytest.fixture
def store() -> Iterator[Gated]:
    store = Gated()
    yield store
    store.go.set()
    store.close()


def arrive(stored: StoredEvaluator, later: Later, store: Gated) -> list[Future[Evaluation]]:
    """Have the first answer's commit under way while the others arrive, one after the other on this thread."""
    futures = stored.submit(CANDIDATES)
    later.answer(CANDIDATES[0])
    assert store.begun.wait(timeout=20)
    later.answer(*CANDIDATES[1:])
    return futures


def test_what_arrives_together_is_committed_together(store: Gated) -> None:
    later = Later()
    stored = StoredEvaluator(later, store, namespace="space")
    futures = arrive(stored, later, store)
    seen: list[bool] = []
    for future in futures:
        assert not future.done()  # the wrapped evaluator has answered, but nothing is committed
        future.add_done_callback(
            lambda done: seen.append(store.get("space later", done.result().key, "full", 0) is not None)
        )
    store.go.set()
    stored.flush()
    assert all(future.done() for future in futures) and seen == [True] * 8
    assert store.sizes == [1, 7] and len(store) == 8
    assert (stored.asked, stored.from_store) == (8, 0)


def test_only_what_cannot_be_committed_fails(store: Gated) -> None:
    later = Later()
    stored = StoredEvaluator(later, store)
    store.guilty = {CANDIDATES[3].key}
    futures = arrive(stored, later, store)
    store.go.set()
    with pytest.raises(StoreError, match="fit"):
        futures[3].result(timeout=20)
    assert all(future.result(timeout=20).ok for future in futures[:3] + futures[4:])
    store.guilty = set()
    (again,) = stored.submit([CANDIDATES[3]])
    later.answer(CANDIDATES[3])
    assert again.result(timeout=20).ok and len(later.calls) == 2 and len(store) == 8


def test_a_store_that_is_down_is_not_tried_for_each(store: Gated) -> None:
    later = Later()
    stored = StoredEvaluator(later, store)
    futures = arrive(stored, later, store)
    store.down = True
    store.go.set()
    errors = [future.exception(timeout=20) for future in futures]
    assert all(isinstance(error, StoreError) for error in errors) and store.sizes == [1, 7]
    store.down = False
    futures = stored.submit(CANDIDATES)
    later.answer(*CANDIDATES)
    assert all(future.result(timeout=20).ok for future in futures) and len(store) == 8


def test_a_store_without_many_at_once(store: Gated) -> None:
    class Narrow:
        put, get, __iter__, __len__ = store.put, store.get, store.__iter__, store.__len__

    later = Later()
    stored = StoredEvaluator(later, Narrow())  # type: ignore[arg-type]
    futures = arrive(stored, later, store)
    store.go.set()
    assert all(future.result(timeout=20).ok for future in futures) and store.sizes == [1] * 8


def test_asks_for_all_that_are_missing_in_order_without_waiting(store: Gated) -> None:
    store.go.set()
    later = Later()
    first = StoredEvaluator(later, store)
    (future,) = first.submit([CANDIDATES[2]])
    later.answer(CANDIDATES[2])
    future.result(timeout=20)
    store.looked_up.clear()
    stored = StoredEvaluator(later, store)
    futures = stored.submit([*CANDIDATES, CANDIDATES[0]])
    assert later.calls[1:] == [[c.key for c in CANDIDATES if c is not CANDIDATES[2]]]
    assert store.looked_up == [8] and [future.done() for future in futures] == [n == 2 for n in range(9)]
    assert (stored.asked, stored.from_store) == (7, 2)
    later.answer(*(c for c in CANDIDATES if c is not CANDIDATES[2]))
    assert [future.result(timeout=20).key for future in futures[:8]] == [c.key for c in CANDIDATES]


def test_a_single_worker_that_answers_later_is_asked_without_waiting(store: Gated) -> None:
    store.go.set()
    later = Later(capacity=1)
    futures = StoredEvaluator(later, store).submit(CANDIDATES)
    assert later.calls == [[c.key] for c in CANDIDATES]
    later.answer(*reversed(CANDIDATES))
    assert [future.result(timeout=20).key for future in futures] == [c.key for c in CANDIDATES]


@pytest.mark.parametrize("capacity", [1, 4])
def test_a_mistake_in_a_batch_leaves_nobody_waiting(store: Gated, capacity: int) -> None:
    store.go.set()
    later = Later(capacity)
    stored = StoredEvaluator(later, store)
    wrong = Candidate(CANDIDATES[1].architecture, (("unknown", 1),))
    with pytest.raises(ConfigurationError):
        stored.submit([CANDIDATES[0], wrong, CANDIDATES[2]])
    if capacity == 1:  # the first is under way already
        later.answer(CANDIDATES[0])
    futures = stored.submit([CANDIDATES[0], CANDIDATES[2]])
    later.answer(*([CANDIDATES[2]] if capacity == 1 else [CANDIDATES[0], CANDIDATES[2]]))
    assert all(future.result(timeout=20).ok for future in futures)
    assert sum(call.count(CANDIDATES[0].key) for call in later.calls) == (1 if capacity == 1 else 2)


def test_an_answer_that_others_wait_for_is_not_cancelled(store: Gated) -> None:
    store.go.set()
    later = Later()
    stored = StoredEvaluator(later, store)
    first, second = stored.submit([CANDIDATES[0], CANDIDATES[0]])
    assert not first.cancel()
    later.answer(CANDIDATES[0])
    assert second.result(timeout=20).ok


def test_a_question_that_the_pool_cancels_is_asked_anew(store: Gated) -> None:
    store.go.set()
    later = Later()
    stored = StoredEvaluator(later, store)
    (future,) = stored.submit([CANDIDATES[0]])
    later.promised[CANDIDATES[0].key].cancel()
    assert future.exception(timeout=20) is not None and len(store) == 0
    (future,) = stored.submit([CANDIDATES[0]])
    later.answer(CANDIDATES[0])
    assert future.result(timeout=20).ok


def test_who_is_told_may_ask_and_wait(store: Gated) -> None:
    store.go.set()
    told: Future[list[Evaluation]] = Future()
    with ThreadPoolExecutor(2) as pool:

        class Pool(Later):
            def submit(self, candidates: Sequence[Candidate], **how: Any) -> list[Future[Evaluation]]:
                return [pool.submit(self._work, candidate) for candidate in candidates]

            def _work(self, candidate: Candidate) -> Evaluation:
                time.sleep(0.01)
                return Evaluation(key=candidate.key, accuracy=0.5)

        stored = StoredEvaluator(Pool(), store)
        (first,) = stored.submit(CANDIDATES[:1])
        first.add_done_callback(lambda _: told.set_result(evaluate(stored, CANDIDATES[1:])))
        assert len(told.result(timeout=20)) == 7 and len(store) == 8


# Answers 1,500 questions as fast as it can, from a pool's threads, and prints each key once its future has it.
CHILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.evaluation import HashEvaluator, StoredEvaluator
from nas_gym.store import ResultStore
class Pool(HashEvaluator):
    capacity = 8
    def submit(self, candidates, **how):
        return [pool.submit(lambda c=c: HashEvaluator().submit([c], **how)[0].result()) for c in candidates]
pool = ThreadPoolExecutor(8)
stored = StoredEvaluator(Pool(), ResultStore(sys.argv[1]))
networks = [(Operation("linear", (("units", n),)),) for n in range(int(sys.argv[2]), int(sys.argv[2]) + 1500)]
for future in stored.submit([Candidate(Architecture((2,), operations)) for operations in networks]):
    future.add_done_callback(lambda done: print(done.result().key + "\\n", end="", flush=True))  # in one write
"""


def test_kill_at_random_instants_loses_no_answer(tmp_path: Path) -> None:
    generator = random.Random(3)
    given: list[str] = []
    for round_ in range(3):
        program = [sys.executable, "-c", CHILD, str(tmp_path / "results.sqlite"), str(1500 * round_ + 1)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(generator.randrange(1, 600))]
            process.kill()
            lines += process.stdout.readlines()
        assert len(lines) < 1500  # it was killed in the midst of it
        given += [line.strip() for line in lines if line.endswith("\n")]
    store = ResultStore(tmp_path / "results.sqlite")
    committed = {evaluation.key for _, _, evaluation in store}
    store.close()
    assert set(given) <= committed and len(given) > 100
