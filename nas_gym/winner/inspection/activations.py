"""What convolutions make of an image, the filters of the first one, and how weights are distributed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_gym.architecture import Architecture
from nas_gym.builder import Network
from nas_gym.operations import ACTIVATIONS
from nas_gym.winner.inspection.subject import recorded
from nas_gym.winner.inspection.substitutes import weighted

NEARLY_ZERO = 0.01  # of a layer's largest absolute weight


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """What comes out of a convolution for some images.

    Attributes:
        name: Of the convolution, in words; normalisation and activation that follow at once are applied.
        channels: Numbers of the channels that are kept, those that differ most within these images first.
        maps: float32 (images, channels kept, height, width).
        of: How many channels there are.
    """

    name: str
    channels: tuple[int, ...]
    maps: NDArray[np.float32]
    of: int


def feature_maps(network: Network, images: Tensor, *, channels: int = 8) -> list[FeatureMaps]:
    """Return the feature maps of every convolution, in the order of the network.

    Args:
        network: In evaluation mode.
        images: Normalised, (n, channels, height, width).
        channels: How many of each convolution are kept, at most.
    """
    architecture = network.architecture
    layers = [one for one in weighted(architecture) if architecture.operations[one.position].kind == "conv"]
    ends = [_end(architecture, one.replaced[-1]) for one in layers]
    with recorded(network, set(ends)) as outputs, torch.no_grad():
        network(images)
    found = []
    for layer, end in zip(layers, ends, strict=True):
        maps = outputs[end].float().cpu().numpy()
        deviations = maps.std((2, 3)).mean(0)
        chosen = np.argsort(-deviations, kind="stable")[:channels]
        after = f" + {architecture.operations[end].kind}" if end != layer.replaced[-1] else ""
        found.append(FeatureMaps(layer.name + after, tuple(map(int, chosen)), maps[:, chosen], maps.shape[1]))
    return found


def _end(architecture: Architecture, position: int) -> int:
    """Return the position of an activation that alone reads an operation, else that of the operation."""
    readers = [i for i, operation in enumerate(architecture.operations) if position in operation.inputs]
    alone = len(readers) == 1 and architecture.operations[readers[0]].kind in ACTIVATIONS
    return readers[0] if alone else position


def first_filters(network: Network) -> NDArray[np.float32] | None:
    """Return the first convolution's filters, largest first, (filters, channels, height, width); None without one."""
    first = next((layer for layer in network.layers if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        return None
    weights: NDArray[np.float32] = first.weight.detach().float().cpu().numpy()
    return weights[np.argsort(-np.abs(weights).sum((1, 2, 3)), kind="stable")]


@dataclass(frozen=True, eq=False)
class Weights:
    """How the weights of a layer are distributed; biases and normalisations are left out.

    Attributes:
        position: Of the layer's operation.
        name: Of the layer, in words.
        count: How many weights.
        quantiles: At `QUANTILES`.
        mean: Of the weights.
        deviation: Of the weights.
        drawn_with: Deviation with which they were drawn before the training: sqrt(2 / fan-in) (He et al. 2015, arXiv
            1502.01852, equation 10); torch's own 1 / sqrt(3 fan-in) in the last linear layer.
        uniform: Whether they were drawn from a uniform distribution, as in the last linear layer, and no normal one.
        nearly_zero: Share of the weights below `NEARLY_ZERO` of the largest absolute one.
        values: All of them, float32 (count,).
    """

    position: int
    name: str
    count: int
    quantiles: tuple[float, ...]
    mean: float
    deviation: float
    drawn_with: float
    uniform: bool
    nearly_zero: float
    values: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return all fields but the values as JSON-ready data."""
        return {name: value for name, value in vars(self).items() if name != "values"}


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def weights_by_layer(network: Network) -> list[Weights]:
    """Return the distribution of the weights of every convolution and linear layer, in the order of the network."""
    layers: Sequence[Any] = weighted(network.architecture)
    last = len(network.layers) - 1
    found = []
    for layer in layers:
        module = network.layers[layer.position]
        assert isinstance(module, nn.Conv2d | nn.Linear)
        values = module.weight.detach().float().cpu().numpy().ravel()
        fan_in = module.weight[0].numel()
        found.append(
            Weights(
                position=layer.position,
                name=layer.name,
                count=len(values),
                quantiles=tuple(map(float, np.quantile(values, QUANTILES))),
                mean=float(values.mean()),
                deviation=float(values.std()),
                drawn_with=(1 / (3 * fan_in)) ** 0.5 if layer.position == last else (2 / fan_in) ** 0.5,
                uniform=layer.position == last,
                nearly_zero=float((np.abs(values) < NEARLY_ZERO * np.abs(values).max()).mean()),
                values=values,
            )
        )
    return found
