"""How far tracing can be relied on: along the path, and against retraining."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from nas_gym_agents.influence.tracing import Trace

PERMUTATIONS = 1000
FEWEST = 8  # evaluations; rank correlations over fewer say nothing
Array = NDArray[np.float64]


def path_check(trace: Trace) -> dict[str, Any]:
    """Return how the predicted changes of log-probabilities compare with what happened, over decisions and updates.

    ``residual_share`` is the sum of absolute errors over that of the absolute changes; ``by_the_gradient_before`` has
    the same numbers for TracIn's own rule, the gradient before each step alone.
    """
    actual = trace.actual
    return {
        "decisions": actual.shape[0],
        "updates": actual.shape[1],
        **_compared(trace.predicted, actual),
        "by_the_gradient_before": _compared(trace.left, actual),
        "gradient_error": trace.gradient_error,
    }


def _compared(predicted: Array, actual: Array) -> dict[str, Any]:
    moved = actual != 0
    size = float(np.abs(actual).sum())
    varies = moved.sum() > 1 and np.ptp(actual[moved]) > 0 and np.ptp(predicted[moved]) > 0
    return {
        "correlation": float(np.corrcoef(predicted[moved], actual[moved])[0, 1]) if varies else None,
        "residual_share": float(np.abs(predicted - actual).sum()) / size if size else 0.0,
    }


def agreement(predicted: Array, effects: Array, naive: Array, *, seed: int = 0) -> dict[str, Any]:
    """Return how influences on d decisions rank n evaluations, compared with retraining without each.

    Args:
        predicted: Influences, (d, n).
        effects: What retraining without the evaluation took away, (d, n).
        naive: What somebody would guess who has not seen the updates, (d, n).
        seed: Of the permutations.

    Returns:
        ``correlation``: Spearman's over evaluations, the mean over decisions; ``pooled``: over all pairs; ``chance``:
        what the mean reaches in one of 40 random orders of the evaluations (one-sided, 2.5 %); ``naive``: the guess's.
    """
    ours, real = _ranks(predicted), _ranks(effects)
    generator = np.random.default_rng(seed)
    d, n = predicted.shape
    random = [float((ours[:, generator.permutation(n)] * real).sum()) / d for _ in range(PERMUTATIONS)]
    return {
        "decisions": d,
        "evaluations": n,
        "correlation": float((ours * real).sum()) / d,
        "pooled": float((_ranks(predicted.reshape(1, -1)) * _ranks(effects.reshape(1, -1))).sum()),
        "chance": float(np.quantile(random, 0.975)),
        "naive": float((_ranks(naive) * real).sum()) / d,
    }


def _ranks(values: Array) -> Array:
    """Return the ranks in every row, shifted and scaled so that a product of two such rows is their correlation.

    Rows without an order become 0: they are correlated with nothing.
    """
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
    scaled: Array = np.divide(ranks, lengths, out=np.zeros_like(ranks), where=lengths > 0)
    return scaled
