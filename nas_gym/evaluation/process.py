"""What everything that computes in this process shares: taking turns in a known state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from nas_gym.evaluation.training import _TURN
from nas_gym.randomness import isolated_generators


@contextmanager
def prepared(seed: int, threads: int = 1) -> Iterator[None]:
    """Put this process into the state in which evaluations happen, whatever it was; restore it on the way out.

    One at a time: threads, kernels and generators are the whole process's, and trainings take the same turns.

    Args:
        seed: Of the global generators inside.
        threads: Of torch, on a CPU.
    """
    cudnn = torch.backends.cudnn
    with _TURN, isolated_generators(seed), ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.callback(setattr, cudnn, "deterministic", cudnn.deterministic)
        stack.callback(setattr, cudnn, "benchmark", cudnn.benchmark)
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        cudnn.deterministic, cudnn.benchmark = True, False
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def device_name(device: torch.device) -> str:
    """Return such as ``"cpu"`` or ``"cuda:0 NVIDIA A100"``."""
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)  # CUDA only
