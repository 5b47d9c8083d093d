"""The optimiser of a training: torch's, on one long vector that holds all parameters."""

import math
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

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
        self._vector = vector
        self._recipe = recipe
        self._momenta: list[Tensor | None] = [None]  # SGD's, made in its first step
        self._adam = [torch.zeros_like(vector), torch.zeros_like(vector)] if recipe.optimizer == "adam" else []
        self._steps = torch.zeros((), device=first.device)

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Move the parameters along the gradient of a loss."""
        self._gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        # The functions behind torch's optimisers: their classes take longer to call than a small network's step.
        with torch.no_grad():
            if self._recipe.optimizer == "adam":
                self._adam_step(learning_rate)
            else:
                self._sgd_step(learning_rate)

    def _sgd_step(self, learning_rate: float) -> None:
        sgd(
            [self._vector],
            [self._gradient],
            self._momenta,
            fused=True,
            lr=learning_rate,
            momentum=self._recipe.momentum,
            weight_decay=self._recipe.weight_decay,
            dampening=0.0,
            nesterov=self._recipe.momentum > 0,
            maximize=False,
        )

    def _adam_step(self, learning_rate: float) -> None:
        first, second = self._adam
        adam(
            [self._vector],
            [self._gradient],
            [first],
            [second],
            [],
            [self._steps],
            fused=True,
            lr=learning_rate,
            beta1=self._recipe.momentum,
            beta2=0.999,
            eps=1e-8,
            weight_decay=self._recipe.weight_decay,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[str, Any]:
        """Return what the optimiser remembers between steps: plain data and tensors, not copied."""
        return {"momenta": list(self._momenta), "adam": list(self._adam), "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned for a module of the same layout.

        Raises:
            ValueError: The state is of another layout.
        """
        kept = [tensor for tensor in (*state["momenta"], *state["adam"]) if tensor is not None]
        if any(tensor.shape != self._vector.shape for tensor in kept) or len(state["adam"]) != len(self._adam):
            raise ValueError("the optimiser's state is of another module")
        self._momenta = [None if tensor is None else tensor.to(self._vector) for tensor in state["momenta"]]
        self._adam = [tensor.to(self._vector) for tensor in state["adam"]]
        self._steps = state["steps"].to(self._steps)

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
