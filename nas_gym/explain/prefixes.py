"""The complete prefixes of a small space as one matrix, and what a table says of each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation, evaluate
from nas_gym.spaces.space import Prefix, SearchSpace

if TYPE_CHECKING:
    from nas_gym.evaluation.tabular import TabularEvaluator
    from nas_gym.objective import Objective

UNDECIDED = -1
MOST_PREFIXES = 2_000_000
_STEP = 1e-4  # of accuracy, for the slope of an objective

Vector = NDArray[np.float64]


def slots_of(space: SearchSpace, prefix: Prefix) -> tuple[int, ...]:
    """Return the slot that each action of a legal prefix fills.

    Raises:
        OutOfSpaceError: The prefix is illegal.
    """
    space.next_slot(prefix)  # which refuses an illegal one
    found = [space.next_slot(prefix[:end]) for end in range(len(prefix))]
    return tuple([slot for slot in found if slot is not None])


def decisions_of(space: SearchSpace, prefixes: Iterable[Prefix]) -> NDArray[np.int16]:
    """Return the action per slot of complete prefixes, int16 (n, slots); `UNDECIDED` where a slot is left open.

    Raises:
        OutOfSpaceError: A prefix is illegal.
    """
    wanted = list(prefixes)
    decided = np.full((len(wanted), len(space.slots)), UNDECIDED, dtype=np.int16)
    for row, prefix in enumerate(wanted):
        decided[row, list(slots_of(space, prefix))] = prefix
    return decided


def complete_prefixes(space: SearchSpace, most: int = MOST_PREFIXES) -> tuple[Prefix, ...]:
    """Return all complete prefixes of a space, in lexicographic order.

    Args:
        space: A small one: the prefixes are walked one by one.
        most: How many prefixes, complete or not, are walked at most.

    Raises:
        ConfigurationError: There are more.
    """
    found: list[Prefix] = []
    open_: list[Prefix] = [()]
    walked = 0
    while open_:
        prefix = open_.pop()
        walked += 1
        if walked > most:
            raise ConfigurationError(
                f"the space {space.name!r} has more than {most:,} prefixes, too many to walk all of them; only views "
                "of credit that need no full table are there"
            )
        if space.next_slot(prefix) is None:
            found.append(prefix)
        else:
            open_ += [(*prefix, action) for action in reversed(np.flatnonzero(space.legal(prefix)).tolist())]
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a table says of every complete prefix of its space: the means over its trainings, without added noise.

    Attributes:
        space: The space.
        name: Of the table.
        fidelity: Whose accuracies the rewards are made of.
        score: Name of the score.
        prefixes: All complete prefixes; ``prefixes[i]`` is row i of the arrays.
        rewards: By the objective at the fidelity of the search, float64 (n,).
        errors: Standard errors of the rewards from the table's repeats, float64 (n,); None where it has none.
        scores: By the objective with the table's score (which no search sees) in place of the accuracy, float64 (n,).
    """

    space: SearchSpace
    name: str
    fidelity: str
    score: str
    prefixes: tuple[Prefix, ...]
    rewards: Vector
    errors: Vector | None
    scores: Vector

    @cached_property
    def rows(self) -> Mapping[Prefix, int]:
        """The row of every complete prefix."""
        return {prefix: row for row, prefix in enumerate(self.prefixes)}

    @cached_property
    def decisions(self) -> NDArray[np.int16]:
        """The action per slot, int16 (n, slots); `UNDECIDED` where a slot is left open."""
        return decisions_of(self.space, self.prefixes)


def truth_of(space: SearchSpace, table: TabularEvaluator, objective: Objective, most: int = MOST_PREFIXES) -> Truth:
    """Return what the table of an evaluator says of all complete prefixes.

    The error of a reward is that of the table as a whole: the standard deviation of one training, pooled over the
    rows, over the root of their number. Single rows have too few trainings to tell their own.

    Args:
        space: Whose candidates the rows are.
        table: The evaluator of the search; its table, fidelity and device count, its choice of trainings and its noise
            do not.
        objective: Of the search.
        most: As in `complete_prefixes`.

    Raises:
        ConfigurationError: The space is too large to walk, or the table lacks some of its candidates.
    """
    from nas_gym.evaluation.tabular import TabularEvaluator

    prefixes = complete_prefixes(space, most)
    candidates = [space.candidate(prefix) for prefix in prefixes]
    plain = TabularEvaluator(table.table, table.fidelity, device=table.device)
    answers = evaluate(plain, candidates)
    scores = [plain.score(candidate) for candidate in candidates]
    error = _pooled_error(table.table.accuracies[table.fidelity])
    return Truth(
        space=space,
        name=table.table.name,
        fidelity=table.fidelity,
        score=table.table.default_score,
        prefixes=prefixes,
        rewards=np.array([objective(answer) for answer in answers]),
        errors=None if error is None else np.array([slope(objective, answer) * error for answer in answers]),
        scores=np.array([objective(replace(a, accuracy=s)) for a, s in zip(answers, scores, strict=True)]),
    )


def slope(objective: Objective, evaluation: Evaluation) -> float:
    """Return by how much a reward changes with the accuracy, for the error of one to follow from that of the other."""
    accuracy = evaluation.accuracy
    if accuracy is None:
        return 0.0
    low, high = max(0.0, accuracy - _STEP), min(1.0, accuracy + _STEP)
    rise = objective(replace(evaluation, accuracy=high)) - objective(replace(evaluation, accuracy=low))
    return abs(rise) / (high - low)


def _pooled_error(accuracies: Sequence[Sequence[float]] | NDArray[np.floating]) -> float | None:
    """Return the standard error of the mean of a row's trainings, pooled over the rows; None with one training."""
    values = np.asarray(accuracies, dtype=np.float64)
    trainings = values.shape[1]
    return None if trainings < 2 else float(np.sqrt(values.var(axis=1, ddof=1).mean() / trainings))
