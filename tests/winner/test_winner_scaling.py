"""Wider and deeper: the same network, larger, and built without a mistake."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_gym.architecture import Architecture, Operation
from nas_gym.builder import build
from nas_gym.errors import ConfigurationError
from nas_gym.spaces import ChainSpace, Limits
from nas_gym.testing import random_walk
from nas_gym.winner.scaling import residual_blocks, scaled, widths

SPACE = ChainSpace((3, 16, 16), 7, max_layers=5, limits=Limits(parameters=None, macs=None, resolution=1))
NAMES = [layer.name for layer in SPACE.catalogue]


def network(*layers: str, activation: str = "relu") -> Architecture:
    actions = [SPACE.activations.index(activation), *(NAMES.index(layer) for layer in layers)]
    if len(layers) < SPACE.max_layers:
        actions.append(len(NAMES))
    return SPACE.candidate(tuple(actions)).trained


def kinds(architecture: Architecture) -> list[str]:
    return [operation.kind for operation in architecture.operations]


def channels(architecture: Architecture) -> list[int]:
    return [int(dict(o.settings)["channels"]) for o in architecture.operations if o.kind == "conv"]


def test_twice_as_wide_is_the_network_of_a_catalogue_twice_as_wide() -> None:
    layers = ["conv 3×3 16 bn", "separable 3×3 32 bn", "max pool 2", "residual/2 64", "fully connected 128"]
    from nas_gym.spaces import default_catalogue

    twice = ChainSpace(
        (3, 16, 16),
        7,
        catalogue=default_catalogue((32, 64, 128)),
        max_layers=5,
        limits=Limits(parameters=None, macs=None, resolution=1),
    )
    actions = (0, *(NAMES.index(layer) for layer in layers))
    assert scaled(network(*layers), width=2.0) == twice.candidate(actions).trained


def test_a_factor_of_one_changes_nothing() -> None:
    small = network("conv 3×3 16 bn", "residual 32")
    assert scaled(small) is small


@pytest.mark.parametrize(("width", "expected"), [(0.1, 8), (1.3, 24), (1.75, 32), (2.5, 40)])
def test_widths_are_rounded_to_what_a_processor_computes_at_once(width: float, expected: int) -> None:
    assert channels(scaled(network("conv 3×3 16 bn"), width=width)) == [expected]


def test_what_makes_the_output_keeps_its_width() -> None:
    wide = scaled(network("conv 3×3 16 bn", "fully connected 64"), width=3)
    units = [dict(o.settings)["units"] for o in wide.operations if o.kind == "linear"]
    assert units == [192, 7]
    bare = Architecture((3, 8, 8), (_conv(10), Operation("global_average_pool", (), (0,))))
    assert scaled(bare, width=4).output_shape == (10,), "a convolution makes the output here"


def test_a_depth_repeats_residual_blocks_and_nothing_else() -> None:
    small = network("conv 3×3 16 bn", "residual/2 64", "max pool 2", "residual 64")
    deep = scaled(small, depth=3)
    assert len(residual_blocks(small)) == 2
    assert len(residual_blocks(deep)) == 6
    assert kinds(deep).count("conv") == kinds(small).count("conv") + 2 * 2 * 2
    strides = [dict(o.settings)["stride"] for o in deep.operations if o.kind == "conv"]
    assert strides.count(2) == 2, "of the first block and its shortcut only"
    by_hand = network("residual 64", "residual 64", "residual 64")
    assert scaled(network("residual 64"), depth=3).canonical() == by_hand


def test_a_depth_without_residual_blocks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has none; give it a width"):
        scaled(network("conv 3×3 16 bn"), depth=2)


@pytest.mark.parametrize(("width", "depth"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1e9, 1), (1.0, 0)])
def test_factors_out_of_range_are_refused(width: float, depth: int) -> None:
    with pytest.raises(ConfigurationError, match="a width lies between"):
        scaled(network("conv 3×3 16 bn"), width=width, depth=depth)


def test_a_sum_with_the_input_can_not_be_widened() -> None:
    both = Architecture((3, 8, 8), (_conv(3), Operation("add", (), (-1, 0)), _conv(8, 1), _pool(2), _linear(3)))
    with pytest.raises(ConfigurationError, match="retrain it as it is"):
        scaled(both, width=2)


def test_grouped_convolutions_stay_grouped() -> None:
    grouped = Architecture((3, 8, 8), (_conv(12), _conv(24, 0, groups=4), _pool(1), _linear(2)))
    wide = scaled(grouped, width=1.5)
    settings_ = dict(wide.operations[1].settings)
    assert settings_["groups"] == 4 and settings_["channels"] % 4 == 0
    build(wide)(torch.zeros(2, 3, 8, 8))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.25, 2.0, 3.0]), st.integers(1, 3))
def test_any_network_of_a_space_scales_to_one_that_is_built_and_answers(seed: int, width: float, depth: int) -> None:
    candidate = SPACE.candidate(random_walk(SPACE, np.random.default_rng(seed)))
    small = candidate.trained
    depth = depth if residual_blocks(small) else 1
    large = scaled(small, width=width, depth=depth)
    assert large.output_shape == (7,) and large.input_shape == small.input_shape
    module = build(large, seed=0)
    assert sum(p.numel() for p in module.parameters()) == large.parameters
    assert module.eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
    if width >= 2 and "conv" in kinds(small):
        assert large.macs > small.macs


def test_widths_go_from_one_to_the_most() -> None:
    assert widths(2.0) == [1.0, 1.25, 1.5, 1.75, 2.0]
    assert widths(1.1) == [1.0]


def _conv(n: int, source: int = -1, groups: int = 1) -> Operation:
    return Operation(
        "conv", (("bias", 1), ("channels", n), ("groups", groups), ("kernel", 3), ("stride", 1)), (source,)
    )


def _pool(source: int) -> Operation:
    return Operation("global_average_pool", (), (source,))


def _linear(source: int) -> Operation:
    return Operation("linear", (("units", 5),), (source,))
