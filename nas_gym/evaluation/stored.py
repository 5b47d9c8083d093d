"""The evaluator that remembers: answers from a store, and commits what it had to ask for."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator, Fidelity, capacity_of

Question = tuple[str, str, int]


class Store(Protocol):
    """Evaluations by namespace, key, fidelity and repeat; `nas_gym.testing_evaluators.check_store` checks the contract.

    `put` returns once the answer is committed: a reader in any process then sees it, and a kill at any instant loses
    nothing that was committed and leaves nothing half-written. A second `put` of the same question replaces the
    first. What can't be read or written raises StoreError.
    """

    def get(self, namespace: str, key: str, fidelity: str, repeat: int) -> Evaluation | None:
        """Return a committed evaluation, or None."""

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        """Commit an evaluation with its candidate."""

    def __iter__(self) -> Iterator[tuple[str, Candidate, Evaluation]]:
        """Iterate over (namespace, candidate, evaluation) in the order they were committed."""

    def __len__(self) -> int:
        """Return the number of evaluations."""


class StoredEvaluator:
    """Wraps an evaluator: every answer is committed to a store before it is returned, and asked for only once.

    An answer that can't be committed is not given: its future raises the store's StoreError, nothing is remembered,
    and the next time the question is asked anew. Threads may share one object.

    Args:
        evaluator: Asked for what the store does not have.
        store: Where answers are kept.
        namespace: Put before the evaluator's identity in every store key: the search space's name.
        retry_failed: Whether stored failures are asked for again (once in the life of this object).

    Attributes:
        from_store: Answers given without asking the wrapped evaluator.
        asked: Questions that the wrapped evaluator was asked.
    """

    def __init__(self, evaluator: Evaluator, store: Store, *, namespace: str = "", retry_failed: bool = False) -> None:
        self.evaluator = evaluator
        self.store = store
        self.namespace = f"{namespace} {evaluator.identity}".strip()
        self.from_store = 0
        self.asked = 0
        self._retry_failed = retry_failed
        self._answers: dict[Question, Future[Evaluation]] = {}
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """That of the wrapped evaluator."""
        return self.evaluator.identity

    @property
    def capacity(self) -> int:
        """That of the wrapped evaluator."""
        return capacity_of(self.evaluator)

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return futures of stored or new answers; new ones resolve once they are committed.

        Raises:
            StoreError: The store can't be read. (One that can't be written shows in the future.)
        """
        return [self._answer(candidate, fidelity or FULL, int(repeat)) for candidate in candidates]

    def _answer(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Future[Evaluation]:
        question = (candidate.key, str(fidelity), repeat)
        answer: Future[Evaluation] = Future()
        with self._lock:
            known = self._answers.setdefault(question, answer)
            if known is not answer:
                self.from_store += 1
                return known
        try:
            self._resolve(candidate, fidelity, repeat, question, answer)
        except BaseException as error:
            self._forget(question, answer, error)
            raise
        return answer

    def _resolve(
        self, candidate: Candidate, fidelity: Fidelity, repeat: int, question: Question, answer: Future[Evaluation]
    ) -> None:
        stored = self.store.get(self.namespace, *question)
        known = stored is not None and (stored.ok or not self._retry_failed)
        with self._lock:
            self.from_store += known
            self.asked += not known
        if stored is not None and known:
            answer.set_result(stored)
            return
        # One at a time, so that what is trained is committed before the next training begins.
        (asked,) = self.evaluator.submit([candidate], fidelity=fidelity, repeat=repeat)
        asked.add_done_callback(lambda done: self._commit(candidate, done, question, answer))

    def _commit(
        self, candidate: Candidate, done: Future[Evaluation], question: Question, answer: Future[Evaluation]
    ) -> None:
        try:
            evaluation = done.result()
            self.store.put(self.namespace, candidate, evaluation)
        except BaseException as error:
            self._forget(question, answer, error)
            if not isinstance(error, Exception):
                raise
        else:
            answer.set_result(evaluation)

    def _forget(self, question: Question, answer: Future[Evaluation], error: BaseException) -> None:
        """Let the question be asked anew, and whoever waits for this answer know why there is none."""
        with self._lock:
            self._answers.pop(question, None)
        if not answer.done():
            answer.set_exception(error)
