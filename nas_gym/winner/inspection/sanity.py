"""Whether maps of attributions depend on what the network has learned.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (arXiv 1810.03292, section 3): weights are drawn anew from the
last layer to the first, one after the other ("cascading randomization"). A map that stays as it was tells of the image,
not of the network.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas_gym.builder import Network, build
from nas_gym.winner.inspection.attribution import Attribution, attribution, rank_correlation
from nas_gym.winner.inspection.substitutes import weighted

HIGH = 0.5  # rank correlation, with every weight drawn anew, above which a warning is due
_MOST_STAGES = 6


@dataclass(frozen=True)
class Stage:
    """How like the maps of the trained network and those of a partly random one are.

    Attributes:
        layers: How many of the last layers with weights were drawn anew; 0 is the trained network itself.
        name: Of the lowest of them, in words.
        correlation: Spearman's, of absolute values of the maps; mean over images.
        standard_error: Of that mean; None of a single image.
        signed: As ``correlation``, of the values with their signs.
    """

    layers: int
    name: str
    correlation: float
    standard_error: float | None
    signed: float


@dataclass(frozen=True)
class Sanity:
    """The outcome of the check.

    Attributes:
        stages: From the trained network to one whose weights are all random.
        contrast: Rank correlation of the trained network's absolute maps with |image - mean of the background| alone:
            what an explainer reaches that multiplies by this and knows no network; mean over images.
        images: How many.
        threshold: Above which the last correlation is called high.
    """

    stages: tuple[Stage, ...]
    contrast: float
    images: int
    threshold: float = HIGH

    @property
    def passed(self) -> bool:
        """Whether neither strengths nor signs of the wholly random network's maps are like the trained one's."""
        return max(self.stages[-1].correlation, self.stages[-1].signed) <= self.threshold

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return asdict(self) | {"passed": self.passed}


@dataclass(frozen=True, eq=False)
class Randomised:
    """Maps of one image through the stages, to be shown.

    Attributes:
        values: By stage, float64 (height, width).
    """

    values: tuple[NDArray[np.float64], ...]


def cascade(
    network: Network,
    images: Tensor,
    found: Sequence[Attribution],
    background: Tensor,
    *,
    samples: int,
    seed: int = 0,
    measured: Callable[[int, int], None] | None = None,
) -> tuple[Sanity, Randomised]:
    """Return how like maps stay while weights are drawn anew from the top, and the maps of the first image.

    Args:
        network: Trained; it stays as it is.
        images: Normalised, (n, channels, height, width).
        found: The maps of the trained network for them, of the classes that are explained throughout.
        background: As in `attribution`.
        samples: As there.
        seed: Of the weights and of the explainer.
        measured: Told how many stages are done, and of how many.
    """
    first = [one.values for one in found]
    counts = _stages(len(weighted(network.architecture)))
    stages, maps = [_stage(network, 0, first, first)], [first[0]]
    for place, count in enumerate(counts):
        random = randomised(network, count, seed)
        now = [
            attribution(random, image, one.of, background, samples=samples, seed=seed).values
            for image, one in zip(images, found, strict=True)
        ]
        stages.append(_stage(network, count, first, now))
        maps.append(now[0])
        if measured is not None:
            measured(place + 1, len(counts))
    contrast = (images - background.mean(0)).abs().sum(1).double().cpu().numpy()
    alone = [rank_correlation(abs(one), other) for one, other in zip(first, contrast, strict=True)]
    return Sanity(tuple(stages), _mean(alone)[0], len(images)), Randomised(tuple(maps))


def randomised(network: Network, count: int, seed: int) -> Network:
    """Return a copy of a network with the weights of its last layers drawn anew, as they were before the training.

    From the lowest of these layers on, everything that has weights or statistics is as in a fresh network.

    Args:
        network: It stays as it is.
        count: How many layers with weights.
        seed: Of the weights.
    """
    layers = weighted(network.architecture)
    if count == 0:
        return network
    lowest, device = layers[-count].position, next(network.parameters()).device
    fresh, copy = build(network.architecture, seed=seed).get_submodule("layers"), deepcopy(network)
    for position in range(lowest, len(copy.layers)):
        copy.layers[position] = fresh.get_submodule(str(position))
    return copy.to(device).eval()


def _stages(layers: int) -> list[int]:
    """Return after how many layers maps are compared: after each one, or a few of them in even distances."""
    return sorted({round(one) for one in np.linspace(1, layers, min(layers, _MOST_STAGES))})


def _stage(
    network: Network, count: int, first: Sequence[NDArray[np.float64]], now: Sequence[NDArray[np.float64]]
) -> Stage:
    pairs = list(zip(first, now, strict=True))
    correlation, error = _mean([rank_correlation(abs(a), abs(b)) for a, b in pairs])
    signed, _ = _mean([rank_correlation(a, b) for a, b in pairs])
    layers = weighted(network.architecture)
    return Stage(count, layers[-count].name if count else "trained", correlation, error, signed)


def _mean(correlations: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean with its standard error; a map that is constant is like no other: 0."""
    values = np.nan_to_num(np.array(correlations, dtype=np.float64), nan=0.0)
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return float(values.mean()), error
