"""Intervals of what is measured on test images: how far it may be from the same on all images of their kind."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.statistics import CONFIDENCE, RESAMPLES, Estimate


def wilson_interval(share: float, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a share of n independent images with Wilson's score interval.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of the American
    Statistical Association 22, pages 209–212; as equation (4) of Brown, Cai and DasGupta 2001, "Interval Estimation for
    a Binomial Proportion", Statistical Science 16, which recommends it. Unlike p ± z standard errors it says something
    at shares of 0 and 1 and stays within them.

    Args:
        share: In [0, 1].
        n: Images it was measured on, at least 1.
        confidence: Of the interval, in (0, 1).

    Raises:
        ConfigurationError: A number is out of its range.
    """
    from scipy.stats import norm

    if not 0 <= share <= 1 or n < 1 or not 0 < confidence < 1:
        raise ConfigurationError(
            f"an interval needs a share in [0, 1], at least one image and a confidence in (0, 1), "
            f"got {share}, {n} and {confidence}"
        )
    z2 = float(norm.ppf((1 + confidence) / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def macro_f1_interval(
    confusion: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the macro-F1 of a confusion matrix with its percentile bootstrap interval over the images.

    Drawing n of n images with replacement changes the matrix to one of the multinomial distribution over its cells,
    so that the images themselves are not needed (Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    section 13.3: the percentile interval).

    Args:
        confusion: Whole numbers, (classes, classes): rows are the true classes, columns the answers.
        seed: Of the resampling.
        resamples: How many.
        confidence: Of the interval, in (0, 1).

    Raises:
        ConfigurationError: It is no confusion matrix.
    """
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or len(set(matrix.shape)) != 1 or matrix.dtype.kind not in "iu" or matrix.sum() < 1:
        raise ConfigurationError(f"a confusion matrix is square and holds whole numbers, got {matrix.shape}")
    n = int(matrix.sum())
    drawn = np.random.default_rng(seed).multinomial(n, matrix.ravel() / n, resamples).reshape(-1, *matrix.shape)
    tails = (50 * (1 - confidence), 50 * (1 + confidence))
    low, high = np.percentile(_macro_f1(drawn), tails)
    return Estimate(float(_macro_f1(matrix[None])[0]), float(low), float(high))


def _macro_f1(matrices: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN), 0 where a class neither occurs nor is answered."""
    true = np.diagonal(matrices, axis1=1, axis2=2)
    both = matrices.sum(1) + matrices.sum(2)
    scores = np.divide(2.0 * true, both, out=np.zeros(true.shape), where=both > 0)
    means: NDArray[np.float64] = scores.mean(1)
    return means
