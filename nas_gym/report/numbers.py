"""How a report writes numbers: every one the same way wherever it stands."""

import math
from collections.abc import Sequence
from typing import Any

from nas_gym import standard_error
from nas_gym.run import Ranked


def measured(ranked: Ranked) -> str:
    """Return what is known of a network's worth: accuracy ± standard error, or its proxy."""
    if ranked.accuracy is None and ranked.evaluation.proxy is not None:
        return f"proxy {ranked.evaluation.proxy:.6g}"
    return standard_error.shown(ranked.accuracy, ranked.standard_error)


def tested(found: dict[str, Any]) -> str:
    """Return the test accuracy of a result's best network; empty where there is none."""
    if found.get("test_accuracy") is None:
        return ""
    return standard_error.shown(found["test_accuracy"], found.get("test_standard_error"))


def percent(share: float) -> str:
    """Return a share as a percentage, more exactly where it is small."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def factor(nats: float) -> str:
    """Return a difference of log-probabilities as the factor it is."""
    return f"× {math.exp(nats):.2f}"


def duration(seconds: float) -> str:
    """Return seconds for people."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 failure``, ``1,024 failures``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def plain(value: Any) -> str:
    """Return any value from JSON as a cell of a table."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value) or "–"
    return str(value)
