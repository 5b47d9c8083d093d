"""Search small, train large: the same network with wider layers and repeated residual blocks.

A search space limits its networks so that many of them can be trained. For the final training the best one may be made
larger in the two ways in which Zoph et al. 2018 (arXiv 1707.07012, section 3) make the cells of their search larger:
more filters in every layer, and more repetitions of what repeats. What comes out is another network than the search
evaluated, with other parameters and MACs, and is recorded as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, gcd

from nas_gym.architecture import Architecture, Operation
from nas_gym.errors import ConfigurationError, InvalidArchitectureError
from nas_gym.operations import ACTIVATIONS, INPUT, Shape

_AT_ONCE = 8  # channels that a CPU's vector units compute at once: widths are multiples of it
_PASSED = {"dropout", "batch_norm", "identity", "flatten", *ACTIVATIONS}  # as many values out as in


@dataclass(frozen=True)
class Block:
    """A residual block of an architecture.

    Attributes:
        end: Position of what the next layer reads: the addition, or the activation that alone reads it.
        kernel: Of the convolution before the addition.
        activation: The activation after the addition; empty: none.
        normalised: Whether its convolution is followed by batch normalisation.
    """

    end: int
    kernel: int
    activation: str
    normalised: bool


def scaled(architecture: Architecture, *, width: float = 1.0, depth: int = 1) -> Architecture:
    """Return an architecture with wider layers and repeated residual blocks.

    Args:
        architecture: As it was searched.
        width: Factor of the channels of every convolution and of the units of every linear layer but those that make
            the output; rounded to a multiple of 8. Depthwise convolutions stay depthwise, other groups as many.
        depth: How many blocks stand where there is one residual block: the others follow it, each with its width,
            its kernel and the identity as its shortcut (He et al. 2016, arXiv 1512.03385, section 3.3).

    Raises:
        ConfigurationError: The network can't be scaled so.
    """
    if not 0 < width < 100 or not 1 <= depth < 100:
        raise ConfigurationError(f"a width lies between 0 and 100 and a depth from 1 to 99, got {width} and {depth}")
    try:
        wide = architecture if width == 1 else _wider(architecture, width)
        return wide if depth == 1 else _deeper(wide, depth)
    except InvalidArchitectureError as error:
        raise ConfigurationError(
            f"the network can't be scaled by width {width:g} and depth {depth} ({error}); retrain it as it is"
        ) from None


def residual_blocks(architecture: Architecture) -> list[Block]:
    """Return the residual blocks: additions of a shortcut and of a path that ends with a convolution, in order."""
    operations = architecture.operations
    found = []
    for position, operation in enumerate(operations):
        last = _last_convolution(operations, operation.inputs) if operation.kind == "add" else None
        if last is not None:
            readers = [i for i, other in enumerate(operations) if position in other.inputs]
            activated = len(readers) == 1 and operations[readers[0]].kind in ACTIVATIONS
            kernel = int(dict(operations[last].settings)["kernel"])
            normalised = last + 1 < len(operations) and operations[last + 1].kind == "batch_norm"
            end = readers[0] if activated else position
            found.append(Block(end, kernel, operations[end].kind if activated else "", normalised))
    return found


def _last_convolution(operations: Sequence[Operation], inputs: tuple[int, ...]) -> int | None:
    """Return the convolution with the largest kernel that one of the inputs comes from, past its normalisation."""
    found = []
    for place in inputs:
        while place != INPUT and operations[place].kind == "batch_norm":
            place = operations[place].inputs[0]
        if place != INPUT and operations[place].kind == "conv" and dict(operations[place].settings)["groups"] == 1:
            found.append(place)
    return max(found, key=lambda place: (dict(operations[place].settings)["kernel"], place), default=None)


def _wider(architecture: Architecture, width: float) -> Architecture:
    operations, made = architecture.operations, _of_the_output(architecture)
    new: list[Operation] = []
    channels: list[int] = []  # of what every operation returns, in the wider network
    for position, operation in enumerate(operations):
        before = [_channels(architecture, i) for i in operation.inputs]
        given = [_channels(architecture, i) if i == INPUT else channels[i] for i in operation.inputs]
        settings = dict(operation.settings)
        if operation.kind == "conv" and position not in made:
            settings |= _wider_convolution(settings, before[0], given[0], width)
        elif operation.kind == "linear" and position not in made:
            settings["units"] = _rounded(int(settings["units"]) * width, _AT_ONCE)
        elif operation.kind == "zero":
            settings["channels"] = _rounded(int(settings["channels"]) * width, _AT_ONCE)
        new.append(Operation(operation.kind, tuple(sorted(settings.items())), operation.inputs))
        channels.append(Architecture(architecture.input_shape, tuple(new)).shapes[-1][0])
    return Architecture(architecture.input_shape, tuple(new))


def _wider_convolution(settings: dict[str, int | float], before: int, given: int, width: float) -> dict[str, int]:
    groups, out = int(settings["groups"]), int(settings["channels"])
    if groups == before and groups > 1:  # depthwise: as many filters for every channel as it had
        return {"groups": given, "channels": given * (out // before)}
    return {"channels": _rounded(out * width, _AT_ONCE * groups // gcd(_AT_ONCE, groups))}


def _rounded(value: float, multiple: int) -> int:
    """Return the nearest multiple, at least one of it; halves are rounded up."""
    return max(1, int(value / multiple + 0.5)) * multiple


def _channels(architecture: Architecture, position: int) -> int:
    shape: Shape = architecture.input_shape if position == INPUT else architecture.shapes[position]
    return shape[0]


def _of_the_output(architecture: Architecture) -> set[int]:
    """Return the positions of the layers whose width is that of the output."""
    found: set[int] = set()
    waiting = [len(architecture.operations) - 1]
    while waiting:
        position = waiting.pop()
        if position == INPUT:
            continue
        operation = architecture.operations[position]
        if operation.kind in ("conv", "linear"):
            found.add(position)
        elif operation.kind in _PASSED or operation.kind in ("add", "global_average_pool"):
            waiting.extend(operation.inputs)
    return found


def _deeper(architecture: Architecture, depth: int) -> Architecture:
    blocks = {block.end: block for block in residual_blocks(architecture)}
    if not blocks:
        raise ConfigurationError("a depth repeats residual blocks, and the network has none; give it a width instead")
    new: list[Operation] = []
    moved = {INPUT: INPUT}
    for position, operation in enumerate(architecture.operations):
        new.append(operation.taking(tuple(moved[i] for i in operation.inputs)))
        moved[position] = len(new) - 1
        if position in blocks:
            for _ in range(depth - 1):
                new += _repetition(blocks[position], architecture.shapes[position][0], len(new) - 1)
            moved[position] = len(new) - 1
    return Architecture(architecture.input_shape, tuple(new))


def _repetition(block: Block, channels: int, source: int) -> list[Operation]:
    """Return the operations of one more block that reads a position and stands right behind it."""
    new: list[Operation] = []

    def then(kind: str, inputs: tuple[int, ...] = (), **settings: int) -> None:
        place = source + len(new)
        new.append(Operation(kind, tuple(sorted(settings.items())), inputs or (place,)))

    def convolution() -> None:
        bias = int(not block.normalised)
        then("conv", channels=channels, kernel=block.kernel, stride=1, groups=1, bias=bias)
        if block.normalised:
            then("batch_norm")

    convolution()
    then(block.activation or "relu")
    convolution()
    then("add", (source, source + len(new)))
    if block.activation:
        then(block.activation)
    return new


def widths(most: float, step: float = 0.25) -> list[float]:
    """Return the widths that are tried to fill a time: from 1 to the most, in steps."""
    return [1 + i * step for i in range(ceil((most - 1) / step - 1e-9) + 1) if 1 + i * step <= most + 1e-9]
