"""What a trained winner does on the test images, in the words of scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_gym import standard_error
from nas_gym.evaluation.loop import Tensors, outputs
from nas_gym.evaluation.process import TURN, prepared
from nas_gym.winner.calibration import calibration
from nas_gym.winner.long_recipe import LongRecipe


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities for every test image.

    Attributes:
        plain: Of the network on the images as they are, float64 (n, classes).
        answered: What counts: the mean of these and of those for the mirrored images, where the recipe says so
            (Simonyan and Zisserman 2015, arXiv 1409.1556, section 3.2), else the same.
        targets: Classes, int64 (n,).
    """

    plain: NDArray[np.float64]
    answered: NDArray[np.float64]
    targets: NDArray[np.int64]


def predict(module: nn.Module, test: Tensors, recipe: LongRecipe) -> Predictions:
    """Return the predictions of a trained module for test images."""
    how = recipe.recipe
    with TURN, prepared(0, how.threads or 1, tf32=how.tf32):
        plain = outputs(module, test.inputs, how).cpu().double().softmax(1)  # MPS has no float64
        answered = plain
        if recipe.flip_at_test and test.inputs.dim() == 4:
            mirrored = outputs(module, test.inputs, how, mirrored=True).cpu().double().softmax(1)
            answered = (plain + mirrored) / 2
    return Predictions(_array(plain), _array(answered), test.targets.cpu().numpy())


def evaluation_report(predictions: Predictions, class_names: Sequence[str]) -> dict[str, Any]:
    """Return what predictions are worth, JSON-ready: numbers, scikit-learn's classification report, confusion matrix.

    Rows of the confusion matrix are the true classes, columns the answers. ``plain_accuracy`` and ``plain_macro_f1``
    are those of the network alone, without the mirrored images.
    """
    from sklearn.metrics import classification_report, confusion_matrix

    labels, targets = list(range(len(class_names))), predictions.targets
    answers, plain = predictions.answered.argmax(1), predictions.plain.argmax(1)
    options = {"labels": labels, "target_names": list(class_names), "zero_division": 0.0}
    report = classification_report(targets, answers, output_dict=True, **options)
    alone = classification_report(targets, plain, output_dict=True, **options)
    accuracy = float((answers == targets).mean())
    calibrated = calibration(predictions.answered, targets)
    return {
        "test_images": len(targets),
        "test_accuracy": accuracy,
        "test_standard_error": standard_error.of_share(accuracy, len(targets)),
        "macro_f1": float(report["macro avg"]["f1-score"]),
        "plain_accuracy": float((plain == targets).mean()),
        "plain_macro_f1": float(alone["macro avg"]["f1-score"]),
        "calibration_error": calibrated.error,
        "brier": calibrated.brier,
        "negative_log_likelihood": calibrated.negative_log_likelihood,
        "classification_report": report,
        "classification_text": classification_report(targets, answers, digits=4, **options),
        "confusion_matrix": confusion_matrix(targets, answers, labels=labels).tolist(),
        "calibration": calibrated.to_json(),
    }


def spread(reports: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Return mean and standard deviation (of a sample; None of a single one) of numbers over several seeds."""
    found: dict[str, dict[str, float | int | None]] = {}
    for name in names:
        values = np.array([report[name] for report in reports], dtype=np.float64)
        deviation = float(values.std(ddof=1)) if len(values) > 1 else None
        found[name] = {"mean": float(values.mean()), "sd": deviation, "n": len(values)}
    return found


def _array(probabilities: torch.Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = probabilities.numpy()
    return array
