"""Who is the winner: the best networks of a search, trained again until their means can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas_gym import standard_error
from nas_gym.errors import RunError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator
from nas_gym.evaluation.repeated import mean_of
from nas_gym.run import Ranked
from nas_gym.weights import rank

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Contender:
    """One of the networks among which the winner is named.

    Attributes:
        ranked: As the search ranked it.
        mean: Of all its trainings at full fidelity; a failure if one of them failed.
        accuracies: Of these trainings, in the order of their repeats; without the failed ones.
    """

    ranked: Ranked
    mean: Evaluation
    accuracies: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what is told of it as JSON-ready data."""
        return {
            "key": self.ranked.candidate.key,
            "status": self.mean.status,
            "validation_accuracy": self.mean.accuracy,
            "validation_standard_error": self.mean.standard_error,
            "accuracies": list(self.accuracies),
            "parameters": self.mean.parameters,
            "macs": self.mean.macs,
        }


def contenders(
    evaluator: Evaluator,
    ranked: Sequence[Ranked],
    repeats: int,
    score: Callable[[Evaluation], float],
    watch: Watch | None = None,
) -> list[Contender]:
    """Return the best networks of a search after so many trainings of each at full fidelity, the winner first.

    The order is that of the score of the mean, then fewer parameters. One that failed in a training comes last.

    Args:
        evaluator: With the run's store, so that no training is repeated.
        ranked: The best networks, as the search ranks them.
        repeats: Trainings of each, those of the search included.
        score: The objective of the search.
        watch: Called after every answer with the number of answers so far and in all.

    Raises:
        RunError: There is no network, or every one failed in a training.
        StoreError: An answer could not be stored.
    """
    total, done = len(ranked) * repeats, 0
    answers: list[list[Evaluation]] = [[] for _ in ranked]
    for repeat in range(repeats):
        for place, one in enumerate(ranked):
            answers[place].append(evaluator.submit([one.candidate], fidelity=FULL, repeat=repeat)[0].result())
            done += 1
            if watch is not None:
                watch(done, total)
    found = [_contender(one, mine) for one, mine in zip(ranked, answers, strict=True)]
    steady = [one for one in found if one.mean.ok]
    if not steady:
        reason = f" ({found[0].mean.reason})" if found else ""
        raise RunError(f"none of the best {len(ranked)} networks trains at full fidelity{reason}; search on")
    steady.sort(key=lambda one: rank(score(one.mean), one.mean.parameters, one.mean.key))
    return [*steady, *(one for one in found if not one.mean.ok)]


def lead(order: Sequence[Contender]) -> tuple[float, float | None] | None:
    """Return by how much the winner's accuracy is ahead of the next, and the standard error of that; None: no next.

    The error is sqrt(a² + b²) of two independent means; None if one of them is of a single training.
    """
    if len(order) < 2 or order[1].mean.accuracy is None or order[0].mean.accuracy is None:
        return None
    ahead = order[0].mean.accuracy - order[1].mean.accuracy
    spread = [standard_error.of_mean(one.accuracies) for one in order[:2] if len(one.accuracies) > 1]
    return ahead, (spread[0] ** 2 + spread[1] ** 2) ** 0.5 if len(spread) == 2 else None


def _contender(ranked: Ranked, answers: Sequence[Evaluation]) -> Contender:
    accuracies = tuple(answer.accuracy for answer in answers if answer.accuracy is not None)
    return Contender(ranked, mean_of(answers), accuracies)
