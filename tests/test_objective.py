"""Objectives: from evaluations to rewards."""

import math

import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation
from nas_gym.objective import Accuracy, accuracy

FAILED = Evaluation(key="k", status="diverged", reason="it did")


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
