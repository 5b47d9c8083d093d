"""What everything that computes in this process shares: taking turns, a known state, names of devices."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from nas_gym.randomness import isolated_generators

# One training at a time in a process: threads, kernels and generators are the whole process's.
TURN = threading.RLock()


@contextmanager
def prepared(seed: int, threads: int = 1, *, tf32: bool = True) -> Iterator[None]:
    """Put this process into the state in which evaluations happen, whatever it was; restore it on the way out.

    Args:
        seed: Of the global generators inside.
        threads: Of torch, on a CPU.
        tf32: Whether CUDA multiplies float32 in TensorFloat-32.
    """
    cudnn = torch.backends.cudnn
    with TURN, isolated_generators(seed), ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(setattr, cudnn, "deterministic", cudnn.deterministic)
        stack.callback(setattr, cudnn, "benchmark", cudnn.benchmark)
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        cudnn.deterministic, cudnn.benchmark = True, False
        for place, name, value in _float32_precisions(tf32):
            stack.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, value)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def device_name(device: torch.device) -> str:
    """Return such as ``"cpu"`` or ``"cuda:0 NVIDIA A100"``."""
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)  # CUDA only


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 by instructions of its own: CUDA, and some CPUs; others are slow."""
    if device.type != "cpu":
        return device.type == "cuda"
    named = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in named)


def _float32_precisions(tf32: bool) -> list[tuple[Any, str, Any]]:
    """Return the settings that say how float32 is multiplied on CUDA: where, name and value."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn  # CUDA only
    if not hasattr(cudnn, "conv"):  # before torch 2.9, where these two names began to warn
        return [(matmul, "allow_tf32", tf32), (cudnn, "allow_tf32", tf32)]
    return [(place, "fp32_precision", "tf32" if tf32 else "ieee") for place in (matmul, cudnn.conv)]
