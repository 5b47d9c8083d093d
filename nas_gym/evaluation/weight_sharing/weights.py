"""The shared weights, and networks whose parameters are parts of them."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nas_gym.architecture import Architecture
from nas_gym.builder import Network
from nas_gym.evaluation.weight_sharing.places import Place, Widths, places
from nas_gym.randomness import derived_seed


@dataclass(frozen=True)
class Path:
    """A network of the space, on the device of the shared weights.

    Attributes:
        network: Its parameters are views: to change them is to change the shared weights.
        parameters: Of the network, in order.
        momenta: Views of the optimiser's momenta for these parameters; empty unless the path is to be trained.
    """

    network: Network
    parameters: list[nn.Parameter]
    momenta: list[Tensor]


@dataclass
class SharedWeights:
    """All weights of a supernet by name; each is made when a path first needs it, with values seeded by its name.

    So values depend neither on the order in which weights are made nor on the device.

    Attributes:
        widths: Of the space.
        seed: Of the first values.
        device: Where they are.
        values: Weights that were trained, by name.
        momenta: Of the optimiser, for each of the values.
    """

    widths: Widths
    seed: int
    device: torch.device
    values: dict[str, Tensor] = field(default_factory=dict)
    momenta: dict[str, Tensor] = field(default_factory=dict)

    def path(self, architecture: Architecture, *, trained: bool) -> Path:
        """Return the network of a canonical architecture; weights that are to be trained are kept.

        Raises:
            OutOfSpaceError: The architecture is wider than any of the space.
        """
        with torch.device("meta"):
            network = Network(architecture)  # its own weights are never made
        path = Path(network, [], [])
        for place in places(architecture, self.widths):
            layer = network.layers[place.position]
            self._lend(path, layer, "weight", place, trained)
            if layer.bias is not None:
                self._lend(path, layer, "bias", place, trained)
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean = torch.zeros(place.used, device=self.device)
                layer.running_var = torch.ones(place.used, device=self.device)
                layer.num_batches_tracked = torch.zeros((), dtype=torch.int64, device=self.device)
        return path

    def _lend(self, path: Path, layer: nn.Module, kind: str, place: Place, trained: bool) -> None:
        name = f"{place.name} {kind}"
        value = self.values.get(name)
        if value is None:
            value = self._fresh(name, kind, place, layer).to(self.device)
            if trained:
                self.values[name], self.momenta[name] = value, torch.zeros_like(value)
        part = tuple(slice(length) for length in (place.used if kind == "weight" else place.used[:1]))
        parameter = nn.Parameter(value[part])
        setattr(layer, kind, parameter)
        path.parameters.append(parameter)
        if trained:
            path.momenta.append(self.momenta[name][part])

    def _fresh(self, name: str, kind: str, place: Place, layer: nn.Module) -> Tensor:
        """Return first values: as in He et al. 2015 (arXiv 1502.01852, equation 10), for the widest input."""
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            return torch.full(place.shape, float(kind == "weight"))
        if kind == "bias":
            return torch.zeros(place.shape[:1])
        generator = torch.Generator().manual_seed(derived_seed(self.seed, place.origin))
        if len(place.shape) == 2:
            return nn.init.kaiming_normal_(torch.empty(place.shape), nonlinearity="relu", generator=generator)
        out, channels, kernel, _ = place.shape
        margin = (self.widths.kernel - kernel) // 2
        drawn = torch.randn(out, channels, *(self.widths.kernel,) * 2, generator=generator)
        middle = slice(margin, margin + kernel)
        return drawn[:, :, middle, middle].mul(math.sqrt(2 / (channels * kernel**2))).contiguous()
