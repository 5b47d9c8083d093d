"""Augmentation of whole batches, as tensor operations on the device of the images."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Draws:
    """What chance does to each of n images; None: nothing of that kind.

    Attributes:
        shift: Pixels by which images are shifted up and to the left, plus the largest shift; int64 (n, 2).
        mirrored: Whether an image is mirrored left to right; bool (n, 1).
        corner: Row and column of the upper left corner of the cut-out square, perhaps outside the image; int64 (n, 2).
        crop: Largest shift in pixels.
        cutout: Side of the square in pixels.
    """

    shift: Tensor | None
    mirrored: Tensor | None
    corner: Tensor | None
    crop: int
    cutout: int

    def __getitem__(self, images: slice) -> "Draws":
        """Return the draws of some of the images, as views."""
        shift, mirrored, corner = (
            None if values is None else values[images] for values in (self.shift, self.mirrored, self.corner)
        )
        return Draws(shift, mirrored, corner, self.crop, self.cutout)


def draw(
    n: int,
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    flip: bool,
    crop: int,
    cutout: int = 0,
    device: torch.device | str = "cpu",
) -> Draws:
    """Return draws for n images; for a whole epoch at once, the device waits for the host only once.

    Args:
        n: Number of images.
        size: Height and width.
        generator: On the CPU, so that all devices see the same images. What is not asked for draws nothing.
        flip: Whether to mirror, each image with probability 1/2.
        crop: Largest shift in pixels, uniform over all whole numbers up to it in both directions; 0: none.
        cutout: Side of the square that is cut out, its centre uniform over the image's pixels; 0: none.
        device: Where the draws should be.
    """
    shift = torch.randint(0, 2 * crop + 1, (n, 2), generator=generator).to(device) if crop else None
    mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(device) if flip else None
    corner = None
    if cutout:
        centre = [torch.randint(0, length, (n,), generator=generator) for length in size]
        corner = (torch.stack(centre, dim=1) - cutout // 2).to(device)
    return Draws(shift, mirrored, corner, crop, cutout)


def altered(images: Tensor, draws: Draws) -> Tensor:
    """Return the images, shifted, mirrored and with a square cut out as drawn; the same object if nothing was.

    What comes in at the borders is 0 (the mean colour, as images are normalised), and so is what is cut out: the part
    of the square that lies in the image (Cutout, DeVries and Taylor 2017, arXiv 1708.04552, section 3.2).

    Args:
        images: Shape (n, height, width, channels).
        draws: For these n images, on their device.
    """
    if draws.shift is not None:
        images = _shifted(images, draws.shift, draws.crop)
    if draws.mirrored is not None:
        images = torch.where(draws.mirrored[:, :, None, None], images.flip(2), images)
    if draws.corner is not None:
        images = _cut(images, draws.corner, draws.cutout)
    return images


def augmented(images: Tensor, generator: torch.Generator, *, flip: bool, crop: int, cutout: int = 0) -> Tensor:
    """Return the images, each shifted, mirrored and cut at random on its own (`draw`, `altered`).

    Args:
        images: Shape (n, height, width, channels), on any device.
        generator: On the CPU.
        flip: Whether to mirror.
        crop: Largest shift in pixels; 0: none.
        cutout: Side of the square that is cut out; 0: none.
    """
    n, height, width, _ = images.shape
    options = {"crop": crop, "cutout": cutout}
    return altered(images, draw(n, (height, width), generator, flip=flip, device=images.device, **options))


def _shifted(images: Tensor, shift: Tensor, crop: int) -> Tensor:
    n, height, width, channels = images.shape
    padded = functional.pad(images, (0, 0, crop, crop, crop, crop))
    image, row, column, channel = padded.stride()
    places = 2 * crop + 1
    # Every window that a shift can choose, as a view: choosing one an image copies whole rows, not single pixels.
    windows = padded.as_strided(
        (n, places, places, height, width, channels), (image, row, column, row, column, channel)
    )
    return windows[torch.arange(n, device=images.device), shift[:, 0], shift[:, 1]]


def _cut(images: Tensor, corner: Tensor, side: int) -> Tensor:
    n, height, width, channels = images.shape
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).repeat_interleave(channels)
    inside = _between(rows, corner[:, :1], side)[:, :, None] & _between(columns, corner[:, 1:], side)[:, None, :]
    return images.reshape(n, height, width * channels).masked_fill(inside, 0.0).view(images.shape)


def _between(places: Tensor, first: Tensor, length: int) -> Tensor:
    return (places >= first) & (places < first + length)
