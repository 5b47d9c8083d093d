"""What the winner is trained and tested on: all images of the search but its test images, and more where there are."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nas_gym.data.dataset import Dataset, Split, channel_statistics
from nas_gym.data.sources import load_parts
from nas_gym.data.splitting import Parts, first_per_class
from nas_gym.errors import ConfigurationError

_WATCHED_IMAGES = 500  # of the training images, on which the progress of a training is measured


@dataclass(frozen=True, eq=False)
class FinalData:
    """The data of the final training.

    Attributes:
        dataset: ``train`` is all of it; ``test`` is the test split; ``validation`` is but a few of the training
            images, to watch the training by: nothing is chosen by them. Mean and deviation are those of ``train``.
        facts: Where the images come from and what was left out, JSON-ready.
    """

    dataset: Dataset
    facts: dict[str, Any]


def final_data(searched: Dataset, also: Sequence[str] = (), *, data_root: str | None = None) -> FinalData:
    """Return training and validation images of a search, together with more of the same kind, and all test images.

    An image that comes again is taken once. Images that are test images anywhere are left out of the training.

    Args:
        searched: The data set of the search.
        also: Sources of more images (`nas_gym.data.load_dataset` says which), of the same classes and shape.
        data_root: Of torchvision's data sets, where a source is one.

    Raises:
        ConfigurationError: A source has other classes or images of another shape.
        DatasetError: A source can't be read.
    """
    train = _joined(searched.train, searched.validation)
    test, added = searched.test, []
    for source in also:
        parts = load_parts(source, data_root)
        _check(searched, parts, source)
        more = parts.train if parts.validation is None else _joined(parts.train, parts.validation)
        train = _united(train, more)
        test = test if parts.test is None else _united(test, parts.test)
        added.append({"source": source, "training_images": len(more), "test_images": len(parts.test or ())})
    kept = without(train, test) if also else train
    mean, std = channel_statistics(kept.inputs)
    dataset = replace(searched, train=kept, validation=_watched(kept), test=test, mean=mean, std=std)
    facts = {
        "name": searched.name,
        "searched_fingerprint": searched.fingerprint,
        "fingerprint": dataset.fingerprint,
        "also": added,
        "training_images": len(kept),
        "test_images": len(test),
        "left_out_as_test_images": len(train) - len(kept),
    }
    return FinalData(dataset, facts)


def without(images: Split, others: Split) -> Split:
    """Return the images that are not among the others, pixel by pixel."""
    there = set(_digests(others))
    kept = [position for position, digest in enumerate(_digests(images)) if digest not in there]
    return images if len(kept) == len(images) else _selected(images, kept)


def _check(searched: Dataset, parts: Parts, source: str) -> None:
    shape, kind = tuple(parts.train.inputs.shape[1:]), parts.train.inputs.dtype
    if shape != searched.input_shape or kind != searched.train.inputs.dtype:
        raise ConfigurationError(
            f"{source!r} has {kind} images of shape {shape}, the search had {searched.train.inputs.dtype} images of "
            f"{searched.input_shape}; name images of the same kind"
        )
    if parts.class_names != searched.class_names:
        raise ConfigurationError(
            f"{source!r} has the classes {', '.join(parts.class_names)}, the search had "
            f"{', '.join(searched.class_names)}; name images of the same classes"
        )


def _joined(first: Split, second: Split) -> Split:
    return Split(torch.cat([first.inputs, second.inputs]), torch.cat([first.targets, second.targets]))


def _united(first: Split, second: Split) -> Split:
    """Return the first images and those that the second adds: as many of each as the one that holds it more often."""
    held = Counter(_digests(first))
    new = []
    for position, digest in enumerate(_digests(second)):
        if held[digest] > 0:
            held[digest] -= 1
        else:
            new.append(position)
    return _joined(first, _selected(second, new)) if new else first


def _selected(split: Split, positions: Sequence[int]) -> Split:
    index = torch.tensor(positions, dtype=torch.int64)
    return Split(split.inputs[index], split.targets[index])


def _digests(split: Split) -> list[bytes]:
    """Return a digest of the pixels of every image; the class is no part of it."""
    return [hashlib.blake2b(image, digest_size=16).digest() for image in split.inputs.contiguous().numpy()]


def _watched(train: Split) -> Split:
    targets = train.targets.numpy()
    each = max(1, _WATCHED_IMAGES // len(set(targets.tolist())))
    return _selected(train, first_per_class(targets, each).tolist())
