"""Data sets that are folders of images, a subfolder per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nas_gym.data.dataset import Split
from nas_gym.data.messages import one_line, quoted
from nas_gym.data.splitting import Parts
from nas_gym.errors import DatasetError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

_PART_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_GREY_MODES = ("1", "L", "LA", "I", "F")  # and the 16-bit "I;16…"


@dataclass(frozen=True)
class _Listing:
    """The image files of one part and their class numbers, in order."""

    files: list[Path]
    targets: list[int]


def load_image_folder(folder: Path, name: str, image_size: int | Sequence[int] | None = None) -> Parts:
    """Return the images under a folder, uint8, classes and files in the order of their names.

    Either the subfolders are the classes, or they are ``train`` and, if present, ``val`` (``validation``) and
    ``test``, and each holds the same classes as subfolders. Files with other suffixes than ``SUFFIXES`` and
    hidden ones are left alone. Images are grey (1 channel) if all of them are, else RGB (3 channels);
    transparency is dropped, 16-bit grey is brought to 8.

    Args:
        folder: The folder.
        name: What to call the data set.
        image_size: Pixels of a side, or (height, width); None takes the size of the first training image.
            Images of another size are resized (bilinear).

    Raises:
        DatasetError: If the layout is another, an image is damaged, or the size makes no sense.
    """
    size = _checked_size(image_size)
    parts = _part_folders(folder)
    classes = tuple(child.name for child in _subfolders(parts["train"]))
    if len(classes) < 2:
        raise DatasetError(
            f"expected a subfolder of images for each of at least 2 classes in {quoted(parts['train'])}, "
            f"got {len(classes)} subfolders"
        )
    listings = {part: _list(path, classes) for part, path in parts.items()}
    headers = [_header(file) for listing in listings.values() for file in listing.files]
    mode = "L" if all(grey for _, grey in headers) else "RGB"
    if size is None:
        size = headers[0][0]
    splits = {part: _decode(listing, mode, size, folder) for part, listing in listings.items()}
    return Parts(name, classes, splits["train"], splits.get("validation"), splits.get("test"))


def _checked_size(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Return (height, width)."""
    if image_size is None:
        return None
    sides = tuple(image_size) if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise DatasetError(
            f"image_size must be a number of pixels or (height, width), each at least 1, got {image_size!r}"
        )
    return sides[0], sides[1]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _part_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each part: that of the training part alone where the classes lie directly in it."""
    children = _subfolders(folder)
    if not any(child.name == "train" and _subfolders(child) for child in children):
        return {"train": folder}
    strangers = [child.name for child in children if child.name not in _PART_FOLDERS]
    if strangers:
        raise DatasetError(
            f"expected only train, val and test beside each other in {quoted(folder)}, got {strangers[0]!r}; "
            "move it away"
        )
    parts = {"train": folder / "train"}
    for child in children:
        part = _PART_FOLDERS[child.name]
        if part in parts and child != parts[part]:
            raise DatasetError(f"{quoted(folder)} has both val and validation; keep one of them")
        parts[part] = child
    return parts


def _list(folder: Path, classes: tuple[str, ...]) -> _Listing:
    """Return the files of a part; in the order of the classes, then of their names."""
    numbers = {name: number for number, name in enumerate(classes)}
    files: list[Path] = []
    targets: list[int] = []
    for child in _subfolders(folder):
        if child.name not in numbers:
            raise DatasetError(
                f"{quoted(child)} is a class that the training images do not have; "
                "every class needs a folder of training images"
            )
        found = sorted(
            file for file in child.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not found:
            raise DatasetError(f"expected images ({', '.join(SUFFIXES)}) in {quoted(child)}, found none")
        files += found
        targets += [numbers[child.name]] * len(found)
    if not files:
        raise DatasetError(f"expected a subfolder of images per class in {quoted(folder)}, found none")
    return _Listing(files, targets)


def _header(file: Path) -> tuple[tuple[int, int], bool]:
    """Return (height, width) of an image and whether it is grey, from its header."""
    try:
        with Image.open(file) as image:
            return (image.height, image.width), image.mode in _GREY_MODES or image.mode.startswith("I;16")
    except Exception as error:  # Pillow's readers raise many kinds on a damaged file
        raise _damaged(file, error) from error


def _decode(listing: _Listing, mode: str, size: tuple[int, int], folder: Path) -> Split:
    height, width = size
    channels = 1 if mode == "L" else 3
    try:
        images = np.empty((len(listing.files), height, width, channels), dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        raise DatasetError(
            f"{len(listing.files)} images of {height}×{width} pixels in {quoted(folder)} do not fit the "
            "memory; "
            "choose a smaller image_size"
        ) from error
    for index, file in enumerate(listing.files):
        images[index] = _pixels(file, mode, size).reshape(height, width, channels)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))  # (n, c, h, w)
    return Split(inputs, torch.tensor(listing.targets, dtype=torch.int64))


def _pixels(file: Path, mode: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image as uint8 of shape (height, width) or (height, width, 3)."""
    height, width = size
    try:
        with Image.open(file) as opened:
            image = _to_mode(opened, mode)
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(image, dtype=np.uint8)
    except Exception as error:  # Pillow's readers raise many kinds on a damaged file
        raise _damaged(file, error) from error


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # Pillow would clip, not scale
        values = np.asarray(image).astype(np.float64)
        deep = image.mode != "F" and (image.mode.startswith("I;16") or values.max() > 255)
        image = Image.fromarray(np.clip(values / 257 if deep else values, 0, 255).round().astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns if a palette with transparency goes to RGB at once
    return image.convert(mode)


def _damaged(file: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{quoted(file)} is not an image that can be read ({one_line(error)}); repair or remove it")
