"""Search spaces: decision processes whose finished prefixes are candidates."""

from nas_gym.spaces.catalogue import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    FullyConnected,
    GlobalPool,
    Layer,
    MaxPool,
    ResidualBlock,
    SeparableConvolution,
    default_catalogue,
)
from nas_gym.spaces.categorical import CategoricalSpace, row_key, row_keys
from nas_gym.spaces.cell import CellSpace
from nas_gym.spaces.chain import ChainSpace
from nas_gym.spaces.completions import Limits
from nas_gym.spaces.space import Prefix, SearchSpace, Slot, describe, n_actions

__all__ = [
    "AveragePool",
    "BatchNorm",
    "CategoricalSpace",
    "CellSpace",
    "ChainSpace",
    "Convolution",
    "Dropout",
    "FullyConnected",
    "GlobalPool",
    "Layer",
    "Limits",
    "MaxPool",
    "Prefix",
    "ResidualBlock",
    "SearchSpace",
    "SeparableConvolution",
    "Slot",
    "default_catalogue",
    "describe",
    "n_actions",
    "row_key",
    "row_keys",
]
