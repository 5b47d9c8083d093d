"""Which operations share weights: every weighted operation of a network has a place among the shared weights.

Networks share by *layer and operation*. What counts is how many layers with weights come before (one convolution, one
linear layer, or everything around which an addition leads; a depthwise convolution counts together with what follows
it), not the slot of the decision: equal networks can differ in the slots of their poolings and dropouts, and equal
networks must score equal. So places are read off the canonical form, and every candidate has them, however it was
made. Activations have no part in a place.

The number of input channels depends on what came before. Shared weights are as wide as the widest input that can
come, and a path uses the first channels (slimmable networks, Yu et al. 2019, arXiv 1812.08928, section 3; once-for-all,
Cai et al. 2020, arXiv 1908.09791, section 3). A linear layer on a flattened map has weights of its own for every number
of pixels; since flattening goes channel by channel, its first features are the first channels too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from nas_gym.architecture import INPUT, Architecture, Operation
from nas_gym.errors import InvalidArchitectureError, OutOfSpaceError
from nas_gym.operations import Shape, cost
from nas_gym.spaces.catalogue import Layer
from nas_gym.spaces.chain import ChainSpace

WEIGHTED = ("conv", "linear", "batch_norm")


@dataclass(frozen=True)
class Place:
    """The shared weights of one operation.

    Attributes:
        position: Of the operation in the canonical architecture.
        name: Equal for operations that share.
        shape: Of the shared weight; the shared bias is as long as its first side.
        used: Of the part of the weight that the operation uses: the first entries of every side.
    """

    position: int
    name: str
    shape: tuple[int, ...]
    used: tuple[int, ...]


@dataclass(frozen=True)
class Widths:
    """How wide inputs can be in a space.

    Attributes:
        first: Channels of the space's input.
        channels: Most channels of any map.
        features: Most features of any vector that is no flattened map.
        parameters: Most parameters of a network; None: no limit.
    """

    first: int
    channels: int
    features: int
    parameters: int | None

    @classmethod
    def of(cls, space: ChainSpace) -> "Widths":
        """Return the widths of a space, from every layer on every shape that can come."""
        reached, frontier, channels, features = {space.input_shape}, {space.input_shape}, 1, 1
        for _ in range(space.max_layers):
            found = set()
            for kind, shape, last in _outcomes(space.catalogue, frontier, space.activations[0]):
                channels = max(channels, shape[0]) if len(shape) == 3 else channels
                features = max(features, shape[0]) if kind == "linear" else features
                found |= {shape} if last else set()
            frontier = found - reached
            reached |= frontier
        first, limit = space.input_shape[0], space.limits.parameters
        channels = max(channels, first)
        return cls(first, channels, max(features, channels), None if limit is None else int(limit))


def _outcomes(layers: Sequence[Layer], shapes: set[Shape], activation: str) -> Iterator[tuple[str, Shape, bool]]:
    """Yield kind and output shape of every operation of every layer that fits a shape, and whether it is the last."""
    for shape in shapes:
        for layer in layers:
            steps, made = layer.steps(shape, activation), [shape]
            try:
                for kind, settings, inputs in steps:
                    made.append(cost(kind, settings, tuple(made[i] for i in inputs)).shape)
            except InvalidArchitectureError:
                continue
            for position, (kind, _, _) in enumerate(steps, start=1):
                yield kind, made[position], position == len(steps)


def places(architecture: Architecture, widths: Widths) -> list[Place]:
    """Return the places of a canonical architecture's weighted operations, in order.

    Raises:
        OutOfSpaceError: An operation is wider than any of the space.
    """
    found: list[Place] = []
    layer, before, last = 1, "", "input"
    pixels = _pixels(architecture)
    for segment in _segments(architecture.operations):
        weighted = [i for i in segment if architecture.operations[i].kind in WEIGHTED]
        labels = [_label(architecture, i, pixels[i]) for i in weighted]
        block = f"layer {layer} {before}{' '.join(labels)}"
        deeper = any(architecture.operations[i].kind != "batch_norm" for i in weighted)
        if weighted and not deeper:
            block = f"{last} {' '.join(labels)}"
        for number, i in enumerate(weighted):
            name = block if len(weighted) == 1 else f"{block} #{number}"
            found.append(_place(architecture, i, name, pixels[i], widths, layer == 1))
        last = block if weighted else last
        if deeper and labels[-1].startswith("depthwise"):
            before += f"{labels[-1]} "
        elif deeper:
            layer, before = layer + 1, ""
    return found


def _segments(operations: Sequence[Operation]) -> Iterator[range]:
    """Yield the positions between two places that every path through the network passes, the second one included."""
    start, reads = 0, [min(operation.inputs) for operation in operations]
    for position in range(len(operations)):
        if all(read >= position for read in reads[position + 1 :]):
            yield range(start, position + 1)
            start = position + 1


def _pixels(architecture: Architecture) -> list[int]:
    """Return for every operation how many features of its input come from one channel of a map that was flattened."""
    after: dict[int, int] = {INPUT: 1}
    before = []
    for position, operation in enumerate(architecture.operations):
        source = operation.inputs[0]
        before.append(after[source])
        after[position] = 1 if operation.kind == "linear" else after[source]
        if operation.kind == "flatten":
            after[position] = prod(_shape(architecture, source)[1:])
    return before


def _shape(architecture: Architecture, position: int) -> Shape:
    return architecture.input_shape if position == INPUT else architecture.shapes[position]


def _label(architecture: Architecture, position: int, pixels: int) -> str:
    operation = architecture.operations[position]
    if operation.kind == "batch_norm":
        return "bn" if pixels == 1 else f"bn of {pixels}"
    if operation.kind == "linear":
        role = "classifier" if position == len(architecture.operations) - 1 else "linear"
        return f"{role} {dict(operation.settings)['units']} of {pixels}"
    values = dict(operation.settings)
    shown = f"{values['kernel']}/{values['stride']} bias {values['bias']}"
    channels = _shape(architecture, operation.inputs[0])[0]
    if values["groups"] == channels == values["channels"]:
        return f"depthwise {shown}"
    grouped = "" if values["groups"] == 1 else f" of {channels} in {values['groups']}"
    return f"conv {values['channels']}{grouped} {shown}"


def _place(architecture: Architecture, position: int, name: str, pixels: int, widths: Widths, is_first: bool) -> Place:
    operation = architecture.operations[position]
    given = _shape(architecture, operation.inputs[0])
    shape, used = _sides(operation, given, pixels, widths, is_first and given[0] == widths.first * pixels)
    if any(part > whole for part, whole in zip(used, shape, strict=True)):
        raise OutOfSpaceError(
            f"operation {position} ({operation}) on {given} is wider than any of the supernet's space; "
            "evaluate candidates of that space"
        )
    return Place(position, name, shape, used)


def _sides(operation: Operation, given: Shape, pixels: int, widths: Widths, on_input: bool) -> tuple[Shape, Shape]:
    """Return the sides of the shared weight and of the part of it that an operation uses."""
    values = {setting: int(value) for setting, value in operation.settings}
    if operation.kind == "batch_norm":
        return (widths.features * pixels,), given[:1]
    most = widths.first if on_input else widths.channels if len(given) == 3 or pixels > 1 else widths.features
    if operation.kind == "linear":
        columns, units = most * pixels, values["units"]
        if widths.parameters is not None:  # what is wider than the space's limit allows can't come
            columns = max(1, min(columns, widths.parameters // units))
        return (units, columns), (units, given[0])
    kernel, groups, out = (values["kernel"],) * 2, values["groups"], values["channels"]
    used = (out, given[0] // groups, *kernel)
    if groups == given[0] == out:  # depthwise
        return (most, 1, *kernel), used
    return (out, most, *kernel) if groups == 1 else used, used
