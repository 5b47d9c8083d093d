"""The ablation path: from an ordinary network to the best one, the decision that gains most first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.archive import UNDECIDED

Decisions = NDArray[np.int16]
# From decisions (n, slots) to rewards (n,); NaN where architectures are illegal or their reward is not known.
Values = Callable[[Decisions], NDArray[np.float64]]

MOST_TOGETHER = 3  # decisions changed in one step, before all that are left are changed at once


@dataclass(frozen=True)
class Change:
    """One decision that a step of a path changes.

    Attributes:
        slot: Name of the slot.
        old: Name of the choice before.
        new: Name of the choice after.
    """

    slot: str
    old: str
    new: str


@dataclass(frozen=True)
class Step:
    """One step of a path.

    Attributes:
        changes: What it changes; several decisions where no single change was legal.
        value: The reward after it.
        gain: What it added.
    """

    changes: tuple[Change, ...]
    value: float
    gain: float


@dataclass(frozen=True)
class AblationPath:
    """A path between two networks. Gains depend on the order of the steps: it is one order of many.

    Attributes:
        start: The decisions it starts from, in words.
        source: What its values are.
        start_value: The reward where it starts.
        end_value: The reward where it ends: `start_value` plus all gains.
        steps: In order.
    """

    start: str
    source: str
    start_value: float
    end_value: float
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the path as JSON-ready data."""
        from dataclasses import asdict

        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AblationPath":
        """Return the path that `to_json` wrote."""
        steps = tuple(
            Step(tuple(Change(**change) for change in step["changes"]), step["value"], step["gain"])
            for step in data["steps"]
        )
        return cls(**{**data, "steps": steps})


def ablation_path(
    start: Decisions,
    goal: Decisions,
    values: Values,
    *,
    choice: Callable[[int, int], str],
    names: Sequence[str],
    words: str,
    source: str,
) -> AblationPath | None:
    """Return the greedy path from one network to another; None where a reward of one of the two is not known.

    Each step takes over from the goal the decision after which the reward is highest (Fawcett and Hoos 2016,
    "Analysing differences between algorithm configurations through ablation", Journal of Heuristics 22, algorithm 1).
    Changes after which the architecture is illegal are skipped. Where every single change is, two at once are tried,
    then three, then all that are left.

    Args:
        start: Action of every slot of the network it starts from, int16 (slots,); -1 where a slot is not decided.
        goal: The same of the network it ends at.
        values: Rewards of decisions; NaN for what is illegal or not known.
        choice: From slot and action to the name of the choice.
        names: Of the slots.
        words: What the start is.
        source: What the values are.
    """
    ends = values(np.stack([start, goal]))
    if not np.isfinite(ends).all():
        return None
    here, value, steps = start.copy(), float(ends[0]), []
    while (left := np.flatnonzero(here != goal)).size:
        slots, after = _best_change(here, goal, left, values)
        changes = tuple(Change(names[s], choice(s, int(here[s])), choice(s, int(goal[s]))) for s in slots)
        here[list(slots)] = goal[list(slots)]
        steps.append(Step(changes, after, after - value))
        value = after
    return AblationPath(words, source, float(ends[0]), float(ends[1]), tuple(steps))


def _best_change(here: Decisions, goal: Decisions, left: NDArray[np.intp], values: Values) -> tuple[list[int], float]:
    """Return the slots to change next, as few as are legal, and the reward then."""
    for together in _sets(left):
        options = np.repeat(here[None], len(together), axis=0)
        for option, slots in zip(options, together, strict=True):
            option[list(slots)] = goal[list(slots)]
        rewards = values(options)
        if np.isfinite(rewards).any():
            best = int(np.nanargmax(rewards))
            return list(together[best]), float(rewards[best])
    raise AssertionError("the goal itself is legal")


def _sets(left: NDArray[np.intp]) -> Iterator[list[tuple[int, ...]]]:
    slots = left.tolist()
    for size in range(1, min(MOST_TOGETHER, len(slots)) + 1):
        yield list(combinations(slots, size))
    yield [tuple(slots)]


def only_legal(values: Values, legal: Callable[[Decisions], bool]) -> Values:
    """Return values that are NaN where an architecture is not legal."""

    def limited(decisions: Decisions) -> NDArray[np.float64]:
        allowed = np.array([legal(row) for row in decisions])
        found = np.full(len(decisions), np.nan)
        if allowed.any():
            found[allowed] = values(decisions[allowed])
        return found

    return limited


def complete(decisions: Decisions) -> bool:
    """Return whether every slot is decided: what is legal where nothing else is known of a space."""
    return bool((decisions != UNDECIDED).all())
