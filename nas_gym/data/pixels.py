"""Arrays of pixels as they come, brought to one order of axes and one scale."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import DatasetError

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA: what tells the axis of the channels from height and width


def channels_first(images: NDArray[np.generic], what: str) -> NDArray[np.generic]:
    """Return images as a view of shape (n, channels, height, width).

    The channels are the axis, second or last, that has 1, 3 or 4 entries; where both or neither do, images
    are taken to be square, and the axis is the one that differs from the other two.

    Args:
        images: Shape (n, h, w), (n, h, w, c) or (n, c, h, w).
        what: What to call them in a message.

    Raises:
        DatasetError: If there is no image, or the shape is none of these or could be two.
    """
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DatasetError(
            f"expected {what} to have the shape (n, h, w), (n, h, w, c) or (n, c, h, w) with no axis empty, "
            f"got {images.shape}; reshape it"
        )
    if images.ndim == 3:
        return images[:, None]
    _, second, third, last = images.shape
    first_fits, last_fits = second in _CHANNELS, last in _CHANNELS
    if first_fits == last_fits:
        first_fits, last_fits = second != third == last, second == third != last
    if first_fits == last_fits:
        raise DatasetError(
            f"cannot tell the channels of {what} from height and width, shape {images.shape}; "
            "give it as (n, c, h, w) or (n, h, w, c) with 1, 3 or 4 channels"
        )
    return images if first_fits else images.transpose(0, 3, 1, 2)


def pixels(
    arrays: Sequence[tuple[str, NDArray[np.generic]]],
) -> list[NDArray[np.uint8] | NDArray[np.float32]]:
    """Return arrays of pixels with one dtype and scale: uint8 in 0..255 or float32 in 0..1.

    All are uint8 if all are whole numbers in 0..255. All are float32 if all are floats, divided by 255 if any
    value of any of them is above 1, so that a dark array is not taken for one in 0..1.

    Args:
        arrays: Names for messages and the arrays, of any shape that is not empty.

    Raises:
        DatasetError: If a dtype is neither, both occur, or a value is NaN, infinite or outside 0..255.
    """
    kinds = {what: "float" if array.dtype.kind == "f" else "whole" for what, array in arrays}
    ranges = [_range(what, array) for what, array in arrays]
    first = arrays[0][0]
    for what, _ in arrays:
        if kinds[what] != kinds[first]:
            raise DatasetError(
                f"expected pixels of one kind, got {kinds[first]} numbers for {first} and {kinds[what]} "
                "numbers for "
                f"{what}; convert one of them"
            )
    if kinds[first] == "whole":
        return [array.astype(np.uint8, copy=False) for _, array in arrays]
    scale = np.float32(255 if max(high for _, high in ranges) > 1 else 1)
    return [array.astype(np.float32) / scale for _, array in arrays]


def _range(what: str, array: NDArray[np.generic]) -> tuple[float, float]:
    """Return the lowest and highest value of an array, after a check that they can be pixels."""
    if array.dtype.kind not in "uif":
        raise DatasetError(f"expected {what} to hold uint8 or float pixels, got {array.dtype}; convert it")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):  # NaN fails too
        raise DatasetError(
            f"expected {what} to hold pixels in 0..255 or 0..1, got values from {low:g} to {high:g}; "
            "undo its normalisation or scale it"
        )
    return low, high
