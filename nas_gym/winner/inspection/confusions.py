"""Which classes a network takes for which, with the images where it is surest of a wrong answer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Example:
    """An image that was answered wrongly.

    Attributes:
        position: Among the samples.
        probability: That the network gives its answer, in [0, 1].
    """

    position: int
    probability: float


@dataclass(frozen=True)
class Confusion:
    """A class that is taken for another one.

    Attributes:
        true: Number of the class.
        answered: Of the class it is taken for.
        count: Samples.
        share: Of the samples of the true class, in [0, 1].
        examples: Those of which the network is surest, first.
    """

    true: int
    answered: int
    count: int
    share: float
    examples: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return asdict(self)


def confusions(
    probabilities: NDArray[np.floating[Any]], targets: NDArray[np.int64], *, pairs: int = 6, examples: int = 4
) -> list[Confusion]:
    """Return the pairs of classes that are confused most often, in one direction each.

    Args:
        probabilities: Of the classes, (n, classes).
        targets: Classes, (n,).
        pairs: How many, at most.
        examples: Of each, at most.
    """
    answers = probabilities.argmax(1)
    counts = np.zeros((probabilities.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (targets, answers), 1)
    totals = counts.sum(1)
    np.fill_diagonal(counts, 0)
    order = sorted(zip(*counts.nonzero(), strict=True), key=lambda pair: (-counts[pair], pair))
    found = []
    for true, answered in order[:pairs]:
        positions = np.flatnonzero((targets == true) & (answers == answered))
        sure = positions[np.argsort(-probabilities[positions, answered], kind="stable")][:examples]
        shown = tuple(Example(int(i), float(probabilities[i, answered])) for i in sure)
        count = int(counts[true, answered])
        found.append(Confusion(int(true), int(answered), count, count / int(totals[true]), shown))
    return found


def some_of_each(
    right: NDArray[np.bool_], targets: NDArray[np.int64], wanted: bool, most: int, seed: int
) -> NDArray[np.int64]:
    """Return positions of samples that are answered rightly, or wrongly, spread over the classes: int64, rising class.

    Args:
        right: Which samples are answered rightly, (n,).
        targets: Classes, (n,).
        wanted: Whether right ones are wanted.
        most: How many, at most.
        seed: Of the draw.
    """
    generator = np.random.default_rng([seed, int(wanted)])
    shuffled = generator.permutation(len(targets))
    kept = shuffled[right[shuffled] == wanted]
    rounds: Sequence[int] = [int((targets[kept[:i]] == targets[kept[i]]).sum()) for i in range(len(kept))]
    chosen = kept[np.argsort(rounds, kind="stable")][:most]  # the first of every class, then the second …
    ordered: NDArray[np.int64] = chosen[np.argsort(targets[chosen], kind="stable")]
    return ordered
