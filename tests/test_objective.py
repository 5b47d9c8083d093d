"""Objectives: from evaluations to rewards."""

import math
from typing import Any

import numpy as np
import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation
from nas_gym.objective import (
    COSTS,
    Accuracy,
    Objective,
    Proxy,
    SoftLimit,
    Vector,
    VectorObjective,
    Weighted,
    accuracy,
    named_objective,
    soft_latency,
    soft_macs,
    soft_memory,
    soft_parameters,
    vector,
)

FAILED = Evaluation(key="k", status="diverged", reason="it did", parameters=10, macs=20)
SCORED = Evaluation(key="k", proxy=-3.5)
SOFT = {
    "latency_ms": soft_latency,
    "parameters": soft_parameters,
    "macs": soft_macs,
    "peak_memory_mb": soft_memory,
}


def evaluation(accuracy: float = 0.75, **costs: Any) -> Evaluation:
    return Evaluation(key="k", accuracy=accuracy, **costs)


def test_accuracy_or_floor() -> None:
    assert accuracy()(Evaluation(key="k", accuracy=0.75)) == 0.75
    assert accuracy()(Evaluation(key="k", accuracy=0.0)) == 0.0
    assert accuracy()(FAILED) == 0.0 and accuracy(-2.0)(FAILED) == -2.0
    assert accuracy(0.5)(Evaluation(key="k", accuracy=0.25)) == 0.25  # the floor is for failures alone
    assert accuracy() == Accuracy() and accuracy(0.1).floor == 0.1


@pytest.mark.parametrize("floor", [math.nan, math.inf, -math.inf, 1.5, -1e12])
def test_a_floor_out_of_range(floor: float) -> None:
    with pytest.raises(ConfigurationError, match="floor"):
        accuracy(floor)


def test_an_accuracy_that_a_proxy_stands_in_for_is_not_a_failure() -> None:
    for objective in (accuracy(), soft_macs(5), vector(("accuracy", "macs"))):
        with pytest.raises(ConfigurationError, match="proxy:FLOOR"):
            objective(SCORED)


@pytest.mark.parametrize("cost", list(COSTS))
def test_a_soft_limit_leaves_the_accuracy_at_its_target_and_falls_with_the_cost(cost: str) -> None:
    objective = SOFT[cost](100.0)
    assert objective == SoftLimit(cost, 100.0)
    assert objective(evaluation(**{cost: 100})) == 0.75
    assert objective(evaluation(**{cost: 50})) == pytest.approx(0.75 * 2**0.07)  # five per cent more
    assert objective(evaluation(**{cost: 200})) == pytest.approx(0.75 / 2**0.07)
    assert objective(FAILED) == 0.0 and SOFT[cost](1, floor=-1.0)(FAILED) == -1.0


def test_the_hard_limit_is_the_accuracy_within_and_falls_fast_beyond() -> None:
    objective = soft_macs(100, alpha=0, beta=-1)
    assert [objective(evaluation(macs=macs)) for macs in (1, 100, 200)] == pytest.approx([0.75, 0.75, 0.375])


