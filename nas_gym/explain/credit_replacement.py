"""Counterfactual credit: the same network with one decision replaced, looked up or trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluator, Fidelity, evaluate
from nas_gym.evaluation.repeated import mean_of
from nas_gym.explain.prefixes import slope, slots_of
from nas_gym.spaces.space import Prefix, SearchSpace

if TYPE_CHECKING:
    from nas_gym.explain.prefixes import Truth
    from nas_gym.objective import Objective

NORMAL_95 = 1.959964  # of a 95 % interval, in standard errors


class Measured(NamedTuple):
    """A reward, and its standard error where that is known."""

    reward: float
    error: float | None = None


Lookup = Callable[[Sequence[Prefix]], list[Measured | None]]
"""From complete prefixes to what each of them got; None where that is not known."""


@dataclass(frozen=True)
class Counterfactual:
    """What one decision earned against the other choices it had.

    Attributes:
        slot: Which slot it filled.
        alternatives: Other legal choices whose reward is known.
        left_out: Other legal choices that could not be followed by the rest of the network, or whose reward is not
            known.
        mean: The reward minus the mean of the alternatives; None without any.
        best: The reward minus the best of them; None without any. Of noisy rewards the best is partly luck, so that
            this is too low by some of it.
        mean_error: Standard error of ``mean``; None where it is not known.
        best_error: Of ``best``, as if which one is best were known beforehand.
    """

    slot: int
    alternatives: int
    left_out: int
    mean: float | None = None
    best: float | None = None
    mean_error: float | None = None
    best_error: float | None = None


def replaced(space: SearchSpace, prefix: Prefix, place: int, action: int) -> Prefix | None:
    """Return a complete prefix with one decision replaced and all others kept; None where that is no network.

    A slot that the replacement opens (a layer in place of *stop*) takes the choice that was replaced, put off by one,
    if it has a choice of that name. Slots that it closes (*stop* in place of a layer) drop out. Nothing else is
    repaired.

    Args:
        space: The space.
        prefix: A complete one.
        place: Of the decision.
        action: Another legal action there.
    """
    filled = slots_of(space, prefix)
    own = dict(zip(filled, prefix, strict=True))
    name = space.slots[filled[place]].choices[prefix[place]]
    changed: Prefix = (*prefix[:place], action)
    while (slot := space.next_slot(changed)) is not None:
        following = own.get(slot)
        choices = space.slots[slot].choices
        if following is None and name in choices:
            following = choices.index(name)
        if following is None or not space.legal(changed)[following]:
            return None
        changed = (*changed, following)
    return changed


def replacements(space: SearchSpace, prefix: Prefix) -> list[list[Prefix | None]]:
    """Return for every decision of a complete prefix what `replaced` makes of each of its other legal actions."""
    return [
        [
            replaced(space, prefix, place, action)
            for action in np.flatnonzero(space.legal(prefix[:place])).tolist()
            if action != own
        ]
        for place, own in enumerate(prefix)
    ]


def lookups_of(space: SearchSpace, prefixes: Iterable[Prefix]) -> list[Prefix]:
    """Return all prefixes whose rewards `counterfactuals` asks for, each once: what trainings on request would take."""
    asked: dict[Prefix, None] = {}
    for prefix in prefixes:
        asked[prefix] = None
        for others in replacements(space, prefix):
            asked.update(dict.fromkeys([other for other in others if other is not None]))
    return list(asked)


def counterfactuals(
    space: SearchSpace, prefixes: Sequence[Prefix], lookup: Lookup
) -> dict[Prefix, list[Counterfactual]]:
    """Return what every decision earned against its alternatives, one by one: a local effect that sums to nothing.

    The importance of an operation by replacing it is that of "On Redundancy and Diversity in Cell-based Neural
    Architecture Search", Wan et al. 2022, arXiv 2203.08887, section 3, here of single decisions and signed.
    All rewards are asked for in one call.

    Args:
        space: Decides which replacements are legal.
        prefixes: Complete ones.
        lookup: Tells the rewards (`table_lookup`, `evaluated_lookup`, `simple_lookup`).

    Returns:
        One list per distinct prefix whose own reward is known, with one entry per decision, in order.
    """
    distinct = list(dict.fromkeys(prefixes))
    others = {prefix: replacements(space, prefix) for prefix in distinct}
    wanted = dict.fromkeys(distinct)
    for of_prefix in others.values():
        for of_place in of_prefix:
            wanted.update(dict.fromkeys([one for one in of_place if one is not None]))
    known = dict(zip(wanted, lookup(list(wanted)), strict=True))
    found: dict[Prefix, list[Counterfactual]] = {}
    for prefix in distinct:
        own = known[prefix]
        if own is not None:
            told = [[None if one is None else known[one] for one in of_place] for of_place in others[prefix]]
            slots = slots_of(space, prefix)
            found[prefix] = [_credited(slot, own, of_place) for slot, of_place in zip(slots, told, strict=True)]
    return found


def _credited(slot: int, own: Measured, others: Sequence[Measured | None]) -> Counterfactual:
    known = [other for other in others if other is not None]
    if not known:
        return Counterfactual(slot, 0, len(others))
    best = max(known, key=lambda one: one.reward)
    errors = [other.error for other in known if other.error is not None]
    mean_error = best_error = None
    if own.error is not None and len(errors) == len(known):
        mean_error = sqrt(own.error**2 + sum([error**2 for error in errors]) / len(known) ** 2)
        best_error = sqrt(own.error**2 + (best.error or 0.0) ** 2)
    mean = own.reward - sum([other.reward for other in known]) / len(known)
    return Counterfactual(
        slot, len(known), len(others) - len(known), mean, own.reward - best.reward, mean_error, best_error
    )


def interval(credit: float | None, error: float | None) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a credit, by the normal approximation; None twice where it is not known."""
    if credit is None or error is None:
        return None, None
    return credit - NORMAL_95 * error, credit + NORMAL_95 * error


