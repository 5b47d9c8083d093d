"""The evaluator that asks several times: a mean over repeats in place of one noisy number."""

import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from numbers import Integral
from typing import Any

from nas_gym import standard_error
from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation, Evaluator, Fidelity, capacity_of


class Repeated:
    """Wraps an evaluator: asks it for several repeats of every candidate and answers with their mean.

    Repeat r of this evaluator is the repeats r * repeats to r * repeats + repeats - 1 of the wrapped one, so that they
    never overlap. What a candidate's answer is, `mean_of` says: one failure among the repeats is the answer. All
    repeats are asked for at once, and nothing waits in `submit`. Wrap a `StoredEvaluator`, so that every training is
    stored on its own.

    Args:
        evaluator: Asked for every repeat.
        repeats: How many, at least 1.

    Raises:
        ConfigurationError: `repeats` is no positive whole number.
    """

    def __init__(self, evaluator: Evaluator, repeats: int) -> None:
        if not _positive(repeats):
            raise ConfigurationError(f"repeats is a whole number, at least 1, got {repeats!r}")
        self.evaluator = evaluator
        self.repeats = int(repeats)

    @property
    def identity(self) -> str:
        """That of the wrapped evaluator, and how often it is asked."""
        return f"{self.evaluator.identity} repeats={self.repeats}"

    @property
    def capacity(self) -> int:
        """That of the wrapped evaluator."""
        return capacity_of(self.evaluator)

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return one future per candidate, in order; it resolves once all its repeats have.

        Raises:
            StoreError: The wrapped evaluator's store can't be read.
        """
        first = int(repeat) * self.repeats
        asked = [
            self.evaluator.submit(candidates, fidelity=fidelity, repeat=number)
            for number in range(first, first + self.repeats)
        ]
        return [_mean_future(futures, int(repeat)) for futures in zip(*asked, strict=True)]


def trainings_of(evaluator: object) -> int:
    """Return how many trainings one answer of an evaluator is made of: the repeats of all `Repeated` in it, else 1."""
    trainings = 1
    while evaluator is not None:
        trainings *= evaluator.repeats if isinstance(evaluator, Repeated) else 1
        evaluator = getattr(evaluator, "evaluator", None)
    return trainings


def mean_of(evaluations: Sequence[Evaluation], *, repeat: int = 0) -> Evaluation:
    """Return one evaluation in place of several repeats of a candidate at one fidelity.

    Accuracy, loss, proxy, latency and the curve, epoch by epoch, are means, the standard error is that of the mean
    (with one repeat, its own), times and costs are sums, the peak of the memory is the highest. If a repeat failed,
    the answer is the first failure, with the costs of all: a network that fails now and then is none to rely on.

    Args:
        evaluations: At least one, in the order of their repeats.
        repeat: What the answer says of itself.
    """
    first = next((evaluation for evaluation in evaluations if not evaluation.ok), evaluations[0])
    costs: dict[str, Any] = {
        "repeat": repeat,
        "train_seconds": math.fsum(evaluation.train_seconds for evaluation in evaluations),
        "cost_seconds": math.fsum(evaluation.cost_seconds for evaluation in evaluations),
        "peak_memory_mb": max((e.peak_memory_mb for e in evaluations if e.peak_memory_mb is not None), default=None),
    }
    if not first.ok or len(evaluations) == 1:
        return replace(first, **costs)
    means: dict[str, Any] = {
        name: _mean([getattr(evaluation, name) for evaluation in evaluations])
        for name in ("accuracy", "loss", "proxy", "latency_ms", "latency_iqr_ms")
    }
    accuracies = [evaluation.accuracy for evaluation in evaluations if evaluation.accuracy is not None]
    error = standard_error.of_mean(accuracies) if len(accuracies) == len(evaluations) else None
    epochs = zip(*(evaluation.curve for evaluation in evaluations), strict=False)  # as long as the shortest
    curve = tuple(math.fsum(epoch) / len(epoch) for epoch in epochs)
    return replace(first, **costs, **means, standard_error=error, curve=curve)


def _positive(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _mean_future(futures: Sequence[Future[Evaluation]], repeat: int) -> Future[Evaluation]:
    """Return the future of a candidate's mean; whichever repeat resolves last, in whatever thread, resolves it."""
    answer: Future[Evaluation] = Future()
    answer.set_running_or_notify_cancel()  # can't be cancelled: its repeats would be trained all the same
    lock, waiting = threading.Lock(), len(futures)

    def note(_: Future[Evaluation]) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1
            if waiting:
                return
        try:
            answer.set_result(mean_of([future.result() for future in futures], repeat=repeat))
        except BaseException as error:  # the first repeat that could not be stored
            answer.set_exception(error)

    for future in futures:
        future.add_done_callback(note)
    return answer
