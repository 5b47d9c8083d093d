"""Random legal walks: all complete, and what is predicted without torch is what torch builds and counts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from nas_gym.architecture import Architecture
from nas_gym.builder import build
from nas_gym.operations import KINDS
from nas_gym.spaces import (
    AveragePool,
    BatchNorm,
    ChainSpace,
    Convolution,
    Dropout,
    FullyConnected,
    GlobalPool,
    Limits,
    MaxPool,
    ResidualBlock,
    SeparableConvolution,
    default_catalogue,
    n_actions,
)
from nas_gym.testing import random_walk

ATOMS = (
    Convolution(5, batch_norm=False, activation=False),
    Convolution(6, kernel=1, stride=2, activation=False),
    Convolution(4, kernel=5, batch_norm=False),
    SeparableConvolution(7, kernel=5, stride=2, batch_norm=False),
    ResidualBlock(5, kernel=1, stride=2),
    ResidualBlock(6),
    MaxPool(2),
    MaxPool(3),
    AveragePool(2),
    AveragePool(3),
    Dropout(0.1),
    Dropout(0.3),
    BatchNorm(),
    FullyConnected(9, activation=False),
    FullyConnected(11),
    GlobalPool(),
)

SPACES = {
    "digits": ChainSpace((1, 8, 8), 10),
    "digits limited": ChainSpace((1, 8, 8), 10, limits=Limits(parameters=8_000, macs=200_000, min_layers=3)),
    "digits hyperparameters": ChainSpace((1, 8, 8), 10, hyperparameters=("learning_rate", "batch_size")),
    "mnist": ChainSpace((1, 28, 28), 10, catalogue=default_catalogue((8, 16, 32))),
    "mnist limited": ChainSpace((1, 28, 28), 10, limits=Limits(parameters=30_000, macs=2_000_000, resolution=3)),
    "cifar": ChainSpace((3, 32, 32), 100, catalogue=default_catalogue((8, 16, 24)), max_layers=6),
    "cifar limited": ChainSpace((3, 32, 32), 10, limits=Limits(parameters=50_000, macs=3_000_000, resolution=4)),
    "atoms": ChainSpace((3, 13, 10), 7, catalogue=ATOMS, max_layers=10, limits=Limits(min_layers=0)),
    "atoms limited": ChainSpace(
        (2, 9, 9), 3, catalogue=ATOMS, limits=Limits(parameters=900, macs=15_000, resolution=1, min_layers=4)
    ),
    "atoms on one pixel": ChainSpace((4, 1, 1), 3, catalogue=ATOMS, max_layers=6),
}
WALKS_PER_SPACE = 1_000


class FlopCount(TorchDispatchMode):
    """Counts with the formulas of `torch.utils.flop_counter`, without its (slow) tables by module."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=output)
        return output


@pytest.fixture
def undrawn_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave weights undefined where only shapes and counts matter: drawing them takes most of the time."""
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: None)
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **settings: weight)


def check_predictions(architecture: Architecture, counter: FlopCount | FlopCounterMode, n: int = 1) -> Tensor:
    module = build(architecture).eval()
    with torch.no_grad(), counter:
        output = module(torch.zeros(n, *architecture.input_shape))
    flops = counter.flops if isinstance(counter, FlopCount) else counter.get_total_flops()
    assert output.shape == (n, *architecture.output_shape)
    assert sum(weights.numel() for weights in module.parameters()) == architecture.parameters
    assert flops == 2 * n * architecture.macs
    return output


def walk_of(space: ChainSpace, rng: np.random.Generator) -> Architecture:
    """Take one random legal walk; return its network after checking it against the space's limits."""
    walk = random_walk(space, rng)
    assert space.next_slot(walk) is None
    architecture, limits = space.candidate(walk).architecture, space.limits
    n_layers = sum(text != "" for text in space.outline(walk))
    assert limits.min_layers <= n_layers <= space.max_layers
    assert limits.parameters is None or architecture.parameters <= limits.parameters
    assert limits.macs is None or architecture.macs <= limits.macs
    assert all(min(shape[1:]) >= limits.resolution for shape in architecture.shapes if len(shape) == 3)
    assert architecture.output_shape == (space.n_classes,)
    return architecture


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.usefixtures("undrawn_weights")
def test_ten_thousand_walks_are_what_was_predicted(name: str) -> None:
    space = SPACES[name]
    rng = np.random.default_rng(2024)
    for i in range(WALKS_PER_SPACE):
        architecture = walk_of(space, rng)
        check_predictions(architecture, FlopCount())
        if i % 50 == 0:  # the formulas are those of torch's own counter
            check_predictions(architecture, FlopCounterMode(display=False), n=3)


@pytest.mark.parametrize("name", SPACES)
def test_walks_are_what_was_predicted_with_drawn_weights(name: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(5):
        output = check_predictions(walk_of(SPACES[name], rng), FlopCount(), n=2)
        assert torch.isfinite(output).all()


def test_the_walks_meet_every_kind_of_operation() -> None:
    rng = np.random.default_rng(1)
    met = {o.kind for space in SPACES.values() for _ in range(60) for o in walk_of(space, rng).operations}
    assert met == set(KINDS) - {"identity", "smooth", "zero", "choice"}  # these are of cells and tables
    assert len(SPACES) * WALKS_PER_SPACE >= 10_000


def test_the_walks_meet_every_action_that_brute_enumeration_finds_legal() -> None:
    space = SPACES["atoms limited"]
    reached = np.zeros(n_actions(space), dtype=bool)
    rng = np.random.default_rng(3)

    def masks() -> Iterator[np.ndarray]:
        for _ in range(300):
            walk = random_walk(space, rng)
            yield from (space.legal(walk[:end]) for end in range(1, len(walk)))

    for mask in masks():
        reached |= mask
    assert reached.all()
