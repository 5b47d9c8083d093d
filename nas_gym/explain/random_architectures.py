"""Architectures as random search draws them: what averages over a space are taken over."""

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.archive import UNDECIDED, Archive
from nas_gym.spaces.space import Prefix, SearchSpace, Slot

DRAWS = 10_000
MOST_ENUMERATED = 50_000


@dataclass(frozen=True, eq=False)
class Sample:
    """Architectures that stand for a space.

    Attributes:
        decisions: Action of every slot, int16 (n, slots); -1 where a slot is not decided.
        complete: They are all lists of choices, once each: every slot is free of the others.
        drawn: They were drawn, so that averages over them are estimates.
        words: What they are.
    """

    decisions: NDArray[np.int16]
    complete: bool
    drawn: bool
    words: str


def representative(archive: Archive, space: SearchSpace | None, seed: int, n: int = DRAWS) -> Sample:
    """Return the architectures over which the surrogate of an archive is averaged.

    All lists of choices where each slot is free of the others and there are at most `MOST_ENUMERATED`; else random
    ones. Without the space, slots count as free if no network of the archive leaves one undecided; otherwise only the
    archive's own networks are known to be legal, and they are taken.

    Args:
        archive: Of the search.
        space: Of the search; None: not known.
        seed: Of the draws.
        n: Number of draws.
    """
    if space is not None:
        drawn, free = draw(space, n, seed)
        if not free:
            words = f"{n:,} architectures drawn uniformly among the legal choices of each decision"
            return Sample(drawn, False, True, words)
    elif (archive.decisions == UNDECIDED).any():
        return Sample(
            archive.decisions, False, False, f"the {len(archive):,} networks of the search, which it chose itself"
        )
    return _free(archive.slots, n, seed)


def _free(slots: tuple[Slot, ...], n: int, seed: int) -> Sample:
    sizes = [len(slot.choices) for slot in slots]
    possible = prod(sizes)
    if possible <= MOST_ENUMERATED:
        every = np.array(list(product(*map(range, sizes))), dtype=np.int16).reshape(possible, len(sizes))
        return Sample(every, True, False, f"all {possible:,} lists of choices")
    drawn = np.random.default_rng(seed).integers(0, sizes, (n, len(sizes))).astype(np.int16)
    return Sample(drawn, False, True, f"{n:,} uniformly random lists of choices")


def draw(space: SearchSpace, n: int, seed: int) -> tuple[NDArray[np.int16], bool]:
    """Return random architectures, and whether no decision was ever limited by another.

    Every action is drawn uniformly from the legal ones of its step, as random search does; lists of decisions are then
    not all equally likely where masks or lengths differ.

    Returns:
        Decisions by slot, int16 (n, slots), -1 where a slot is not decided; and whether every draw decided every slot
        with all its choices legal.
    """
    generator = np.random.default_rng(seed)
    sizes = [len(slot.choices) for slot in space.slots]
    rows = np.full((n, len(sizes)), UNDECIDED, dtype=np.int16)
    free = True
    for row in rows:
        prefix: Prefix = ()
        while (slot := space.next_slot(prefix)) is not None:
            legal = np.flatnonzero(space.legal(prefix))
            free = free and len(legal) == sizes[slot]
            row[slot] = action = int(legal[int(generator.random() * len(legal))])
            prefix = (*prefix, action)
    return rows, free and bool((rows != UNDECIDED).all())


def prefix_of(space: SearchSpace, decisions: NDArray[np.int16]) -> Prefix | None:
    """Return the complete prefix that decides exactly this, or None where the space does not allow it.

    Args:
        space: The space.
        decisions: Action of every slot, (slots,); -1 where a slot is not decided.
    """
    prefix: Prefix = ()
    while (slot := space.next_slot(prefix)) is not None:
        action = int(decisions[slot])
        if action == UNDECIDED or not space.legal(prefix)[action]:
            return None
        prefix = (*prefix, action)
    return prefix if len(prefix) == int((decisions != UNDECIDED).sum()) else None
