"""Architectures and candidates: immutable values without torch, checked when they are made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas_gym.canonical import canonical_operations, is_series
from nas_gym.errors import InvalidArchitectureError
from nas_gym.operations import INPUT, Number, Operation, Shape, are_integers, cost, is_number, number_text

__all__ = ["INPUT", "Architecture", "Candidate", "Operation", "Shape"]


@dataclass(frozen=True)
class Architecture:
    """A network as a graph of operations, in topological order; the last operation is the output.

    Attributes:
        input_shape: ``(channels, height, width)`` or ``(features,)``, without the batch.
        operations: The graph's nodes.

    Raises:
        InvalidArchitectureError: The operations do not form a network; the message names the position.
    """

    input_shape: Shape
    operations: tuple[Operation, ...]
    shapes: tuple[Shape, ...] = field(init=False, compare=False, repr=False)
    parameters: int = field(init=False, compare=False, repr=False)
    macs: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not are_integers(self.input_shape) or len(self.input_shape) not in (1, 3) or min(self.input_shape) < 1:
            raise InvalidArchitectureError(
                "input_shape must be (channels, height, width) or (features,) in positive integers, "
                f"got {self.input_shape}"
            )
        if not isinstance(self.operations, tuple) or not self.operations:
            raise InvalidArchitectureError(f"an architecture needs a tuple of operations, got {self.operations!r}")
        shapes: list[Shape] = []
        parameters = macs = 0
        for position, operation in enumerate(self.operations):
            if not isinstance(operation, Operation) or not operation.is_well_formed():
                raise InvalidArchitectureError(
                    f"operation {position} needs a kind, pairs of a name and a finite number, "
                    f"and a tuple of positions, got {operation!r}"
                )
            inputs = operation.inputs
            if not inputs or max(inputs) >= position or min(inputs) < INPUT:
                raise InvalidArchitectureError(
                    f"operation {position} ({operation}) must take its inputs from -1 (the network's input) "
                    f"to {position - 1}, got {inputs}"
                )
            sources = tuple(self.input_shape if i == INPUT else shapes[i] for i in inputs)
            try:
                spent = cost(operation.kind, operation.settings, sources)
            except InvalidArchitectureError as error:
                raise InvalidArchitectureError(f"operation {position}: {error}") from None
            shapes.append(spent.shape)
            parameters += spent.parameters
            macs += spent.macs
        self.__dict__.update(shapes=tuple(shapes), parameters=parameters, macs=macs)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output without the batch."""
        return self.shapes[-1]

    @cached_property
    def canonical_operations(self) -> tuple[Operation, ...]:
        """The operations of the canonical form (`nas_gym.canonical`); equal for equal networks."""
        return canonical_operations(self.operations, self.shapes, self.input_shape)

    def canonical(self) -> "Architecture":
        """Return the canonical architecture: no dead or idle operations, in canonical order."""
        return Architecture(self.input_shape, self.canonical_operations or (Operation("identity"),))

    @classmethod
    def composed(
        cls,
        input_shape: Shape,
        operations: tuple[Operation, ...],
        shapes: tuple[Shape, ...],
        parameters: int,
        macs: int,
    ) -> "Architecture":
        """Return an architecture made of pieces that were checked before, without checking it again.

        For search spaces that keep checked pieces: the caller vouches for shapes, parameters and MACs.
        """
        architecture = object.__new__(cls)
        architecture.__dict__.update(
            input_shape=input_shape, operations=operations, shapes=shapes, parameters=parameters, macs=macs
        )
        return architecture

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as JSON-ready data."""
        return {
            "input_shape": list(self.input_shape),
            "operations": [
                {"kind": o.kind, "settings": dict(o.settings), "inputs": list(o.inputs)} for o in self.operations
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Architecture":
        """Return the architecture that `to_json` wrote.

        Raises:
            InvalidArchitectureError: The data lack a field or describe no network.
        """
        try:
            operations = tuple(
                Operation(o["kind"], tuple(sorted(o["settings"].items())), tuple(o["inputs"]))
                for o in data["operations"]
            )
            shape = tuple(data["input_shape"])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InvalidArchitectureError(
                f"an architecture in JSON needs input_shape and operations with kind, settings and inputs: {error!r}"
            ) from None
        return cls(shape, operations)


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a complete prefix stands for: an architecture and the training hyper-parameters its space decides.

    Equal are candidates of the same row, or without rows of equal architectures, as written, and hyper-parameters.

    Attributes:
        architecture: The network.
        hyperparameters: Pairs of name and value that override the recipe's, sorted by name.
        row: Of a tabular space: the row of its table. It is the key then, and the network is trained as it is written.
    """

    architecture: Architecture
    hyperparameters: tuple[tuple[str, Number], ...] = ()
    row: str = ""

    def __post_init__(self) -> None:
        if self.hyperparameters:
            names = [name for name, _ in self.hyperparameters]
            if names != sorted(set(names)) or not all(is_number(value) for _, value in self.hyperparameters):
                raise InvalidArchitectureError(
                    f"hyper-parameters need distinct, sorted names and finite numbers, got {self.hyperparameters}"
                )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candidate):
            return NotImplemented
        if self.row or other.row:
            return self.row == other.row
        return (self.architecture, self.hyperparameters) == (other.architecture, other.hyperparameters)

    def __hash__(self) -> int:
        return hash(self.row or (self.architecture, self.hyperparameters))

    @classmethod
    def of(cls, architecture: Architecture, hyperparameters: Mapping[str, Number] | None = None) -> "Candidate":
        """Return the candidate with the hyper-parameters of a mapping."""
        return cls(architecture, tuple(sorted((hyperparameters or {}).items())))

    @cached_property
    def key(self) -> str:
        """32 hex digits, equal exactly for equal networks with equal hyper-parameters; the row where there is one.

        The first 128 bits of the SHA-256 of the canonical form (`nas_gym.canonical`).
        """
        return self.row or self.canonical_key

    @cached_property
    def trained(self) -> Architecture:
        """The architecture that is built and trained: the canonical one, or that of a row as it is written."""
        return self.architecture if self.row else self.architecture.canonical()

    @cached_property
    def canonical_key(self) -> str:
        """The key that the candidate has, or would have if it were no row of a table."""
        operations = self.architecture.canonical_operations
        labels = [operation.label for operation in operations]
        if not is_series(operations):
            for position, operation in enumerate(operations):
                if operation.inputs != (position - 1,):
                    labels[position] += f"<{operation.inputs}"
        decided = ", ".join([f"{name}={number_text(value)}" for name, value in self.hyperparameters])
        parts = [str(self.architecture.input_shape), decided, *labels]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as JSON-ready data."""
        row = {"row": self.row} if self.row else {}
        return {"architecture": self.architecture.to_json(), "hyperparameters": dict(self.hyperparameters)} | row

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | str) -> "Candidate":
        """Return the candidate that `to_json` wrote, from data or from its JSON text.

        Raises:
            InvalidArchitectureError: The data are not a candidate.
        """
        try:
            loaded = json.loads(data) if isinstance(data, str) else data
            architecture, hyperparameters = loaded["architecture"], dict(loaded.get("hyperparameters") or {})
            pairs, row = tuple(sorted(hyperparameters.items())), str(loaded.get("row") or "")
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise InvalidArchitectureError(
                f"a candidate in JSON needs an architecture and perhaps hyperparameters by name: {error!r}"
            ) from None
        return Candidate(Architecture.from_json(architecture), pairs, row)
