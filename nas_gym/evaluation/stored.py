"""The evaluator that remembers: answers from a store, and commits what it had to ask for."""

from collections.abc import Sequence
from concurrent.futures import Future

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator, Fidelity
from nas_gym.store import ResultStore

Question = tuple[str, str, int]


class StoredEvaluator:
    """Wraps an evaluator: every answer is committed to a store before it is returned, and asked for only once.

    Args:
        evaluator: Asked for what the store does not have.
        store: Where answers are kept.
        namespace: Put before the evaluator's identity in every store key: the search space's name.
        retry_failed: Whether stored failures are asked for again (once in the life of this object).
    """

    def __init__(
        self, evaluator: Evaluator, store: ResultStore, *, namespace: str = "", retry_failed: bool = False
    ) -> None:
        self.evaluator = evaluator
        self.store = store
        self.namespace = f"{namespace} {evaluator.identity}".strip()
        self.from_store = 0
        self.asked = 0
        self._retry_failed = retry_failed
        self._answers: dict[Question, Future[Evaluation]] = {}

    @property
    def identity(self) -> str:
        """That of the wrapped evaluator."""
        return self.evaluator.identity

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return futures of stored or new answers; new ones resolve once they are committed."""
        return [self._answer(candidate, fidelity or FULL, repeat) for candidate in candidates]

    def _answer(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Future[Evaluation]:
        question = (candidate.key, str(fidelity), repeat)
        known = self._answers.get(question)
        if known is not None:
            self.from_store += 1
            return known
        answer: Future[Evaluation] = Future()
        stored = self.store.get(self.namespace, *question)
        if stored is not None and (stored.ok or not self._retry_failed):
            self.from_store += 1
            answer.set_result(stored)
        else:
            self.asked += 1
            # One at a time, so that what is trained is committed before the next training begins.
            (asked,) = self.evaluator.submit([candidate], fidelity=fidelity, repeat=repeat)
            asked.add_done_callback(lambda done: self._commit(candidate, done, answer))
        self._answers[question] = answer
        return answer

    def _commit(self, candidate: Candidate, done: Future[Evaluation], answer: Future[Evaluation]) -> None:
        try:
            evaluation = done.result()
            self.store.put(self.namespace, candidate, evaluation)
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(evaluation)
