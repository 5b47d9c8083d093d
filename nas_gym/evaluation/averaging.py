"""A running average of a network's weights over the steps of its training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Averages:
    """The exponential moving average of all parameters and of the statistics of batch normalisation.

    After step t = 1, 2, …: average ← average + (1 − d) (weights − average) with d = min(decay, t / (t + 9)). That is
    Polyak and Juditsky 1992 (doi 10.1137/0330046) with exponential weights; the smaller decay of the first steps
    forgets the random start (as TensorFlow's ``ExponentialMovingAverage`` does with ``num_updates``).

    Args:
        module: Its weights now are the average before the first step.
        decay: In [0, 1); an average over about 1 / (1 − decay) steps.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"a decay lies in [0, 1), got {decay}")
        # Only the objects are kept: an optimiser may give the parameters memory of its own.
        self._weights = [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]
        self._averages = [weight.detach().clone() for weight in self._weights]
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after one more step into the average."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 9))
        torch._foreach_lerp_(self._averages, [weight.detach() for weight in self._weights], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the module have the averages as its weights inside; the same weights as before on the way out."""
        kept = [weight.detach().clone() for weight in self._weights]
        self.take()
        try:
            yield
        finally:
            self._put(kept)

    def take(self) -> None:
        """Let the module have the averages as its weights from now on."""
        self._put(self._averages)

    def state(self) -> dict[str, Any]:
        """Return the averages and the number of steps: plain data and tensors, not copied."""
        return {"averages": list(self._averages), "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned for a module of the same layout.

        Raises:
            ValueError: The state is of another module.
        """
        if [tensor.shape for tensor in state["averages"]] != [tensor.shape for tensor in self._averages]:
            raise ValueError("the averages are of another module")
        for mine, saved in zip(self._averages, state["averages"], strict=True):
            mine.copy_(saved)
        self._steps = int(state["steps"])

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)