def simple_lookup(tell: Callable[[Prefix], float | None]) -> Lookup:
    """Return a lookup made of a function from one complete prefix to its reward, None where that is not known."""

    def lookup(prefixes: Sequence[Prefix]) -> list[Measured | None]:
        told = [tell(prefix) for prefix in prefixes]
        return [None if reward is None else Measured(reward) for reward in told]

    return lookup


def table_lookup(truth: Truth) -> Lookup:
    """Return a lookup in a full table: means of its trainings, with the table's error."""
    rows, rewards, errors = truth.rows, truth.rewards, truth.errors

    def tell(prefix: Prefix) -> Measured | None:
        row = rows.get(prefix)
        if row is None:
            return None
        return Measured(float(rewards[row]), None if errors is None else float(errors[row]))

    return lambda prefixes: [tell(prefix) for prefix in prefixes]


def evaluated_lookup(
    space: SearchSpace,
    evaluator: Evaluator,
    objective: Objective,
    *,
    fidelity: Fidelity | None = None,
    repeats: int = 1,
    known: Mapping[str, Measured] | None = None,
) -> Lookup:
    """Return a lookup that has candidates evaluated, all in one batch, each key once.

    With repeats the error of a reward is that of their mean; with one training it is what the evaluation tells of
    itself (of an accuracy, that of a share measured on the validation split). A failed training has the objective's
    floor, as an agent would have got, without an error.

    Args:
        space: Makes the candidates.
        evaluator: Evaluates them, for example short trainings.
        objective: Of the search.
        fidelity: Of the evaluations; None: the evaluator's own.
        repeats: Trainings of each.
        known: Rewards that are known already, by key, at this fidelity.

    Raises:
        ConfigurationError: `repeats` is no positive number.
    """
    if repeats < 1:
        raise ConfigurationError(f"repeats is a whole number, at least 1, got {repeats!r}")
    told: dict[str, Measured] = dict(known or {})

    def lookup(prefixes: Sequence[Prefix]) -> list[Measured | None]:
        candidates = [space.candidate(prefix) for prefix in prefixes]
        new = {one.key: one for one in candidates if one.key not in told}
        if new:
            every = [evaluate(evaluator, list(new.values()), fidelity=fidelity, repeat=r) for r in range(repeats)]
            for key, of_key in zip(new, zip(*every, strict=True), strict=True):
                answer = mean_of(of_key)
                error = None if answer.standard_error is None else slope(objective, answer) * answer.standard_error
                told[key] = Measured(float(objective(answer)), error)
        return [told[candidate.key] for candidate in candidates]

    return lookup
