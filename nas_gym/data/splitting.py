"""Dividing the images of a source into training, validation and test parts: pure functions of a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.data.dataset import Dataset, Split, channel_statistics
from nas_gym.errors import DatasetError

TEST_SHARE = 0.2  # of all images, where a source has no test images of its own

_VALIDATION_STREAM, _TEST_STREAM = 0, 1  # independent random streams of one seed


@dataclass(frozen=True)
class Splitting:
    """How a source is divided.

    Attributes:
        validation_share: Share of the official training images that becomes the validation part, in (0, 1).
            Where a source has no official test images it is a share of all its images, as is the test part
            (0.2).
        first_per_class: At most so many official training images per class, counted before the validation
            part is taken from them; None keeps all.
        first_test_per_class: At most so many test images per class; None keeps all.
        seed: Seed of the division, not negative.

    Raises:
        DatasetError: If a value is out of its range.
    """

    validation_share: float = 0.2
    first_per_class: int | None = None
    first_test_per_class: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("first_per_class", "first_test_per_class"):
            value = getattr(self, name)
            if value is not None and not _is_int_from(1, value):
                raise DatasetError(f"{name} must be a whole number of at least 1 or None, got {value!r}")
        if not _is_int_from(0, self.seed):
            raise DatasetError(f"split_seed must be a whole number of at least 0, got {self.seed!r}")
        share = self.validation_share
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            raise DatasetError(f"validation_share must lie between 0 and 1, such as 0.2, got {share!r}")


@dataclass(frozen=True, eq=False)
class Parts:
    """What a source holds, before it is divided.

    Attributes:
        name: Name of the data set to be.
        class_names: One per class.
        train: The official training images.
        validation: The official validation images, if there are any.
        test: The official test images, if there are any.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split | None = None
    test: Split | None = None


def divide(parts: Parts, splitting: Splitting) -> Dataset:
    """Return the data set that a source gives under a way of splitting.

    The test part is the official one or, where there is none, taken first from all images, whatever
    ``first_per_class`` says. The validation part is the official one or taken from the training images, never
    from the test images. Both are stratified; every part keeps the order of the source.

    Args:
        parts: What the source holds.
        splitting: How to divide it.

    Raises:
        DatasetError: If a part would be empty or the parts do not fit together.
    """
    train, validation, test = parts.train, parts.validation, parts.test
    share = splitting.validation_share
    if test is None:
        train, test = _carve(parts.name, "test", train, TEST_SHARE, (splitting.seed, _TEST_STREAM))
        share = share / (1 - TEST_SHARE)
    if splitting.first_per_class is not None:
        train = _first(train, splitting.first_per_class)
    if splitting.first_test_per_class is not None:
        test = _first(test, splitting.first_test_per_class)
    if validation is None:
        if share >= 1:
            raise DatasetError(
                f"data set {parts.name!r} has no test images of its own, so that validation_share must be "
                "below "
                f"{1 - TEST_SHARE:g}, got {splitting.validation_share!r}"
            )
        train, validation = _carve(parts.name, "validation", train, share, (splitting.seed, _VALIDATION_STREAM))
    mean, std = channel_statistics(train.inputs)
    return Dataset(parts.name, train, validation, test, parts.class_names, mean, std)


def first_per_class(targets: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the ascending positions of the first ``n`` members of each class, or all where there are fewer.

    Args:
        targets: Class numbers, shape (m,), not negative.
        n: How many per class, at least 1.
    """
    positions = [np.flatnonzero(targets == label)[:n] for label in np.unique(targets)]
    return np.sort(np.concatenate(positions)).astype(np.int64)


def stratified(
    targets: NDArray[np.int64], share: float, seed: int | Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ascending positions that stay and those that are taken out, a share of each class.

    ``round(share * m)`` positions are taken if no class forbids it: each class gives its share, rounded so
    that the sum is right (largest remainder), and keeps at least one member.

    Args:
        targets: Class numbers, shape (m,), m at least 1, not negative.
        share: Share to take out, in (0, 1).
        seed: Seed of a generator of its own; the global ones are not touched.
    """
    labels, counts = np.unique(targets, return_counts=True)
    generator = np.random.default_rng(seed)
    taken = [
        generator.permutation(np.flatnonzero(targets == label))[:n]
        for label, n in zip(labels, _quotas(counts, share), strict=True)
    ]
    mask = np.zeros(len(targets), dtype=np.bool_)
    mask[np.concatenate(taken)] = True
    return np.flatnonzero(~mask).astype(np.int64), np.flatnonzero(mask).astype(np.int64)


def _quotas(counts: NDArray[np.int64], share: float) -> list[int]:
    """Return how many members each class gives: floors, then one more for the largest remainders."""
    exact = counts * share
    quotas = np.floor(exact).astype(np.int64)
    missing = round(float(exact.sum())) - int(quotas.sum())
    for index in np.argsort(quotas - exact, kind="stable")[:missing]:
        quotas[index] += 1
    return [int(quota) for quota in np.minimum(quotas, counts - 1)]


def _carve(name: str, part: str, pool: Split, share: float, seed: Sequence[int]) -> tuple[Split, Split]:
    rest, taken = stratified(pool.targets.numpy(), share, seed)
    if len(taken) == 0:
        raise DatasetError(
            f"data set {name!r}: {len(pool)} images are too few to take a {part} part (share {share:g}) and "
            "leave "
            "one of each class for training; use more images per class or a larger share"
        )
    return _select(pool, rest), _select(pool, taken)


def _first(pool: Split, n: int) -> Split:
    return _select(pool, first_per_class(pool.targets.numpy(), n))


def _select(pool: Split, positions: NDArray[np.int64]) -> Split:
    index = torch.from_numpy(positions)
    return Split(pool.inputs[index], pool.targets[index])


def _is_int_from(low: int, value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= low
