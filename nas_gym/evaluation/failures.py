"""From what a training raised to a status and a reason."""

import re

import torch

from nas_gym.evaluation.evaluation import Status
from nas_gym.evaluation.loop import DivergedError, TimeLimitError

_LONGEST_REASON = 300
_OUT_OF_MEMORY = re.compile(
    "out of memory|not enough memory|can.t allocate memory|bad_alloc|alloc_failed"
    # What oneDNN says when it gets no memory for its compiled kernels.
    "|could not (create|execute) a (primitive|memory object)(?! descriptor)",
    re.IGNORECASE,
)
_COMPILERS = ("torch._dynamo", "torch._inductor")


def failure_of(error: Exception, device_type: str) -> tuple[Status, str]:
    """Return status and reason of a failed training; the same failure has the same reason, without addresses."""
    if isinstance(error, DivergedError):
        return "diverged", str(error)
    if isinstance(error, TimeLimitError):
        return "timeout", str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(str(error)):
        return "out_of_memory", f"the training does not fit into the memory of the device ({device_type})"
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if type(error).__module__.startswith(_COMPILERS):
        reason = f"the network can't be compiled here, train with compile=False ({reason})"
    return "invalid", re.sub("0x[0-9a-fA-F]+", "0x…", reason)[:_LONGEST_REASON]
