"""The conformance suites pass on our own evaluators and stores, and fail on ones that break the contract."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.data import load_dataset
from nas_gym.evaluation import (
    ConstantEvaluator,
    Evaluation,
    Fidelity,
    HashEvaluator,
    PlantedEvaluator,
    Recipe,
    StoredEvaluator,
    resolved,
)
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.store import ResultStore
from nas_gym.testing_evaluators import check_evaluator, check_store


def network(*units: int) -> Candidate:
    operations = [Operation("flatten", (), (-1,))]
    for n in (*units, 10):
        operations.append(Operation("linear", (("units", n),), (len(operations) - 1,)))
    return Candidate(Architecture((1, 8, 8), tuple(operations)))


CANDIDATES = [network(), network(8), network(8, 8)]


@pytest.mark.parametrize("make", [ConstantEvaluator, HashEvaluator, lambda: PlantedEvaluator(network(8))])
def test_synthetic_evaluators(make: Callable[[], Any]) -> None:
    check_evaluator(make, CANDIDATES)


def test_training_evaluator() -> None:
    data = load_dataset("digits")
    failing = Candidate(network(8).architecture, (("batch_size", 1),))
    check_evaluator(
        lambda: TrainingEvaluator(data, Recipe(flip=True), device="cpu"),
        [*CANDIDATES, failing],
        fidelity=Fidelity(epochs=1),
    )


def test_stored_evaluator() -> None:
    stores: list[ResultStore] = []

    def make() -> StoredEvaluator:
        stores.append(ResultStore())
        return StoredEvaluator(HashEvaluator(), stores[-1], namespace="space")

    check_evaluator(make, CANDIDATES)
    for store in stores:
        store.close()


def test_result_store(tmp_path: Path) -> None:
    stores: list[ResultStore] = []

    def opened(place: Path | None) -> ResultStore:
        stores.append(ResultStore(place))
        return stores[-1]

    check_store(lambda: opened(None))
    check_store(lambda: opened(tmp_path / "a"), reopen=lambda: opened(tmp_path / "a"))
    for store in stores:
        store.close()


class Bad:
    """An evaluator with one thing wrong."""

    count = 0

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong
        Bad.count += 1
        self.identity = {"no identity": "", "identity changes": f"bad {Bad.count}"}.get(wrong, "bad")
        self.asked = 0

    def submit(self, candidates: Any, *, fidelity: Any = None, repeat: int = 0) -> list[Future[Evaluation]]:
        answers = [self._answer(candidate, fidelity, repeat) for candidate in candidates]
        if self.wrong == "order":
            answers.reverse()
        if self.wrong == "one missing" and answers:
            answers.pop()
        return [resolved(answer) for answer in answers]

    def _answer(self, candidate: Candidate, fidelity: Any, repeat: int) -> Evaluation:
        self.asked += 1
        size = len(candidate.architecture.operations) if self.wrong == "as written" else len(candidate.key)
        good = Evaluation(
            key=candidate.key, fidelity=str(fidelity or Fidelity()), repeat=repeat, accuracy=0.5, loss=float(size)
        )
        changes: dict[str, Any] = {
            "memory": {"loss": float(self.asked)},
            "which object": {"loss": float(id(self))},
            "repeat forgotten": {"repeat": 0},
            "fidelity forgotten": {"fidelity": "full"},
            "no reason": {"status": "diverged", "accuracy": None},
            "a reason for nothing": {"reason": "well"},
            "loss": {"loss": float("nan")},
            "cost": {"cost_seconds": -1.0},
            "no JSON": {"device": ("cpu",)},
        }
        if self.wrong == "torch's generator":
            torch.rand(1)
        if self.wrong == "Python's generator":
            random.random()
        return replace(good, **changes.get(self.wrong, {}))


WRONG = [
    *("no identity", "identity changes", "order", "one missing", "as written", "memory", "which object"),
    *("repeat forgotten", "fidelity forgotten", "no reason", "a reason for nothing", "loss", "cost", "no JSON"),
    *("torch's generator", "Python's generator"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_broken_evaluators_are_found(wrong: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_evaluator(lambda: Bad(wrong), CANDIDATES, fidelity=Fidelity(epochs=1))
    assert str(caught.value) and "\n" not in str(caught.value)


def test_a_good_one_is_not() -> None:
    check_evaluator(lambda: Bad("nothing"), CANDIDATES, fidelity=Fidelity(epochs=1))
    with pytest.raises(AssertionError, match="two candidates"):
        check_evaluator(ConstantEvaluator, [CANDIDATES[0], CANDIDATES[0]])


class BadStore:
    """A store in a dictionary with one thing wrong."""

    def __init__(self, wrong: str, rows: dict[Any, Any] | None = None) -> None:
        self.wrong = wrong
        self.rows: dict[Any, Any] = {} if rows is None else rows

    def _question(self, *question: Any) -> tuple[Any, ...]:
        dropped = {"namespace": 0, "key": 1, "fidelity": 2, "repeat": 3}.get(self.wrong)
        return tuple(part for place, part in enumerate(question) if place != dropped)

    def get(self, *question: Any) -> Evaluation | None:
        found = self.rows.get(self._question(*question))
        return None if found is None else found[2]

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        question = self._question(namespace, evaluation.key, evaluation.fidelity, evaluation.repeat)
        if self.wrong == "keeps the first" and question in self.rows:
            return
        if self.wrong == "threads" and threading.current_thread() is not threading.main_thread() and len(self) % 5 == 0:
            return
        if self.wrong != "order":
            self.rows.pop(question, None)
        if self.wrong == "rounds":
            evaluation = replace(evaluation, curve=tuple(round(value, 6) for value in evaluation.curve))
        self.rows[question] = namespace, candidate, evaluation

    def __iter__(self) -> Iterator[tuple[str, Candidate, Evaluation]]:
        return iter(self.rows.values() if self.wrong == "no snapshot" else list(self.rows.values()))

    def __len__(self) -> int:
        return len(self.rows) + (self.wrong == "length")


@pytest.mark.parametrize(
    "wrong",
    ["namespace", "key", "fidelity", "repeat", "keeps the first", "order", "rounds", "length", "not shared", "threads"],
)
def test_broken_stores_are_found(wrong: str) -> None:
    rows: dict[Any, Any] = {}
    with pytest.raises(AssertionError):
        check_store(lambda: BadStore(wrong, rows), reopen=lambda: BadStore(wrong, dict(rows)))


def test_a_good_store_is_not() -> None:
    rows: dict[Any, Any] = {}
    check_store(lambda: BadStore("nothing", rows), reopen=lambda: BadStore("nothing", rows))
