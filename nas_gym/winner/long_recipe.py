"""How the winner is trained: the recipe of the search, made for a long training."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.recipe import SMALL_INPUT, Recipe, is_flag
from nas_gym.operations import Number, Shape

_SEARCH_ONLY = ("epochs", "hopeless_after", "hopeless_below", "time_limit_seconds")
_PHOTO = 24  # pixels of a side from which images are cut as photographs are
_CUTOUT_EPOCHS = 20  # from which a training is long enough for cutout to help rather than to slow down
_FEWEST_STEPS = 12  # that an epoch has: a few images would get as few steps, however many epochs
_SMALLEST_BATCH = 8  # below, batch normalisation knows little of the images
AVERAGED_STEPS = 0.01  # of all steps: over about so many the weights are averaged


@dataclass(frozen=True, kw_only=True)
class LongRecipe:
    """A training of the winner.

    Attributes:
        recipe: Settled; its schedule is one-cycle: a linear rise, then half a cosine down to zero.
        average_decay: Of the exponential moving average of the weights that the winner keeps; 0: its last weights.
        flip_at_test: Whether the outputs for an image and for its mirror image are averaged on test images.
    """

    recipe: Recipe
    average_decay: float
    flip_at_test: bool

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-ready data."""
        return {**asdict(self.recipe), "average_decay": self.average_decay, "flip_at_test": self.flip_at_test}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LongRecipe":
        """Return the recipe that `to_json` wrote."""
        known = {f.name for f in fields(Recipe)}
        recipe = Recipe(**{name: value for name, value in data.items() if name in known})
        return cls(recipe=recipe, average_decay=data["average_decay"], flip_at_test=data["flip_at_test"])


def long_recipe(
    searched: Recipe,
    input_shape: Shape,
    *,
    n_images: int,
    epochs: int,
    processors: int = 2,
    bfloat16: bool = False,
    hyperparameters: Iterable[tuple[str, Number]] = (),
    changes: Mapping[str, Any] | None = None,
) -> LongRecipe:
    """Return how a network is trained for long that a search trained briefly.

    What the search decided stays, be it by its recipe or as a hyper-parameter of the candidate: optimiser, learning
    rate, batch size, weight decay, mirroring. What a short training does not need is added: label smoothing, and
    for images of at least 24 pixels a side that are mirrored a crop of an eighth of the shorter side and, in 20
    epochs or more, a cutout of a quarter of it. Nothing stops a long training early. On a CPU it has all
    processors, unless its samples are small, and computes such images in bfloat16 where it has instructions for
    that. Where an epoch has fewer than 12 steps, the batch is halved until it has them, down to 8 images, and the
    learning rate follows: in proportion (SGD; Goyal et al. 2017, arXiv 1706.02677, section 2.1) or as the square
    root (Adam; Malladi et al. 2022, arXiv 2205.10287).

    Args:
        searched: The recipe of the search, settled.
        input_shape: Of one sample.
        n_images: Training images.
        epochs: Passes over them.
        processors: Those of this machine.
        bfloat16: Whether the device multiplies it by instructions of its own (`has_bfloat16`).
        hyperparameters: Those of the candidate.
        changes: Fields of the recipe, ``average_decay`` or ``flip_at_test``, which have the last word.

    Raises:
        ConfigurationError: A change is unknown or out of range.
    """
    decided = [(name, value) for name, value in hyperparameters if name not in _SEARCH_ONLY]
    plain: dict[str, Any] = {f.name: f.default for f in fields(Recipe) if f.name in _SEARCH_ONLY}
    recipe = replace(searched.overridden(decided), **{**plain, "epochs": epochs})
    threads = 1 if prod(input_shape) <= SMALL_INPUT else max(1, processors)
    recipe = replace(recipe, threads=threads, **_for_long(recipe, input_shape, bfloat16))
    wanted = dict(changes or {})
    if "batch_size" not in wanted:
        recipe = _with_enough_steps(recipe, n_images)
    average = wanted.pop("average_decay", None)
    flip = wanted.pop("flip_at_test", None)
    _check(wanted)
    try:
        recipe = replace(recipe, **wanted)
    except TypeError as error:
        raise ConfigurationError(f"a setting of the recipe has a value of the wrong kind ({error})") from None
    steps = recipe.epochs * max(1, n_images // recipe.batch_size)
    decay = _average_decay(steps) if average is None else average
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
        raise ConfigurationError(f"average_decay lies in [0, 1), got {decay!r}")
    if flip is not None and not is_flag(flip):
        raise ConfigurationError(f"flip_at_test is true or false, got {flip!r}")
    return LongRecipe(
        recipe=recipe, average_decay=float(decay), flip_at_test=recipe.flip if flip is None else bool(flip)
    )


def _for_long(recipe: Recipe, input_shape: Shape, bfloat16: bool) -> dict[str, Any]:
    added: dict[str, Any] = {"label_smoothing": recipe.label_smoothing or 0.1}
    if len(input_shape) != 3 or min(input_shape[1:]) < _PHOTO:
        return added
    added["mixed_precision"] = bool(recipe.mixed_precision or bfloat16)
    if recipe.flip:
        side = min(input_shape[1:])
        added["crop"] = max(recipe.crop, side // 8)
        if recipe.epochs >= _CUTOUT_EPOCHS:
            added["cutout"] = recipe.cutout or side // 4
    return added


def _with_enough_steps(recipe: Recipe, n_images: int) -> Recipe:
    size = recipe.batch_size
    while n_images // size < _FEWEST_STEPS and size // 2 >= _SMALLEST_BATCH:
        size //= 2
    share = size / recipe.batch_size
    rate = recipe.learning_rate * (share if recipe.optimizer == "sgd" else share**0.5)
    return replace(recipe, batch_size=size, learning_rate=rate)


def _average_decay(steps: int) -> float:
    """Return the decay of an average over a hundredth of all steps."""
    return max(0.0, 1 - 1 / max(1.0, AVERAGED_STEPS * steps))


def _check(changes: Mapping[str, Any]) -> None:
    known = [f.name for f in fields(Recipe) if f.name not in _SEARCH_ONLY]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ConfigurationError(
            f"a setting of the recipe is one of {', '.join([*known, 'average_decay', 'flip_at_test'])} "
            f"(and --epochs), got {', '.join(unknown)}"
        )
