"""How long and how wide: a schedule from a time budget, and the speed of a training that it is made from."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

MOST_EPOCHS = 200  # more of them improve small networks little (He et al. 2016, arXiv 1512.03385, section 4.2: 164)
WORTH_WIDENING = 12  # epochs that a wider network must still get
FEWEST_IMAGES = 400_000  # and images, where an epoch has few
SHARE = 0.93  # of a time budget that is planned; the rest is for testing, drawing and a machine that gets busier


@dataclass(frozen=True)
class Schedule:
    """What was chosen.

    Attributes:
        epochs: Of one training.
        width: Of the network, as a factor.
        seconds_per_epoch: As measured by a warm-up; None: nothing was measured, since the epochs were given.
    """

    epochs: int
    width: float
    seconds_per_epoch: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the schedule as JSON-ready data."""
        return asdict(self)


def choose(
    *,
    seconds: float | None,
    epochs: int | None,
    widths: Sequence[float],
    n_images: int,
    macs: Callable[[float], int],
    measure: Callable[[float], float],
) -> Schedule:
    """Return the schedule of one training.

    Given epochs and one width, that is it. In a given time the widest network is trained that still gets
    12 epochs and 400,000 images in them (or the given epochs), for as many epochs as fit, at most 200.

    Args:
        seconds: Time of one training; None: no limit, then epochs must be given.
        epochs: Passes over the images; None: as many as fit.
        widths: Those to choose from, ascending.
        n_images: Training images.
        macs: From a width to the multiply-accumulates of the network.
        measure: From a width to the seconds of an epoch on this machine; called a few times at most.
    """
    if seconds is None:
        assert epochs is not None, "the caller sees to it"
        return Schedule(epochs, widths[0], None)
    least = epochs if epochs is not None else max(WORTH_WIDENING, -(-FEWEST_IMAGES // n_images))
    width, each = _widest(seconds * SHARE / min(least, MOST_EPOCHS), widths, macs, measure)
    fitting = max(1, min(MOST_EPOCHS, int(seconds * SHARE / each)))
    return Schedule(epochs if epochs is not None else fitting, width, each)


def _widest(
    most: float, widths: Sequence[float], macs: Callable[[float], int], measure: Callable[[float], float]
) -> tuple[float, float]:
    """Return the widest network of which an epoch takes at most so many seconds, else the narrowest, and its seconds.

    Speed in MACs a second differs little between neighbouring widths: what was measured says where to measure next.
    """
    known = {widths[0]: measure(widths[0])}

    def expected(width: float) -> float:
        nearest = min(known, key=lambda other: (abs(other - width), other))
        return known[nearest] * macs(width) / macs(nearest)

    while True:
        chosen = max((width for width in widths if expected(width) <= most), default=widths[0])
        if chosen in known:
            return chosen, known[chosen]
        known[chosen] = measure(chosen)


def timed(
    run: Callable[[Callable[[int, int], None]], object], *, first: int = 2, seconds: float = 4.0, least: int = 6
) -> float:
    """Return the median seconds of a step of a training, without its first steps.

    The median, since a stall of the machine says nothing of the hours to come: threads that wait for each other make
    of a moment's other work many times the time of a step.

    Args:
        run: Trains and calls what it is given after every step with the steps done and those of the whole training.
        first: Steps that do not count: memory and caches are cold.
        seconds: After so many the training is broken off.
        least: Steps that count, however long they take, if the training has them.
    """
    times: list[float] = []

    def stepped(done: int, total: int) -> None:
        times.append(time.perf_counter())
        counted = len(times) - first
        if counted >= least and times[-1] - times[first] > seconds:
            raise _Enough

    started = time.perf_counter()
    with suppress(_Enough):
        run(stepped)
    times = [started, *times]
    counted = times[min(first, len(times) - 2) :]
    return median(later - earlier for earlier, later in pairwise(counted))


class _Enough(Exception):  # noqa: N818 - no error
    pass
