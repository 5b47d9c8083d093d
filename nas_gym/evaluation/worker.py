"""What happens inside a worker process: one evaluator, made once, asked one candidate at a time."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation, Evaluator, Fidelity
from nas_gym.evaluation.outcome import sentence

Factory = Callable[[], Evaluator]
_STATE: dict[str, Any] = {}  # of this process: its evaluator, or why it has none
_ORPHANED = 70  # exit code


class HandedOver:
    """A factory of an evaluator that exists already: it is pickled, its tensors are put into shared memory.

    Args:
        evaluator: Must be picklable. If it has a method ``prepare`` (`SupernetEvaluator`), that is called before: what
            it computes is computed once, here, and outside every time limit of a candidate.
    """

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker gets: the evaluator, prepared."""
        prepare: Callable[[], object] | None = getattr(self.evaluator, "prepare", None)
        if prepare is not None:
            prepare()
        return self.__dict__.copy()

    @property
    def identity(self) -> str:
        """The evaluator's."""
        return self.evaluator.identity

    def __call__(self) -> Evaluator:
        """Return the evaluator."""
        return self.evaluator


@dataclass(frozen=True)
class Answer:
    """What a worker sends back.

    Attributes:
        evaluation: Of the candidate.
        memory_mb: Resident memory of the worker that is its own (not shared), in MB; None where it can't be told.
    """

    evaluation: Evaluation
    memory_mb: float | None


def start(factory: Factory, keep: Any, threads: int, memory_limit_mb: float | None, device: str | None) -> None:
    """Make this process a worker; what goes wrong is told at the first question, since a pool would only try again."""
    follow_parent()
    try:
        _pin(threads)
        evaluator = factory()
        if device is not None:  # CUDA only
            import torch

            evaluator.device = torch.device(device)  # type: ignore[attr-defined]
        if keep is not None and hasattr(evaluator, "keep"):
            evaluator.keep = keep
        if memory_limit_mb is not None:
            _limit_memory(memory_limit_mb, device)
        _STATE["evaluator"] = evaluator
    except Exception as error:
        _STATE["error"] = error


def answer(candidate: Candidate, fidelity: Fidelity, repeat: int) -> Answer:
    """Return the evaluator's answer, from inside a worker.

    Raises:
        ConfigurationError: This worker has no evaluator: a fault of no candidate.
    """
    if "error" in _STATE:
        raise ConfigurationError(
            f"a worker process can't make the evaluator ({sentence(_STATE['error'])}); "
            "see to what it needs, then start again"
        )
    evaluator: Evaluator = _STATE["evaluator"]
    (future,) = evaluator.submit([candidate], fidelity=fidelity, repeat=repeat)
    evaluation = future.result()
    return Answer(evaluation, own_memory_mb())


def check_guarded() -> None:
    """Refuse to go on in a process that is only importing the main script of the one that started it.

    Raises:
        ConfigurationError: It is such a process.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigurationError(
            "a worker process imports the script that started it, and this one starts a search while it is imported; "
            "put what it does under if __name__ == '__main__':"
        )


def own_memory_mb(pid: int | str = "self") -> float | None:
    """Return the resident memory of a process that it shares with no file and no other process, in MB; Linux only."""
    try:
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    except (OSError, ValueError):
        return None
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _pin(threads: int) -> None:
    """Set the number of threads of this process, whether torch is here already or comes later, or never."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _limit_memory(limit_mb: float, device: str | None) -> None:
    """Allow this process so much more memory than it has now: beyond that an allocation fails, and is typed as such."""
    if device is not None:  # CUDA only: drivers reserve address space without measure
        import torch

        total = torch.cuda.get_device_properties(device).total_memory / 1e6
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_mb / total), torch.device(device))
        return
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + int(limit_mb * 1e6)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def follow_parent() -> None:
    """End this process when its parent is gone, however it went: a killed search leaves no trainings behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(_ORPHANED)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()
