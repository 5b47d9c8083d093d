"""What a tuning is asked for, and what of it decides the trials."""

from dataclasses import asdict, dataclass
from typing import Any

from nas_gym.errors import ConfigurationError

TRIALS = 40
LEAST_EPOCHS = 8
LEAST_TRIALS = 10  # five of the broad stage, which importances need


@dataclass(frozen=True, kw_only=True)
class TuningRequest:
    """A tuning.

    Attributes:
        trials: Full trainings that the budget of both stages is worth; what pruning saves buys more trials.
        minutes: Wall-clock time instead of trials, confirmation included; how much fits is measured once. None: trials
            decide.
        epochs: Of one training; None: those of the search, at least 8.
        broad: Share of the budget for the first stage.
        top: Of how many of the best recipes the tuned one is chosen by new trainings; 0: none, the best trial is it.
        repeats: New trainings of each of them, and of the recipe without tuning.
        seed: Of everything that is drawn.

    Raises:
        ConfigurationError: A value is out of range.
    """

    trials: int = TRIALS
    minutes: float | None = None
    epochs: int | None = None
    broad: float = 0.5
    top: int = 3
    repeats: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < LEAST_TRIALS:
            raise ConfigurationError(f"trials is a whole number, at least {LEAST_TRIALS}, got {self.trials}")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise ConfigurationError(f"minutes is a time above 0, got {self.minutes:g}")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigurationError(f"epochs is a whole number, at least 1, got {self.epochs}")
        if not 0.1 <= self.broad <= 0.9:
            raise ConfigurationError(f"broad is a share from 0.1 to 0.9, got {self.broad:g}")
        if self.top < 0 or self.repeats < 2:
            raise ConfigurationError(
                f"top is a whole number, at least 0, and repeats one of at least 2, got {self.top} and {self.repeats}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data."""
        return asdict(self)
