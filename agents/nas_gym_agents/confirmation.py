"""Training the best networks again before one of them is named the winner.

The best of many noisy accuracies is usually one that was lucky ("the winner's curse"). So once the budget is spent, the
best few are trained again, with other seeds, and the winner is the best by the mean over all its trainings
(`nas_gym.ranking.order`). This is not charged to the budget, which is what the search itself may spend; the
trainings are in the store like any other, so that a resumed search repeats none.

A candidate of which a training fails can't win over one whose trainings all succeed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.evaluation import FULL, Evaluation, Evaluator


@dataclass(frozen=True)
class Confirmation:
    """What training the best networks again came to.

    Attributes:
        candidates: How many networks were trained again.
        repeats: How often each of them.
        failed: Failed trainings among these.
        cost_seconds: What all of these cost, wherever they happened; not charged to the budget.
    """

    candidates: int
    repeats: int
    failed: int
    cost_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data."""
        return dict(vars(self))


def confirm(evaluator: Evaluator, ranked: Sequence[Candidate], repeats: int, *, first: int = 1) -> Confirmation:
    """Return what training candidates again at full fidelity came to; all trainings are submitted together.

    Args:
        evaluator: With a store, in which the answers are found afterwards.
        ranked: The candidates.
        repeats: How often each of them.
        first: Number of the first new repeat: those before it are what the search saw, and are asked for as well, for
            a search at a lower fidelity has not seen them.

    Raises:
        StoreError: An answer could not be stored.
    """
    asked = [evaluator.submit(ranked, fidelity=FULL, repeat=repeat) for repeat in range(first + repeats)]
    answers: list[list[Evaluation]] = [[future.result() for future in futures] for futures in asked]
    again = [evaluation for row in answers[first:] for evaluation in row]
    return Confirmation(
        candidates=len(ranked),
        repeats=repeats,
        failed=sum(not evaluation.ok for evaluation in again),
        cost_seconds=sum(evaluation.cost_seconds for evaluation in again),
    )
