"""Dropout from random bits: the distribution, the gradient, and where it is used."""

import math

import pytest
import torch
from torch import nn

from nas_gym.evaluation.dropout import bit_dropout, fast_dropout
from nas_gym.randomness import isolated_generators


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_rate_and_scale(rate: float) -> None:
    n = 200_000
    with isolated_generators(1):
        found = bit_dropout(torch.ones(n), rate)
    share = float((found == 0).double().mean())
    assert abs(share - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    kept = found[found != 0]
    assert torch.equal(kept, torch.full_like(kept, 65536 / (65536 - round(rate * 65536))))
    assert abs(float(found.double().mean()) - 1) < 0.01 / (1 - rate)


def test_neighbours_are_independent() -> None:
    with isolated_generators(1):
        zero = (bit_dropout(torch.ones(200_000), 0.5) == 0).double()
    for distance in (1, 2, 3, 4, 8):  # four values share a random word
        both = float((zero[:-distance] * zero[distance:]).mean())
        assert abs(both - 0.25) < 0.005


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 1001])
def test_any_number_of_values(n: int) -> None:
    with isolated_generators(3):
        assert bit_dropout(torch.ones(n), 0.5).shape == (n,)


def test_same_generator_same_mask_and_the_gradient_is_the_mask() -> None:
    values = torch.randn(3, 4, 5, 6, generator=torch.Generator()).contiguous(memory_format=torch.channels_last)
    values.requires_grad_()
    with isolated_generators(7):
        first = bit_dropout(values, 0.3)
    with isolated_generators(7):
        second = bit_dropout(values, 0.3)
    assert torch.equal(first, second) and first.is_contiguous(memory_format=torch.channels_last)
    first.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad * values, first)
    assert int((values.grad == 0).sum()) == int((first == 0).sum()) > 0


def test_rate_close_to_one_keeps_something_finite() -> None:
    with isolated_generators(0):
        assert bit_dropout(torch.ones(1000), 0.9999999).isfinite().all()


def test_used_in_training_only_and_taken_away_again() -> None:
    inner = nn.Dropout(0.5)
    module = nn.Sequential(nn.Linear(8, 8), inner, nn.Sequential(nn.Dropout(0.0), nn.Dropout2d(0.5)))
    inputs = torch.ones(64, 8)
    with isolated_generators(0):
        with fast_dropout(module):
            torch.manual_seed(1)
            mine = inner(inputs)
            assert torch.equal(inner.eval()(inputs), inputs)
            inner.train()
        torch.manual_seed(1)
        assert torch.equal(mine, bit_dropout(inputs, 0.5))
        torch.manual_seed(1)
        theirs = inner(inputs)
        torch.manual_seed(1)
        assert torch.equal(theirs, nn.functional.dropout(inputs, 0.5))
    assert "forward" not in inner.__dict__
    with pytest.raises(KeyboardInterrupt), fast_dropout(module):
        assert "forward" in inner.__dict__
        raise KeyboardInterrupt
    assert "forward" not in inner.__dict__


def test_values_with_gaps_fall_back_to_torch() -> None:
    layer = nn.Dropout(0.5)
    gaps = torch.ones(8, 8)[:, ::2]
    with isolated_generators(0), fast_dropout(layer):
        found = layer(gaps)
    assert found.shape == gaps.shape and set(found.unique().tolist()) <= {0.0, 2.0}
