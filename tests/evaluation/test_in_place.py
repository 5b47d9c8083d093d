"""Rectifiers in place: the same bits, and never where somebody else reads."""

import pytest
import torch
from networks import chain, conv, convnet, perceptron
from torch import nn

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.builder import build
from nas_gym.evaluation.in_place import relu_in_place

RELU, POOL, OUT = Operation("relu"), Operation("global_average_pool"), Operation("linear", (("units", 10),))


def shared() -> Candidate:
    """Return a network in which a rectifier's input is read once more, after it."""
    steps = [conv(4, -1), Operation("relu", (), (0,)), conv(4, 1), Operation("add", (), (0, 2))]
    steps += [Operation("relu", (), (3,)), Operation("global_average_pool", (), (4,))]
    return Candidate(Architecture((1, 8, 8), (*steps, Operation("linear", (("units", 10),), (5,)))))


NETWORKS = {
    "convolutions": (convnet(width=4), 3),
    "perceptron": (perceptron(), 1),
    "shared": (shared(), 0),
    "two in a row": (chain((1, 8, 8), conv(4), RELU, RELU, POOL, OUT), 1),
    "of the input": (chain((1, 8, 8), RELU, conv(4), POOL, OUT), 0),
    "of a dropout": (chain((1, 8, 8), conv(4), Operation("dropout", (("rate", 0.5),)), RELU, POOL, OUT), 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_same_bits_and_as_before_afterwards(name: str) -> None:
    candidate, expected = NETWORKS[name]
    plain, module = (build(candidate.architecture, seed=1) for _ in range(2))
    inputs = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = inputs.clone()
    rectifiers = [layer for layer in module.modules() if isinstance(layer, nn.ReLU)]
    for training in (True, False):
        with relu_in_place(module.train(training)):
            assert sum(layer.inplace for layer in rectifiers) == expected
            torch.manual_seed(0)
            found = module(inputs)
            found.square().sum().backward()
        torch.manual_seed(0)
        other = plain.train(training)(inputs)
        other.square().sum().backward()
        assert torch.equal(found, other) and torch.equal(inputs, kept)
        for mine, theirs in zip(module.parameters(), plain.parameters(), strict=True):
            assert mine.grad is not None and theirs.grad is not None and torch.equal(mine.grad, theirs.grad)
    assert not any(layer.inplace for layer in rectifiers)


def test_other_modules_and_errors() -> None:
    other = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU(inplace=True))
    with relu_in_place(other):
        assert [layer.inplace for layer in other[1:]] == [False, True]
    network = build(convnet(width=2).architecture, seed=0)
    with pytest.raises(KeyboardInterrupt), relu_in_place(network):
        raise KeyboardInterrupt
    assert not any(layer.inplace for layer in network.modules() if isinstance(layer, nn.ReLU))
