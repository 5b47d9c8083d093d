"""The evaluator that remembers: answers from a store, and commits what it had to ask for."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

from nas_gym.architecture import Candidate
from nas_gym.errors import StoreError, StoreUnavailableError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator, Fidelity, capacity_of
from nas_gym.group_commit import LaterCommits

Question = tuple[str, str, int]


class Store(Protocol):
    """Evaluations by namespace, key, fidelity and repeat; `nas_gym.testing_evaluators.check_store` checks the contract.

    `put` returns once the answer is committed: a reader in any process then sees it, and a kill at any instant loses
    nothing that was committed and leaves nothing half-written. A second `put` of the same question replaces the
    first. What can't be read or written raises StoreError. Threads may share a store.

    A store that is quicker with many at once has two more methods, which `StoredEvaluator` then uses: ``get_many``
    (a namespace and triples of key, fidelity, repeat) returns a list of evaluations or None, in order; ``put_many`` (a
    namespace and pairs of candidate and evaluation) commits all of them or, when it raises, none.
    """

    def get(self, namespace: str, key: str, fidelity: str, repeat: int) -> Evaluation | None:
        """Return a committed evaluation, or None."""

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        """Commit an evaluation with its candidate."""

    def __iter__(self) -> Iterator[tuple[str, Candidate, Evaluation]]:
        """Iterate over (namespace, candidate, evaluation) in the order they were committed."""

    def __len__(self) -> int:
        """Return the number of evaluations."""


def limited(identity: str, memory_limit_mb: float | None) -> str:
    """Return the identity of an evaluator whose trainings have a memory limit, which decides who is out of memory."""
    return identity if memory_limit_mb is None else f"{identity} memory={memory_limit_mb:g}"


class StoredEvaluator:
    """Wraps an evaluator: every answer is committed to a store before it is returned, and asked for only once.

    An evaluator with a `capacity` of 1 is asked for one candidate after the other, so that what is trained is committed
    before the next training begins; one with more gets all that are missing at once. Answers that arrive later, from
    an evaluator's own threads or processes, are committed by a thread of this object, together where they arrive so.

    An answer that can't be committed is not given: its future raises the store's StoreError, nothing is remembered,
    and the next time the question is asked anew. Threads may share one object.

    Args:
        evaluator: Asked for what the store does not have.
        store: Where answers are kept.
        namespace: Put before the evaluator's identity in every store key: the search space's name.
        retry_failed: Whether stored failures are asked for again (once in the life of this object).
        retry_crashed: The same of those whose workers were lost: a store that searches share has crashes that were no
            fault of the candidate, nor of this search.

    Attributes:
        namespace: Under which answers are stored: the space's name and the evaluator's identity.
        retry_crashed: May be changed.
        from_store: Answers given without asking the wrapped evaluator.
        asked: Questions that the wrapped evaluator was asked.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        store: Store,
        *,
        namespace: str = "",
        retry_failed: bool = False,
        retry_crashed: bool = False,
    ) -> None:
        self.evaluator = evaluator
        self.store = store
        self.namespace = f"{namespace} {evaluator.identity}".strip()
        self._fidelity = self.fidelity
        self.from_store = 0
        self.asked = 0
        self._retry_failed = retry_failed
        self.retry_crashed = retry_crashed
        self._answers: dict[Question, Future[Evaluation]] = {}
        self._lock = threading.Lock()
        self._later = LaterCommits(self._commit_later)

    @property
    def identity(self) -> str:
        """That of the wrapped evaluator."""
        return self.evaluator.identity

    @property
    def fidelity(self) -> Fidelity:
        """What it asks for where its caller names none: the wrapped evaluator's own fidelity, if it has one."""
        return Fidelity.from_text(str(getattr(self.evaluator, "fidelity", FULL)))

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
        fidelity, repeat = fidelity or self._fidelity, int(repeat)
        answers, new = self._registered(candidates, str(fidelity), repeat)
        portions = [new] if self.capacity > 1 else [[one] for one in new]
        try:
            for portion in portions:
                missing = self._looked_up(portion)
                if missing:
                    self._ask(missing, fidelity, repeat)
        except BaseException as error:
            for one in new:
                if one.asked is None:
                    self._forget(one, error)
            raise
        return answers

    def flush(self) -> None:
        """Return once every answer that has arrived is committed, or its future says why not (then close the store)."""
        self._later.wait()

    def _registered(
        self, candidates: Sequence[Candidate], fidelity: str, repeat: int
    ) -> tuple[list[Future[Evaluation]], list["_New"]]:
        """Return a future for every candidate, and those among them that nobody has asked for before."""
        answers, new = [], []
        with self._lock:
            for candidate in candidates:
                question = (candidate.key, fidelity, repeat)
                known = self._answers.get(question)
                if known is None:
                    new.append(_New(candidate, question))
                    known = self._answers[question] = new[-1].answer
                else:
                    self.from_store += 1
                answers.append(known)
        return answers, new

    def _looked_up(self, portion: Sequence["_New"]) -> list["_New"]:
        """Answer from the store what it has; return the rest."""
        missing = []
        for one, stored in zip(portion, self._stored([one.question for one in portion]), strict=True):
            if stored is not None and not self._again(stored):
                one.asked = one.answer
                one.answer.set_result(stored)
            else:
                missing.append(one)
        with self._lock:
            self.from_store += len(portion) - len(missing)
            self.asked += len(missing)
        return missing

    def _again(self, stored: Evaluation) -> bool:
        """Return whether a stored answer is asked for again."""
        return not stored.ok and (self._retry_failed or (self.retry_crashed and stored.status == "crashed"))

    def _stored(self, questions: Sequence[Question]) -> list[Evaluation | None]:
        get_many: Callable[..., list[Evaluation | None]] | None = getattr(self.store, "get_many", None)
        if get_many is not None and len(questions) > 1:
            return get_many(self.namespace, questions)
        return [self.store.get(self.namespace, *question) for question in questions]

    def _ask(self, missing: Sequence["_New"], fidelity: Fidelity, repeat: int) -> None:
        asked = self.evaluator.submit([one.candidate for one in missing], fidelity=fidelity, repeat=repeat)
        at_once = []
        for one, future in zip(missing, asked, strict=True):
            one.asked = future
            if future.done():
                at_once.append(one)
            else:
                future.add_done_callback(lambda _, one=one: self._later.add(one))  # type: ignore[misc]
        if at_once:
            self._commit(at_once)()

    def _commit_later(self, arrived: Sequence["_New"]) -> Callable[[], None]:
        try:
            return self._commit(arrived)
        except BaseException:  # whoever waits for the answers is told
            return lambda: None

    def _commit(self, arrived: Sequence["_New"]) -> Callable[[], None]:
        """Commit what the wrapped evaluator has answered; return what gives the answers."""
        committed: Sequence[tuple[_New, Evaluation]] = ()
        try:
            committed = self._put([(one, result) for one in arrived if (result := self._result(one)) is not None])
        except BaseException as error:
            for one in arrived:
                self._forget(one, error)
            if not isinstance(error, Exception):
                raise

        def give() -> None:
            for one, evaluation in committed:
                one.answer.set_result(evaluation)

        return give

    def _result(self, one: "_New") -> Evaluation | None:
        try:
            return None if one.asked is None else one.asked.result()
        except Exception as error:
            self._forget(one, error)
            return None

    def _put(self, results: Sequence[tuple["_New", Evaluation]]) -> Sequence[tuple["_New", Evaluation]]:
        """Commit results, together where that can be; return those that could be."""
        put_many = getattr(self.store, "put_many", None)
        if put_many is not None and len(results) > 1:
            try:
                put_many(self.namespace, [(one.candidate, evaluation) for one, evaluation in results])
                return results
            except StoreUnavailableError:
                raise  # for all of them
            except StoreError:
                pass  # which one is at fault shows when each is alone
        committed = []
        for one, evaluation in results:
            try:
                self.store.put(self.namespace, one.candidate, evaluation)
                committed.append((one, evaluation))
            except Exception as error:
                self._forget(one, error)
        return committed

    def _forget(self, one: "_New", error: BaseException) -> None:
        """Let the question be asked anew, and whoever waits for this answer know why there is none."""
        if one.answer.done():
            return
        with self._lock:
            self._answers.pop(one.question, None)
        one.answer.set_exception(error)


class _New:
    """A question that is asked for the first time: what is promised, and once it is known whose answer that will be."""

    def __init__(self, candidate: Candidate, question: Question) -> None:
        self.candidate = candidate
        self.question = question
        self.answer: Future[Evaluation] = Future()
        self.answer.set_running_or_notify_cancel()  # others may wait for it too: nobody cancels it
        self.asked: Future[Evaluation] | None = None
