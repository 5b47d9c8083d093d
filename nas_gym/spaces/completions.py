"""What completions of a chain take: the memoised search behind exact masks."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Operation, Shape
from nas_gym.errors import ConfigurationError, InvalidArchitectureError
from nas_gym.operations import cost, plain_number
from nas_gym.spaces.catalogue import Layer

UNLIMITED = 2**62
IMPOSSIBLE = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """What every network of a space must keep to; None means no limit.

    Attributes:
        parameters: Most trainable parameters.
        macs: Most multiply-accumulates for one sample.
        resolution: Smallest height and width of any map.
        min_layers: Fewest layers before *stop* is legal.
    """

    parameters: int | None = None
    macs: int | None = None
    resolution: int = 1
    min_layers: int = 1

    def __post_init__(self) -> None:
        for name in ("parameters", "macs"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float | np.number) and value >= 1):
                raise ConfigurationError(f"the limit on {name} must be positive or None, got {value!r}")
        for name, least in (("resolution", 1), ("min_layers", 0)):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and value >= least):
                raise ConfigurationError(f"the limit on {name} must be at least {least}, got {value!r}")


class Need(NamedTuple):
    """What something takes, in parameters and MACs."""

    parameters: int
    macs: int

    def fits(self, left: "Need") -> bool:
        """Return whether both fit into what is left."""
        return self.parameters <= left.parameters and self.macs <= left.macs


class Piece(NamedTuple):
    """A layer, or the classifier, on one shape: its operations as if it came first, their shapes and its cost."""

    operations: tuple[Operation, ...]
    shapes: tuple[Shape, ...]
    need: Need
    places: dict[int, tuple[Operation, ...]]  # what `placed` returned; shared by all pieces with these operations

    def placed(self, start: int) -> tuple[Operation, ...]:
        """Return the operations when the first one has position ``start``."""
        known = self.places.get(start)
        if known is None:
            known = tuple([o.taking(tuple([i + start for i in o.inputs])) for o in self.operations])
            self.places[start] = known
        return known


class Options:
    """The layer choices at one shape and depth.

    Args:
        needs: For every action the Pareto front of what it and its cheapest completions take; empty: impossible.
        n_actions: Length of the masks.
    """

    def __init__(self, needs: Sequence[tuple[Need, ...]], n_actions: int) -> None:
        self.needs = tuple(needs)
        self._n_actions = n_actions
        self._parameters = sorted({need.parameters for front in needs for need in front})
        self._cases: dict[int, tuple[list[int], list[NDArray[np.bool_]]]] = {}

    def within(self, parameters: int, macs: int) -> NDArray[np.bool_]:
        """Return the mask of the actions that some completion within what is left follows: bool, (n_actions,), shared.

        What fits changes only at the needs' own numbers, so that each of the few cases is computed once.
        """
        case = bisect_right(self._parameters, parameters)
        known = self._cases.get(case)
        if known is None:
            known = self._cases[case] = self._by_macs(parameters)
        steps, masks = known
        return masks[bisect_right(steps, macs)]

    def _by_macs(self, parameters: int) -> tuple[list[int], list[NDArray[np.bool_]]]:
        """Return where the mask changes as MACs rise while this many parameters are left, and the masks between."""
        fewest = np.full(self._n_actions, IMPOSSIBLE, dtype=np.int64)
        for action, front in enumerate(self.needs):
            fewest[action] = min((need.macs for need in front if need.parameters <= parameters), default=IMPOSSIBLE)
        steps = sorted(set(fewest.tolist()) - {IMPOSSIBLE})
        return steps, [fewest <= most for most in (-1, *steps)]


class Completions:
    """Everything that can follow a shape at a depth.

    Parameters and MACs add up along a chain, so what a completion takes does not depend on how its beginning
    came about: for every (shape, depth) the Pareto front of (parameters, MACs) over all completions is exact.
    Parameters alone would not be monotone, since pooling can shrink a later fully connected layer.

    Args:
        catalogue: The layers; action ``len(catalogue)`` is *stop*.
        n_classes: Outputs of the classifier.
        max_layers: Most layers.
        limits: Resolution and min_layers shape the tree; parameters and MACs are left to `Options.within`.
        n_actions: Length of the masks.
    """

    def __init__(
        self, catalogue: Sequence[Layer], n_classes: int, max_layers: int, limits: Limits, n_actions: int
    ) -> None:
        self._catalogue = catalogue
        self._n_classes = n_classes
        self._max_layers = max_layers
        self._limits = limits
        self._n_actions = n_actions
        self._pieces: dict[tuple[int, Shape, str], Piece | None] = {}
        self._places: dict[tuple[Operation, ...], dict[int, tuple[Operation, ...]]] = {}
        self._options: dict[tuple[Shape, int], Options] = {}

    def layer(self, action: int, shape: Shape, activation: str) -> Piece | None:
        """Return a layer on a shape, or None where it does not fit or shrinks a map below the limit."""
        place = (action, shape, activation)
        if place not in self._pieces:
            piece = self._make_piece(self._catalogue[action].steps(shape, activation), shape)
            smallest = self._limits.resolution
            small = piece is not None and any(min(s[1:]) < smallest for s in piece.shapes if len(s) == 3)
            self._pieces[place] = None if small else piece
        return self._pieces[place]

    def classifier(self, shape: Shape) -> Piece:
        """Return what closes a network: global average pooling of a map, and a linear layer."""
        place = (-1, shape, "")
        piece = self._pieces.get(place)
        if piece is None:
            linear = ("linear", (("units", self._n_classes),), (0 if len(shape) == 1 else 1,))
            piece = self._make_piece(
                [linear] if len(shape) == 1 else [("global_average_pool", (), (0,)), linear], shape
            )
            assert piece is not None, "a classifier fits any shape"
            self._pieces[place] = piece
        return piece

    def options(self, shape: Shape, depth: int, activation: str) -> Options:
        """Return the layer choices after ``depth`` layers; the activation changes no cost."""
        place = (shape, depth)
        if place not in self._options:
            self._options[place] = self._make_options(shape, depth, activation)
        return self._options[place]

    def _make_options(self, shape: Shape, depth: int, activation: str) -> Options:
        needs: list[tuple[Need, ...]] = []
        for action in range(len(self._catalogue)):
            piece = self.layer(action, shape, activation)
            front = self.front(piece.shapes[-1], depth + 1, activation) if piece else ()
            needs.append(tuple(_sum(piece.need, need) for need in front) if piece else ())
        needs.append((self.classifier(shape).need,) if depth >= self._limits.min_layers else ())
        return Options(needs, self._n_actions)

    def front(self, shape: Shape, depth: int, activation: str) -> tuple[Need, ...]:
        """Return the Pareto front of what completions take after ``depth`` layers, sorted by parameters."""
        if depth == self._max_layers:
            return (self.classifier(shape).need,) if depth >= self._limits.min_layers else ()
        needs = self.options(shape, depth, activation).needs
        front: list[Need] = []
        for need in sorted({need for options in needs for need in options}):
            if not front or need.macs < front[-1].macs:
                front.append(need)
        return tuple(front)

    def _make_piece(
        self, steps: Sequence[tuple[str, tuple[tuple[str, int | float], ...], tuple[int, ...]]], shape: Shape
    ) -> Piece | None:
        shapes: list[Shape] = [shape]
        need = Need(0, 0)
        try:
            for kind, settings, inputs in steps:
                spent = cost(kind, settings, tuple(shapes[i] for i in inputs))
                shapes.append(spent.shape)
                need = _sum(need, Need(spent.parameters, spent.macs))
        except InvalidArchitectureError:
            return None
        operations = tuple(
            Operation(
                kind, tuple((name, plain_number(value)) for name, value in settings), tuple(i - 1 for i in inputs)
            )
            for kind, settings, inputs in steps
        )
        return Piece(operations, tuple(shapes[1:]), need, self._places.setdefault(operations, {}))


def _sum(one: Need, other: Need) -> Need:
    return Need(one.parameters + other.parameters, one.macs + other.macs)
