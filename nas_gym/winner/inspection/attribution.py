"""SHAP values of pixels by shap's GradientExplainer, and how like two maps of them are."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_gym.winner.inspection.subject import logits

SAMPLES = 200  # of background image and place on the way to it, for every map
BACKGROUND = 50  # training images


class Centred(nn.Module):
    """How far the output of one class lies above the mean of all: (n, …) to (n, 1).

    Adding a number to all outputs changes no probability; it does not change this either.

    Args:
        network: Tells one output per class.
        of: Number of the class.
    """

    def __init__(self, network: nn.Module, of: int) -> None:
        super().__init__()
        self.network = network
        self.of = of

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the difference."""
        outputs: Tensor = self.network(inputs)
        return outputs[:, self.of : self.of + 1] - outputs.mean(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the pixels of an image contribute to the centred output of a class.

    Attributes:
        values: SHAP values, summed over channels, float64 (height, width).
        of: Number of the class.
        output: What the network tells of the image.
        base: Its mean over the background images: the values should sum to ``output - base``.
    """

    values: NDArray[np.float64]
    of: int
    output: float
    base: float

    @property
    def gap(self) -> float:
        """How far the sum of the values is from what it should be: they are a mean over samples."""
        return float(self.values.sum()) - (self.output - self.base)


def attribution(
    network: nn.Module, image: Tensor, of: int, background: Tensor, *, samples: int = SAMPLES, seed: int = 0
) -> Attribution:
    """Return the attribution of an image by expected gradients, as shap's GradientExplainer draws them.

    Erion et al. 2021 (arXiv 1906.10670, equation 3): the mean over background images x' and places α in [0, 1] of
    (x - x') ∂f/∂x at x' + α (x - x').

    Args:
        network: On the device of the image, in evaluation mode.
        image: Normalised, float32 (channels, height, width).
        of: Number of the class.
        background: Normalised images, (n, channels, height, width).
        samples: Of x' and α.
        seed: Of these.
    """
    from nas_gym.explain.pictures import drawn_by_shap

    module = Centred(network, of).eval()
    with drawn_by_shap() as (shap, _):  # the global generators are as before afterwards
        explainer = shap.GradientExplainer(module, background)
        found = np.asarray(explainer.shap_values(image[None].clone(), nsamples=samples, rseed=seed))
    values = found.reshape(image.shape).astype(np.float64).sum(0)
    outputs = logits(module, torch.cat([image[None], background]))[:, 0].cpu().numpy()
    return Attribution(values, of, float(outputs[0]), float(outputs[1:].mean()))


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of two maps over pixels that are not 0 in both; NaN if one is constant."""
    from scipy.stats import spearmanr

    kept = (first != 0) | (second != 0)
    a, b = first[kept], second[kept]
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
