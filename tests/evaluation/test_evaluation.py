"""Evaluations and fidelities as values."""

import json
import math
from typing import Any

import numpy as np
import pytest
from networks import branches, perceptron

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import FULL, STATUSES, ConstantEvaluator, Evaluation, Fidelity, evaluate, resolved
from nas_gym.evaluation.evaluation import DETERMINISTIC, trained_architecture

GOOD = Evaluation(key="k", accuracy=0.5, loss=1.0, curve=(0.25, 0.5), parameters=3, macs=4, train_seconds=2.0)


def test_fidelity_text() -> None:
    assert str(FULL) == "full" and str(Fidelity(epochs=3)) == "epochs=3"
    assert str(Fidelity(epochs=np.int64(3))) == "epochs=3"
    assert Fidelity() == FULL


@pytest.mark.parametrize("epochs", [0, -1, 1.5, math.nan, "3"])
def test_fidelity_refuses(epochs: Any) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        Fidelity(epochs=epochs)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "lost"},
        {"accuracy": None},
        {"status": "diverged"},
        {"accuracy": 1.5},
        {"accuracy": -0.1},
        {"accuracy": math.nan},
        {"accuracy": math.inf},
    ],
)
def test_impossible_evaluations(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Evaluation(**{"key": "k", "accuracy": 0.5} | change)


@pytest.mark.parametrize("status", STATUSES)
def test_json_round_trip(status: Any) -> None:
    evaluation = Evaluation(
        key="k",
        status=status,
        reason="" if status == "ok" else "café ✗",
        accuracy=1 / 3 if status == "ok" else None,
        curve=(0.1, 1 / 3) if status == "ok" else (),
        fidelity="epochs=2",
        repeat=2,
        peak_memory_mb=1.5,
    )
    data = json.loads(json.dumps(evaluation.to_json()))
    assert Evaluation.from_json(data) == evaluation
    assert Evaluation.from_json(data | {"of_a_later_version": 1}) == evaluation
    assert evaluation.ok == (status == "ok")


def test_deterministic_fields_are_fresh_and_without_clocks() -> None:
    fields = GOOD.deterministic()
    assert set(fields) == set(DETERMINISTIC)
    assert not {"train_seconds", "cost_seconds", "latency_ms", "device", "versions", "peak_memory_mb"} & set(fields)
    fields["accuracy"] = 0.0
    assert GOOD.deterministic()["accuracy"] == 0.5


def test_evaluate_waits_and_keeps_the_order() -> None:
    candidates = [perceptron(units) for units in (3, 1, 2)]
    answers = evaluate(ConstantEvaluator(), candidates, fidelity=Fidelity(epochs=1), repeat=4)
    assert [answer.key for answer in answers] == [candidate.key for candidate in candidates]
    assert {(answer.fidelity, answer.repeat) for answer in answers} == {("epochs=1", 4)}
    assert evaluate(ConstantEvaluator(), []) == []
    assert resolved(GOOD).done() and resolved(GOOD).result() is GOOD


def test_equal_keys_have_equal_sizes() -> None:
    one, other = branches(), branches(swapped=True)
    assert one.key == other.key and one.architecture.parameters != other.architecture.parameters
    first, second = trained_architecture(one), trained_architecture(other)
    assert (first.parameters, first.macs) == (second.parameters, second.macs)
    assert trained_architecture(one) is one.architecture  # nothing to simplify, nothing to pay
