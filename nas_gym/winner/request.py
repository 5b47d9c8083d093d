"""What a retraining is asked for: everything that decides it, as JSON-ready data."""

import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nas_gym.data.named import known_name
from nas_gym.errors import ConfigurationError

DEFAULT_MINUTES = 10.0
WIDEST = 6.0  # that "auto" chooses


@dataclass(frozen=True, kw_only=True)
class Request:
    """A retraining.

    Attributes:
        top: How many of the best networks of the search the winner is named among.
        repeats: Trainings of each of them at full fidelity, those of the search included.
        minutes: Wall-clock time of all of it; None: as long as the epochs take, or 10 where there are none.
        epochs: Of a training; None: as many as fit into the time.
        seeds: Trainings of the winner, with seeds 0, 1, …
        also: Sources of more images; relative paths are made absolute.
        width: Factor of the winner's channels; ``"auto"``: the largest that the time is enough for.
        depth: How many residual blocks stand where the winner has one.
        recipe: Settings of the training that differ from `nas_gym.winner.long_recipe`.

    Raises:
        ConfigurationError: A value is out of range.
    """

    top: int = 3
    repeats: int = 3
    minutes: float | None = None
    epochs: int | None = None
    seeds: int = 1
    also: tuple[str, ...] = ()
    width: float | Literal["auto"] = 1.0
    depth: int = 1
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("top", "repeats", "seeds", "depth"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is a whole number, at least 1, got {getattr(self, name)}")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigurationError(f"epochs is a whole number, at least 1, got {self.epochs}")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise ConfigurationError(f"minutes is a time above 0, got {self.minutes:g}")
        if self.width != "auto" and not 0 < self.width < 100:
            raise ConfigurationError(f"width is auto or a factor above 0 and below 100, got {self.width}")
        if self.minutes is None and self.epochs is None:
            object.__setattr__(self, "minutes", DEFAULT_MINUTES)
        if self.width == "auto" and self.minutes is None:
            raise ConfigurationError("width auto is chosen by the time there is: add --minutes, or name a width")
        object.__setattr__(self, "also", tuple(_absolute(source) for source in self.also))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data."""
        data: dict[str, Any] = asdict(self) | {"also": list(self.also), "recipe": dict(self.recipe)}
        return data

    @property
    def digest(self) -> str:
        """12 hex digits that differ for different requests."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]


def _absolute(source: str) -> str:
    """Return a source of images with its paths made absolute; the name of a known data set stays as it is."""
    if known_name(source) is not None:
        return source
    parts = [part.strip() for part in source.split(",")]
    paths = all("/" in part or glob.has_magic(part) or Path(part).exists() for part in parts)
    return ",".join(str(Path(part).expanduser().absolute()) for part in parts) if paths else source
