"""Test reports against scikit-learn on the same predictions, calibration against closed forms, mirroring by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import classification_report, confusion_matrix, f1_score, log_loss
from torch import nn

from nas_gym.evaluation import Recipe
from nas_gym.evaluation.loop import Tensors
from nas_gym.winner.calibration import calibration
from nas_gym.winner.evaluation import Predictions, evaluation_report, predict, spread
from nas_gym.winner.long_recipe import LongRecipe

NAMES = ("cat", "dog", "eel", "fox")


def drawn(n: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = np.where(generator.random(n) < 0.5, logits.argmax(1), generator.integers(0, classes, n))
    return probabilities, targets


def test_the_report_is_that_of_scikit_learn_on_the_same_answers() -> None:
    answered, targets = drawn(500, 0)
    plain, _ = drawn(500, 1)
    report = evaluation_report(Predictions(plain, answered, targets), NAMES)
    answers = answered.argmax(1)
    assert report["classification_report"] == classification_report(
        targets, answers, target_names=NAMES, output_dict=True
    )
    assert report["classification_text"] == classification_report(targets, answers, target_names=NAMES, digits=4)
    assert report["confusion_matrix"] == confusion_matrix(targets, answers).tolist()
    assert report["macro_f1"] == pytest.approx(f1_score(targets, answers, average="macro"))
    assert report["plain_macro_f1"] == pytest.approx(f1_score(targets, plain.argmax(1), average="macro"))
    assert report["test_accuracy"] == np.trace(confusion_matrix(targets, answers)) / 500
    assert report["test_standard_error"] == pytest.approx(
        math.sqrt(report["test_accuracy"] * (1 - report["test_accuracy"]) / 500)
    )
    assert report["negative_log_likelihood"] == pytest.approx(log_loss(targets, answered))


def test_a_class_that_never_occurs_has_a_row_and_no_warning() -> None:
    probabilities = np.eye(4)[[0, 1, 1]]
    report = evaluation_report(Predictions(probabilities, probabilities, np.array([0, 1, 0])), NAMES)
    assert report["classification_report"]["fox"]["support"] == 0
    assert np.array(report["confusion_matrix"]).shape == (4, 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400), st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 20))
def test_bins_are_those_of_scikit_learn(n: int, seed: int, classes: int, bins: int) -> None:
    probabilities, targets = drawn(n, seed, classes)
    found = calibration(probabilities, targets, bins=bins)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    shares, means = calibration_curve(right, confidence, n_bins=bins)
    filled = np.array(found.counts) > 0
    np.testing.assert_allclose(np.array(found.accuracies)[filled], shares)
    np.testing.assert_allclose(np.array(found.confidences)[filled], means)
    assert sum(found.counts) == n
    counts = np.array(found.counts)[filled]
    assert found.error == pytest.approx(float((counts * np.abs(shares - means)).sum() / n), abs=1e-12)
    assert found.largest_error == pytest.approx(float(np.abs(shares - means).max()), abs=1e-12)
    assert found.error <= found.largest_error + 1e-12


@pytest.mark.parametrize(("confidence", "right"), [(0.9, 10), (0.9, 9), (0.6, 0), (1.0, 5)])
def test_the_error_of_one_confidence_is_its_distance_to_the_accuracy(confidence: float, right: int) -> None:
    probabilities = np.tile([confidence, 1 - confidence], (10, 1))
    targets = np.array([0] * right + [1] * (10 - right))
    found = calibration(probabilities, targets)
    assert found.error == found.largest_error == pytest.approx(abs(right / 10 - confidence))
    share = right / 10
    assert found.brier == pytest.approx(2 * (share * (1 - confidence) ** 2 + (1 - share) * confidence**2))


def test_two_bins_are_weighted_by_their_samples() -> None:
    probabilities = np.array([[0.95, 0.05]] * 6 + [[0.55, 0.45]] * 4)
    targets = np.array([0] * 6 + [1] * 4)
    found = calibration(probabilities, targets)
    assert found.error == pytest.approx(0.6 * 0.05 + 0.4 * 0.55)
    assert found.largest_error == pytest.approx(0.55)


def test_an_impossible_class_costs_a_finite_number() -> None:
    found = calibration(np.array([[1.0, 0.0]]), np.array([1]))
    assert found.brier == 2.0 and math.isfinite(found.negative_log_likelihood)


class Left(nn.Module):
    """A network that answers by the mean brightness of the left half against the right one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[3] // 2
        left, right = images[..., :half].mean((1, 2, 3)), images[..., half:].mean((1, 2, 3))
        return torch.stack([3 * left, right], dim=1)


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_images_count_half_where_they_count(flip: bool) -> None:
    images = torch.randn(70, 6, 8, 3, generator=torch.Generator().manual_seed(0))
    test = Tensors(images, torch.zeros(70, dtype=torch.int64))
    recipe = LongRecipe(recipe=Recipe().settled((3, 6, 8), "cpu"), average_decay=0, flip_at_test=flip)
    found = predict(Left(), test, recipe)
    by_hand = images.permute(0, 3, 1, 2)
    straight = Left()(by_hand).double().softmax(1)
    mirrored = Left()(by_hand.flip(3)).double().softmax(1)
    torch.testing.assert_close(torch.from_numpy(found.plain), straight)
    expected = (straight + mirrored) / 2 if flip else straight
    torch.testing.assert_close(torch.from_numpy(found.answered), expected)
    assert not torch.allclose(straight, mirrored)


def test_the_spread_over_seeds_is_that_of_a_sample() -> None:
    found = spread([{"a": 0.9}, {"a": 0.8}, {"a": 0.85}], ["a"])
    assert found["a"] == {"mean": pytest.approx(0.85), "sd": pytest.approx(0.05), "n": 3}
    assert spread([{"a": 0.9}], ["a"])["a"]["sd"] is None


class WithoutFloat64(torch.Tensor):
    """A tensor like those on MPS."""

    def double(self) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_a_device_without_float64_is_tested_on(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("nas_gym.winner.evaluation.outputs", lambda *_, **__: logits.as_subclass(WithoutFloat64))
    recipe = LongRecipe(recipe=Recipe().settled((1, 2, 2), "cpu"), average_decay=0.0, flip_at_test=True)
    found = predict(nn.Identity(), Tensors(torch.zeros(5, 2, 2, 1), torch.zeros(5, dtype=torch.int64)), recipe)
    np.testing.assert_allclose(found.answered, logits.double().softmax(1).numpy())
