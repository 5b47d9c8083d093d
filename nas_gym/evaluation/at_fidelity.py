"""An evaluator that asks another one for cheaper evaluations than it would make by itself."""

from collections.abc import Sequence
from concurrent.futures import Future

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import Evaluation, Evaluator, Fidelity, capacity_of


class AtFidelity:
    """Asks for a fidelity wherever its caller names none; the answers say at which they were made.

    It wraps a `StoredEvaluator`, so that the store keeps the fidelities apart.

    Args:
        evaluator: Asked.
        fidelity: What for.

    Attributes:
        evaluator: May be replaced.
    """

    def __init__(self, evaluator: Evaluator, fidelity: Fidelity) -> None:
        self.evaluator = evaluator
        self.fidelity = fidelity

    @property
    def identity(self) -> str:
        """The fidelity and the wrapped evaluator's identity."""
        return f"fidelity {self.fidelity} {self.evaluator.identity}"

    @property
    def capacity(self) -> int:
        """That of the wrapped evaluator."""
        return capacity_of(self.evaluator)

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return the wrapped evaluator's futures."""
        return self.evaluator.submit(candidates, fidelity=fidelity or self.fidelity, repeat=repeat)
