"""Latency as it is on the device: after a warm-up, as a median with its interquartile range."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nas_gym.errors import ConfigurationError
from nas_gym.operations import Shape

WARMUP = 10
REPETITIONS = 50


@dataclass(frozen=True)
class Latency:
    """What forward passes took.

    Attributes:
        median_ms: Median milliseconds of one pass of one batch.
        iqr_ms: Interquartile range of the same, in milliseconds.
        repetitions: Measured passes.
    """

    median_ms: float
    iqr_ms: float
    repetitions: int


def measure_latency(
    module: nn.Module,
    input_shape: Shape,
    *,
    device: torch.device | str,
    batch_size: int = 1,
    warmup: int = WARMUP,
    repetitions: int = REPETITIONS,
    threads: int = 1,
    channels_last: bool = False,
    mixed_precision: bool = False,
) -> Latency:
    """Return the latency of a module's forward pass in evaluation mode, without gradients.

    Every pass is timed on its own, from an idle device to an idle device, the input being on the device already. A
    measurement of wall-clock time is not reproducible: other work on the machine shows in it, in the interquartile
    range more than in the median. The module's mode and the random generators stay as they are.

    Args:
        module: On the device.
        input_shape: Of one sample.
        device: Where the module is.
        batch_size: Samples in one pass; 1 is what an application that answers one request sees.
        warmup: Passes before the measured ones: the first ones choose kernels and fill caches.
        repetitions: Measured passes.
        threads: On a CPU.
        channels_last: Memory layout of images, as in training.
        mixed_precision: bfloat16 autocast, as in training; not on MPS.

    Raises:
        ConfigurationError: A number is out of range.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("warmup", warmup, 0),
        ("repetitions", repetitions, 1),
        ("threads", threads, 1),
    ):
        if value < least:
            raise ConfigurationError(f"a latency's {name} is a whole number, at least {least}, got {value!r}")
    place = torch.device(device)
    inputs = _inputs((batch_size, *input_shape), place, channels_last=channels_last)
    with _prepared(module, place, threads, mixed_precision):
        for _ in range(warmup):
            module(inputs)
        milliseconds = [_timed(module, inputs, _wait_for(place)) for _ in range(repetitions)]
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return Latency(float(median), float(high - low), repetitions)


def _timed(module: nn.Module, inputs: Tensor, wait: Callable[[], None]) -> float:
    wait()
    started = time.perf_counter_ns()
    module(inputs)
    wait()
    return (time.perf_counter_ns() - started) / 1e6


def _inputs(shape: tuple[int, ...], device: torch.device, *, channels_last: bool) -> Tensor:
    # Its own generator, on the CPU, so that the global one stays as it is and devices see the same numbers.
    generator = torch.Generator("cpu").manual_seed(0)
    values = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(device)
    if channels_last and values.dim() == 4:
        return values.contiguous(memory_format=torch.channels_last)
    return values


def _wait_for(device: torch.device) -> Callable[[], None]:
    """Return what waits until the device is idle."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)  # CUDA only
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None


@contextmanager
def _prepared(module: nn.Module, device: torch.device, threads: int, mixed_precision: bool) -> Iterator[None]:
    """Put the module into evaluation mode and torch into inference; restore both on the way out."""
    modes = [(part, part.training) for part in module.modules()]
    before = torch.get_num_threads()
    with ExitStack() as stack:
        torch.set_num_threads(threads)
        stack.callback(torch.set_num_threads, before)
        for part, training in modes:
            stack.callback(setattr, part, "training", training)
        module.eval()
        stack.enter_context(torch.inference_mode())
        if mixed_precision and device.type != "mps":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        yield
