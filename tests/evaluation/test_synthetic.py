"""Evaluators without training."""

import math

import pytest
from networks import branches, convnet, perceptron

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import ConstantEvaluator, HashEvaluator, PlantedEvaluator, SyntheticEvaluator, evaluate

CANDIDATES = [perceptron(), convnet(), branches()]


def test_constant() -> None:
    answers = evaluate(ConstantEvaluator(0.25), CANDIDATES)
    assert [answer.accuracy for answer in answers] == [0.25] * 3 and [answer.cost_seconds for answer in answers] == [
        1.0
    ] * 3


def test_hash_depends_on_the_key_alone() -> None:
    answers = evaluate(HashEvaluator(), [*CANDIDATES, branches(swapped=True)])
    assert len({answer.accuracy for answer in answers}) == 3 and answers[2] == answers[3]
    assert all(answer.accuracy is not None and 0 <= answer.accuracy < 1 for answer in answers)


def test_planted_is_the_only_best() -> None:
    target = convnet()
    found = evaluate(PlantedEvaluator(target), [target, perceptron(), convnet(width=8), branches()])
    assert found[0].accuracy == 1.0
    assert all(0 <= (answer.accuracy or 0) < 1 for answer in found[1:])


def test_planted_by_hand() -> None:
    # conv, norm, relu | conv, norm, relu | pool | conv, norm, relu | global pool | linear: 12 operations,
    # and the same with dropout before the last one.
    target, other = convnet(), convnet(dropout=0.5)
    (answer,) = evaluate(PlantedEvaluator(target), [other])
    assert answer.accuracy == pytest.approx((2 * 12 / (12 + 13)) ** 2)


def test_sizes_are_those_of_the_canonical_network() -> None:
    one, other = evaluate(ConstantEvaluator(), [branches(), branches(swapped=True)])
    assert one == other and one.parameters > 0


@pytest.mark.parametrize("accuracy", [1.5, -0.1, math.nan])
def test_a_function_out_of_range(accuracy: float) -> None:
    with pytest.raises(ConfigurationError, match="accuracy"):
        SyntheticEvaluator(lambda candidate: accuracy).submit([perceptron()])


def test_identities_differ() -> None:
    evaluators = [ConstantEvaluator(), ConstantEvaluator(0.1), HashEvaluator(), PlantedEvaluator(perceptron())]
    assert len({evaluator.identity for evaluator in evaluators}) == 4
