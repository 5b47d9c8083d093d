"""Standard errors of accuracies, and how both are written."""

import math
import statistics
from collections.abc import Sequence


def of_share(share: float, n: int) -> float:
    """Return the standard error of a share in [0, 1] that was measured on n samples: sqrt(p (1 - p) / n).

    It says how far the share on these samples may lie from that on all there could be; at a share of exactly 0 or 1 it
    is 0 and says nothing.
    """
    return math.sqrt(share * (1 - share) / n)


def of_mean(values: Sequence[float]) -> float:
    """Return the standard error of the mean of two or more values: their standard deviation over sqrt(n).

    The standard deviation is that of a sample (its divisor is n - 1), so that two or three values tell it roughly.
    """
    return statistics.stdev(values) / math.sqrt(len(values))


def shown(value: float | None, error: float | None = None) -> str:
    """Return an accuracy as text, with its standard error where it is known: ``"0.9861 ± 0.0062"``."""
    if value is None:
        return "none"
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"
