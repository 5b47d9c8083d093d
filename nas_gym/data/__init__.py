"""Data sets: training, validation and test images as tensors, from a name, arrays or a folder of images."""

from nas_gym.data.dataset import Dataset, Split, SplitName
from nas_gym.data.named import DATA_VARIABLE, KNOWN_DATASETS, find_datasets
from nas_gym.data.sources import load_dataset
from nas_gym.data.splitting import Splitting, first_per_class, stratified

__all__ = [
    "DATA_VARIABLE",
    "KNOWN_DATASETS",
    "Dataset",
    "Split",
    "SplitName",
    "Splitting",
    "find_datasets",
    "first_per_class",
    "load_dataset",
    "stratified",
]
