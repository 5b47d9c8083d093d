"""How much accuracy a network loses without a layer."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_gym.architecture import INPUT
from nas_gym.builder import Network
from nas_gym.statistics import CONFIDENCE, RESAMPLES, Estimate
from nas_gym.winner.inspection.layers import LayerImportance
from nas_gym.winner.inspection.subject import Samples, Subject, recorded, replaced, right
from nas_gym.winner.inspection.substitutes import Layer, layers_of, matched, substitute

_MATCHED_ON = 256  # training images whose moments a substitute is given


def measure_layers(
    subject: Subject,
    samples: Samples,
    training: Samples,
    *,
    seed: int = 0,
    measured: Callable[[int, int], None] | None = None,
) -> list[LayerImportance]:
    """Return what every layer is worth on some samples, in the order of the network.

    Args:
        subject: The network; it is as before afterwards.
        samples: On which accuracy is measured with and without the layer.
        training: On which the moments of the substitutes are matched.
        seed: Of the bootstrap.
        measured: Told how many layers are done, and of how many.
    """
    architecture = subject.winner.candidate.trained
    base = right(subject.network, samples.inputs, samples.targets)
    layers = layers_of(architecture)
    found = []
    for layer in layers:
        found.append(_measured(subject, layer, samples, training.inputs[:_MATCHED_ON], base, seed))
        if measured is not None:
            measured(len(found), len(layers))
    return found


def _measured(
    subject: Subject, layer: Layer, samples: Samples, training: Tensor, base: NDArray[np.bool_], seed: int
) -> LayerImportance:
    network, operation = subject.network, subject.winner.candidate.trained.operations[layer.position]
    plain, words = substitute(layer, operation)
    source = operation.inputs[0]
    fitted = matched(plain, *_seen(network, layer, source, training))
    lost = [paired_loss(base, _right_with(network, layer, module, samples), seed=seed) for module in (plain, fitted)]
    return LayerImportance(
        position=layer.position,
        kind=operation.kind,
        name=layer.name,
        lost_accuracy=lost[0].value,
        low=lost[0].low,
        high=lost[0].high,
        parameters=layer.parameters,
        macs=layer.macs,
        substitute=words,
        matched_lost_accuracy=lost[1].value,
        matched_low=lost[1].low,
        matched_high=lost[1].high,
        replaced=layer.replaced,
    )


def _right_with(network: Network, layer: Layer, module: nn.Module, samples: Samples) -> NDArray[np.bool_]:
    """Return which samples are answered rightly with a module in place of a layer."""
    first, *others = layer.replaced
    with replaced(network, {first: module, **{position: nn.Identity() for position in others}}):
        return right(network, samples.inputs, samples.targets)


def _seen(network: Network, layer: Layer, source: int, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return what goes into a layer and what comes out of it, for some inputs of the network."""
    positions = {layer.replaced[-1], *({source} if source != INPUT else ())}
    with recorded(network, positions) as outputs, torch.no_grad():
        network(inputs)
    return (inputs if source == INPUT else outputs[source]), outputs[layer.replaced[-1]]


def paired_loss(
    base: NDArray[np.bool_],
    other: NDArray[np.bool_],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the accuracy lost, with its percentile bootstrap interval over the samples, which are drawn in pairs.

    A sample loses 1, gains 1 or changes nothing, so that drawing n of n samples is drawing three counts from the
    multinomial distribution (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3): the same as
    `nas_gym.statistics.paired_difference`, without the samples.

    Args:
        base: Which samples the whole network answers rightly, (n,).
        other: Which ones the other network does, (n,).
        seed: Of the resampling.
        resamples: How many.
        confidence: Of the interval, in (0, 1).
    """
    n = len(base)
    lost, won = int((base & ~other).sum()), int((other & ~base).sum())
    shares = np.array([lost, won, n - lost - won]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, resamples)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / n, (50 * (1 - confidence), 50 * (1 + confidence)))
    return Estimate((lost - won) / n, float(low), float(high))
