"""What is inspected: the network of a run and its images, as it takes them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_gym.builder import Network
from nas_gym.errors import RunError
from nas_gym.evaluation.training import choose_device
from nas_gym.run import Run
from nas_gym.winner.result import Winner, load_winner
from nas_gym.winner.searched import searched

if TYPE_CHECKING:
    from nas_gym.data.dataset import Dataset, SplitName

_VALUES = 2**21  # of the inputs of one batch, at most
_MOST_IN_A_BATCH = 256


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples of a split.

    Attributes:
        inputs: Normalised as the network takes them, float32 (n, *input_shape), on its device.
        targets: Classes, int64 (n,).
        places: Of the samples in their split, int64 (n,).
    """

    inputs: Tensor
    targets: NDArray[np.int64]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.targets)

    def chosen(self, positions: NDArray[np.int64]) -> "Samples":
        """Return some of the samples, by their positions here."""
        index = torch.from_numpy(positions).to(self.inputs.device)
        return Samples(self.inputs[index], self.targets[positions], self.places[positions])


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network and the data it was trained for.

    Attributes:
        winner: Of the run.
        network: On the device, in evaluation mode: never in another state when it is passed on.
        dataset: Of the search.
    """

    winner: Winner
    network: Network
    dataset: "Dataset"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    @property
    def has_images(self) -> bool:
        """Whether a sample has pixels; if not, it is a row of a table: a vector, or maps of one pixel."""
        shape = self.winner.input_shape
        return len(shape) == 3 and shape[1] * shape[2] > 1

    def samples(self, split: "SplitName", most: int, seed: int) -> Samples:
        """Return so many samples of a split, drawn without replacement and in the order of the split, or all of it."""
        part = getattr(self.dataset, split)
        n = len(part)
        generator = np.random.default_rng([seed, *split.encode()])
        places = np.sort(generator.permutation(n)[:most]) if n > most else np.arange(n)
        index = torch.from_numpy(places)
        return Samples(self.normalised(part.inputs[index]), part.targets[index].cpu().numpy(), places)

    def normalised(self, inputs: Tensor) -> Tensor:
        """Return pixels, uint8 in 0..255 or float32 in 0..1, as the network takes them, on its device."""
        scaled = inputs.to(device=self.device, dtype=torch.float32)
        scaled = scaled / 255.0 if inputs.dtype == torch.uint8 else scaled
        along = (1, -1, *[1] * (inputs.dim() - 2))
        mean, std = (torch.tensor(v, device=self.device).view(along) for v in (self.winner.mean, self.winner.std))
        return ((scaled - mean) / std).reshape(len(inputs), *self.winner.input_shape)

    def pixels(self, samples: Samples) -> NDArray[np.float32]:
        """Return images as they are shown: float32 in 0..1, (n, height, width, channels)."""
        mean, std = (np.array(v, dtype=np.float32) for v in (self.winner.mean, self.winner.std))
        array = samples.inputs.cpu().numpy().transpose(0, 2, 3, 1) * std + mean
        clipped: NDArray[np.float32] = np.clip(array, 0, 1).astype(np.float32)
        return clipped


def subject_of(path: Path, device: str = "auto") -> Subject:
    """Return the winner of a run with its network and its data.

    Raises:
        RunError: It is no run, holds no trained network, its weights are damaged, or its data can't be had any more or
            are other ones.
        ConfigurationError: There is no such device here.
    """
    place = choose_device(device)
    winner = load_winner(path)
    network = winner.module().to(place)
    dataset = searched(Run(path)).trainer.dataset
    if (tuple(dataset.class_names), tuple(dataset.input_shape)) != (winner.class_names, winner.input_shape):
        raise RunError(
            f"the data of {str(path)!r} are not those that its network was trained for: {dataset.n_classes} classes of "
            f"{dataset.input_shape}, the network has {len(winner.class_names)} of {winner.input_shape}; restore them"
        )
    if not isinstance(network, Network) or not all(t.isfinite().all() for t in network.state_dict().values()):
        raise RunError(f"the weights of the network of {str(path)!r} are not all finite numbers; retrain it")
    return Subject(winner, network, dataset)


def digest_of(winner: Winner) -> str:
    """Return 16 hexadecimal digits of the winner's weights file (SHA-256)."""
    return hashlib.sha256(winner.weights[0].read_bytes()).hexdigest()[:16]


def logits(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return the outputs of a network in evaluation mode, float32 (n, classes), in batches and without gradients."""
    each = max(1, min(_MOST_IN_A_BATCH, _VALUES // max(1, inputs[0].numel())))
    with torch.no_grad():
        return torch.cat([network(inputs[start : start + each]) for start in range(0, len(inputs), each)])


def right(network: nn.Module, inputs: Tensor, targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for which samples the largest output is that of their class: bool (n,)."""
    answers = logits(network, inputs).argmax(1).cpu().numpy()
    return np.asarray(answers == targets)


@contextmanager
def replaced(network: Network, modules: Mapping[int, nn.Module]) -> Iterator[Network]:
    """Put other modules into places of a network for as long as the context lasts."""
    kept = {position: network.layers[position] for position in modules}
    try:
        for position, module in modules.items():
            network.layers[position] = module
        yield network
    finally:
        for position, module in kept.items():
            network.layers[position] = module


@contextmanager
def recorded(network: Network, positions: set[int]) -> Iterator[dict[int, Tensor]]:
    """Yield a mapping that holds, after a pass through the network, the outputs at some positions; no gradients."""
    found: dict[int, Tensor] = {}

    def keep(position: int, output: Tensor) -> None:
        found[position] = output.detach()

    hooks = [
        network.layers[position].register_forward_hook(lambda _, __, output, at=position: keep(at, output))
        for position in sorted(positions)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
