"""Naming the winner: by means over repeats, with nothing trained twice."""

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.errors import RunError
from nas_gym.evaluation import Evaluation, StoredEvaluator
from nas_gym.evaluation.evaluation import resolved
from nas_gym.run import Ranked
from nas_gym.store import ResultStore
from nas_gym.winner.naming import contenders, lead

ACCURACIES = {2: (0.9, 0.5, 0.7), 3: (0.8, 0.8, 0.77), 4: (0.6, 0.6, 0.6), 5: (0.8, None, 0.9), 6: (0.8, 0.77, 0.8)}


def candidate(units: int) -> Candidate:
    return Candidate(Architecture((4,), (Operation("linear", (("units", units),)),)))


@dataclass
class Told:
    """An evaluator that says what it is told to, by units and repeat."""

    identity: str = "told"
    asked: list[tuple[str, int]] = field(default_factory=list)

    def submit(self, candidates: Sequence[Candidate], *, fidelity: Any = None, repeat: int = 0) -> list[Future[Any]]:
        assert str(fidelity) == "full"
        return [resolved(self._answer(one, repeat)) for one in candidates]

    def _answer(self, one: Candidate, repeat: int) -> Evaluation:
        self.asked.append((one.key, repeat))
        units = one.trained.output_shape[0]
        accuracy = ACCURACIES[units][repeat]
        facts: dict[str, Any] = {"key": one.key, "repeat": repeat, "parameters": units}
        if accuracy is None:
            return Evaluation(status="diverged", reason="the loss was not finite", **facts)
        return Evaluation(accuracy=accuracy, standard_error=0.01, **facts)


def ranked(units: int) -> Ranked:
    one = candidate(units)
    return Ranked((0,), one, Evaluation(key=one.key, accuracy=0.5), 0, ())


def accuracy(evaluation: Evaluation) -> float:
    return float(evaluation.accuracy or 0)


def test_the_winner_has_the_highest_mean_and_ties_go_to_the_smaller_network() -> None:
    order = contenders(Told(), [ranked(n) for n in (2, 3, 4, 5, 6)], 3, accuracy)
    assert [one.mean.parameters for one in order] == [3, 6, 2, 4, 5]
    assert order[0].mean.accuracy == pytest.approx(0.79)
    assert order[0].mean.standard_error == pytest.approx(statistics.stdev((0.8, 0.8, 0.77)) / math.sqrt(3))
    assert not order[-1].mean.ok and order[-1].accuracies == (0.8, 0.9), "one that may fail does not win"


def test_what_the_store_holds_is_not_trained_again() -> None:
    store = ResultStore()
    first = Told()
    contenders(StoredEvaluator(first, store), [ranked(2), ranked(3)], 2, accuracy)
    second, told = Told(), []
    contenders(StoredEvaluator(second, store), [ranked(2), ranked(3)], 3, accuracy, lambda *done: told.append(done))
    assert len(first.asked) == 4
    assert second.asked == [(candidate(n).key, 2) for n in (2, 3)]
    assert told == [(n, 6) for n in range(1, 7)]


def test_the_objective_of_the_search_decides() -> None:
    order = contenders(Told(), [ranked(n) for n in (2, 3, 4)], 3, lambda evaluation: -evaluation.parameters)
    assert [one.mean.parameters for one in order] == [2, 3, 4]


def test_the_lead_has_the_error_of_a_difference() -> None:
    order = contenders(Told(), [ranked(2), ranked(3)], 3, accuracy)
    ahead, error = lead(order)  # type: ignore[misc]
    variance = statistics.variance((0.8, 0.8, 0.77)) / 3 + statistics.variance((0.9, 0.5, 0.7)) / 3
    assert ahead == pytest.approx(0.09) and error == pytest.approx(math.sqrt(variance))
    assert lead(order[:1]) is None
    assert lead(contenders(Told(), [ranked(2), ranked(3)], 1, accuracy)) == (pytest.approx(0.1), None)


def test_without_one_that_trains_there_is_no_winner() -> None:
    with pytest.raises(RunError, match=r"none of the best 1 .*\(the loss was not finite\); search on"):
        contenders(Told(), [ranked(5)], 2, accuracy)
    with pytest.raises(RunError, match="none of the best 0"):
        contenders(Told(), [], 2, accuracy)
