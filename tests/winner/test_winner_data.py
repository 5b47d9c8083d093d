"""What the winner is trained on: every image once, and none that it is tested on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_gym.data import Dataset, load_dataset
from nas_gym.data.dataset import channel_statistics
from nas_gym.errors import ConfigurationError, DatasetError
from nas_gym.winner.data import final_data


def images(n: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8), (np.arange(n) % classes).astype(np.uint8)


def save(path: Path, **parts: tuple[np.ndarray, np.ndarray]) -> str:
    arrays = {f"{axis}_{part}": array for part, pair in parts.items() for axis, array in zip("xy", pair, strict=True)}
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return load_dataset(save(tmp_path / "small.npz", train=images(30, 0), test=images(9, 1)))


def pixels(inputs: torch.Tensor) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in inputs)


def test_training_and_validation_images_are_joined_and_the_test_images_stay(small: Dataset) -> None:
    data = final_data(small)
    assert len(data.dataset.train) == 30
    assert pixels(data.dataset.train.inputs) == pixels(torch.cat([small.train.inputs, small.validation.inputs]))
    assert torch.equal(data.dataset.test.inputs, small.test.inputs)
    assert (data.dataset.mean, data.dataset.std) == channel_statistics(data.dataset.train.inputs)
    assert data.facts["training_images"] == 30 and data.facts["test_images"] == 9


def test_the_watched_images_are_training_images_of_every_class(small: Dataset) -> None:
    watched = final_data(small).dataset.validation
    assert set(pixels(watched.inputs)) <= set(pixels(final_data(small).dataset.train.inputs))
    assert set(watched.targets.tolist()) == {0, 1, 2}


def test_more_images_are_added_to_both_parts(small: Dataset, tmp_path: Path) -> None:
    more = save(tmp_path / "more.npz", train=images(12, 5), test=images(6, 6))
    also_val = save(tmp_path / "third.npz", train=images(3, 7), val=images(3, 8))
    data = final_data(small, [more, also_val])
    assert (len(data.dataset.train), len(data.dataset.test)) == (30 + 12 + 3 + 3, 9 + 6)
    assert [a["training_images"] for a in data.facts["also"]] == [12, 6]
    assert data.facts["fingerprint"] != data.facts["searched_fingerprint"]


def test_an_image_that_comes_again_is_taken_once(small: Dataset, tmp_path: Path) -> None:
    (x, y), (again, labels) = images(30, 0), images(12, 5)
    whole = save(
        tmp_path / "whole.npz",
        train=(np.concatenate([x, again]), np.concatenate([y, labels])),
        test=(np.concatenate([images(9, 1)[0], images(3, 6)[0]]), np.concatenate([images(9, 1)[1], images(3, 6)[1]])),
    )
    data = final_data(small, [whole])
    assert (len(data.dataset.train), len(data.dataset.test)) == (42, 12)


def test_what_a_source_holds_twice_stays_twice(small: Dataset, tmp_path: Path) -> None:
    x, y = images(6, 5)
    twice = save(tmp_path / "twice.npz", train=(np.concatenate([x, x]), np.concatenate([y, y])))
    assert len(final_data(small, [twice]).dataset.train) == 30 + 12, "a data set's own doubles are its own affair"
    assert len(final_data(small, [twice, twice]).dataset.train) == 30 + 12


def test_test_images_are_left_out_of_the_training(small: Dataset, tmp_path: Path) -> None:
    (x, y), (tested, labels) = images(12, 5), images(9, 1)
    leaking = save(tmp_path / "l.npz", train=(np.concatenate([x, tested[:4]]), np.concatenate([y, labels[:4]])))
    data = final_data(small, [leaking])
    assert data.facts["left_out_as_test_images"] == 4
    assert not set(pixels(data.dataset.train.inputs)) & set(pixels(data.dataset.test.inputs))


def test_images_of_another_kind_are_refused(small: Dataset, tmp_path: Path) -> None:
    larger = tmp_path / "larger.npz"
    np.savez(larger, x_train=np.zeros((6, 8, 8, 3), np.uint8), y_train=np.arange(6) % 3)
    with pytest.raises(ConfigurationError, match=r"\(3, 8, 8\), the search had .*\(3, 6, 6\); name images of the same"):
        final_data(small, [str(larger)])
    with pytest.raises(ConfigurationError, match="classes 0, 1, 2, 3, the search had 0, 1, 2; name"):
        final_data(small, [save(tmp_path / "four.npz", train=images(8, 3, classes=4))])
    with pytest.raises(DatasetError, match="check the spelling"):
        final_data(small, [str(tmp_path / "none.npz")])


def test_photographs_of_any_size_are_made_as_large_as_the_images_of_the_search(small: Dataset, tmp_path: Path) -> None:
    pixels, targets = np.random.default_rng(3).integers(0, 256, (6, 20, 30, 3), dtype=np.uint8), np.arange(6) % 3
    for number, (image, target) in enumerate(zip(pixels, targets, strict=True)):
        (tmp_path / "photographs" / str(target)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photographs" / str(target) / f"{number}.png")
    data = final_data(small, [str(tmp_path / "photographs")])
    assert data.facts["also"][0]["training_images"] == 6
    assert tuple(data.dataset.train.inputs.shape) == (36, 3, 6, 6)
