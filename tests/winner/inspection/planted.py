"""Networks whose answers are known without training: what an inspection must find in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
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


def network_of(*operations: Operation, seed: int = 0, input_shape: tuple[int, ...] = (1, 8, 8)) -> Network:
    """Return a random network in evaluation mode."""
    return cast(Network, build(Architecture(input_shape, operations), seed=seed).eval())
