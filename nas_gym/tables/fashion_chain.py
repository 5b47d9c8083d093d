"""What the table ``fashion-chain`` was made of: its space, its data and its recipe, so that it can be made again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nas_gym.evaluation.recipe import Recipe
from nas_gym.spaces import ChainSpace, Convolution, FullyConnected, Limits, MaxPool, SeparableConvolution

if TYPE_CHECKING:
    from nas_gym.data import Dataset
    from nas_gym.data.dataset import Split

NAME = "fashion-chain"
REPEATS = 3
DATA = {"first_per_class": 1300, "first_test_per_class": 1000, "validation_share": 10 / 13}
RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=0.05, threads=1)

_CATALOGUE = (
    Convolution(8),
    Convolution(16),
    Convolution(16, kernel=5, stride=2),
    Convolution(32, stride=2),
    SeparableConvolution(16),
    MaxPool(2),
    FullyConnected(32),
    FullyConnected(64),
)
_HALF = 2


def fashion_chain_space() -> ChainSpace:
    """Return the space of the table: two to four layers on 14×14 images within 110,000 MACs, ReLU or tanh.

    The limit on MACs is what makes it a search: wide layers, early layers and large fully connected layers compete
    for it.
    """
    return ChainSpace(
        (1, 14, 14),
        10,
        catalogue=_CATALOGUE,
        max_layers=4,
        limits=Limits(macs=110_000, resolution=2, min_layers=2),
        activations=("relu", "tanh"),
    )


def fashion_chain_dataset(data_root: str | os.PathLike[str] | None = None, *, download: bool = False) -> Dataset:
    """Return the data of the table: 3,000 training, 10,000 validation and 10,000 test images of Fashion-MNIST, 14×14.

    Few to learn from, so that networks differ; many to be measured on, so that the best can be told from the next.

    Args:
        data_root: Folder of torchvision's sets (`nas_gym.data.load_dataset`).
        download: Whether torchvision may fetch the set.

    Raises:
        DatasetError: Fashion-MNIST is missing or damaged.
    """
    from nas_gym.data import Dataset, load_dataset
    from nas_gym.data.dataset import channel_statistics

    full = load_dataset("FashionMNIST", data_root=data_root, download=download, **DATA)  # type: ignore[arg-type]
    train, validation, test = (halved(part) for part in (full.train, full.validation, full.test))
    mean, std = channel_statistics(train.inputs)
    return Dataset("FashionMNIST 14×14", train, validation, test, full.class_names, mean, std)


def halved(split: Split) -> Split:
    """Return a split of uint8 images at half the resolution: means of 2×2 pixels, rounded half up.

    Whole numbers all the way, so that it gives the same pixels everywhere.
    """
    import torch

    from nas_gym.data.dataset import Split

    n, channels, height, width = split.inputs.shape
    blocks = split.inputs.view(n, channels, height // _HALF, _HALF, width // _HALF, _HALF)
    sums = blocks.to(torch.int32).sum((3, 5))  # (n, channels, height / 2, width / 2), 0..1020
    area = _HALF * _HALF
    return Split(((sums + area // 2) // area).to(torch.uint8), split.targets)
