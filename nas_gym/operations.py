"""The kinds of operation an architecture is made of: shapes, parameters and multiply-accumulates, without torch.

A new layer starts here: add a row to `KINDS`, then the matching torch module in `nas_gym.builder`.
Shapes leave the batch out: ``(channels, height, width)`` for maps, ``(features,)`` for vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from numbers import Integral

from nas_gym.errors import InvalidArchitectureError

Shape = tuple[int, ...]
Number = int | float
Settings = tuple[tuple[str, Number], ...]
Values = dict[str, Number]

INPUT = -1
REMEMBERED_OPERATIONS = 100_000
LARGEST_NUMBER = 2**53  # up to here integers and floats are the same numbers
ACTIVATIONS = ("relu", "sigmoid", "tanh", "silu", "gelu")
POOLS = ("max_pool", "average_pool")


def number_text(value: Number) -> str:
    """Return a number as text: equal exactly for equal numbers, whether ``3``, ``3.0`` or ``True`` and ``1``."""
    return repr(int(value)) if value == value // 1 else repr(float(value))


def plain_number(value: Number) -> Number:
    """Return a number of any type, numpy's for example, as Python's int or float."""
    return int(value) if isinstance(value, Integral) else float(value)


def is_number(value: object) -> bool:
    """Return whether a value is a plain finite number of a size that JSON and floats keep."""
    return isinstance(value, int | float) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER


def are_integers(values: object) -> bool:
    """Return whether a value is a tuple of plain integers of a size that JSON and floats keep."""
    return isinstance(values, tuple) and all(type(value) is int and is_number(value) for value in values)


@dataclass(frozen=True)
class Operation:
    """One operation of an architecture.

    Attributes:
        kind: A name of `KINDS`.
        settings: Pairs of name and number, sorted by name.
        inputs: Positions of earlier operations; -1 is the network's input.
    """

    kind: str
    settings: Settings = ()
    inputs: tuple[int, ...] = (INPUT,)

    @cached_property
    def label(self) -> str:
        """Kind and settings as text, such as ``dropout(rate=0.2)``: equal exactly where both are equal."""
        return f"{self.kind}({', '.join(f'{name}={number_text(value)}' for name, value in self.settings)})"

    def taking(self, inputs: tuple[int, ...]) -> "Operation":
        """Return the same operation with other inputs."""
        place = (self.label, inputs)
        known = _TAKEN.get(place)
        if known is None:
            if len(_TAKEN) >= REMEMBERED_OPERATIONS:
                _TAKEN.clear()
            known = _TAKEN[place] = Operation(self.kind, self.settings, inputs)
            known.__dict__["label"] = self.label
        return known

    def is_well_formed(self) -> bool:
        """Return whether the fields have the types they should have."""
        return (
            isinstance(self.kind, str)
            and isinstance(self.settings, tuple)
            and all(
                isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and is_number(pair[1])
                for pair in self.settings
            )
            and are_integers(self.inputs)
        )

    def __str__(self) -> str:
        """Return the label, without empty brackets."""
        return self.label.removesuffix("()")


# What `Operation.taking` returned, by label and inputs: the same few operations come back again and again.
_TAKEN: dict[tuple[str, tuple[int, ...]], Operation] = {}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operation gives and takes: its output shape, trainable parameters and MACs for one sample."""

    shape: Shape
    parameters: int = 0
    macs: int = 0


@dataclass(frozen=True, slots=True)
class OperationKind:
    """One kind of operation.

    Attributes:
        cost: From the settings and the input shapes to the `Cost`; raises InvalidArchitectureError.
        settings: Names of the settings the kind needs, no more and no fewer.
        commutative: Whether the order of the inputs is irrelevant.
        many_inputs: Whether it takes two or more inputs rather than exactly one.
        pure: Whether it holds no parameters and draws no random numbers, so that two of them on one input are one.
    """

    cost: Callable[[Values, tuple[Shape, ...]], Cost]
    settings: tuple[str, ...] = ()
    commutative: bool = False
    many_inputs: bool = False
    pure: bool = True


def _map_shape(shapes: tuple[Shape, ...], kind: str) -> tuple[int, int, int]:
    if len(shapes[0]) != 3:
        raise InvalidArchitectureError(
            f"{kind} needs a (channels, height, width) input, got shape {shapes[0]}; "
            "use it before flattening, global pooling and fully connected layers"
        )
    channels, height, width = shapes[0]
    return channels, height, width


def _integer(values: Values, name: str) -> int:
    value = values[name]
    if value != int(value):
        raise InvalidArchitectureError(f"{name} must be an integer, got {value}")
    return int(value)


