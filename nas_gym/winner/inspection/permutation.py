"""Permutation importance: the accuracy that is lost when a part of the input is shuffled between samples.

Breiman 2001, "Random Forests", Machine Learning 45, section 10; Fisher, Rudin and Dominici 2019 (arXiv 1801.01489,
section 3). What is shuffled keeps its distribution and loses its tie to the class and to the rest of the sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_gym.winner.inspection.subject import Samples, logits, right

REPEATS = 5
_ACROSS = 8  # patches along the longer side of an image, where nobody says how large they are


@dataclass(frozen=True, eq=False)
class PatchImportances:
    """Accuracy lost by patch of an image.

    Attributes:
        size: Side of a patch in pixels; those at the right and the lower edge may be smaller.
        lost: Mean over repeats, float64 (rows, columns).
        standard_error: Of the same over images: of each image's mean over the repeats.
        deviation: Standard deviation over repeats, of a sample; 0 where there is but one.
        accuracy: Of the images as they are.
        images: How many.
        repeats: Shufflings of every patch.
    """

    size: int
    lost: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    deviation: NDArray[np.float64]
    accuracy: float
    images: int
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}


def patch_size(height: int, width: int) -> int:
    """Return the side of a patch: at least 2 pixels, and at most eight patches along the longer side of an image."""
    longer = max(height, width)
    return max(min(2, longer), -(-longer // _ACROSS))


def patch_importances(
    network: nn.Module,
    samples: Samples,
    *,
    size: int,
    repeats: int = REPEATS,
    seed: int = 0,
    measured: Callable[[int, int], None] | None = None,
) -> PatchImportances:
    """Return the accuracy lost when the pixels of a patch, all channels, come from another image.

    Args:
        network: Takes the samples.
        samples: Images, at least two.
        size: Side of a patch in pixels.
        repeats: Shufflings of every patch.
        seed: Of the shufflings: the same for all patches.
        measured: Told how many patches are done, and of how many.
    """
    inputs, n = samples.inputs, len(samples)
    height, width = inputs.shape[2:]
    base = right(network, inputs, samples.targets)
    orders = [np.random.default_rng([seed, repeat]).permutation(n) for repeat in range(repeats)]
    tops, lefts = range(0, height, size), range(0, width, size)
    drops = np.zeros((len(tops), len(lefts), repeats, n))
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            patch = (slice(None), slice(None), slice(top, top + size), slice(left, left + size))
            for repeat, order in enumerate(orders):
                shuffled = inputs.clone()
                shuffled[patch] = inputs[torch.from_numpy(order).to(inputs.device)][patch]
                drops[row, column, repeat] = base.astype(float) - right(network, shuffled, samples.targets)
            if measured is not None:
                measured(row * len(lefts) + column + 1, len(tops) * len(lefts))
    return PatchImportances(
        size=size,
        lost=drops.mean((2, 3)),
        standard_error=drops.mean(2).std(2, ddof=1) / n**0.5,
        deviation=drops.mean(3).std(2, ddof=1) if repeats > 1 else np.zeros(drops.shape[:2]),
        accuracy=float(base.mean()),
        images=n,
        repeats=repeats,
    )


@dataclass(frozen=True, eq=False)
class FeatureImportances:
    """Accuracy lost by feature of a table: scikit-learn's ``permutation_importance``.

    Attributes:
        lost: Mean over repeats, float64 (features,).
        deviation: Standard deviation over repeats, as scikit-learn tells it (its divisor is their number).
        standard_error: ``deviation`` over the root of the number of repeats.
        accuracy: Of the rows as they are.
        rows: How many.
        repeats: Shufflings of every feature.
    """

    lost: NDArray[np.float64]
    deviation: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    accuracy: float
    rows: int
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}


class _Estimator:
    """A network as scikit-learn's inspection takes it.

    Args:
        network: Takes inputs.
        shape: Of one of them.
        device: Where the network is.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
        self.network = network
        self.shape = shape
        self.device = device

    def fit(self, table: Any, targets: Any) -> "_Estimator":
        """Return itself: the network is trained; scikit-learn asks for the method."""
        return self

    def score(self, table: NDArray[Any], targets: NDArray[np.int64]) -> float:
        """Return the accuracy on rows (n, features)."""
        inputs = torch.from_numpy(np.ascontiguousarray(table)).to(self.device).reshape(len(table), *self.shape)
        answers = logits(self.network, inputs).argmax(1).cpu().numpy()
        return float((answers == targets).mean())


def feature_importances(
    network: nn.Module, samples: Samples, *, repeats: int = REPEATS, seed: int = 0
) -> FeatureImportances:
    """Return the accuracy lost when a feature of a table comes from another row.

    Args:
        network: Takes the samples.
        samples: Rows, as vectors or as maps of one pixel.
        repeats: Shufflings of every feature.
        seed: Of the shufflings.
    """
    from sklearn.inspection import permutation_importance

    estimator = _Estimator(network, tuple(samples.inputs.shape[1:]), samples.inputs.device)
    table = samples.inputs.flatten(1).cpu().numpy()
    found = permutation_importance(estimator, table, samples.targets, n_repeats=repeats, random_state=seed, n_jobs=1)
    return FeatureImportances(
        lost=found.importances_mean,
        deviation=found.importances_std,
        standard_error=found.importances_std / repeats**0.5,
        accuracy=estimator.score(table, samples.targets),
        rows=len(table),
        repeats=repeats,
    )
