"""A data set as three parts of tensors that are checked once, when they are put together."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch

from nas_gym.errors import DatasetError

SplitName: TypeAlias = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")

_CONSTANT = 1e-6  # a channel whose deviation is below this is constant: dividing by it would only amplify noise
_DECIMALS = 8  # of means and deviations; hides the last bits in which sums differ between kinds of CPU


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their classes.

    Attributes:
        inputs: Images, shape (n, channels, height, width), uint8 in 0..255 or float32 in 0..1.
        targets: Class numbers, shape (n,), int64.

    Raises:
        DatasetError: If a shape, dtype or pixel value is not as above, or there is no image.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.inputs.shape)
        if self.inputs.ndim != 4 or 0 in shape[1:]:
            raise DatasetError(f"expected images of shape (n, channels, height, width), got {shape}")
        if self.targets.ndim != 1 or self.targets.dtype != torch.int64:
            raise DatasetError(
                f"expected int64 targets of shape (n,), got {self.targets.dtype} of shape {tuple(self.targets.shape)}"
            )
        if len(self.inputs) != len(self.targets):
            raise DatasetError(
                f"expected one target per image, got {len(self.inputs)} images and {len(self.targets)} targets"
            )
        if len(self.inputs) == 0:
            raise DatasetError("expected at least one image in every part of a data set, got none")
        self._check_pixels()

    def _check_pixels(self) -> None:
        if self.inputs.dtype == torch.uint8:
            return
        if self.inputs.dtype != torch.float32:
            raise DatasetError(f"expected uint8 or float32 images, got {self.inputs.dtype}; convert them first")
        low, high = (float(value) for value in self.inputs.aminmax())  # NaN anywhere makes both NaN
        if not (low >= 0.0 and high <= 1.0):
            raise DatasetError(
                f"expected float32 images with values in 0..1, got {low:g} to {high:g}; scale them first"
            )

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"Split({len(self)} images of {tuple(self.inputs.shape[1:])}, {self.inputs.dtype})"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training, validation and test images of one classification task.

    Attributes:
        name: What the set is called in messages, tables and file names.
        train: What architectures are trained on. Every class occurs in it.
        validation: What they are compared on.
        test: What only the final answer of a search is measured on.
        class_names: One distinct name per class, at least two.
        mean: Mean of each channel of ``train``, pixels scaled to 0..1.
        std: Standard deviation of each channel of ``train``, pixels scaled to 0..1, above zero.

    Raises:
        DatasetError: If the parts do not fit together or a value is out of its range.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_classes()
        self._check_normalisation()

    def __repr__(self) -> str:
        sizes = "/".join(str(len(self._part(name))) for name in SPLIT_NAMES)
        return f"Dataset({self.name!r}, {sizes} images of {self.input_shape}, {self.n_classes} classes)"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.train.inputs.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when a pixel, target, class name, mean or std does (SHA-256)."""
        digest = hashlib.sha256(json.dumps([self.class_names, self.mean, self.std]).encode())
        for name in SPLIT_NAMES:
            part = self._part(name)
            for tensor in (part.inputs, part.targets):
                array = tensor.detach().cpu().contiguous().numpy()
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(array.reshape(-1).data)
        return digest.hexdigest()[:16]

    def normalised(
        self, split: Split | SplitName, device: torch.device | str = "cpu"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images and targets of a part, ready for training, as new tensors.

        Args:
            split: The part or its name, "train", "validation" or "test".
            device: Where the tensors should be; the arithmetic happens there too.

        Returns:
            Images float32 (n, channels, height, width), with mean 0 and deviation 1 per channel over the
            training part, and targets int64 (n,).

        Raises:
            DatasetError: If the data set has no part of that name.
        """
        part = self._part(split) if isinstance(split, str) else split
        inputs = part.inputs.to(device=device, dtype=torch.float32, copy=True)
        if part.inputs.dtype == torch.uint8:
            inputs.div_(255.0)
        mean = torch.tensor(self.mean, dtype=torch.float32, device=device).view(-1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32, device=device).view(-1, 1, 1)
        return inputs.sub_(mean).div_(std), part.targets.to(device=device, copy=True)

    def _part(self, name: str) -> Split:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in parts:
            raise DatasetError(f"data set {self.name!r} has the parts {', '.join(SPLIT_NAMES)}, not {name!r}")
        return parts[name]

    def _check_shapes(self) -> None:
        for name in SPLIT_NAMES:
            part = self._part(name)
            shape = tuple(part.inputs.shape[1:])
            if shape != self.input_shape or part.inputs.dtype != self.train.inputs.dtype:
                raise DatasetError(
                    f"data set {self.name!r}: {name} images must be like the training images, "
                    f"{self.train.inputs.dtype} of shape {self.input_shape}, got {part.inputs.dtype} of "
                    f"shape {shape}"
                )

    def _check_classes(self) -> None:
        names = self.class_names
        if len(names) < 2 or len(set(names)) != len(names):
            raise DatasetError(f"data set {self.name!r}: expected at least 2 distinct class names, got {list(names)}")
        for part in SPLIT_NAMES:
            targets = self._part(part).targets
            low, high = int(targets.min()), int(targets.max())
            if low < 0 or high >= len(names):
                raise DatasetError(
                    f"data set {self.name!r}: targets of {len(names)} classes must lie in "
                    f"0..{len(names) - 1}, "
                    f"got {low}..{high} in the {part} part"
                )
        missing = (torch.bincount(self.train.targets, minlength=len(names)) == 0).nonzero().flatten().tolist()
        if missing:
            raise DatasetError(
                f"data set {self.name!r}: every class needs a training image, class {missing[0]} "
                f"({names[missing[0]]!r}) has none; number the classes 0, 1, 2, … without gaps"
            )

    def _check_normalisation(self) -> None:
        channels = self.input_shape[0]
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if len(self.mean) != channels or len(self.std) != channels or not finite or min(self.std) <= 0:
            raise DatasetError(
                f"data set {self.name!r}: expected {channels} finite means and positive deviations, one per "
                "channel, "
                f"got mean {self.mean} and std {self.std}"
            )


def channel_statistics(inputs: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, pixels scaled to 0..1.

    The deviation of a constant channel is given as 1, so that one can divide by it.

    Args:
        inputs: Shape (n, channels, height, width), uint8 in 0..255 or float32 in 0..1.
    """
    pairs = [_channel_statistics(inputs[:, channel]) for channel in range(inputs.shape[1])]
    mean = tuple(round(mean, _DECIMALS) for mean, _ in pairs)
    std = tuple(round(std, _DECIMALS) if std > _CONSTANT else 1.0 for _, std in pairs)
    return mean, std


def _channel_statistics(channel: torch.Tensor) -> tuple[float, float]:
    if channel.dtype != torch.uint8:
        values = channel.double()
        return float(values.mean()), float(values.std(correction=0))
    counts = torch.bincount(channel.flatten(), minlength=256).tolist()  # whole numbers: exact in any order
    n = sum(counts)
    total = sum(value * count for value, count in enumerate(counts))
    squares = sum(value * value * count for value, count in enumerate(counts))
    return total / n / 255, math.sqrt(n * squares - total * total) / n / 255
