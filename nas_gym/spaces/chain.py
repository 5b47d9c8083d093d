"""The chain space: one decision adds one layer."""

import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Architecture, Candidate, Operation, Shape
from nas_gym.errors import ConfigurationError, OutOfSpaceError
from nas_gym.operations import ACTIVATIONS, Number, plain_number
from nas_gym.spaces.catalogue import Layer, default_catalogue
from nas_gym.spaces.completions import UNLIMITED, Completions, Limits, Need, Piece
from nas_gym.spaces.space import Prefix, Slot

STOP = "stop"
REMEMBERED_STATES = 100_000

# Grids of the hyper-parameters a space can decide; the names are fields of `nas_gym.evaluation.Recipe`.
HYPERPARAMETERS: dict[str, tuple[Number, ...]] = {
    "learning_rate": (0.003, 0.01, 0.03, 0.1, 0.3),
    "batch_size": (32, 64, 128, 256),
    "weight_decay": (0.0, 1e-5, 1e-4, 1e-3),
}


class _State(NamedTuple):
    """Everything about a prefix that its future depends on; `legal` is shared, so it is copied before it leaves."""

    slot: int | None
    shape: Shape
    depth: int
    parameters: int
    macs: int
    legal: NDArray[np.bool_]


class ChainSpace:
    """Networks as chains of layers: the activation first, then layers until *stop*, then hyper-parameters.

    Slots: ``"activation"``, ``"layer 1"`` … ``"layer max_layers"``, then one per hyper-parameter. *Stop* (the last
    choice of a layer slot) leaves the remaining layer slots undecided; after ``max_layers`` layers the chain stops
    by itself. A classifier (global average pooling of a map, then a linear layer) closes every network.

    Masks are exact: an action is legal if and only if a completion within the limits exists (`Completions`).

    Args:
        input_shape: ``(channels, height, width)`` of one sample.
        n_classes: Outputs of the classifier, at least 2.
        catalogue: The layers to choose from; by default `default_catalogue`.
        max_layers: Most layers between input and classifier.
        limits: What every network must keep to.
        hyperparameters: Names of `HYPERPARAMETERS` to decide with their default grids, or a mapping from
            any numeric field of the recipe to its grid.
        activations: The activations to choose from.

    Raises:
        ConfigurationError: A value is out of range, or no network meets the limits.
    """

    def __init__(
        self,
        input_shape: Shape,
        n_classes: int,
        *,
        catalogue: Sequence[Layer] | None = None,
        max_layers: int = 8,
        limits: Limits | None = None,
        hyperparameters: Sequence[str] | Mapping[str, Sequence[Number]] = (),
        activations: Sequence[str] = ACTIVATIONS,
    ) -> None:
        try:
            self.input_shape = tuple(index(size) for size in input_shape)
            self.n_classes, self.max_layers = index(n_classes), index(max_layers)
        except TypeError:
            raise ConfigurationError(
                "input_shape, n_classes and max_layers need integers, "
                f"got {input_shape!r}, {n_classes!r} and {max_layers!r}"
            ) from None
        self.catalogue: tuple[Layer, ...] = tuple(default_catalogue() if catalogue is None else catalogue)
        self.limits = Limits() if limits is None else limits
        self.activations = tuple(activations)
        self.hyperparameters = _grids(hyperparameters)
        self._check()
        self._slots = self._make_slots()
        self._n_actions = max(len(slot.choices) for slot in self._slots)
        self._all = [np.arange(self._n_actions) < len(slot.choices) for slot in self._slots]
        self._none = np.zeros(self._n_actions, dtype=bool)
        self._completions = Completions(self.catalogue, self.n_classes, self.max_layers, self.limits, self._n_actions)
        self._states: dict[Prefix, _State] = {(): _State(0, self.input_shape, 0, 0, 0, self._all[0])}
        self._most = Need(*(min(most or UNLIMITED, UNLIMITED) for most in (self.limits.parameters, self.limits.macs)))
        if not any(n.fits(self._most) for n in self._completions.front(self.input_shape, 0, self.activations[0])):
            raise ConfigurationError(
                f"no network of this catalogue meets {self.limits} with at most {max_layers} layers; raise a limit"
            )

    def _check(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise ConfigurationError(f"input_shape must be (channels, height, width), got {self.input_shape}")
        if self.n_classes < 2 or self.max_layers < 1:
            raise ConfigurationError(
                f"a chain needs at least 2 classes and 1 layer, got {self.n_classes} and {self.max_layers}"
            )
        if self.limits.resolution > min(self.input_shape[1:]):
            raise ConfigurationError(
                f"no map may be smaller than {self.limits.resolution}, yet the input is {self.input_shape}; lower it"
            )
        names = [layer.name for layer in self.catalogue]
        if not names or len(set(names)) != len(names) or STOP in names:
            raise ConfigurationError(
                f"a catalogue needs at least one layer, distinct names and none named {STOP!r}, got {names}"
            )
        if not self.activations or not set(self.activations) <= set(ACTIVATIONS):
            raise ConfigurationError(f"activations must be some of {ACTIVATIONS}, got {self.activations}")
        taken = {"activation", *(f"layer {i}" for i in range(1, self.max_layers + 1))}
        shown = [name.replace("_", " ") for name in self.hyperparameters]
        if len({*shown, *taken}) < len(shown) + len(taken):
            raise ConfigurationError(f"the names of hyper-parameters and of other slots must differ, got {shown}")

    def _make_slots(self) -> tuple[Slot, ...]:
        layers = (*(layer.name for layer in self.catalogue), STOP)
        return (
            Slot("activation", self.activations),
            *(Slot(f"layer {i}", layers) for i in range(1, self.max_layers + 1)),
            *(Slot(n.replace("_", " "), tuple(f"{v:g}" for v in grid)) for n, grid in self.hyperparameters.items()),
        )

    @property
    def name(self) -> str:
        """``chain/1/`` and a digest of everything that decides the candidates."""
        facts = (self.input_shape, self.n_classes, self.catalogue, self.max_layers, self.limits)
        digest = hashlib.sha256(repr((facts, self.hyperparameters, self.activations)).encode()).hexdigest()
        return f"chain/1/{digest[:12]}"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The activation, the layers, the hyper-parameters."""
        return self._slots

    def next_slot(self, prefix: Prefix) -> int | None:
        """Return the slot the next action fills; see `SearchSpace.next_slot`."""
        return self._state(prefix).slot

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        """Return the exact mask of the next actions; see `SearchSpace.legal`."""
        return self._state(prefix).legal.copy()

    def candidate(self, prefix: Prefix) -> Candidate:
        """Return the network of a complete prefix; see `SearchSpace.candidate`."""
        state = self._state(prefix)
        if state.slot is not None:
            undecided = self._slots[state.slot].name
            raise OutOfSpaceError(f"the prefix {prefix} is not complete: {undecided!r} is undecided")
        operations: tuple[Operation, ...] = ()
        shapes: tuple[Shape, ...] = ()
        shape, activation = self.input_shape, self.activations[prefix[0]]
        for action in self._layers(prefix):
            piece = self._completions.layer(action, shape, activation) or _unreachable()
            operations += piece.placed(len(operations))
            shapes += piece.shapes
            shape = shapes[-1]
        closing = self._completions.classifier(shape)
        architecture = Architecture.composed(
            self.input_shape,
            operations + closing.placed(len(operations)),
            shapes + closing.shapes,
            state.parameters + closing.need.parameters,
            state.macs + closing.need.macs,
        )
        if not self.hyperparameters:
            return Candidate(architecture)
        decided = prefix[len(prefix) - len(self.hyperparameters) :]
        return Candidate.of(
            architecture, {n: grid[a] for (n, grid), a in zip(self.hyperparameters.items(), decided, strict=True)}
        )

    def outline(self, prefix: Prefix) -> list[str]:
        """Return what the network is after every decision, such as ``32×14×14 · 9,520 parameters``, or nothing."""
        rows = []
        for end in range(1, len(prefix) + 1):
            state, before = self._state(prefix[:end]), self._state(prefix[: end - 1])
            size = "×".join(map(str, state.shape))
            rows.append(f"{size} · {state.parameters:,} parameters" if state.depth > before.depth else "")
        return rows

    def _layers(self, prefix: Prefix) -> Prefix:
        """Return the catalogue indices of the layers of a legal prefix, *stop* left out."""
        chosen = prefix[1 : 1 + self.max_layers]
        stop = len(self.catalogue)
        return chosen[: chosen.index(stop)] if stop in chosen else chosen

    def _state(self, prefix: Prefix) -> _State:
        state = self._states.get(prefix)
        if state is None:
            state = self._advance(self._state(prefix[:-1]), prefix)
            if len(self._states) > REMEMBERED_STATES:
                self._states = {(): self._states[()]}
            self._states[prefix] = state
        return state

    def _advance(self, state: _State, prefix: Prefix) -> _State:
        slot, action = state.slot, prefix[-1]
        if slot is None:
            raise OutOfSpaceError(f"the prefix {prefix[:-1]} is complete, yet {action} follows it; start a new one")
        if not 0 <= action < self._n_actions or not state.legal[action]:
            choices = self._slots[slot].choices
            allowed = ", ".join(f"{i} ({choices[i]})" for i in np.flatnonzero(state.legal))
            named = f"{action} ({choices[action]})" if 0 <= action < len(choices) else str(action)
            raise OutOfSpaceError(f"{self._slots[slot].name!r} can't be {named} here; allowed are {allowed}")
        shape, depth, parameters, macs = state.shape, state.depth, state.parameters, state.macs
        if not 1 <= slot <= self.max_layers:
            return self._entered(slot + 1, shape, depth, parameters, macs)
        if action == len(self.catalogue):
            return self._entered(1 + self.max_layers, shape, depth, parameters, macs)
        piece = self._completions.layer(action, shape, self.activations[prefix[0]]) or _unreachable()
        need = piece.need
        return self._entered(slot + 1, piece.shapes[-1], depth + 1, parameters + need.parameters, macs + need.macs)

    def _entered(self, slot: int, shape: Shape, depth: int, parameters: int, macs: int) -> _State:
        """Return the state in which this slot is next; after the last one the prefix is complete."""
        if slot >= len(self._slots):
            return _State(None, shape, depth, parameters, macs, self._none)
        if not 1 <= slot <= self.max_layers:
            return _State(slot, shape, depth, parameters, macs, self._all[slot])
        options = self._completions.options(shape, depth, self.activations[0])
        legal = options.within(self._most.parameters - parameters, self._most.macs - macs)
        return _State(slot, shape, depth, parameters, macs, legal)


def _unreachable() -> Piece:
    raise AssertionError("a legal layer always fits its shape")


def _grids(asked: Sequence[str] | Mapping[str, Sequence[Number]]) -> dict[str, tuple[Number, ...]]:
    if isinstance(asked, str):
        asked = (asked,)
    if not isinstance(asked, Mapping):
        unknown = [name for name in asked if name not in HYPERPARAMETERS]
        if unknown:
            raise ConfigurationError(f"hyper-parameters must be some of {list(HYPERPARAMETERS)}, got {unknown}")
        asked = {name: HYPERPARAMETERS[name] for name in asked}
    for name, grid in asked.items():
        if isinstance(grid, str) or not all(isinstance(value, Real) and isfinite(value) for value in grid):
            raise ConfigurationError(f"the grid of {name!r} needs finite numbers, got {grid!r}")
    return {name: tuple(plain_number(value) for value in grid) for name, grid in asked.items()}
