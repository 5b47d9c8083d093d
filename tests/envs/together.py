"""What the tests of many environments at once share: spaces, evaluators, and comparison with Gymnasium's own."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from episodes import FAILED, tiny_space
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from nas_gym.architecture import Candidate
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, resolved
from nas_gym.evaluation.tabular import TabularEvaluator
from nas_gym.randomness import derived_seed
from nas_gym.spaces import CategoricalSpace, CellSpace, SearchSpace, Slot
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym_envs import ArchitectureEnv, ArchitectureVectorEnv, Budget


class Mixed:
    """Some trainings fail, costs and curves differ; remembers what it was asked for, and how many at once."""

    identity = "mixed"

    def __init__(self, *, pure: bool = False) -> None:
        self.pure = pure
        self.asked: list[list[str]] = []
        self._inner = HashEvaluator()

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        self.asked.append([candidate.key for candidate in candidates])
        return [resolved(self._answer(future.result())) for future in self._inner.submit(candidates)]

    def _answer(self, evaluation: Evaluation) -> Evaluation:
        drawn = derived_seed(f"mixed {evaluation.key}") % 12
        fields: dict[str, Any] = {"cost_seconds": 0.5 + drawn % 3, "curve": (0.5,) * (1 + drawn % 4)}
        if drawn % 3 == 0:
            fields |= FAILED
        elif drawn % 3 == 1:
            fields["standard_error"] = 0.01
        return dataclasses.replace(evaluation, **fields)


def conditional_space() -> CategoricalSpace:
    """Four slots of different sizes; what is legal depends on what came before."""
    slots = {"a": ("x", "y", "z"), "b": ("p", "q"), "c": ("k", "l", "m", "n"), "d": ("s", "t", "u")}
    return CategoricalSpace(slots, allowed=lambda prefix, action: (sum(prefix) + action) % 4 != 2)


def small_table(seed: int = 0) -> BenchmarkTable:
    """Three slots, twelve rows of two trainings."""
    slots = (Slot("one", ("a", "b")), Slot("two", ("a", "b", "c")), Slot("three", ("a", "b")))
    decisions = np.array(list(itertools.product(range(2), range(3), range(2))), dtype=np.int16)
    accuracies = np.random.default_rng(seed).uniform(0.1, 0.9, (len(decisions), 2)).astype(np.float32)
    costs = np.arange(1, len(decisions) + 1).astype(np.float32)
    return BenchmarkTable("small", slots, decisions, {"full": accuracies}, {"test": accuracies[:, 0]}, {"full": costs})


def cell_table(seed: int = 0) -> BenchmarkTable:
    """The size and the space of NAS-Bench-201, with drawn accuracies."""
    slots = CellSpace().slots
    decisions = np.array(list(itertools.product(range(5), repeat=len(slots))), dtype=np.int16)
    accuracies = np.random.default_rng(seed).uniform(0.1, 0.95, (len(decisions), 1)).astype(np.float32)
    return BenchmarkTable(
        "drawn cells", slots, decisions, {"full": accuracies}, {"test": accuracies[:, 0]}, kind="nasbench201"
    )


SPACES: dict[str, Callable[[], SearchSpace]] = {
    "chain": tiny_space,
    "conditional": conditional_space,
    "table": lambda: small_table().space(),
}
EVALUATORS: dict[str, Callable[[], Any]] = {
    "hash": HashEvaluator,
    "mixed": Mixed,
    "pure": lambda: Mixed(pure=True),
    "table": lambda: TabularEvaluator(small_table()),
}


def both(
    space: str, evaluator: str, n: int, mode: AutoresetMode, limits: dict[str, Any] | None
) -> tuple[ArchitectureVectorEnv, SyncVectorEnv]:
    """Return our environment and Gymnasium's, with evaluators and budgets of their own."""
    settings = {"autoreset_mode": mode}
    budgets = [None if limits is None else Budget(**limits) for _ in range(2)]
    ours = ArchitectureVectorEnv(SPACES[space](), EVALUATORS[evaluator](), num_envs=n, budget=budgets[0], **settings)
    shared, asked = SPACES[space](), EVALUATORS[evaluator]()
    theirs = SyncVectorEnv([lambda: ArchitectureEnv(shared, asked, budget=budgets[1]) for _ in range(n)], **settings)
    return ours, theirs


def assert_alike(one: Any, other: Any, place: str = "") -> None:
    """Check that two nested values are equal in types and every bit; dicts in whatever order."""
    assert type(one) is type(other), (place, one, other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape, (place, one, other)
        if one.dtype == object:
            for i, pair in enumerate(zip(one, other, strict=True)):
                assert_alike(*pair, f"{place}[{i}]")
        else:
            np.testing.assert_array_equal(one, other, err_msg=place)
    elif isinstance(one, dict):
        assert set(one) == set(other), (place, set(one) ^ set(other))
        for name in one:
            assert_alike(one[name], other[name], f"{place}/{name}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), (place, one, other)
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_alike(*pair, f"{place}[{i}]")
    else:
        assert one == other, (place, one, other)
