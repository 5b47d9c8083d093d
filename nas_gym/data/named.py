"""Data sets known by name: scikit-learn's digits and four sets of torchvision."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch

from nas_gym.data.dataset import Split
from nas_gym.data.idx import read_idx
from nas_gym.data.messages import one_line, quoted
from nas_gym.data.splitting import Parts
from nas_gym.errors import DatasetError

KNOWN_DATASETS: tuple[str, ...] = ("digits", "MNIST", "FashionMNIST", "CIFAR10", "CIFAR100")
"""The names that ``load_dataset`` knows; case, dashes and underscores in them do not matter."""

DATA_VARIABLE = "NAS_GYM_DATA"
"""The environment variable that names the folder of torchvision's sets."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# As in torchvision, whose import would take longer than reading the files. CIFAR's names are in its files.
_CLASS_NAMES = {
    "MNIST": tuple(f"{digit} - {word}" for digit, word in enumerate(_DIGITS)),
    "FashionMNIST": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
_IMAGES, _LABELS = "images-idx3", "labels-idx1"
_IDX_STEMS = {"train": "train", "test": "t10k"}
_CIFAR_FILES = {
    "CIFAR10": (
        "cifar-10-batches-py",
        ("batches.meta", "test_batch", *(f"data_batch_{i}" for i in range(1, 6))),
    ),
    "CIFAR100": ("cifar-100-python", ("meta", "train", "test")),
}


def known_name(source: str) -> str | None:
    """Return the name of the data set that a text stands for ("fashion-mnist": "FashionMNIST"), or None."""
    names = {name.lower(): name for name in KNOWN_DATASETS}
    return names.get(source.strip().lower().replace("-", "").replace("_", ""))


def default_root(data_root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of torchvision's sets: the argument, ``$NAS_GYM_DATA`` or ``~/.cache/nas_gym``."""
    return Path(data_root or os.environ.get(DATA_VARIABLE) or "~/.cache/nas_gym").expanduser()


def find_datasets(data_root: str | os.PathLike[str] | None = None) -> dict[str, str | None]:
    """Return the folder of each of torchvision's sets, None where it is missing or incomplete; nothing is read.

    Args:
        data_root: Where to look; see ``default_root``.
    """
    root = default_root(data_root)
    found = {name: _find(name, root) for name in KNOWN_DATASETS if name != "digits"}
    return {name: None if folder is None else str(folder) for name, folder in found.items()}


def load_digits() -> Parts:
    """Return scikit-learn's 1,797 digits, float32 (n, 1, 8, 8), 0..16 scaled to 0..1, without a network."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    inputs = torch.from_numpy((bunch.images / 16.0).astype(np.float32)[:, None])  # (n, 1, 8, 8)
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    return Parts("digits", tuple(str(name) for name in bunch.target_names), Split(inputs, targets))


def load_torchvision(name: str, data_root: str | os.PathLike[str] | None, download: bool) -> Parts:
    """Return one of torchvision's sets with its official training and test images, uint8.

    Without ``download`` nothing is written: MNIST's files are read packed or unpacked. With it torchvision
    fetches what is missing, checks and unpacks, unless the set is complete and its folder cannot be written.

    Args:
        name: "MNIST", "FashionMNIST", "CIFAR10" or "CIFAR100".
        data_root: Where the files are or shall be; see ``default_root``.
        download: Whether torchvision may fetch and unpack files.

    Raises:
        DatasetError: If the set is missing or damaged, or cannot be fetched.
    """
    root = default_root(data_root)
    folder = _find(name, root)
    if folder is None and not download:
        raise DatasetError(
            f"{name} was expected under {quoted(root)} in torchvision's layout and is missing or incomplete; "
            "pass --download (download=True) to fetch or unpack it there, "
            "or --data-root (data_root=…) to name the folder that has it"
        )
    if name in _CLASS_NAMES and folder is not None and not (download and os.access(folder, os.W_OK)):
        train, test = (_read_mnist_part(folder, part) for part in ("train", "test"))
        return Parts(name, _CLASS_NAMES[name], train, test=test)
    return _through_torchvision(name, root, download and (folder is None or os.access(root, os.W_OK)))


def _find(name: str, root: Path) -> Path | None:
    """Return the folder of a set if all of its files are there."""
    if name in _CLASS_NAMES:
        folder = root / name / "raw"
        files = [_idx_file(folder, part, kind) for part in _IDX_STEMS for kind in (_IMAGES, _LABELS)]
    else:
        subfolder, names = _CIFAR_FILES[name]
        folder = root / subfolder
        files = [folder / file for file in names]
    return folder if all(file.is_file() for file in files) else None


def _idx_file(folder: Path, part: str, kind: str) -> Path:
    """Return the unpacked file if it is there, else the packed one, there or not."""
    unpacked = folder / f"{_IDX_STEMS[part]}-{kind}-ubyte"
    return unpacked if unpacked.is_file() else unpacked.with_name(f"{unpacked.name}.gz")


def _read_mnist_part(folder: Path, part: str) -> Split:
    inputs = read_idx(_idx_file(folder, part, _IMAGES), 3)
    targets = read_idx(_idx_file(folder, part, _LABELS), 1)
    if len(inputs) != len(targets) or inputs.size == 0 or targets.max() > 9:
        raise DatasetError(
            f"expected images and as many labels in 0..9 in {quoted(folder)}, got {len(inputs)} images and "
            f"{len(targets)} labels in the {part} files; fetch the files again"
        )
    return Split(torch.from_numpy(inputs[:, None]), torch.from_numpy(targets.astype(np.int64)))


def _through_torchvision(name: str, root: Path, download: bool) -> Parts:
    import torchvision

    make = getattr(torchvision.datasets, name)
    with warnings.catch_warnings():
        # CIFAR's old pickles describe their arrays in a way that numpy 2.4 deprecates.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        try:
            sets = [make(root=str(root), train=train, download=download) for train in (True, False)]
        except Exception as error:  # whatever unpacking, unpickling and the network can raise
            what = "fetched into" if download else "read from"
            todo = (
                "check the network and that the folder can be written, or pass --data-root"
                if download
                else "the files are damaged, pass --download (download=True) to fetch them again"
            )
            raise DatasetError(f"{name} could not be {what} {quoted(root)} ({one_line(error)}); {todo}") from error
    train, test = (_from_torchvision(part.data, part.targets) for part in sets)
    return Parts(name, tuple(sets[0].classes), train, test=test)


def _from_torchvision(data: object, targets: object) -> Split:
    """Return a part from MNIST's tensors (n, h, w) or CIFAR's arrays (n, h, w, c), all uint8."""
    images = torch.as_tensor(data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (n, c, h, w)
    return Split(images.contiguous(), torch.as_tensor(targets, dtype=torch.int64))
