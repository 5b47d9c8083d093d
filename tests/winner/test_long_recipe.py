"""The long recipe: what the search decided stays, what a short training does not need is added."""

import json
from dataclasses import replace

import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Recipe
from nas_gym.winner.long_recipe import LongRecipe, long_recipe

PHOTOS = Recipe(epochs=6, learning_rate=0.2, flip=True, crop=2, hopeless_after=2, hopeless_below=0.3, threads=1)


def test_photographs_get_crops_cutouts_and_smoothing_and_are_never_stopped() -> None:
    found = long_recipe(PHOTOS.settled((3, 32, 32), "cpu"), (3, 32, 32), n_images=1000, epochs=20, processors=4)
    recipe = found.recipe
    assert (recipe.epochs, recipe.learning_rate, recipe.flip) == (20, 0.2, True)
    assert (recipe.crop, recipe.cutout, recipe.label_smoothing, recipe.threads) == (4, 8, 0.1, 4)
    short = long_recipe(PHOTOS.settled((3, 32, 32), "cpu"), (3, 32, 32), n_images=1000, epochs=19).recipe
    assert (short.crop, short.cutout) == (4, 0)
    assert recipe.hopeless_after is None and not recipe.is_hopeless((0.0,) * 5) and found.flip_at_test


def test_small_images_and_those_that_are_not_mirrored_stay_whole() -> None:
    digits = Recipe().settled((1, 8, 8), "cpu")
    found = long_recipe(digits, (1, 8, 8), n_images=100, epochs=3, processors=8)
    assert (found.recipe.crop, found.recipe.cutout, found.recipe.threads) == (0, 0, 1)
    assert not found.flip_at_test
    assert long_recipe(Recipe(crop=1), (1, 28, 28), n_images=100, epochs=3).recipe.crop == 1


def test_photographs_are_computed_in_bfloat16_where_that_is_fast_and_nobody_says_otherwise() -> None:
    def mixed(shape: tuple[int, int, int], fast: bool, device: str = "cpu", **changes: object) -> bool | None:
        recipe = PHOTOS.settled(shape, device)
        return long_recipe(
            recipe, shape, n_images=1000, epochs=3, bfloat16=fast, changes=changes
        ).recipe.mixed_precision

    assert mixed((3, 32, 32), True) is True
    assert mixed((3, 32, 32), False) is False
    assert mixed((1, 8, 8), True) is False, "small images gain nothing"
    assert mixed((3, 32, 32), True, mixed_precision=False) is False
    assert mixed((3, 32, 32), False, device="cuda") is True, "as the search"


def test_hyperparameters_of_the_candidate_count_but_not_its_epochs() -> None:
    decided = (("batch_size", 32), ("epochs", 3), ("learning_rate", 0.03))
    found = long_recipe(PHOTOS, (3, 32, 32), n_images=1000, epochs=20, hyperparameters=decided)
    assert (found.recipe.batch_size, found.recipe.epochs, found.recipe.learning_rate) == (32, 20, 0.03)


def test_changes_have_the_last_word() -> None:
    changes = {"learning_rate": 0.4, "cutout": 0, "average_decay": 0.0, "flip_at_test": False}
    found = long_recipe(PHOTOS, (3, 32, 32), n_images=1000, epochs=20, changes=changes)
    assert (found.recipe.learning_rate, found.recipe.cutout, found.average_decay) == (0.4, 0, 0.0)
    assert found.recipe.flip and not found.flip_at_test


def test_weights_are_averaged_over_a_hundredth_of_the_steps() -> None:
    found = long_recipe(PHOTOS, (3, 32, 32), n_images=64_000, epochs=20)
    assert found.average_decay == pytest.approx(1 - 1 / (0.01 * 20 * 1000))
    assert long_recipe(PHOTOS, (3, 32, 32), n_images=64, epochs=2).average_decay == 0.0


def test_a_few_images_get_small_batches_and_a_learning_rate_that_fits_them() -> None:
    few = long_recipe(PHOTOS, (3, 32, 32), n_images=400, epochs=20).recipe
    assert (few.batch_size, few.learning_rate) == (32, 0.1)
    fewer = long_recipe(PHOTOS, (3, 32, 32), n_images=20, epochs=20).recipe
    assert (fewer.batch_size, fewer.learning_rate) == (8, 0.025), "no smaller"
    adam = long_recipe(replace(PHOTOS, optimizer="adam"), (3, 32, 32), n_images=200, epochs=20).recipe
    assert (adam.batch_size, adam.learning_rate) == (16, 0.1)
    asked = long_recipe(PHOTOS, (3, 32, 32), n_images=20, epochs=20, changes={"batch_size": 20}).recipe
    assert (asked.batch_size, asked.learning_rate) == (20, 0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.1}, "is one of epochs?|got lr"),
        ({"epochs": 4}, "got epochs"),
        ({"average_decay": 1.0}, r"average_decay lies in \[0, 1\)"),
        ({"average_decay": "much"}, "average_decay lies"),
        ({"learning_rate": -1}, "out of range"),
        ({"learning_rate": "fast"}, "wrong kind"),
        ({"flip": "False"}, "out of range: flip='False'; write true or false"),
        ({"flip_at_test": "False"}, "flip_at_test is true or false, got 'False'"),
    ],
)
def test_wrong_changes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        long_recipe(PHOTOS, (3, 32, 32), n_images=1000, epochs=20, changes=changes)


def test_it_comes_back_from_json() -> None:
    found = long_recipe(PHOTOS, (3, 32, 32), n_images=1000, epochs=20)
    assert LongRecipe.from_json(json.loads(json.dumps(found.to_json()))) == found
