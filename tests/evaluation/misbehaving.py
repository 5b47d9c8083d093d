"""Evaluators that misbehave in worker processes: in a module of their own, since workers import them."""

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import FULL, Evaluation, Fidelity, HashEvaluator, resolved


class Misbehaving:
    """Answers as `HashEvaluator`, after it has done what its name says.

    Args:
        deed: Name of a method.
        folder: Where it remembers, across processes, what it has done already.
        times: How often it misbehaves for each candidate.
    """

    identity = "misbehaving"

    def __init__(self, deed: str, folder: Path, times: int = 1) -> None:
        self.deed, self.folder, self.times = deed, folder, times

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        (candidate,) = candidates
        done = len(list(self.folder.glob(f"{candidate.key}-*")))
        if done < self.times:
            (self.folder / f"{candidate.key}-{done}-{os.getpid()}").touch()
            getattr(self, self.deed)(candidate)
        return [resolved(HashEvaluator()._answer(candidate, fidelity or FULL, repeat))]

    def nothing(self, candidate: Candidate) -> None:
        pass

    def die(self, candidate: Candidate) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def exit(self, candidate: Candidate) -> None:
        os._exit(7)

    def sleep(self, candidate: Candidate) -> None:
        time.sleep(600)

    def stop(self, candidate: Candidate) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def nap(self, candidate: Candidate) -> None:
        time.sleep(0.3)

    def fail(self, candidate: Candidate) -> None:
        raise ValueError("a fault of the evaluator\nwith a second line")

    def refuse(self, candidate: Candidate) -> None:
        raise ConfigurationError("a mistake of the caller")

    def leak(self, candidate: Candidate) -> None:
        _LEAKED.append(np.ones(8_000_000))  # 64 MB

    def remember(self, candidate: Candidate) -> None:
        (self.folder / f"began-{time.monotonic_ns():020d}-{candidate.key}").touch()

    def count_threads(self, candidate: Candidate) -> None:
        import torch  # late, so that workers of the other deeds start fast

        (self.folder / f"threads-{torch.get_num_threads()}").touch()


_LEAKED: list[Any] = []


class Unstartable:
    """A factory that can't make its evaluator."""

    identity = "unstartable"

    def __call__(self) -> Any:
        raise OSError("no such data")


class Unshareable:
    """A factory that pickle can't handle, and that says so as torch does of tensors that have a history."""

    identity = "unshareable"

    def __getstate__(self) -> Any:
        raise RuntimeError("Cowardly refusing to serialize\nwith a second line")

    def __call__(self) -> Any:
        raise AssertionError("no worker gets it")


class Prepared(HashEvaluator):
    """Takes its time to prepare itself, and has been prepared in one process when it answers in another."""

    prepared_in: int | None = None

    def prepare(self) -> None:
        if self.prepared_in is None:
            time.sleep(1.0)
            self.prepared_in = os.getpid()

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        self.prepare()
        assert self.prepared_in != os.getpid()
        return super().submit(candidates, fidelity=fidelity, repeat=repeat)


class Suicidal:
    """A factory whose process dies."""

    identity = "suicidal"

    def __call__(self) -> Any:
        os._exit(9)


class Plain:
    """A factory without an identity of its own."""

    def __call__(self) -> HashEvaluator:
        return HashEvaluator()


def depth(network: Any, inputs: Any, targets: Any) -> float:
    """A proxy of somebody's own."""
    return float(len(network.layers))
