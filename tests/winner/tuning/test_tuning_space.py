"""Ranges, the space of a recipe, and how a space is narrowed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.recipe import Recipe
from nas_gym.winner.tuning.narrowing import narrowed
from nas_gym.winner.tuning.space import Choice, Range, Space, recipe_space, spread

DOMAINS = [Range(1e-3, 1.0, log=True), Range(-2.0, 5.0), Range(0, 6, whole=True), Range(2, 64, log=True, whole=True)]


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@given(share=st.lists(st.floats(0, 1), min_size=1, max_size=6), margin=st.floats(0, 0.5))
def test_a_narrowed_range_holds_its_values_and_stays_inside(domain: Range, share: list[float], margin: float) -> None:
    values = [domain.clipped(domain.low + part * (domain.high - domain.low)) for part in share]
    small = spread(domain, values, margin)
    assert all(value in small for value in values)
    assert domain.low <= small.low <= small.high <= domain.high
    assert (small.log, small.whole) == (domain.log, domain.whole)


def test_the_margin_is_in_the_scale_of_the_range() -> None:
    small = spread(Range(1e-4, 1.0, log=True), [1e-2], 0.25)
    assert (small.low, small.high) == (pytest.approx(1e-3), pytest.approx(1e-1))
    assert spread(Range(0.0, 10.0), [4.0, 5.0], 0.1) == Range(3.0, 6.0)


@pytest.mark.parametrize("ends", [{"low": 1.0, "high": 0.5}, {"low": 0.0, "high": 1.0, "log": True}], ids=str)
def test_impossible_ranges_can_not_be(ends: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="a range goes from"):
        Range(**ends)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (13,)], ids=str)
@pytest.mark.parametrize(
    "recipe", [Recipe(), Recipe(learning_rate=3.0, batch_size=48, weight_decay=0.1, crop=20, optimizer="adam")], ids=str
)
def test_the_space_of_a_recipe_holds_the_recipe(shape: tuple[int, ...], recipe: Recipe) -> None:
    space = recipe_space(recipe, shape, 1000)
    values = {name: getattr(recipe, name) for name in space.free}
    assert space.clipped(values) == values
    assert ({"flip", "crop", "cutout"} <= set(space.free)) == (len(shape) == 3)
    assert not [name for name, domain in space.free.items() if getattr(recipe, name) not in domain]


def test_no_batch_is_larger_than_a_quarter_of_the_images() -> None:
    sizes = recipe_space(Recipe(batch_size=32), (1, 8, 8), 300).free["batch_size"]
    assert sizes == Choice((16, 32, 64))


def test_a_recipe_without_weight_decay_begins_at_the_least() -> None:
    space = recipe_space(Recipe(weight_decay=0.0), (1, 8, 8), 300)
    values = {name: getattr(Recipe(weight_decay=0.0), name) for name in space.free}
    assert space.clipped(values)["weight_decay"] == 1e-6


WIDE = Space(
    {
        "rate": Range(1e-4, 1.0, log=True),
        "decay": Range(0.0, 1.0),
        "optimizer": Choice(("sgd", "adam")),
        "batch": Choice((16, 32, 64)),
    },
    {"given": 3},
)


def test_what_does_not_matter_is_fixed_and_what_does_keeps_the_best() -> None:
    best = {"rate": 1e-2, "decay": 0.2, "optimizer": "sgd", "batch": 32}
    others = [
        {"rate": 2e-2, "decay": 0.9, "optimizer": "sgd", "batch": 16},
        {"rate": 1e-4, "decay": 0.5, "optimizer": "adam", "batch": 64},  # suits another optimiser
    ]
    space = narrowed(WIDE, ["rate", "batch"], [best, *others])
    assert space.fixed == {"given": 3, "decay": 0.2, "optimizer": "sgd"}
    rate, more = space.free["rate"], 1e4**0.1
    assert isinstance(rate, Range) and rate.log
    assert (rate.low, rate.high) == (pytest.approx(1e-2 / more), pytest.approx(2e-2 * more))
    assert space.free["batch"] == Choice((16, 32))
    whole = {"given": 3, "decay": 0.2, "optimizer": "sgd", "rate": 1e-2, "batch": 16}
    assert space.complete({"rate": 1e-2, "batch": 16}) == whole


def test_a_choice_on_which_all_the_best_agree_is_fixed() -> None:
    elite = [{"rate": rate, "decay": 0.0, "optimizer": "adam", "batch": 16} for rate in (0.1, 0.2)]
    space = narrowed(WIDE, ["rate", "optimizer"], elite)
    assert set(space.free) == {"rate"} and space.fixed["optimizer"] == "adam"


def test_a_choice_takes_the_nearest_number_of_what_it_does_not_offer() -> None:
    assert Choice((16, 32, 64)).clipped(100) == 64
    assert Choice(("sgd", "adam")).clipped("lion") == "sgd"
    assert Range(0, 4, whole=True).clipped(2.6) == 3 and math.isclose(float(Range(0.1, 0.5).clipped(7)), 0.5)
