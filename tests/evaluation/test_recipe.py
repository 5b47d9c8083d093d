"""Recipes: values that are checked, settled by shape and device, and overridden by hyper-parameters."""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Recipe

WRONG = {
    "epochs": [0, 1.5, "3"],
    "batch_size": [1, 32.0],
    "optimizer": ["lion", 0.1],
    "learning_rate": [0.0, -1.0, math.nan, math.inf],
    "momentum": [1.0, -0.1, math.nan],
    "weight_decay": [-1.0, math.nan, math.inf],
    "warmup": [1.0, -0.1],
    "label_smoothing": [1.0, -0.1],
    "crop": [-1, 0.5],
    "cutout": [-1, 0.5],
    "hopeless_after": [0, 1.5],
    "hopeless_below": [-0.1, 1.1, math.nan],
    "threads": [0, 1.5],
    "time_limit_seconds": [0.0, -1.0, math.nan],
    **{name: ["False", "", 2, None] for name in ("flip", "tf32", "compile")},
    **{name: ["False", "", 2] for name in ("channels_last", "mixed_precision")},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Recipe(**{name: value})


def test_whole_numbers_of_any_type() -> None:
    assert Recipe(epochs=np.int64(3), batch_size=np.int32(16)) == Recipe(epochs=3, batch_size=16)


def test_what_is_on_or_off_may_be_a_number_of_a_candidate_and_is_told_as_it_came() -> None:
    assert Recipe().overridden((("flip", 1), ("compile", 0))) == Recipe(flip=True)
    assert ",flip=1," in str(Recipe(flip=1)) and ",flip=True," in str(Recipe(flip=True)), "identities do not change"
    with pytest.raises(ConfigurationError, match="flip='False'; write true or false"):
        Recipe(flip="False")


@pytest.mark.parametrize(
    ("shape", "device", "threads", "channels_last"),
    [
        ((1, 8, 8), "cpu", 1, True),
        ((1, 28, 28), "cpu", 2, True),
        ((3, 32, 32), "cuda", 2, True),
        ((3, 32, 32), "mps", 2, False),
        ((64,), "cpu", 1, False),
        ((1, 16, 16), "cpu", 1, True),
        ((1, 16, 17), "cpu", 2, True),
    ],
)
def test_settled_by_shape_and_device(shape: Any, device: str, threads: int, channels_last: bool) -> None:
    settled = Recipe().settled(shape, device)
    assert (settled.threads, settled.channels_last) == (threads, channels_last)
    assert settled.mixed_precision is (device == "cuda")
    assert settled.settled((1,), "mps") == settled  # nothing is left to a rule
    asked = Recipe(threads=3, channels_last=not channels_last, mixed_precision=device != "cuda")
    assert asked.settled(shape, device) == asked


def test_text_tells_every_field() -> None:
    recipe = Recipe()
    assert str(recipe) == str(Recipe())
    assert all(f"{field.name}={getattr(recipe, field.name)}" in str(recipe).split(",") for field in fields(Recipe))
    assert str(replace(recipe, momentum=0.8)) != str(recipe)


def test_hyperparameters_override() -> None:
    changed = Recipe().overridden((("batch_size", 32), ("learning_rate", 0.3)))
    assert changed == Recipe(batch_size=32, learning_rate=0.3)
    assert Recipe().overridden(()) == Recipe()
    with pytest.raises(ConfigurationError, match="width"):
        Recipe().overridden((("width", 3),))
    with pytest.raises(ConfigurationError, match="batch_size"):
        Recipe().overridden((("batch_size", 1),))
    with pytest.raises(ConfigurationError, match="width"):
        Recipe().check_names((("epochs", 3), ("width", 3)))


def test_hopeless_by_hand() -> None:
    recipe = Recipe(hopeless_after=2, hopeless_below=0.5)
    curves = {
        (): False,
        (0.1,): False,
        (0.9, 0.4): True,
        (0.1, 0.5): False,
        (0.1, 0.6, 0.1): False,
        (0.1, 0.4, 0.9): True,
    }
    assert {curve: recipe.is_hopeless(curve) for curve in curves} == curves
    assert not any(Recipe(hopeless_below=1.0).is_hopeless(curve) for curve in curves)
