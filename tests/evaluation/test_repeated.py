"""The evaluator that asks several times: what the mean is, which repeats are asked for, and that nothing waits."""

import math
import random
import statistics
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from networks import perceptron, trainer

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError, StoreError
from nas_gym.evaluation import Evaluation, Fidelity, Repeated, StoredEvaluator, evaluate, resolved
from nas_gym.evaluation.repeated import mean_of
from nas_gym.randomness import derived_seed
from nas_gym.store import ResultStore
from nas_gym.testing_evaluators import check_evaluator

A, B, C = perceptron(3), perceptron(4), perceptron(5)


class Noisy:
    """Answers with numbers drawn from key and repeat; some repeats fail.

    Args:
        failing: Pairs of candidate and repeat.
    """

    identity = "noisy"
    capacity = 3

    def __init__(self, failing: Sequence[tuple[Candidate, int]] = ()) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.failing = {(candidate.key, repeat) for candidate, repeat in failing}

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        return [resolved(self.answer(candidate, str(fidelity or Fidelity()), repeat)) for candidate in candidates]

    def answer(self, candidate: Candidate, fidelity: str, repeat: int) -> Evaluation:
        self.asked.append((candidate.key, fidelity, repeat))
        accuracy = (derived_seed(candidate.key, fidelity, repeat) % 10_001) / 10_000
        fields: dict[str, Any] = {"key": candidate.key, "fidelity": fidelity, "repeat": repeat}
        fields |= {"cost_seconds": 1.0 + repeat, "train_seconds": 0.5 + repeat, "parameters": 7, "macs": 9}
        if (candidate.key, repeat) in self.failing:
            return Evaluation(**fields, status="diverged", reason=f"it did in repeat {repeat}")
        return Evaluation(**fields, accuracy=accuracy, loss=1 - accuracy, curve=(0.0, accuracy), standard_error=0.1)


