"""What an inspection comes to: parts with numbers, pictures and their sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas_gym.winner.inspection.layers import LayerImportance


@dataclass(frozen=True, eq=False)
class Part:
    """One of the questions of an inspection.

    Attributes:
        name: Of its numbers in ``inspection.json``.
        title: Of its section.
        numbers: JSON-ready.
        pictures: By file name: the PNG, and the sentence that says what is seen.
        files: Other files, by name.
        layers: What layers are worth, where that was the question.
    """

    name: str
    title: str
    numbers: Any
    pictures: Mapping[str, tuple[bytes, str]]
    files: Mapping[str, bytes] = field(default_factory=dict)
    layers: tuple[LayerImportance, ...] = ()


@dataclass(frozen=True, eq=False)
class Measured:
    """All that was found.

    Attributes:
        accuracy: On the test samples that were looked at.
        images: How many these are.
        parts: In the order in which they are told.
    """

    accuracy: float
    images: int
    parts: tuple[Part, ...]
