"""What a layer can be replaced by: the identity where it keeps the shape, else the cheapest thing that keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.architecture import INPUT, Architecture, Operation, Shape
from nas_gym.operations import ACTIVATIONS, POOLS, cost
from nas_gym.winner.network_picture import operation_title

WEIGHTED = ("conv", "linear")
# Replaced where they change numbers; what only adds up, reshapes or does nothing in an evaluation is left alone.
_LAYERS = (*WEIGHTED, "batch_norm", "smooth", "global_average_pool", *POOLS, *ACTIVATIONS)


@dataclass(frozen=True)
class Layer:
    """Operations that are replaced together: one, and a batch normalisation that belongs to it.

    Attributes:
        position: Of the first operation.
        replaced: Positions of all.
        before: Shape of the input.
        after: Shape of the output.
        name: In words.
        parameters: Of all.
        macs: Of all, for one sample.
    """

    position: int
    replaced: tuple[int, ...]
    before: Shape
    after: Shape
    name: str
    parameters: int
    macs: int


def layers_of(architecture: Architecture) -> list[Layer]:
    """Return the layers of an architecture that can be replaced, in order.

    A batch normalisation that alone reads a convolution or a linear layer goes with it: its mean and deviation are
    those of that layer's output and of nothing else.
    """
    operations = architecture.operations
    readers: list[list[int]] = [[] for _ in operations]
    for position, operation in enumerate(operations):
        for source in set(operation.inputs) - {INPUT}:
            readers[source].append(position)
    found: list[Layer] = []
    gone: set[int] = set()
    for position, operation in enumerate(operations):
        if operation.kind not in _LAYERS or position in gone:
            continue
        span: tuple[int, ...] = (position,)
        if operation.kind in WEIGHTED and len(readers[position]) == 1:
            (reader,) = readers[position]
            span = (position, reader) if operations[reader].kind == "batch_norm" else span
        gone.update(span)
        found.append(_layer(architecture, span))
    return found


def _layer(architecture: Architecture, span: tuple[int, ...]) -> Layer:
    operations = [architecture.operations[position] for position in span]
    shapes = (*architecture.shapes, architecture.input_shape)  # so that shapes[INPUT] is the input's
    costs = [cost(o.kind, o.settings, tuple(shapes[i] for i in o.inputs)) for o in operations]
    return Layer(
        position=span[0],
        replaced=span,
        before=shapes[operations[0].inputs[0]],
        after=costs[-1].shape,
        name=" + ".join(map(operation_title, operations)),
        parameters=sum(one.parameters for one in costs),
        macs=sum(one.macs for one in costs),
    )


def substitute(layer: Layer, operation: Operation) -> tuple[nn.Module, str]:
    """Return what stands in for a layer, as a module without parameters and in words.

    Args:
        layer: Of an architecture.
        operation: Its first operation.
    """
    if operation.kind in POOLS:
        step = int(dict(operation.settings)["kernel"])
        return Picked(step, layer.after), f"one pixel of every {step}×{step}"
    if operation.kind == "global_average_pool":
        return Middle(), "the pixel in the middle of every map"
    if layer.before == layer.after:
        return nn.Identity(), "identity"
    return MeanProjection(layer.after), mean_projection_in_words(layer.before, layer.after)


class MeanProjection(nn.Module):
    """Means that bring an input to a shape: every output is the mean of the inputs in its share of each axis.

    Along an axis of n inputs and m outputs, output i is the mean of the inputs floor(i n / m) to
    ceil((i + 1) n / m) - 1: adaptive average pooling over channels, rows and columns. Fewer channels are means of
    neighbours, more are copies, a stride is the mean of its window. It has no parameters.

    Args:
        shape: Of one sample's output, (channels, height, width) or (features,).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the means."""
        inputs = inputs.contiguous()
        if len(self.shape) == 3:
            return functional.adaptive_avg_pool3d(inputs.unsqueeze(1), self.shape).squeeze(1)
        return functional.adaptive_avg_pool1d(inputs.unsqueeze(1), self.shape[0]).squeeze(1)


class Picked(nn.Module):
    """The first pixel of every window of a pooling.

    Args:
        step: Its kernel and stride.
        shape: Of the output, (channels, height, width).
    """

    def __init__(self, step: int, shape: Shape) -> None:
        super().__init__()
        self.step = step
        self.shape = shape

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pixels."""
        _, height, width = self.shape
        return maps[:, :, :: self.step, :: self.step][:, :, :height, :width]


class Middle(nn.Module):
    """The pixel in the middle of every map: (n, channels, height, width) to (n, channels)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pixels."""
        return maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]


class Matched(nn.Module):
    """A module whose output is scaled and shifted, channel by channel.

    Args:
        module: Whatever it is.
        scale: Per channel, (channels,).
        shift: Likewise.
    """

    def __init__(self, module: nn.Module, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.module = module
        self.scale = scale
        self.shift = shift

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output, scaled and shifted."""
        output: Tensor = self.module(inputs)
        along = (1, -1, *[1] * (output.dim() - 2))
        return output * self.scale.view(along) + self.shift.view(along)


def matched(module: nn.Module, inputs: Tensor, wanted: Tensor) -> Matched:
    """Return a substitute scaled and shifted so that its channels have a mean and a deviation.

    Args:
        module: The substitute.
        inputs: Of the layer it stands in for, (n, …).
        wanted: The outputs of that layer for them, (n, channels, …). A channel that the substitute leaves
            constant gets the mean and stays constant.
    """
    with torch.no_grad():
        (mean, deviation), (target_mean, target_deviation) = _moments(module(inputs)), _moments(wanted)
    scale = torch.where(deviation > 1e-6, target_deviation / deviation.clamp_min(1e-6), torch.zeros_like(deviation))
    return Matched(module, scale, target_mean - scale * mean)


def _moments(outputs: Tensor) -> tuple[Tensor, Tensor]:
    rows = outputs.transpose(0, 1).flatten(1)  # (channels, n · pixels)
    return rows.mean(1), rows.std(1, correction=0)


def mean_projection_in_words(before: Shape, after: Shape) -> str:
    """Return what a mean projection does to a shape, such as ``"copies of channels, means of 2×2 pixels"``."""
    if len(after) == 1:
        return _along("feature", prod(before), after[0])
    parts = [_along("channel", before[0], after[0])] if before[0] != after[0] else []
    if before[1:] != after[1:]:
        steps = (-(-old // new) for old, new in zip(before[1:], after[1:], strict=True))
        parts.append(f"means of {'×'.join(map(str, steps))} pixels")
    return ", ".join(parts)


def _along(what: str, old: int, new: int) -> str:
    return f"{'copies' if new % old == 0 else 'means'} of {what}s ({old} to {new})"


def weighted(architecture: Architecture) -> Sequence[Layer]:
    """Return the layers with weights (convolutions and linear layers, with their normalisations), in order."""
    return [one for one in layers_of(architecture) if architecture.operations[one.position].kind in WEIGHTED]