class Late(Noisy):
    """Answers when told, from other threads, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[Future[Evaluation], Evaluation]] = []

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        futures: list[Future[Evaluation]] = [Future() for _ in candidates]
        answers = [self.answer(candidate, str(fidelity or Fidelity()), repeat) for candidate in candidates]
        self.open += zip(futures, answers, strict=True)
        return futures

    def resolve(self, seed: int) -> None:
        random.Random(seed).shuffle(self.open)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda pair: pair[0].set_result(pair[1]), self.open))


def test_it_keeps_the_contract_of_evaluators() -> None:
    check_evaluator(lambda: Repeated(Noisy(), 3), [A, B])
    check_evaluator(lambda: Repeated(StoredEvaluator(Noisy(failing=[(B, 1)]), ResultStore()), 2), [A, B, C])


def test_the_answer_is_the_mean_of_distinct_repeats() -> None:
    inner = Noisy()
    (answer,) = evaluate(Repeated(inner, 4), [A], repeat=2, fidelity=Fidelity(epochs=5))
    assert inner.asked == [(A.key, "epochs=5", repeat) for repeat in (8, 9, 10, 11)]
    each = [inner.answer(A, "epochs=5", repeat) for repeat in (8, 9, 10, 11)]
    accuracies = [evaluation.accuracy or 0.0 for evaluation in each]
    assert len(set(accuracies)) == 4
    assert answer.accuracy == pytest.approx(statistics.mean(accuracies))
    assert answer.standard_error == pytest.approx(statistics.stdev(accuracies) / 2)
    assert answer.loss == pytest.approx(1 - statistics.mean(accuracies))
    assert answer.curve == pytest.approx((0.0, statistics.mean(accuracies)))
    assert (answer.repeat, answer.fidelity, answer.key) == (2, "epochs=5", A.key)
    assert (answer.cost_seconds, answer.train_seconds) == (9 + 10 + 11 + 12, 8.5 + 9.5 + 10.5 + 11.5)
    assert (answer.parameters, answer.macs) == (7, 9)


def test_one_repeat_keeps_its_own_standard_error() -> None:
    (answer,) = evaluate(Repeated(Noisy(), 1), [A])
    assert answer == Noisy().answer(A, "full", 0)
    assert answer.standard_error == 0.1


def test_measured_fields_are_means_sums_or_peaks_and_unknown_if_one_is() -> None:
    one = Evaluation(key="k", accuracy=0.5, latency_ms=1.0, latency_iqr_ms=0.2, peak_memory_mb=10, proxy=2.0)
    two = replace(one, repeat=1, latency_ms=3.0, latency_iqr_ms=0.4, peak_memory_mb=30, proxy=4.0)
    both = mean_of([one, two])
    assert (both.latency_ms, both.latency_iqr_ms) == pytest.approx((2.0, 0.3))
    assert (both.peak_memory_mb, both.proxy, both.loss) == (30, 3.0, None)
    assert mean_of([one, replace(two, latency_ms=None)]).latency_ms is None
    scored = mean_of([Evaluation(key="k", proxy=1.0), Evaluation(key="k", proxy=2.0, repeat=1)])
    assert (scored.proxy, scored.accuracy, scored.standard_error) == (1.5, None, None)


def test_the_first_failure_is_the_answer_and_costs_what_all_cost() -> None:
    answer, other = evaluate(Repeated(Noisy(failing=[(A, 2), (A, 1)]), 3), [A, B])
    assert (answer.status, answer.reason, answer.repeat) == ("diverged", "it did in repeat 1", 0)
    assert answer.cost_seconds == 1 + 2 + 3
    assert answer.accuracy is None and other.ok


@pytest.mark.parametrize("seed", range(5))
def test_repeats_resolve_in_any_order_from_any_thread(seed: int) -> None:
    inner = Late()
    futures = Repeated(inner, 3).submit([A, B, C])
    assert not any(future.done() for future in futures), "submit does not wait"
    assert not any(future.cancel() for future in futures)
    inner.resolve(seed)
    assert [future.result(timeout=10) for future in futures] == evaluate(Repeated(Noisy(), 3), [A, B, C])


def test_it_waits_for_the_last_repeat() -> None:
    inner = Late()
    (future,) = Repeated(inner, 3).submit([A])
    for pending, evaluation in inner.open[:2]:
        pending.set_result(evaluation)
    assert not future.done()
    inner.open[2][0].set_result(inner.open[2][1])
    assert future.done()


def test_what_can_not_be_stored_shows_in_the_future() -> None:
    inner = Late()
    (future,) = Repeated(inner, 2).submit([A])
    inner.open[0][0].set_exception(StoreError("the disk is full"))
    assert not future.done()
    inner.open[1][0].set_result(inner.open[1][1])
    with pytest.raises(StoreError, match="full"):
        future.result(timeout=10)


def test_every_training_is_stored_on_its_own_and_asked_for_once() -> None:
    inner, store = Noisy(), ResultStore()
    evaluator = Repeated(StoredEvaluator(inner, store), 3)
    first = evaluate(evaluator, [A, B])
    assert evaluate(Repeated(StoredEvaluator(inner, store), 3), [A, B]) == first
    assert len(inner.asked) == len(store) == 6
    evaluate(Repeated(StoredEvaluator(inner, store), 2), [A])  # fewer repeats use what more have left
    assert len(inner.asked) == 6


def test_identity_capacity_and_a_new_inner_evaluator() -> None:
    evaluator = Repeated(Noisy(), 3)
    assert evaluator.identity == "noisy repeats=3" and evaluator.capacity == 3
    evaluator.evaluator = other = Noisy()
    evaluate(evaluator, [A])
    assert len(other.asked) == 3


@pytest.mark.parametrize("repeats", [0, -1, 1.5, True, "2"])
def test_repeats_out_of_range(repeats: Any) -> None:
    with pytest.raises(ConfigurationError, match="repeats"):
        Repeated(Noisy(), repeats)


def test_threads_may_ask_at_the_same_time() -> None:
    evaluator = Repeated(StoredEvaluator(Noisy(), ResultStore()), 2)
    barrier = threading.Barrier(4)

    def ask(_: int) -> list[Evaluation]:
        barrier.wait()
        return evaluate(evaluator, [A, B, C])

    with ThreadPoolExecutor(4) as pool:
        assert len({tuple(map(str, answers)) for answers in pool.map(ask, range(4))}) == 1


def test_repeats_of_a_training_differ_and_their_mean_is_that_of_the_trainings(digits: Dataset) -> None:
    inner, fidelity = trainer(digits), Fidelity(epochs=1)
    each = [evaluate(inner, [A], fidelity=fidelity, repeat=repeat)[0] for repeat in (0, 1)]
    (answer,) = evaluate(Repeated(inner, 2), [A], fidelity=fidelity)
    assert each[0].loss != each[1].loss, "each repeat has a seed of its own"
    assert answer.accuracy == math.fsum(one.accuracy or 0.0 for one in each) / 2