def _same(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    return Cost(shapes[0])


def _convolution(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    """Return the cost of a convolution with padding ``kernel // 2``."""
    channels, height, width = _map_shape(shapes, "conv")
    out, kernel, stride, groups = (_integer(values, n) for n in ("channels", "kernel", "stride", "groups"))
    if values["bias"] not in (0, 1):
        raise InvalidArchitectureError(f"conv needs bias 0 or 1, got {values['bias']}")
    if min(out, kernel, stride, groups) < 1 or kernel % 2 == 0 or channels % groups or out % groups:
        raise InvalidArchitectureError(
            f"conv needs positive channels, stride and groups, an odd kernel and groups that divide "
            f"{channels} and {out} channels; got kernel {kernel}, stride {stride}, groups {groups}"
        )
    shape = (out, -(-height // stride), -(-width // stride))
    weights = out * (channels // groups) * kernel * kernel
    bias = out if values["bias"] else 0
    return Cost(shape, weights + bias, weights * shape[1] * shape[2])


def _pool(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    """Return the cost of a pooling whose stride is its kernel and whose incomplete windows are dropped."""
    channels, height, width = _map_shape(shapes, "pooling")
    kernel = _integer(values, "kernel")
    if not 1 <= kernel <= min(height, width):
        raise InvalidArchitectureError(
            f"pooling needs a kernel between 1 and the map's size, got kernel {kernel} on {height}×{width}"
        )
    return Cost((channels, height // kernel, width // kernel))


def _smooth(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    """Return the cost of an average over windows of stride 1 that keeps the size of the map."""
    kernel = _integer(values, "kernel")
    if kernel < 1 or kernel % 2 == 0:
        raise InvalidArchitectureError(f"smooth needs an odd kernel, got {kernel}")
    return Cost(_map_shape(shapes, "smooth"))


def _zero(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    shape = tuple(_integer(values, name) for name in ("channels", "height", "width"))
    if min(shape) < 1:
        raise InvalidArchitectureError(f"zero needs positive channels, height and width, got {shape}")
    return Cost(shape)


def _choice(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    return Cost(shapes[0])


def _global_average_pool(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    return Cost((_map_shape(shapes, "global_average_pool")[0],))


def _flatten(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    return Cost((prod(shapes[0]),))


def _linear(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    if len(shapes[0]) != 1:
        raise InvalidArchitectureError(f"linear needs a (features,) input, got shape {shapes[0]}; flatten it first")
    features, units = shapes[0][0], _integer(values, "units")
    if units < 1:
        raise InvalidArchitectureError(f"linear needs at least one unit, got {units}")
    return Cost((units,), features * units + units, features * units)


def _batch_norm(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    return Cost(shapes[0], 2 * shapes[0][0])


def _dropout(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    if not 0 <= values["rate"] < 1:
        raise InvalidArchitectureError(f"dropout needs a rate in [0, 1), got {values['rate']}")
    return Cost(shapes[0])


def _add(values: Values, shapes: tuple[Shape, ...]) -> Cost:
    if len(set(shapes)) != 1:
        raise InvalidArchitectureError(f"add needs inputs of one shape, got {', '.join(map(str, shapes))}")
    return Cost(shapes[0])


KINDS: dict[str, OperationKind] = {
    "identity": OperationKind(_same),
    "conv": OperationKind(_convolution, settings=("bias", "channels", "groups", "kernel", "stride"), pure=False),
    "batch_norm": OperationKind(_batch_norm, pure=False),
    "dropout": OperationKind(_dropout, settings=("rate",), pure=False),
    "max_pool": OperationKind(_pool, settings=("kernel",)),
    "average_pool": OperationKind(_pool, settings=("kernel",)),
    "smooth": OperationKind(_smooth, settings=("kernel",)),
    "zero": OperationKind(_zero, settings=("channels", "height", "width")),
    "choice": OperationKind(_choice, settings=("option", "place"), pure=False),  # of a table whose networks are unknown
    "global_average_pool": OperationKind(_global_average_pool),
    "flatten": OperationKind(_flatten),
    "linear": OperationKind(_linear, settings=("units",), pure=False),
    "add": OperationKind(_add, commutative=True, many_inputs=True),
    **{name: OperationKind(_same) for name in ACTIVATIONS},
}


@lru_cache(maxsize=65_536)
def cost(kind: str, settings: Settings, shapes: tuple[Shape, ...]) -> Cost:
    """Return the output shape, parameters and MACs of one operation.

    MACs follow the usual convention: only the products of convolutions and linear layers count, the
    bias and everything else are free; they equal half of what ``torch.utils.flop_counter`` counts there.

    Raises:
        InvalidArchitectureError: The kind is unknown, a setting is missing or foreign, or a shape does not fit.
    """
    known = KINDS.get(kind)
    if known is None:
        raise InvalidArchitectureError(f"unknown operation {kind!r}; known are {', '.join(sorted(KINDS))}")
    if tuple(name for name, _ in settings) != known.settings:
        raise InvalidArchitectureError(
            f"{kind} takes the settings ({', '.join(known.settings)}) in this order, "
            f"got ({', '.join(name for name, _ in settings)})"
        )
    if (len(shapes) > 1) != known.many_inputs:
        wanted = "two or more inputs" if known.many_inputs else "exactly one input"
        raise InvalidArchitectureError(f"{kind} takes {wanted}, got {len(shapes)}")
    return known.cost(dict(settings), shapes)
