"""Data sets in ``.npz`` files of arrays, one or several that are joined."""

import hashlib
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.data.dataset import Split
from nas_gym.data.messages import one_line, quoted
from nas_gym.data.pixels import channels_first, pixels
from nas_gym.data.splitting import Parts
from nas_gym.errors import DatasetError

_PARTS = ("train", "val", "test")
_KEYS = "x_train, y_train and optionally x_val, y_val, x_test, y_test, class_names"
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, MemoryError)
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, pickle.UnpicklingError)


@dataclass
class _Pieces:
    """The arrays of one part, one of each per file."""

    paths: list[Path] = field(default_factory=list)
    images: list[NDArray[np.generic]] = field(default_factory=list)
    targets: list[NDArray[np.int64]] = field(default_factory=list)


def load_npz(paths: Sequence[Path], name: str) -> Parts:
    """Return the arrays of ``.npz`` files, joined in the order given.

    A file holds ``x_train`` and ``y_train`` and, if it likes, ``x_val``, ``y_val``, ``x_test``, ``y_test``
    and ``class_names``; of several files each may hold only some. Other arrays are left alone. Images are of
    shape (n, h, w), (n, h, w, c) or (n, c, h, w) and keep their 8 bits if they are whole numbers in 0..255;
    others become float32, divided by 255 if any value of any file is above 1. Labels are whole numbers from
    0, shape (n,) or (n, 1). Arrays of Python objects are refused: nothing is unpickled.

    An array of images that occurs twice is refused (a file named twice, training images given as test images),
    since training images would be validated or tested on; single images in two places are not looked for.

    Args:
        paths: The files, at least one.
        name: What to call the data set.

    Raises:
        DatasetError: If a file is missing or damaged, or its arrays are not as above or do not fit together.
    """
    pieces = {part: _Pieces() for part in _PARTS}
    seen: dict[bytes, str] = {}
    class_names: tuple[str, ...] | None = None
    for path in paths:
        arrays = _read(path)
        for part, piece in pieces.items():
            if _has_part(path, arrays, part):
                _refuse_copy(arrays[f"x_{part}"], f"x_{part} in {quoted(path)}", seen)
                _add(piece, path, part, arrays)
        names = _class_names(path, arrays)
        if names is not None and class_names is not None and names != class_names:
            raise DatasetError(f"{quoted(path)} has other class_names than the files before it; join files of one set")
        class_names = names or class_names
    if not pieces["train"].paths:
        raise DatasetError(
            f"expected an array x_train in {_listed(paths)}, found none; a data set needs training images"
        )
    splits = _join(pieces)
    return Parts(
        name=name,
        class_names=_check_labels(pieces, class_names),
        train=splits["train"],
        validation=splits.get("val"),
        test=splits.get("test"),
    )


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a file that have a meaning here, each read once."""
    if not path.is_file():
        raise DatasetError(f"expected an .npz file at {quoted(path)}, found none; check the path")
    wanted = {f"{axis}_{part}" for axis in "xy" for part in _PARTS} | {"class_names"}
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is damaged or of another kind, no zip archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                keys = list(archive.files)
                arrays = {key: archive[key] for key in keys if key in wanted}
    except (*_UNREADABLE, *_DAMAGED) as error:
        raise DatasetError(
            f"{quoted(path)} cannot be read as an .npz of plain arrays ({_reason(error)}); "
            "copy it again or save it with numpy.savez"
        ) from error
    foreign = [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]
    if foreign or not arrays:
        raise DatasetError(f"expected the arrays {_KEYS} in {quoted(path)}, got {', '.join(map(repr, keys)) or 'none'}")
    return arrays


def _reason(error: BaseException) -> str:
    text = one_line(error)
    return "it holds pickled Python objects, which are never loaded" if "pickle" in text.lower() else text


def _has_part(path: Path, arrays: dict[str, NDArray[np.generic]], part: str) -> bool:
    present = [key for key in (f"x_{part}", f"y_{part}") if key in arrays]
    if len(present) == 1:
        raise DatasetError(f"expected x_{part} and y_{part} together in {quoted(path)}, got only {present[0]}")
    return len(present) == 2


def _add(piece: _Pieces, path: Path, part: str, arrays: dict[str, NDArray[np.generic]]) -> None:
    images = channels_first(arrays[f"x_{part}"], f"x_{part} in {quoted(path)}")
    targets = _targets(arrays[f"y_{part}"], f"y_{part} in {quoted(path)}", len(images))
    piece.paths.append(path)
    piece.images.append(images)
    piece.targets.append(targets)


def _refuse_copy(images: NDArray[np.generic], what: str, seen: dict[bytes, str]) -> None:
    digest = hashlib.sha256(images.tobytes()).digest()
    if digest in seen:
        raise DatasetError(
            f"{what} and {seen[digest]} hold the same images; name each file once, so that no image that is "
            "trained on is validated or tested on"
        )
    seen[digest] = what


def _targets(labels: NDArray[np.generic], what: str, n_images: int) -> NDArray[np.int64]:
    """Return labels as int64 (n,)."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DatasetError(
            f"expected {what} to hold one whole number per image, shape (n,), got {labels.dtype} of shape "
            f"{labels.shape}; turn one-hot rows or names into class numbers"
        )
    if len(labels) != n_images:
        raise DatasetError(f"expected {what} to hold one label per image, got {len(labels)} labels, {n_images} images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise DatasetError(
            f"expected {what} to hold class numbers from 0, got {low}..{high}; number the classes from 0"
        )
    return labels.astype(np.int64)


