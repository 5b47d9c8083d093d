"""Evaluators that Ray's workers make in the tests; without torch, which takes a worker seconds to import."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Evaluator, Fidelity, HashEvaluator

SHAPE = (1, 8, 8)
CANDIDATES = [
    Candidate(Architecture(SHAPE, (Operation("flatten"), Operation("linear", (("units", units),), (0,)))))
    for units in range(2, 14)
]


@dataclass
class Sleeping:
    """A factory, and its evaluator: `HashEvaluator` with time, a diary, and accidents.

    Args:
        seconds: Of work for each.
        diary: Folder; every training leaves a file ``training-<process>-<key>-<node>-<a number>``, every evaluator
            that is made ``made-<process>-<a number>``; None: no diary.
        accidents: By key: what happens, ``"dies"``, ``"dies once"``, ``"raises"`` or ``"mistake"``.
    """

    seconds: float = 0.0
    diary: Path | None = None
    accidents: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        return "sleeping"

    def __call__(self) -> Evaluator:
        if self.diary is not None:
            (self.diary / f"made-{os.getpid()}-{time.monotonic_ns()}").touch()
        return self

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        return [self._answer(candidate, fidelity, repeat) for candidate in candidates]

    def _answer(self, candidate: Candidate, fidelity: Fidelity | None, repeat: int) -> Future[Evaluation]:
        accident = dict(self.accidents).get(candidate.key, "")
        if self.diary is not None:
            import ray

            node = ray.get_runtime_context().get_node_id()
            (self.diary / f"training-{os.getpid()}-{candidate.key}-{node}-{time.monotonic_ns()}").touch()
        if accident == "dies" or (accident == "dies once" and len(list(self._pages(candidate))) == 1):
            os._exit(3)
        if accident == "raises":
            raise OSError("the disk is wet\nand more")
        if accident == "mistake":
            raise ConfigurationError("no such setting")
        time.sleep(self.seconds)
        return HashEvaluator().submit([candidate], fidelity=fidelity, repeat=repeat)[0]

    def _pages(self, candidate: Candidate) -> list[Path]:
        assert self.diary is not None
        return list(self.diary.glob(f"training-*-{candidate.key}-*"))


@dataclass
class Training:
    """A factory of trainings on a data set."""

    dataset: Dataset

    @property
    def identity(self) -> str:
        return self().identity

    def __call__(self) -> Evaluator:
        from networks import trainer

        return trainer(self.dataset)


class Anonymous:
    """A factory that does not tell its identity."""

    def __call__(self) -> Evaluator:
        return HashEvaluator()


class Failing:
    """A factory whose evaluator can be made here, but not in a worker."""

    identity = "failing"

    def __init__(self) -> None:
        self.home = os.getpid()

    def __call__(self) -> Evaluator:
        if os.getpid() != self.home:
            raise FileNotFoundError("the data set is not on this node")
        return HashEvaluator()


class Untouched:
    """A factory that can't be unpickled anywhere."""

    identity = "untouched"

    def __reduce__(self) -> tuple[object, ...]:
        return _missing_package, ()

    def __call__(self) -> Evaluator:
        return HashEvaluator()


def _missing_package() -> None:
    raise ModuleNotFoundError("No module named 'missing'")
