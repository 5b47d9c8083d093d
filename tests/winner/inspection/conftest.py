"""Planted networks, shared by the tests of an inspection."""

from typing import cast

import numpy as np
import pytest
import torch
from planted import Planted, conv, operation, samples_of, subject_of_network

from nas_gym.architecture import Architecture
from nas_gym.builder import Network, build


@pytest.fixture(scope="session")
def one_patch() -> Planted:
    """Images of 8×8 whose class is the sign of a sum over 2×2 pixels; the convolution does nothing."""
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
