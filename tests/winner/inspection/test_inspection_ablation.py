"""What a layer is worth: identities nothing, the only layer that matters all; intervals and substitutes by hand."""

import numpy as np
import pytest
import torch
from planted import conv, network_of, operation, samples_of, subject_of_network
from torch import nn

from nas_gym.operations import KINDS
from nas_gym.statistics import paired_difference
from nas_gym.winner.inspection.ablation import measure_layers, paired_loss
from nas_gym.winner.inspection.subject import recorded
from nas_gym.winner.inspection.substitutes import MeanProjection, layers_of, matched, substitute


def test_an_identity_is_worth_nothing_and_the_layer_that_decides_everything(one_patch) -> None:
    samples = one_patch.samples
    first, last = measure_layers(one_patch.subject, samples, samples, seed=0)
    assert (first.name, first.substitute, first.position, first.replaced) == ("conv 3×3 to 1", "identity", 0, (0,))
    assert first.lost_accuracy == first.low == first.high == 0
    assert first.matched_lost_accuracy == first.matched_low == first.matched_high == 0
    assert (first.parameters, first.macs) == (9, 9 * 64)
    assert last.kind == "linear" and last.substitute == "means of features (64 to 2)"
    assert last.low > 0.3 and last.low < last.lost_accuracy < last.high


def test_the_network_is_as_before(one_patch) -> None:
    network = one_patch.subject.network
    layers, before = list(network.layers), network(one_patch.samples.inputs)
    measure_layers(one_patch.subject, one_patch.samples, one_patch.samples)
    assert all(one is other for one, other in zip(layers, network.layers, strict=True))
    assert torch.equal(before, network(one_patch.samples.inputs))
    assert not any(layer._forward_hooks for layer in network.layers)


def test_a_matter_of_scale_is_told_from_a_matter_of_shape() -> None:
    """A convolution that only multiplies by 100 and adds 7: the identity ruins the answer, a matched one is as good."""
    network = network_of(
        operation("conv", (-1,), bias=1, channels=1, groups=1, kernel=1, stride=1),
        operation("global_average_pool", (0,)),
        operation("linear", (1,), units=2),
    )
    with torch.no_grad():
        network.layers[0].weight.fill_(100.0)
        network.layers[0].bias.fill_(7.0)
        network.layers[2].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        network.layers[2].bias.copy_(torch.tensor([-7.0, 7.0]))
    samples = samples_of(network, torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert 0.3 < samples.targets.mean() < 0.7
    first = measure_layers(subject_of_network(network), samples, samples)[0]
    assert first.lost_accuracy > 0.3 and first.matched_lost_accuracy == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_are_those_of_resampled_pairs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    base, other = generator.random(400) < 0.9, generator.random(400) < 0.6
    found = paired_loss(base, other, seed=seed)
    wanted = paired_difference(base.astype(float), other.astype(float), seed=seed)
    assert found.value == pytest.approx(wanted.value, abs=1e-12)
    assert found.low == pytest.approx(wanted.low, abs=0.006) and found.high == pytest.approx(wanted.high, abs=0.006)


def test_a_normalisation_goes_with_what_it_alone_reads() -> None:
    residual = network_of(
        conv(8, (-1,)),
        operation("batch_norm", (0,)),
        operation("relu", (1,)),
        conv(8, (2,)),
        operation("batch_norm", (3,)),
        operation("add", (2, 4)),
        operation("batch_norm", (5,)),  # reads a sum: a layer of its own
        operation("dropout", (6,), rate=0.2),
        operation("max_pool", (7,), kernel=3),
        operation("global_average_pool", (8,)),
        operation("linear", (9,), units=3),
    )
    found = layers_of(residual.architecture)
    assert [one.replaced for one in found] == [(0, 1), (2,), (3, 4), (6,), (8,), (9,), (10,)]
    assert found[0].parameters == 72 + 16 and found[0].macs == 72 * 64


OPERATIONS = {
    "wider": conv(6, (-1,)),
    "narrower": conv(2, (-1,)),
    "strided": conv(4, (-1,), stride=2),
    "both": conv(7, (-1,), stride=3),
    "max_pool": operation("max_pool", (-1,), kernel=3),
    "average_pool": operation("average_pool", (-1,), kernel=2),
    "global_average_pool": operation("global_average_pool", (-1,)),
    "smooth": operation("smooth", (-1,), kernel=3),
    "gelu": operation("gelu", (-1,)),
}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_substitutes_keep_the_shape_and_have_no_parameters(name: str) -> None:
    network = network_of(OPERATIONS[name], input_shape=(4, 8, 10))
    (layer,) = layers_of(network.architecture)
    module, words = substitute(layer, network.architecture.operations[0])
    inputs = torch.randn(5, 4, 8, 10)
    assert module(inputs).shape == network(inputs).shape
    assert not list(module.parameters()) and words
    assert (words == "identity") == isinstance(module, nn.Identity) == (layer.before == layer.after)
    fitted = matched(module, inputs, network(inputs))
    mine, wanted = fitted(inputs).transpose(0, 1).flatten(1), network(inputs).transpose(0, 1).flatten(1)
    torch.testing.assert_close(mine.mean(1), wanted.mean(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mine.std(1), wanted.std(1), atol=1e-4, rtol=1e-3)


def test_every_kind_of_operation_is_a_layer_or_is_left_alone_on_purpose() -> None:
    alone = {"identity", "dropout", "flatten", "add", "zero", "choice"}
    from nas_gym.winner.inspection.substitutes import _LAYERS

    assert set(_LAYERS) | alone == set(KINDS) and not set(_LAYERS) & alone


def test_means_are_means_of_shares() -> None:
    inputs = torch.randn(2, 5, 6, 6)
    found = MeanProjection((2, 3, 3))(inputs)
    torch.testing.assert_close(found[0, 0, 1, 2], inputs[0, 0:3, 2:4, 4:6].mean())
    torch.testing.assert_close(found[1, 1, 0, 0], inputs[1, 2:5, 0:2, 0:2].mean())
    copies = MeanProjection((10, 6, 6))(inputs)
    assert torch.equal(copies[:, 6], inputs[:, 3])


def test_outputs_are_recorded_without_gradients() -> None:
    network = network_of(conv(3, (-1,)), operation("relu", (0,)))
    inputs = torch.randn(2, 1, 8, 8)
    with recorded(network, {0, 1}) as outputs:
        result = network(inputs)
    assert torch.equal(outputs[1], result.detach()) and not outputs[0].requires_grad
