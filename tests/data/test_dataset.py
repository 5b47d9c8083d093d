"""The values Split and Dataset: what they hold and what they refuse."""

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from nas_gym.data import Dataset, Split
from nas_gym.data.dataset import channel_statistics

Refusal = Callable[..., str]


def split(n: int = 6, *, channels: int = 2, floats: bool = False, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (n, channels, 4, 5), generator=generator, dtype=torch.uint8)
    return Split(inputs.float() / 255 if floats else inputs, torch.arange(n) % 3)


def dataset(**changes: object) -> Dataset:
    train = split(9)
    mean, std = channel_statistics(train.inputs)
    whole = Dataset("toy", train, split(6, seed=1), split(6, seed=2), ("a", "b", "c"), mean, std)
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_properties() -> None:
    toy = dataset()
    assert toy.input_shape == (2, 4, 5)
    assert toy.n_classes == 3
    assert [len(part) for part in (toy.train, toy.validation, toy.test)] == [9, 6, 6]
    assert repr(toy) == "Dataset('toy', 9/6/6 images of (2, 4, 5), 3 classes)"


@pytest.mark.parametrize("floats", [False, True])
def test_statistics_equal_those_of_torch(floats: bool) -> None:
    inputs = split(50, floats=floats).inputs
    scaled = inputs.double() if floats else inputs.double() / 255
    mean, std = channel_statistics(inputs)
    assert mean == pytest.approx(scaled.mean(dim=(0, 2, 3)).tolist(), abs=1e-7)
    assert std == pytest.approx(scaled.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_constant_channel_has_deviation_one(dtype: torch.dtype) -> None:
    assert channel_statistics(torch.ones(4, 1, 3, 3, dtype=dtype))[1] == (1.0,)


@pytest.mark.parametrize("floats", [False, True])
def test_normalised_training_images_have_mean_zero_and_deviation_one(floats: bool) -> None:
    train = split(90, floats=floats)
    mean, std = channel_statistics(train.inputs)
    parts = (split(6, floats=floats), split(6, floats=floats))
    toy = Dataset("toy", train, *parts, ("a", "b", "c"), mean, std)
    before = train.inputs.clone()
    inputs, targets = toy.normalised("train")
    assert inputs.dtype == torch.float32 and targets.dtype == torch.int64
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(2), atol=1e-5, rtol=0)
    inputs.zero_()
    targets.zero_()
    assert torch.equal(train.inputs, before) and train.targets.any()  # fresh tensors, not views
    assert torch.equal(toy.normalised(toy.test)[0], toy.normalised("test")[0])


def test_fingerprint_follows_the_content_only() -> None:
    toy = dataset()
    assert len(toy.fingerprint) == 16 and int(toy.fingerprint, 16) >= 0
    assert dataset(name="other").fingerprint == toy.fingerprint == pickle.loads(pickle.dumps(toy)).fingerprint
    pixel = split(6, seed=2).inputs.clone()
    pixel[3, 1, 2, 2] += 1
    others = [
        dataset(test=Split(pixel, toy.test.targets)),
        dataset(test=Split(toy.test.inputs, toy.test.targets.flip(0))),
        dataset(validation=toy.test, test=toy.validation),
        dataset(class_names=("a", "b", "d")),
        dataset(mean=(0.5, 0.5)),
        dataset(std=(0.5, 0.5)),
    ]
    assert len({toy.fingerprint, *(other.fingerprint for other in others)}) == 7


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        (torch.zeros(4, 8, 8), torch.zeros(4, dtype=torch.int64), "shape"),
        (torch.zeros(4, 1, 0, 8), torch.zeros(4, dtype=torch.int64), "shape"),
        (torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, dtype=torch.int64), "targets"),
        (torch.zeros(4, 1, 8, 8), torch.zeros(4), "int64"),
        (torch.zeros(4, 1, 8, 8), torch.zeros(5, dtype=torch.int64), "4 images and 5 targets"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), "float64"),
        (torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4, dtype=torch.int64), "nan"),
        (torch.full((4, 1, 8, 8), torch.inf), torch.zeros(4, dtype=torch.int64), "inf"),
        (torch.full((4, 1, 8, 8), 255.0), torch.zeros(4, dtype=torch.int64), "255"),
    ],
)
def test_split_refuses(refusal: Refusal, inputs: torch.Tensor, targets: torch.Tensor, words: str) -> None:
    refusal(lambda: Split(inputs, targets), words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": split(6, channels=1)}, "test"),
        ({"validation": split(6, floats=True)}, "validation"),
        ({"class_names": ("a",)}, "class names"),
        ({"class_names": ("a", "b", "b")}, "distinct"),
        ({"class_names": ("a", "b")}, "0..1"),
        ({"class_names": ("a", "b", "c", "d")}, "'d'"),
        ({"test": Split(split(6).inputs, split(6).targets - 1)}, "-1..1"),
        ({"mean": (0.5,)}, "mean"),
        ({"mean": (0.5, float("nan"))}, "mean"),
        ({"std": (0.5, 0.0)}, "std"),
    ],
)
def test_dataset_refuses(refusal: Refusal, changes: dict[str, object], words: str) -> None:
    refusal(lambda: dataset(**changes), "toy", words)


def test_unknown_part_is_refused(refusal: Refusal) -> None:
    refusal(lambda: dataset().normalised("valid"), "toy", "valid", "validation")  # type: ignore[arg-type]
