"""Networks whose answers are known without training: what an inspection must find in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.builder import Network, build
from nas_gym.winner.inspection.subject import Samples, Subject
from nas_gym.winner.result import Winner


def operation(kind: str, inputs: tuple[int, ...], **settings: float) -> Operation:
    return Operation(kind, tuple(sorted(settings.items())), inputs)


def conv(channels: int, inputs: tuple[int, ...], *, kernel: int = 3, stride: int = 1, groups: int = 1) -> Operation:
    return operation("conv", inputs, bias=0, channels=channels, groups=groups, kernel=kernel, stride=stride)


@dataclass(frozen=True)
class Planted:
    """A network whose answer is the sign of one number, and samples of which half are of either class."""

    subject: Subject
    samples: Samples


def subject_of_network(network: Network, classes: Sequence[str] = ("a", "b"), dataset: Any = None) -> Subject:
    """Return a subject whose architecture is kept as it is written: a row is not made canonical."""
    architecture = network.architecture
    channels = architecture.input_shape[0]
    winner = Winner(
        candidate=Candidate(architecture, row="planted"),
        class_names=tuple(classes),
        input_shape=architecture.input_shape,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        metrics={},
        retrained=False,
        weights=(Path("nowhere"),),
    )
    return Subject(winner, network.eval(), cast(Any, dataset or SimpleNamespace()))


def samples_of(network: nn.Module, inputs: torch.Tensor) -> Samples:
    """Return inputs with the classes that the network names: it is right about all of them."""
    with torch.no_grad():
        targets = network(inputs).argmax(1).numpy()
    return Samples(inputs, targets, np.arange(len(inputs)))


@pytest.fixture(scope="session")
def one_patch() -> Planted:
    """Images of 8×8 whose class is the sign of the sum of rows 2 and 3, columns 4 and 5; the convolution does nothing."""
    architecture = Architecture(
        (1, 8, 8), (conv(1, (-1,)), operation("flatten", (0,)), operation("linear", (1,), units=2))
    )
    network = cast(Network, build(architecture, seed=0))
    with torch.no_grad():
        network.layers[0].weight.zero_()
        network.layers[0].weight[0, 0, 1, 1] = 1.0  # the identity
        reading = torch.zeros(8, 8)
        reading[2:4, 4:6] = 1.0
        network.layers[2].weight.copy_(torch.stack([reading.flatten(), -reading.flatten()]))
        network.layers[2].bias.zero_()
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 1, 8, 8)).astype(np.float32))
    return Planted(subject_of_network(network), samples_of(network, inputs))


@pytest.fixture(scope="session")
def table() -> Planted:
    """Rows of 5 features of which the network reads the second and, half as strongly, the fourth."""
    network = cast(Network, build(Architecture((5,), (operation("linear", (-1,), units=2),)), seed=0))
    with torch.no_grad():
        weights = torch.tensor([0.0, 1.0, 0.0, 0.5, 0.0])
        network.layers[0].weight.copy_(torch.stack([weights, -weights]))
        network.layers[0].bias.zero_()
    inputs = torch.from_numpy(np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32))
    return Planted(subject_of_network(network), samples_of(network, inputs))


@pytest.fixture(scope="session")
def random_network() -> Callable[..., Network]:
    """A function that returns a small random network in evaluation mode, of operations on 1×8×8 images."""

    def make(*operations: Operation, seed: int = 0, input_shape: tuple[int, ...] = (1, 8, 8)) -> Network:
        return cast(Network, build(Architecture(input_shape, operations), seed=seed).eval())

    return make