def _class_names(path: Path, arrays: dict[str, NDArray[np.generic]]) -> tuple[str, ...] | None:
    names = arrays.get("class_names")
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DatasetError(
            f"expected class_names in {quoted(path)} to be a list of texts, got {names.dtype} of shape {names.shape}"
        )
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)


def _check_labels(pieces: dict[str, _Pieces], class_names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return one name per class, after a check that training has every class that occurs anywhere."""
    seen = np.unique(np.concatenate(pieces["train"].targets))
    n_classes = len(seen) if class_names is None else len(class_names)
    where = _listed(pieces["train"].paths)
    if len(seen) < 2:
        raise DatasetError(f"expected at least 2 classes in y_train in {where}, got only label {int(seen[0])}")
    if not np.array_equal(seen, np.arange(n_classes)):
        raise DatasetError(
            f"expected y_train in {where} to have the labels 0..{n_classes - 1} without gaps, got "
            f"{len(seen)} labels in {int(seen[0])}..{int(seen[-1])}; number the classes from 0 and give "
            "class_names only to those that occur"
        )
    for part in ("val", "test"):
        for path, targets in zip(pieces[part].paths, pieces[part].targets, strict=True):
            if targets.max() >= n_classes:
                raise DatasetError(
                    f"class {int(targets.max())} occurs in y_{part} in {quoted(path)} but not in y_train; "
                    "every class needs training images"
                )
    return class_names or tuple(str(label) for label in range(n_classes))


def _join(pieces: dict[str, _Pieces]) -> dict[str, Split]:
    """Return the parts that have images, all of one dtype and scale."""
    labelled = [
        (f"x_{part} in {quoted(path)}", images)
        for part, piece in pieces.items()
        for path, images in zip(piece.paths, piece.images, strict=True)
    ]
    first, shape = labelled[0][0], labelled[0][1].shape[1:]
    for what, images in labelled:
        if images.shape[1:] != shape:
            raise DatasetError(
                f"expected images of one shape, got {images.shape[1:]} (channels, height, width) for {what} "
                f"and {shape} for {first}"
            )
    converted = iter(pixels(labelled))
    splits = {}
    for part, piece in pieces.items():
        arrays = [next(converted) for _ in piece.paths]
        if arrays:
            joined = torch.from_numpy(np.ascontiguousarray(np.concatenate(arrays)))
            splits[part] = Split(joined, torch.from_numpy(np.concatenate(piece.targets)))
    return splits


def _listed(paths: Sequence[Path]) -> str:
    shown = ", ".join(quoted(path) for path in paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
