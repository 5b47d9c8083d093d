"""Whether a network is as often right as it says: calibration of class probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as in Guo et al. 2017


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy. Confidence is the probability of the class that is answered.

    Attributes:
        edges: Of the M bins ((m − 1) / M, m / M] of confidences, M + 1 values from 0 to 1.
        counts: Samples per bin.
        confidences: Mean confidence per bin; NaN where it is empty.
        accuracies: Share of right answers per bin; NaN where it is empty.
        error: Expected calibration error, Σ |B_m| / n · |acc(B_m) − conf(B_m)| (Guo et al. 2017, arXiv 1706.04599,
            equation 3, after Naeini et al. 2015).
        largest_error: Maximum calibration error, max_m |acc(B_m) − conf(B_m)| (their equation 5).
        brier: Mean squared distance between the probabilities and the one-hot classes, in [0, 2] (Brier 1950).
        negative_log_likelihood: Mean of −ln p(class), in nats (their equation 6, over n).
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    confidences: tuple[float, ...]
    accuracies: tuple[float, ...]
    error: float
    largest_error: float
    brier: float
    negative_log_likelihood: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data; None for the means of empty bins."""
        data: dict[str, Any] = dict(vars(self))
        for name in ("confidences", "accuracies"):
            data[name] = [None if np.isnan(value) else value for value in data[name]]
        return data | {"edges": list(self.edges), "counts": list(self.counts)}


def calibration(
    probabilities: NDArray[np.floating[Any]], targets: NDArray[np.integer[Any]], *, bins: int = BINS
) -> Calibration:
    """Return the calibration of class probabilities.

    Args:
        probabilities: Shape (n, classes), rows sum to 1.
        targets: Classes, shape (n,).
        bins: How many, of equal width.
    """
    probabilities = probabilities.astype(np.float64)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, confidence, minlength=bins) / counts
        shares = np.bincount(place, right, minlength=bins) / counts
    gaps = np.abs(shares - means)[counts > 0]
    of_class = probabilities[np.arange(len(targets)), targets]
    one_hot = np.eye(probabilities.shape[1])[targets]
    return Calibration(
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        confidences=tuple(means.tolist()),
        accuracies=tuple(shares.tolist()),
        error=float((gaps * counts[counts > 0]).sum() / len(targets)),
        largest_error=float(gaps.max()),
        brier=float(((probabilities - one_hot) ** 2).sum(1).mean()),
        negative_log_likelihood=float(-np.log(np.maximum(of_class, np.finfo(np.float64).tiny)).mean()),
    )
