"""What is tuned: hyper-parameters with their ranges, as plain values, and those of a recipe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.recipe import Recipe
from nas_gym.operations import Shape

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value: TypeAlias = float | int | str | bool
Values: TypeAlias = dict[str, Value]

_BATCHES = (16, 32, 64, 128, 256, 512)
_BATCHES_PER_EPOCH = 4  # at least so many steps an epoch has


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low: Smallest.
        high: Largest.
        log: Whether they are drawn evenly by their logarithm.
        whole: Whether they are whole.

    Raises:
        ConfigurationError: The ends are not in order, or there is no logarithm of them.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ConfigurationError(f"a range goes from a low to a high end (above 0 if logarithmic), got {self}")

    def clipped(self, value: Value) -> Value:
        """Return the value of the range that is nearest to a number."""
        inside = min(max(float(value), self.low), self.high)
        return round(inside) if self.whole else inside

    def __contains__(self, value: Value) -> bool:
        return not isinstance(value, str) and self.low <= value <= self.high

    def distribution(self) -> "BaseDistribution":
        """Return what Optuna calls it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.low:.3g} … {self.high:.3g}" + (", logarithmic" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """Some values without an order.

    Attributes:
        options: At least one, all different.
    """

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ConfigurationError("a choice needs at least one option, got none")

    def clipped(self, value: Value) -> Value:
        """Return the value if it is an option, else the nearest number, else the first option."""
        if value in self.options:
            return value
        numbers = [option for option in self.options if not isinstance(option, str | bool)]
        if numbers and not isinstance(value, str):
            return min(numbers, key=lambda option: abs(option - value))
        return self.options[0]

    def __contains__(self, value: Value) -> bool:
        return value in self.options

    def distribution(self) -> "BaseDistribution":
        """Return what Optuna calls it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.options)

    def __str__(self) -> str:
        return ", ".join(shown(option) for option in self.options)


@dataclass(frozen=True)
class Space:
    """Hyper-parameters with what they may be.

    Attributes:
        free: Those that are searched, by name.
        fixed: Those that no longer are, with their value.
    """

    free: Mapping[str, Range | Choice]
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Return what Optuna draws from."""
        return {name: domain.distribution() for name, domain in self.free.items()}

    def clipped(self, values: Mapping[str, Value]) -> Values:
        """Return values of the free hyper-parameters as near to these as the space allows."""
        return {name: domain.clipped(values[name]) for name, domain in self.free.items()}

    def complete(self, values: Mapping[str, Value]) -> Values:
        """Return values of all hyper-parameters, from those of the free ones."""
        return {**self.fixed, **{name: values[name] for name in self.free}}

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON-ready data."""
        return {"free": {name: asdict(domain) for name, domain in self.free.items()}, "fixed": dict(self.fixed)}


def recipe_space(recipe: Recipe, input_shape: Shape, n_images: int) -> Space:
    """Return the hyper-parameters of a recipe and their ranges, each holding the recipe's own value.

    Args:
        recipe: How the network is trained without tuning.
        input_shape: Of one sample; what is done to images is tuned where it is one.
        n_images: Training images; a batch is at most a quarter of them.
    """
    batches = [size for size in _BATCHES if size * _BATCHES_PER_EPOCH <= n_images] or [2]
    free: dict[str, Range | Choice] = {
        "learning_rate": _with(Range(1e-3, 1.0, log=True), recipe.learning_rate),
        "batch_size": Choice(tuple(sorted({*batches, min(recipe.batch_size, n_images)}))),
        "weight_decay": _with(Range(1e-6, 1e-2, log=True), recipe.weight_decay),
        "label_smoothing": _with(Range(0.0, 0.3), recipe.label_smoothing),
        "optimizer": Choice(("sgd", "adam")),
    }
    if len(input_shape) == 3:
        side = min(input_shape[1:])
        free["flip"] = Choice((False, True))
        free["crop"] = _with(Range(0, max(1, side // 4), whole=True), recipe.crop)
        free["cutout"] = _with(Range(0, max(1, side // 2), whole=True), recipe.cutout)
    return Space(free)


def shown(value: Value) -> str:
    """Return a value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _with(domain: Range, value: float) -> Range:
    if domain.log and value <= 0:  # no logarithmic range holds it: the lowest value stands for it
        return domain
    return Range(min(domain.low, value), max(domain.high, value), domain.log, domain.whole)


def spread(domain: Range, values: Sequence[Value], margin: float) -> Range:
    """Return the part of a range that holds these values, with a margin on both sides.

    Args:
        domain: The whole range.
        values: Of it, at least one.
        margin: Share of the whole range's width, in its own scale (linear or logarithmic).
    """
    numbers = [float(value) for value in values]
    if domain.log:
        more = (domain.high / domain.low) ** margin
        low, high = min(numbers) / more, max(numbers) * more
    else:
        more = (domain.high - domain.low) * margin
        low, high = min(numbers) - more, max(numbers) + more
    if domain.whole:
        low, high = math.floor(low), math.ceil(high)
    return Range(max(domain.low, low), min(domain.high, high), domain.log, domain.whole)
