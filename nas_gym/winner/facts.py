"""What an exported model says of itself: plain facts, written into its file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas_gym.errors import ExportError
from nas_gym.winner.predict import SCHEMA

CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is written into an exported model, beside its network.

    Attributes:
        class_names: One per output, in order; at least two, distinct.
        input_shape: Of one image, (channels, height, width).
        mean: Of each channel, pixels scaled to 0..1: what the model normalises by.
        std: Standard deviations, likewise, above zero.
        key: Of the candidate (`nas_gym.architecture.Candidate.key`); empty where there is none.
        weights: Of the winner that the model was made of, `nas_gym.winner.result.Winner.digest`; empty: not known.
        dataset: Name of the data set.
        variant: Which form of the network this is, such as ``"plain"``, ``"pruned"`` or ``"int8"``.
        metrics: What is known of it, JSON-ready.
        versions: Of what made it.

    Raises:
        ExportError: The fields do not fit together.
    """

    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    key: str = ""
    weights: str = ""
    dataset: str = ""
    variant: str = "plain"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise ExportError(
                f"models are exported for images of (channels, height, width), got samples of shape {self.input_shape}"
            )
        if len(self.class_names) < 2 or len(set(self.class_names)) != len(self.class_names):
            raise ExportError(f"a model needs at least 2 distinct class names, got {list(self.class_names)}")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if not len(self.mean) == len(self.std) == self.input_shape[0] or not finite or min(self.std) <= 0:
            raise ExportError(
                f"a model of {self.input_shape[0]} channels needs as many means and deviations above zero, "
                f"got {self.mean} and {self.std}"
            )

    @property
    def size(self) -> str:
        """Kind and size of an image in words, such as ``"RGB, 32×32 pixels (width × height)"``."""
        channels, height, width = self.input_shape
        kind = CHANNELS.get(channels, f"{channels} channels")
        return f"{kind}, {width}×{height} pixels (width × height)"

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON-ready data, with what the numbers of inputs and outputs are."""
        channels, height, width = self.input_shape
        return {
            "schema": SCHEMA,
            "class_names": list(self.class_names),
            "input_shape": list(self.input_shape),
            "pixels": f"float32 in 0..255, (n, {channels}, {height}, {width}), {CHANNELS.get(channels, 'as trained')}",
            "preprocessing": "inside the model: (pixels / 255 - mean) / std for each channel",
            "mean": list(self.mean),
            "std": list(self.std),
            "outputs": "logits and probabilities (their softmax), float32 (n, classes)",
            "key": self.key,
            "weights": self.weights,
            "dataset": self.dataset,
            "variant": self.variant,
            "metrics": dict(self.metrics),
            "versions": dict(self.versions),
        }
