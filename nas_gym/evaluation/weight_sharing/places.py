"""Which operations share weights: every weighted operation of a network has a place among the shared weights.

Networks share by *layer and kind of operation* (kernel, stride, what is around it). What counts as layer is how many
layers with weights come before (one convolution, one linear layer, or everything around which an addition leads; a
depthwise convolution counts together with what follows it), not the slot of the decision: equal networks can differ in
the slots of their poolings and dropouts, and equal networks must score equal. So places are read off the canonical
form, and every candidate has them, however it was made. Activations have no part in a place.

Shared weights are as wide as the widest that can come, and what is narrower uses their first channels, of the output as
of the input (slimmable networks, Yu et al. 2019, arXiv 1812.08928, section 3; once-for-all, Cai et al. 2020, arXiv
1908.09791, section 3). A linear layer, the classifier too, has weights of its own for every number of pixels of the
flattened map that it reads, 1 for an averaged one, and for reading another linear layer; since flattening goes channel
by channel, the first features are the first channels too.

What reads a layer can't know which operation is there, so operations should say the same in the same channels. That is
left to training, but the convolutions of a layer begin alike: their first values are parts of one tensor, smaller
kernels being the middle of larger ones as in once-for-all (section 3).
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
        origin: Seeds the first values.
        shape: Of the shared weight; the shared bias is as long as its first side.
        used: Of the part of the weight that the operation uses: the first entries of every side.
    """

    position: int
    name: str
    origin: str
    shape: tuple[int, ...]
    used: tuple[int, ...]


@dataclass(frozen=True)
class Widths:
    """How wide weights can be in a space.

    Attributes:
        first: Channels of the space's input.
        channels: Most channels of any map.
        units: Most units of any linear layer, the classifier left out.
        kernel: Largest kernel of any convolution.
    """

    first: int
    channels: int
    units: int
    kernel: int

    @classmethod
    def of(cls, space: ChainSpace) -> "Widths":
        """Return the widths of a space, from every layer on every shape that can come."""
        reached, frontier = {space.input_shape}, {space.input_shape}
        channels, units, kernel = space.input_shape[0], 1, 1
        for _ in range(space.max_layers):
            found = set()
            for made, shape, is_last in _outcomes(space.catalogue, frontier, space.activations[0]):
                channels = max(channels, shape[0]) if len(shape) == 3 else channels
                units = max(units, shape[0]) if made.kind == "linear" else units
                kernel = max(kernel, int(dict(made.settings)["kernel"])) if made.kind == "conv" else kernel
                found |= {shape} if is_last else set()
            frontier = found - reached
            reached |= frontier
        return cls(space.input_shape[0], channels, units, kernel)


def _outcomes(layers: Sequence[Layer], shapes: set[Shape], activation: str) -> Iterator[tuple[Operation, Shape, bool]]:
    """Yield every operation of every layer that fits a shape, its output shape, and whether it is the layer's last."""
    for shape in shapes:
        for layer in layers:
            steps, made = layer.steps(shape, activation), [shape]
            try:
                for kind, settings, inputs in steps:
                    made.append(cost(kind, settings, tuple(made[i] for i in inputs)).shape)
            except InvalidArchitectureError:
                continue
            for position, (kind, settings, _) in enumerate(steps, start=1):
                yield Operation(kind, settings), made[position], position == len(steps)


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
            origin = f"layer {layer} conv" if labels[number].startswith("conv") and number == 0 else name
            on_input = layer == 1 and architecture.operations[i].inputs[0] < segment.start
            shape, used = _sides(architecture, i, pixels[i], widths, on_input)
            found.append(Place(i, name, origin, shape, used))
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
    """Return for every operation how many values of its input come from one channel of a map; 0: from a unit."""
    after: dict[int, int] = {INPUT: 1}
    before = []
    for position, operation in enumerate(architecture.operations):
        source = operation.inputs[0]
        before.append(after[source])
        after[position] = 0 if operation.kind == "linear" else after[source]
        if operation.kind == "flatten":
            after[position] = prod(_shape(architecture, source)[1:])
    return before


def _shape(architecture: Architecture, position: int) -> Shape:
    return architecture.input_shape if position == INPUT else architecture.shapes[position]


def _label(architecture: Architecture, position: int, pixels: int) -> str:
    operation = architecture.operations[position]
    if operation.kind == "batch_norm":
        return f"bn of {pixels}" if pixels > 1 else "bn"
    if operation.kind == "linear":
        role = "classifier" if position == len(architecture.operations) - 1 else "linear"
        read = f"maps of {pixels} pixels" if pixels else "units"
        return f"{role} of {read}"
    values = dict(operation.settings)
    shown = f"{values['kernel']}/{values['stride']} bias {values['bias']}"
    channels = _shape(architecture, operation.inputs[0])[0]
    if values["groups"] == channels == values["channels"]:
        return f"depthwise {shown}"
    grouped = "" if values["groups"] == 1 else f" {values['channels']} of {channels} in {values['groups']}"
    return f"conv{grouped} {shown}"


def _sides(
    architecture: Architecture, position: int, pixels: int, widths: Widths, on_input: bool
) -> tuple[Shape, Shape]:
    """Return the sides of the shared weight and of the part of it that an operation uses."""
    operation = architecture.operations[position]
    given = _shape(architecture, operation.inputs[0])
    values = {setting: int(value) for setting, value in operation.settings}
    most = widths.first if on_input else widths.channels
    shape: Shape
    used: Shape
    if operation.kind == "batch_norm":
        shape, used = (max(widths.channels * pixels, widths.units),), given[:1]
    elif operation.kind == "linear":
        is_classifier = position == len(architecture.operations) - 1
        rows = values["units"] if is_classifier else widths.units
        shape, used = (rows, most * pixels or widths.units), (values["units"], given[0])
    else:
        groups, out, kernel = values["groups"], values["channels"], (values["kernel"],) * 2
        used = (out, given[0] // groups, *kernel)
        shape = (widths.channels, most, *kernel) if groups == 1 else used
        if groups == given[0] == out:  # depthwise
            shape = (most, 1, *kernel)
    if values.get("kernel", 0) > widths.kernel or any(part > all_ for part, all_ in zip(used, shape, strict=True)):
        raise OutOfSpaceError(
            f"operation {position} ({operation}) on {given} is larger than any of the supernet's space; "
            "evaluate candidates of that space"
        )
    return shape, used
