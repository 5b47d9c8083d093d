"""A Gaussian process over candidates: what reward a network is expected to get, and how uncertain that is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtri
from scipy.stats import rankdata

from nas_gym_agents.network_features import Similarities

Vector = NDArray[np.float64]
LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
NOISES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
STEPS = 5  # of a weight, from 0 to 1
LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The covariance of two candidates: over the parts, the sum of weight · exp((similarity - 1) / length).

    An exponential of a positive definite similarity is positive definite, and so is a sum of them.

    Attributes:
        weights: Of the parts of the features; they sum to 1.
        length: How unlike candidates must be before they say little of each other.
        noise: Variance of the noise on a reward, in units of the signal's.
    """

    weights: tuple[float, ...]
    length: float = 0.4
    noise: float = 0.01

    def __call__(self, similarities: Similarities) -> NDArray[np.float64]:
        """Return the covariances, in units of the signal's variance: the similarities' shape without the parts."""
        total = np.zeros(similarities.shape[1:])
        for weight, part in zip(self.weights, similarities, strict=True):
            if weight:
                total += weight * np.exp((part - 1) / self.length)
        return total

    def others(self) -> Iterator[tuple["Kernel", ...]]:
        """Yield the kernels that differ in one setting: the weights, the length, the noise."""
        yield tuple([replace(self, weights=weights) for weights in simplex(len(self.weights))])
        yield tuple([replace(self, length=length) for length in LENGTHS])
        yield tuple([replace(self, noise=noise) for noise in NOISES])


def simplex(n_parts: int) -> list[tuple[float, ...]]:
    """Return the weights there are to choose from: multiples of 1 / `STEPS` that sum to 1."""
    counts = [c for c in product(range(STEPS + 1), repeat=n_parts) if sum(c) == STEPS]
    return [tuple([c / STEPS for c in one]) for one in counts]


def normal_scores(rewards: Vector) -> Vector:
    """Return rewards by rank, as quantiles of a standard normal; equal ones get the same.

    So the model sees the same whatever scale rewards have, and however badly the worst networks fail.
    """
    scores: Vector = ndtri((rankdata(rewards) - 0.5) / len(rewards))
    return scores


@dataclass(frozen=True)
class Posterior:
    """What is expected of some candidates.

    Attributes:
        mean: Float64 (n,).
        deviation: Standard deviation without the noise, float64 (n,), positive.
        whitened: The covariances with what is known, solved with its Cholesky factor: float64 (known, n).
        scale: The signal's variance.
        noise: The noise, in units of the signal's variance.
    """

    mean: Vector
    deviation: Vector
    whitened: NDArray[np.float64]
    scale: float
    noise: float

    def believed(self, chosen: int, covariances: Vector) -> "Posterior":
        """Return the posterior after the mean of one of the candidates has been observed: means stay as they are.

        So the proposals of a round differ (hallucinated observations; Desautels et al. 2014, arXiv 1206.6402).

        Args:
            chosen: Its place.
            covariances: Of all the candidates with it, in units of the signal's variance, before anything is known.
        """
        variances = self.deviation**2 / self.scale
        row = covariances - self.whitened.T @ self.whitened[:, chosen]
        row /= np.sqrt(variances[chosen] + self.noise)
        deviation = np.sqrt(np.maximum(variances - row**2, LEAST_VARIANCE) * self.scale)
        return replace(self, deviation=deviation, whitened=np.vstack([self.whitened, row]))


class GaussianProcess:
    """Regression with a Gaussian process (Rasmussen and Williams 2006, algorithm 2.1) of constant mean.

    The signal's variance is the likeliest one, in closed form; the kernel is the likeliest that `fitted` finds.

    Args:
        kernel: The covariance.
        similarities: Among the known, float64 (parts, n, n).
        targets: Of the known, float64 (n,).
    """

    def __init__(self, kernel: Kernel, similarities: Similarities, targets: Vector) -> None:
        self.kernel = kernel
        self._mean = float(targets.mean())
        centred = targets - self._mean
        covariance = kernel(similarities)
        covariance[np.diag_indices(len(targets))] += kernel.noise
        self._factor = np.linalg.cholesky(covariance)
        self._white = solve_triangular(self._factor, centred, lower=True, check_finite=False)
        self.scale = max(float(self._white @ self._white) / len(targets), LEAST_VARIANCE)

    @property
    def likelihood(self) -> float:
        """The logarithm of the marginal likelihood at the likeliest variance, without a constant."""
        n = len(self._white)
        return -0.5 * n * float(np.log(self.scale)) - float(np.log(np.diag(self._factor)).sum())

    def posterior(self, similarities: Similarities) -> Posterior:
        """Return what is expected of candidates.

        Args:
            similarities: Of the candidates with the known, float64 (parts, candidates, n).
        """
        covariance = self.kernel(similarities)
        whitened = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = np.maximum(1.0 - (whitened**2).sum(axis=0), LEAST_VARIANCE)
        mean = self._mean + whitened.T @ self._white
        return Posterior(mean, np.sqrt(variance * self.scale), whitened, self.scale, self.kernel.noise)


def fitted(start: Kernel, similarities: Similarities, targets: Vector) -> GaussianProcess:
    """Return the process whose kernel is likeliest: one pass over the settings, each in turn, from a start."""
    best = GaussianProcess(start, similarities, targets)
    for setting in range(len(list(start.others()))):
        for kernel in list(best.kernel.others())[setting]:
            tried = GaussianProcess(kernel, similarities, targets)
            if tried.likelihood > best.likelihood:
                best = tried
    return best
