"""A network with its preprocessing inside, and how two forms of it are compared; imports torch."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_gym.data.dataset import Split
from nas_gym.winner.facts import Facts

MOST_SAMPLES = 1_000  # that two forms of a network are compared on
RANDOM_SAMPLES = 64
_BATCH = 64

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]  # logits and probabilities, each (n, classes)
Compute = Callable[[NDArray[np.float32]], Outputs]


class Packaged(nn.Module):
    """A network that takes pixels and tells logits and probabilities; a copy, on the CPU, in evaluation mode.

    Args:
        network: Takes normalised images, (n, channels, height, width), and tells logits, (n, classes).
        facts: With mean and deviation of the pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.network = deepcopy(network).cpu()
        self.register_buffer("mean", torch.tensor(facts.mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts.std, dtype=torch.float32).view(1, -1, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, each float32 (n, classes).

        Args:
            pixels: uint8 or float32 in 0..255, (n, channels, height, width).
        """
        logits = self.network((pixels.to(torch.float32) / 255.0 - self.mean) / self.std)
        return logits, logits.softmax(1)


@dataclass(frozen=True, eq=False)
class Samples:
    """Images that two forms of a network are compared on.

    Attributes:
        pixels: float32 in 0..255, (n, channels, height, width).
        targets: Their classes, int64 (n,); None where they have none.
        source: What they are, in words.
    """

    pixels: NDArray[np.float32]
    targets: NDArray[np.int64] | None
    source: str

    @classmethod
    def random(cls, input_shape: tuple[int, ...], n: int = RANDOM_SAMPLES, seed: int = 0) -> "Samples":
        """Return images of uniformly random pixels."""
        pixels = np.random.default_rng(seed).uniform(0, 255, (n, *input_shape)).astype(np.float32)
        return cls(pixels, None, f"{n} images of random pixels")

    @classmethod
    def of_split(cls, split: Split, name: str, most: int = MOST_SAMPLES) -> "Samples":
        """Return the images of a split, or so many of them in even distances: a split may be sorted by class."""
        chosen = np.unique(np.linspace(0, len(split) - 1, min(most, len(split))).round().astype(np.int64))
        index = torch.from_numpy(chosen)
        inputs = split.inputs[index].cpu()
        scale = 1.0 if inputs.dtype == torch.uint8 else 255.0
        pixels = inputs.to(torch.float32).mul_(scale).numpy()
        return cls(pixels, split.targets[index].cpu().numpy(), f"{len(chosen):,} {name} images")


@dataclass(frozen=True)
class Comparison:
    """How far an exported file's outputs are from the network's.

    Attributes:
        samples: How many images both were given.
        source: What images, in words.
        logits: Largest absolute difference of a logit.
        scale: Largest absolute logit of the network, at least 1.
        probabilities: Largest absolute difference of a probability.
        same_class: Share of images on which both name the same class.
        accuracy: Of the file on these images; None where they have no classes.
        network_accuracy: Of the network, likewise.
        confusion: Of the file, likewise: rows are the true classes, columns the answers.
    """

    samples: int
    source: str
    logits: float
    scale: float
    probabilities: float
    same_class: float
    accuracy: float | None = None
    network_accuracy: float | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None

    @property
    def difference(self) -> float:
        """What a tolerance bounds: of the logits, in units of the largest one, or of the probabilities.

        Numbers of 32 bits carry seven digits: where logits are in the hundreds, 1e-4 is below their last one.
        """
        return max(self.logits / self.scale, self.probabilities)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return asdict(self) | {"difference": self.difference}


def computed(module: nn.Module, pixels: NDArray[np.float32]) -> Outputs:
    """Return what a packaged network, or a program of one, tells of pixels; in batches, the last one shorter."""
    starts = range(0, len(pixels), _BATCH)
    with torch.no_grad():
        found = [module(torch.from_numpy(pixels[start : start + _BATCH])) for start in starts]
    logits, probabilities = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return logits, probabilities


def compared(expected: Outputs, compute: Compute, samples: Samples) -> Comparison:
    """Return how far what a file computes is from what the network told.

    Args:
        expected: Of the network, for all samples.
        compute: The file: called with one image, then with batches of all.
        samples: The images.
    """
    alone = compute(samples.pixels[:1])
    parts = [compute(samples.pixels[start : start + _BATCH]) for start in range(0, len(samples.pixels), _BATCH)]
    logits, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
    named, answers = logits.argmax(1), expected[0].argmax(1)
    accuracy = network_accuracy = confusion = None
    if samples.targets is not None:
        accuracy, network_accuracy = (float((one == samples.targets).mean()) for one in (named, answers))
        counts = np.zeros((logits.shape[1],) * 2, dtype=np.int64)
        np.add.at(counts, (samples.targets, named), 1)
        confusion = tuple(tuple(map(int, row)) for row in counts)
    return Comparison(
        samples=len(samples.pixels),
        source=samples.source,
        logits=max(_largest(logits, expected[0]), _largest(alone[0], expected[0][:1])),
        scale=max(1.0, float(np.abs(expected[0]).max())),
        probabilities=max(_largest(probabilities, expected[1]), _largest(alone[1], expected[1][:1])),
        same_class=float((named == answers).mean()),
        accuracy=accuracy,
        network_accuracy=network_accuracy,
        confusion=confusion,
    )


def _largest(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the largest absolute difference; infinite where a number is none or shapes differ."""
    if first.shape != second.shape:
        return float("inf")
    difference = float(np.abs(first - second).max())
    return difference if difference == difference else float("inf")
