"""Intervals agree with scipy's and scikit-learn's, and with resampling the images themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score

from nas_gym.errors import ConfigurationError
from nas_gym.winner.intervals import macro_f1_interval, wilson_interval


@given(st.data(), st.integers(1, 5_000), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilsons_interval_is_scipys(data: st.DataObject, n: int, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    found = wilson_interval(k / n, n, confidence)
    wanted = binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert 0 <= found.low <= found.value == k / n <= found.high <= 1


@pytest.mark.parametrize(("share", "n", "confidence"), [(1.1, 5, 0.9), (-0.1, 5, 0.9), (0.5, 0, 0.9), (0.5, 5, 1.0)])
def test_what_is_no_share(share: float, n: int, confidence: float) -> None:
    with pytest.raises(ConfigurationError, match="an interval needs"):
        wilson_interval(share, n, confidence)


def answers(n: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, classes, n)
    wrong = generator.random(n) < 0.2
    return targets, np.where(wrong, generator.integers(0, classes, n), targets)


def test_macro_f1_is_scikit_learns_and_its_interval_that_of_resampled_images() -> None:
    targets, found = answers()
    estimate = macro_f1_interval(confusion_matrix(targets, found))
    assert estimate.value == pytest.approx(f1_score(targets, found, average="macro"))
    generator = np.random.default_rng(1)
    drawn = [generator.integers(0, len(targets), len(targets)) for _ in range(1_000)]
    scores = [f1_score(targets[chosen], found[chosen], average="macro") for chosen in drawn]
    low, high = np.percentile(scores, [2.5, 97.5])
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.006)
    assert estimate == macro_f1_interval(confusion_matrix(targets, found)), "seeded"


def test_a_class_that_never_occurs_counts_as_scikit_learn_counts_it() -> None:
    targets, found = answers(classes=3)
    matrix = confusion_matrix(targets, found, labels=[0, 1, 2, 3])
    wanted = f1_score(targets, found, labels=[0, 1, 2, 3], average="macro", zero_division=0.0)
    assert macro_f1_interval(matrix).value == pytest.approx(wanted)


@pytest.mark.parametrize("matrix", [[[0, 0], [0, 0]], [[1, 2]], [[0.5, 0.5], [0, 1]]])
def test_what_is_no_confusion_matrix(matrix: list[list[float]]) -> None:
    with pytest.raises(ConfigurationError, match="confusion matrix"):
        macro_f1_interval(matrix)
