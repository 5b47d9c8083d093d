"""What a compression is asked for: everything that decides it, as JSON-ready data."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from nas_gym.errors import ConfigurationError

DEFAULT_MINUTES = 10.0
DEFAULT_RATIOS = (0.25, 0.5, 0.7)
LARGEST_RATIO = 0.95


@dataclass(frozen=True, kw_only=True)
class Request:
    """A compression.

    Attributes:
        ratios: Shares of the channels that are pruned, one variant each; ascending, distinct, above 0, at most 0.95.
        minutes: Wall-clock time of all trainings; None: as long as the epochs take, or 10 where there are none.
        epochs: Of the fine-tuning of a pruned network (a student gets three times as many); None: as many as fit.
        students: How many smaller networks of the search learn from the winner.
        quantise: Whether every variant is made in int8 too.
        points: Loss of accuracy on validation images, in points (hundredths), up to which a variant may be chosen.
        temperature: Of the distillation, above 0.
        teacher_weight: Share of the teacher in the loss, in [0, 1].
        calibration_images: Training images from which the ranges of int8 are taken.
        threads: Of ONNX Runtime, where latency is measured.
        seed: Of all trainings.

    Raises:
        ConfigurationError: A value is out of range.
    """

    ratios: tuple[float, ...] = DEFAULT_RATIOS
    minutes: float | None = None
    epochs: int | None = None
    students: int = 2
    quantise: bool = True
    points: float = 1.0
    temperature: float = 4.0
    teacher_weight: float = 0.9
    calibration_images: int = 512
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(sorted(float(ratio) for ratio in self.ratios)))
        for ratio in self.ratios:
            if not 0 < ratio <= LARGEST_RATIO:
                raise ConfigurationError(
                    f"a ratio is the share of channels to prune, above 0 and at most {LARGEST_RATIO}, got {ratio:g}"
                )
        if len({variant_name(ratio) for ratio in self.ratios}) != len(self.ratios):
            raise ConfigurationError(
                f"every ratio comes once, in whole percent, got {', '.join(map(str, self.ratios))}"
            )
        for name, least in (("epochs", 1), ("students", 0), ("calibration_images", 1), ("threads", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"{name} is a whole number, at least {least}, got {value}")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise ConfigurationError(f"minutes is a time above 0, got {self.minutes:g}")
        if not 0 <= self.points < 100:
            raise ConfigurationError(f"points of accuracy that may be lost lie in [0, 100), got {self.points:g}")
        if not (0 < self.temperature < math.inf and 0 <= self.teacher_weight <= 1):
            raise ConfigurationError(
                "a distillation needs a temperature above 0 and a teacher's weight in [0, 1], "
                f"got {self.temperature:g} and {self.teacher_weight:g}"
            )
        if not (self.ratios or self.students or self.quantise):
            raise ConfigurationError("nothing is left to do: name a ratio, or leave out --no-distil or --no-int8")
        if self.minutes is None and self.epochs is None:
            object.__setattr__(self, "minutes", DEFAULT_MINUTES)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data."""
        return asdict(self) | {"ratios": list(self.ratios)}


def variant_name(ratio: float) -> str:
    """Return the name of a network that is pruned by a ratio, such as ``"pruned-50"``."""
    return f"pruned-{round(100 * ratio):02d}"


def digest(*facts: Any) -> str:
    """Return 12 hex digits that differ for different JSON-ready facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
