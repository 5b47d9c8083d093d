"""Augmentation of a whole batch at once, as tensor operations on the device of the images."""

import torch
from torch import Tensor
from torch.nn import functional


def augmented(images: Tensor, generator: torch.Generator, *, flip: bool, crop: int) -> Tensor:
    """Return the images, each shifted and mirrored at random on its own.

    Every image is shifted by a whole number of pixels, uniform in [-crop, crop], in both directions, what comes in
    being 0 (the mean colour, as images are normalised); then it is mirrored left to right with probability 1/2.

    Args:
        images: Shape (n, height, width, channels), on any device.
        generator: On the CPU, so that all devices see the same images.
        flip: Whether to mirror.
        crop: Largest shift in pixels; 0: none.
    """
    if not (flip or crop):
        return images
    n, height, width, _ = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(n, height)
    columns = torch.arange(width, device=device).expand(n, width)
    if crop:
        shift = torch.randint(0, 2 * crop + 1, (2, n, 1), generator=generator).to(device)
        rows, columns = rows + shift[0], columns + shift[1]
        images = functional.pad(images, (0, 0, crop, crop, crop, crop))
    if flip:
        mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    samples = torch.arange(n, device=device)
    return images[samples[:, None, None], rows[:, :, None], columns[:, None, :]]
