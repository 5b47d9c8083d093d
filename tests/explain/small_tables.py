"""Tables that are small enough to be checked by hand: full ones, and one of a chain of varying length."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas_gym.evaluation.tabular import TabularEvaluator
from nas_gym.explain.prefixes import Truth, truth_of
from nas_gym.objective import Accuracy, Objective
from nas_gym.spaces import ChainSpace, Convolution, FullyConnected, Slot
from nas_gym.tables import BenchmarkTable

SIZES = (3, 2, 4)


def full_table(
    sizes: tuple[int, ...] = SIZES, trainings: int = 3, seed: int = 0, rewards: NDArray[np.floating] | None = None
) -> BenchmarkTable:
    """A table of all combinations; of each reward ``trainings`` noisy ones, and a score of its own."""
    generator = np.random.default_rng(seed)
    decisions = np.array(list(product(*map(range, sizes))), dtype=np.int16)
    n = len(decisions)
    means = generator.uniform(0.3, 0.7, n) if rewards is None else rewards
    noise = generator.normal(0, 0.01, (n, trainings)) if trainings > 1 else np.zeros((n, 1))
    return BenchmarkTable(
        name="small",
        slots=tuple(Slot(f"slot {i}", tuple(f"{i}.{c}" for c in range(size))) for i, size in enumerate(sizes)),
        decisions=decisions,
        accuracies={"full": (means[:, None] + noise).astype(np.float32)},
        scores={"test": generator.uniform(0.3, 0.7, n).astype(np.float32)},
        macs=np.arange(1, n + 1, dtype=np.int64) * 1000,
    )


def truth(table: BenchmarkTable | None = None, objective: Objective | None = None, **options: object) -> Truth:
    made = full_table() if table is None else table
    evaluator = TabularEvaluator(made, **options)  # type: ignore[arg-type]
    return truth_of(made.space(), evaluator, Accuracy() if objective is None else objective)


def chain() -> ChainSpace:
    """Activation, then one to three layers of three kinds."""
    catalogue = (Convolution(4), Convolution(8), FullyConnected(8))
    return ChainSpace((1, 8, 8), 10, catalogue=catalogue, max_layers=3, activations=("relu", "tanh"))