def test_a_cost_of_nothing_has_a_finite_reward() -> None:
    assert math.isfinite(soft_parameters(10)(evaluation(parameters=0)))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("watts", 1.0), "watts"),
        (("macs", 0.0), "target"),
        (("macs", math.inf), "target"),
        (("macs", "5"), "target"),
        (("macs", True), "target"),
        (("macs", 1.0, 0.1), "alpha"),
        (("macs", 1.0, 0.0, math.nan), "beta"),
        (("macs", 1.0, 0.0, 0.0, 2.0), "floor"),
    ],
)
def test_a_soft_limit_out_of_range(arguments: tuple[Any, ...], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        SoftLimit(*arguments)


@pytest.mark.parametrize("objective", [soft_latency(1.0), Vector(("accuracy", "latency_ms"))])
def test_a_latency_that_was_not_measured_is_asked_for(objective: Any) -> None:
    with pytest.raises(ConfigurationError, match="latency=True"):
        objective(evaluation())


def test_a_proxy_or_its_floor() -> None:
    assert Proxy(-100)(SCORED) == -3.5
    assert Proxy(-100)(FAILED) == -100
    with pytest.raises(ConfigurationError, match="ProxyEvaluator"):
        Proxy(0)(evaluation())
    for floor in (math.inf, math.nan, None):
        with pytest.raises(ConfigurationError, match="finite"):
            Proxy(floor)  # type: ignore[arg-type]


def test_a_vector_counts_costs_negated_and_in_units() -> None:
    objective = Vector(("macs", "accuracy", "latency_ms", "parameters"), units={"latency_ms": 10})
    rewards = objective(evaluation(macs=2_500_000, parameters=40_000, latency_ms=5.0))
    assert rewards.dtype == np.float64
    assert rewards.tolist() == [-2.5, 0.75, -0.5, -0.04]
    assert objective.reward_dim == 4
    assert objective(FAILED).tolist() == [-10, 0, -10, -10] == list(objective.floor)
    assert all(np.array(objective.low) <= rewards) and all(rewards <= np.array(objective.high))
    assert Vector(("accuracy", "macs"), floor=(-1, -2))(FAILED).tolist() == [-1, -2]


@pytest.mark.parametrize(
    ("names", "settings", "word"),
    [
        (("accuracy",), {}, "two or more"),
        (("accuracy", "accuracy"), {}, "two or more"),
        (("accuracy", "watts"), {}, "watts"),
        (("accuracy", "macs"), {"units": {"macs": 0}}, "units"),
        (("accuracy", "macs"), {"units": {"parameters": 1}}, "units"),
        (("accuracy", "macs"), {"units": {"accuracy": 2}}, "units"),
        (("accuracy", "macs"), {"floor": (1.0,)}, "floor"),
        (("accuracy", "macs"), {"floor": (1.0, -math.inf)}, "floor"),
        (("accuracy", "macs"), {"weights": (1.0,)}, "weights"),
        (("accuracy", "macs"), {"weights": (0, 0)}, "weights"),
        (("accuracy", "macs"), {"weights": (1, -1)}, "weights"),
        (("accuracy", "macs"), {"weights": (1, math.nan)}, "weights"),
    ],
)
def test_a_vector_out_of_range(names: tuple[str, ...], settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        vector(names, **settings)


def test_weights_make_one_number_of_a_vector() -> None:
    objective = vector(("accuracy", "macs"), weights=(2, 0.1))
    assert objective == Weighted(Vector(("accuracy", "macs")), (2, 0.1))
    assert objective(evaluation(macs=1_000_000)) == pytest.approx(2 * 0.75 - 0.1)
    assert objective(FAILED) == objective.floor == pytest.approx(-1.0)
    assert not isinstance(objective, VectorObjective)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("accuracy", Accuracy()),
        ("soft-latency:5", soft_latency(5)),
        ("soft-parameters:50000", soft_parameters(50_000)),
        ("soft-macs:1e6:0:-1", soft_macs(1e6, alpha=0, beta=-1)),
        ("soft-memory:300", soft_memory(300)),
        ("proxy:-50", Proxy(-50)),
        ("vector:accuracy:macs", Vector(("accuracy", "macs"))),
        ("weighted:accuracy=1:latency_ms=0.05", vector(("accuracy", "latency_ms"), weights=(1, 0.05))),
    ],
)
def test_objectives_by_name(text: str, meant: Objective | VectorObjective) -> None:
    assert named_objective(text) == meant


@pytest.mark.parametrize(
    "text", ["", "x", "accuracy:1", "soft-macs", "soft-macs:many", "soft-macs:1:0", "proxy", "weighted:accuracy:macs"]
)
def test_a_text_that_names_no_objective_is_answered_with_the_forms(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"soft-latency:MS.*weighted:NAME=WEIGHT"):
        named_objective(text)


def test_numbers_of_a_named_objective_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="target"):
        named_objective("soft-macs:-1")
