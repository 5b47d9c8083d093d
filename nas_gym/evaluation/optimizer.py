"""The optimiser of a training: torch's, on one long vector that holds all parameters."""

import math
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from nas_gym.evaluation.recipe import Recipe

_ALIGNED = 16  # values, 64 bytes: where kernels read fastest, and add up in the same order whatever lies before


class FlatOptimizer:
    """Updates all parameters of a module as one vector: one kernel a step, however many layers there are.

    The parameters become views into the vector, their gradients views into another. The arithmetic is that of torch's
    own SGD and Adam, which are given the vector as their only parameter.

    Args:
        module: Its parameters must be of one type and on one device.
        recipe: Says which optimiser.
    """

    def __init__(self, module: nn.Module, recipe: Recipe) -> None:
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        first, sizes = self._parameters[0].data, [parameter.numel() for parameter in self._parameters]
        starts = [0, *accumulate(-(-size // _ALIGNED) * _ALIGNED for size in sizes)]
        vector = torch.zeros(starts[-1], dtype=first.dtype, device=first.device)
        self._gradient = torch.zeros_like(vector)
        for parameter, start in zip(self._parameters, starts, strict=False):
            place = (parameter.size(), torch.empty_like(parameter).stride(), start)  # dense, in the same layout
            parameter.data = vector.as_strided(*place).copy_(parameter.data)
            parameter.grad = self._gradient.as_strided(*place)
        self._vector = nn.Parameter(vector)
        self._vector.grad = self._gradient
        self._optimizer = _optimizer(self._vector, recipe)
        self._group = self._optimizer.param_groups[0]

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Move the parameters along the gradient of a loss."""
        self._gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        self._group["lr"] = learning_rate
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return what the optimiser remembers between steps: plain data and tensors, not copied."""
        return dict(self._optimizer.state_dict()["state"])

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned for a module of the same layout."""
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})
        self._group = self._optimizer.param_groups[0]

    def release(self) -> None:
        """Give every parameter memory of its own again, and no gradient."""
        for parameter in self._parameters:
            parameter.data = parameter.data.clone()
            parameter.grad = None


def one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate of a step: a linear rise to the peak, then half a cosine down towards zero.

    After Smith and Topin 2018 (arXiv 1708.07120), with the cosine of torch's OneCycleLR.

    Args:
        step: From 0 to steps - 1.
        steps: Of the whole training.
        peak: Highest learning rate.
        warmup: Share of the steps in which the rate rises, in [0, 1).
    """
    rise = warmup * steps
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, steps - rise)))


def _optimizer(vector: nn.Parameter, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            [vector],
            lr=recipe.learning_rate,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        [vector],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        fused=True,
    )
