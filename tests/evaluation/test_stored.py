"""The evaluator that remembers: asks once, commits first, and forgets what could not be committed."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from networks import branches, convnet, perceptron, trainer

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import StoreError
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, StoredEvaluator, evaluate, resolved
from nas_gym.store import ResultStore

A, B = perceptron(3), perceptron(4)


class Counting:
    """Answers like `HashEvaluator`, counts, and fails for some.

    Args:
        failing: Candidates whose training fails.
        seconds: Of work for each.
    """

    identity = "counting"

    def __init__(self, failing: Sequence[Candidate] = (), seconds: float = 0.0) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.failing = {candidate.key for candidate in failing}
        self.seconds = seconds

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        return [self._answer(candidate, str(fidelity or Fidelity()), repeat) for candidate in candidates]

    def _answer(self, candidate: Candidate, fidelity: str, repeat: int) -> Future[Evaluation]:
        self.asked.append((candidate.key, fidelity, repeat))
        time.sleep(self.seconds)
        question: dict[str, Any] = {"key": candidate.key, "fidelity": fidelity, "repeat": repeat}
        if candidate.key in self.failing:
            return resolved(Evaluation(**question, status="diverged", reason="it did"))
        return resolved(Evaluation(**question, accuracy=0.5))


class Refusing(ResultStore):
    """A store whose puts fail as long as told."""

    refuses = True

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        if self.refuses:
            raise StoreError("the disk is full")
        super().put(namespace, candidate, evaluation)


@pytest.fixture
def store() -> Iterator[ResultStore]:
    store = ResultStore()
    yield store
    store.close()


def test_equal_candidates_in_one_batch_are_asked_once(store: ResultStore) -> None:
    counting = Counting()
    stored = StoredEvaluator(counting, store, namespace="space")
    answers = evaluate(stored, [A, B, A, branches(), branches(swapped=True)])
    assert [key for key, _, _ in counting.asked] == [A.key, B.key, branches().key]
    assert answers[0] is answers[2] and answers[3] is answers[4]
    assert (stored.asked, stored.from_store, len(store)) == (3, 2, 3)


def test_answers_are_committed_before_they_are_returned(store: ResultStore) -> None:
    stored = StoredEvaluator(Counting(), store, namespace="space")
    seen: list[Evaluation | None] = []
    (future,) = stored.submit([A])
    future.add_done_callback(lambda done: seen.append(store.get("space counting", A.key, "full", 0)))
    assert seen == [future.result()]


def test_a_training_is_committed_before_the_next_begins(store: ResultStore) -> None:
    lengths: list[int] = []

    class Looking(Counting):
        def _answer(self, candidate: Candidate, fidelity: str, repeat: int) -> Future[Evaluation]:
            lengths.append(len(store))
            return super()._answer(candidate, fidelity, repeat)

    StoredEvaluator(Looking(), store).submit([A, B, convnet()])
    assert lengths == [0, 1, 2]


def test_the_store_answers_the_next_object(store: ResultStore) -> None:
    first = evaluate(StoredEvaluator(Counting(), store, namespace="space"), [A, B])
    counting = Counting()
    again = StoredEvaluator(counting, store, namespace="space")
    assert evaluate(again, [A, B]) == first
    assert counting.asked == [] and (again.asked, again.from_store) == (0, 2)


def test_what_is_kept_apart(store: ResultStore) -> None:
    counting = Counting()
    stored = StoredEvaluator(counting, store, namespace="space")
    short = Fidelity(epochs=1)
    for how in ({}, {"repeat": 1}, {"fidelity": short}, {"fidelity": short, "repeat": 1}, {"fidelity": Fidelity()}):
        (answer,) = evaluate(stored, [A], **how)  # type: ignore[arg-type]
        assert (answer.fidelity, answer.repeat) == (str(how.get("fidelity", Fidelity())), how.get("repeat", 0))
    assert len(counting.asked) == 4
    evaluate(StoredEvaluator(counting, store, namespace="other space"), [A])
    assert len(counting.asked) == 5
    evaluate(StoredEvaluator(HashEvaluator(), store, namespace="space"), [A])
    assert {namespace for namespace, _, _ in store} == {
        "space counting",
        "other space counting",
        "space synthetic/1 hash",
    }


@pytest.mark.parametrize("retry", [False, True])
def test_failures_are_final_unless_asked_again(store: ResultStore, retry: bool) -> None:
    failed = evaluate(StoredEvaluator(Counting([A]), store), [A, B])
    assert [answer.status for answer in failed] == ["diverged", "ok"]
    better = Counting()
    stored = StoredEvaluator(better, store, retry_failed=retry)
    answers = evaluate(stored, [A, B, A])
    assert [answer.status for answer in answers] == (["ok"] * 3 if retry else ["diverged", "ok", "diverged"])
    assert [key for key, _, _ in better.asked] == ([A.key] if retry else [])
    kept = store.get("counting", A.key, "full", 0)
    assert kept is not None and kept.ok == retry and len(store) == 2


def test_a_retry_that_fails_again_is_not_repeated(store: ResultStore) -> None:
    evaluate(StoredEvaluator(Counting([A]), store), [A])
    counting = Counting([A])
    stored = StoredEvaluator(counting, store, retry_failed=True)
    evaluate(stored, [A, A])
    evaluate(stored, [A])
    assert len(counting.asked) == 1


def test_a_put_that_fails_surfaces_and_nothing_is_remembered() -> None:
    store, counting = Refusing(), Counting()
    stored = StoredEvaluator(counting, store)
    bad, other = stored.submit([A, B])
    for future in (bad, other):
        with pytest.raises(StoreError, match="full"):
            future.result(timeout=1)
    assert len(store) == 0
    store.refuses = False
    assert evaluate(stored, [A])[0].ok
    assert [key for key, _, _ in counting.asked] == [A.key, B.key, A.key] and len(store) == 1
    store.close()


def test_a_full_database_surfaces(store: ResultStore) -> None:
    stored = StoredEvaluator(Counting(), store)
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    candidates = [perceptron(n) for n in range(1, 60)]
    futures = stored.submit(candidates)
    errors = [future.exception() for future in futures]
    assert isinstance(errors[-1], StoreError) and "full" in str(errors[-1])
    held = len(store)
    assert held == errors.index(next(error for error in errors if error is not None)) < len(candidates)
    with store._engine.connect() as connection:
        connection.execute(sa.text("PRAGMA max_page_count=100000"))
    assert all(answer.ok for answer in evaluate(stored, candidates)) and len(store) == len(candidates)


class Interrupted(Counting):
    def _answer(self, candidate: Candidate, fidelity: str, repeat: int) -> Future[Evaluation]:
        if not self.asked:
            self.asked.append((candidate.key, fidelity, repeat))
            raise KeyboardInterrupt
        return super()._answer(candidate, fidelity, repeat)


def test_an_interrupted_training_is_asked_again(store: ResultStore) -> None:
    interrupted = Interrupted()
    stored = StoredEvaluator(interrupted, store)
    with pytest.raises(KeyboardInterrupt):
        stored.submit([A, B])
    assert len(store) == 0
    assert evaluate(stored, [A, B])[0].ok and len(interrupted.asked) == 3


def test_an_interrupted_put_is_not_swallowed() -> None:
    class Pressed(ResultStore):
        def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
            raise KeyboardInterrupt

    store = Pressed()
    with pytest.raises(KeyboardInterrupt):
        StoredEvaluator(Counting(), store).submit([A])
    store.close()


def test_an_evaluator_that_breaks_its_contract_surfaces(store: ResultStore) -> None:
    class Broken(Counting):
        def _answer(self, candidate: Candidate, fidelity: str, repeat: int) -> Future[Evaluation]:
            future: Future[Evaluation] = Future()
            future.set_exception(OSError("a worker died"))
            return future

    stored = StoredEvaluator(Broken(), store)
    (future,) = stored.submit([A])
    assert isinstance(future.exception(), OSError) and len(store) == 0


def test_threads_ask_once(store: ResultStore) -> None:
    counting = Counting(seconds=0.01)
    stored = StoredEvaluator(counting, store)
    candidates = [perceptron(n) for n in range(1, 9)]
    barrier = threading.Barrier(6)

    def work(shift: int) -> list[Evaluation]:
        barrier.wait()
        return evaluate(stored, candidates[shift:] + candidates[:shift])

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(work, range(6)))
    assert sorted(key for key, _, _ in counting.asked) == sorted(candidate.key for candidate in candidates)
    assert (stored.asked, stored.from_store, len(store)) == (8, 40, 8)
    assert all({answer.key for answer in found} == {c.key for c in candidates} for found in answers)


def test_answers_that_come_later_from_another_thread(store: ResultStore) -> None:
    with ThreadPoolExecutor(2) as pool:

        class Slow(Counting):
            def _answer(self, candidate: Candidate, fidelity: str, repeat: int) -> Future[Evaluation]:
                answer = super()._answer
                return pool.submit(lambda: (time.sleep(0.02), answer(candidate, fidelity, repeat).result())[1])

        stored = StoredEvaluator(Slow(), store)
        first, second, again = stored.submit([A, B, A])
        assert again is first and not first.done()
        assert first.result().key == A.key and second.result().key == B.key and len(store) == 2


def test_with_real_trainings(digits: Dataset, store: ResultStore) -> None:
    evaluator = trainer(digits)
    stored = StoredEvaluator(evaluator, store, namespace="space")
    assert stored.identity == evaluator.identity and evaluator.identity in stored.namespace
    (answer,) = evaluate(stored, [perceptron()])
    kept = store.get(stored.namespace, perceptron().key, "full", 0)
    assert kept == answer and answer.deterministic() == evaluate(evaluator, [perceptron()])[0].deterministic()


def test_crashes_of_others_are_asked_for_again_and_other_failures_are_not() -> None:
    """A lost worker is no fault of a candidate: where searches share a store, the next one tries again."""
    store, failing = ResultStore(), StoredEvaluator(HashEvaluator(), ResultStore(), namespace="space")
    for candidate, status in ((A, "crashed"), (B, "out_of_memory")):
        store.put(failing.namespace, candidate, Evaluation(key=candidate.key, status=status, reason="it was"))  # type: ignore[arg-type]
    asking = StoredEvaluator(HashEvaluator(), store, namespace="space", retry_crashed=True)
    assert [found.status for found in evaluate(asking, [A, B])] == ["ok", "out_of_memory"]
    assert asking.asked == 1
    content = StoredEvaluator(HashEvaluator(), store, namespace="space")
    assert [found.status for found in evaluate(content, [A, B])] == ["ok", "out_of_memory"]
    assert content.asked == 0, "the new answer has replaced the crash"
