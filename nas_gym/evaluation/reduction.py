"""Less to train on: a share of the images, fewer pixels, and the network that fits them."""

import torch
from torch.nn import functional

from nas_gym.architecture import Architecture
from nas_gym.errors import InvalidArchitectureError
from nas_gym.evaluation.loop import Tensors
from nas_gym.operations import Shape


def first_of_every_class(data: Tensors, share: float) -> Tensors:
    """Return the first images of every class, in the order in which they were.

    Args:
        data: Of n_c samples of class c.
        share: In (0, 1]; round(share * n_c) of class c are taken, at least 1.
    """
    places = []
    for number in sorted(set(data.targets.tolist())):
        of_class = (data.targets == number).nonzero().flatten()
        places.append(of_class[: max(1, round(share * len(of_class)))])
    chosen = torch.cat(places).sort().values
    return Tensors(data.inputs.index_select(0, chosen), data.targets.index_select(0, chosen))


def scaled_shape(shape: Shape, resolution: int) -> Shape:
    """Return the shape (channels, height, width) whose longer side has so many pixels, in the old proportions."""
    channels, *sides = shape
    height, width = (max(1, round(side * resolution / max(sides))) for side in sides)
    return channels, height, width


def scaled_down(data: Tensors, shape: Shape) -> Tensors:
    """Return the images in the height and width of a smaller shape: every pixel the mean over the area it covers."""
    images = functional.interpolate(data.inputs.permute(0, 3, 1, 2), size=list(shape[1:]), mode="area")
    return Tensors(images.permute(0, 2, 3, 1).contiguous(), data.targets)


def made_anew(architecture: Architecture, shape: Shape) -> Architecture:
    """Return the same operations on an input of another shape.

    Raises:
        InvalidArchitectureError: An operation does not fit any more.
    """
    try:
        return Architecture(shape, architecture.operations)
    except InvalidArchitectureError as error:
        raise InvalidArchitectureError(f"the network does not fit images of {shape[1]}×{shape[2]}: {error}") from None
