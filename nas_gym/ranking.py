"""The order of a run's networks, from what its store holds of each."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import FULL, Evaluation
from nas_gym.evaluation.repeated import mean_of
from nas_gym.weights import rank


@dataclass(frozen=True)
class Plan:
    """How often the networks of a run are trained.

    Attributes:
        repeats: Trainings that made one evaluation of the search.
        confirm: How many of the best are evaluated again at the end.
        confirm_repeats: How often each of them.
        fidelity: At which the search evaluated, unless it was in full or by successive halving.
        stops: Of the successive halving that the search was; empty: it was none.
    """

    repeats: int = 1
    confirm: int = 0
    confirm_repeats: int = 0
    fidelity: str = ""
    stops: tuple[int, ...] = ()


@dataclass
class Answers:
    """What the store holds of one candidate.

    Attributes:
        candidate: The candidate.
        evaluations: By fidelity and repeat, failures included; those of other searches too, where they share a store.
        told: The accuracy that the search was told; None where that is not known.
    """

    candidate: Candidate
    evaluations: dict[tuple[str, int], Evaluation] = field(default_factory=dict)
    told: float | None = None

    def add(self, evaluation: Evaluation) -> None:
        """Take one evaluation of the candidate."""
        self.evaluations[evaluation.fidelity, evaluation.repeat] = evaluation

    def repeats(self, fidelity: str, n: int) -> list[Evaluation]:
        """Return the first n repeats, as far as they are there."""
        return [self.evaluations[fidelity, i] for i in range(n) if (fidelity, i) in self.evaluations]

    def searched(self, plan: Plan) -> Evaluation | None:
        """Return what the search saw: the mean of its repeats at its fidelity; None if nothing succeeded.

        Of successive halving that is the last stop that it let the candidate reach, however far others trained it.
        """
        known = [fidelity for (fidelity, i), answer in self.evaluations.items() if not i and answer.ok]
        if plan.fidelity:
            known = [fidelity for fidelity in known if fidelity == plan.fidelity]
        elif plan.stops:
            known = [fidelity for fidelity in known if thoroughness(fidelity) in plan.stops]
            known = [f for f in known if self.evaluations[f, 0].accuracy == self.told] or known
        best = max(known, key=thoroughness, default="")
        if not plan.fidelity and thoroughness(best) <= 0:
            return None
        answers = [answer for answer in self.repeats(best, plan.repeats) if answer.ok]
        return mean_of(answers) if answers else None


def order(
    answers: Mapping[str, Answers], plan: Plan, score: Callable[[Evaluation], float]
) -> list[tuple[str, Evaluation, int]]:
    """Return keys with their evaluation and the number of trainings in it, the best first.

    First comes the order of the search: the higher score, then fewer parameters. The first `Plan.confirm` of it are in
    the order of their means over all trainings once each of them has been evaluated again. One that failed then comes
    after those that did not, with what the search saw of it.
    """
    found = [(key, seen) for key, one in answers.items() if (seen := one.searched(plan)) is not None]
    found.sort(key=lambda pair: (-thoroughness(pair[1].fidelity), rank(score(pair[1]), pair[1].parameters, pair[0])))
    rows = [(key, seen, len(answers[key].repeats(seen.fidelity, plan.repeats))) for key, seen in found]
    n = plan.repeats + plan.confirm_repeats
    top = [(row, answers[row[0]].repeats(str(FULL), n)) for row in rows[: plan.confirm]]
    if n == plan.repeats or any(len(again) < n for _, again in top):  # nobody is, or not all are, evaluated again
        return rows
    means = [(row[0], mean_of(again), n) for row, again in top]
    steady = [row for row in means if row[1].ok]
    steady.sort(key=lambda row: rank(score(row[1]), row[1].parameters, row[0]))
    failed = [row for (row, _), mean in zip(top, means, strict=True) if not mean[1].ok]
    return [*steady, *failed, *rows[plan.confirm :]]


def thoroughness(fidelity: str) -> float:
    """Return by how much a fidelity is trusted: most if it is full, else by its stop; 0 for any other."""
    if fidelity == str(FULL):
        return math.inf
    stop = re.fullmatch(r"stop=(\d+)", fidelity)
    return float(stop[1]) if stop else 0.0
