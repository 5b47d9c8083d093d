"""Conformance suites for other people's parts: each raises AssertionError with one clear sentence.

`check_space(space)` belongs into the tests of every search space.
"""

import json
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import OutOfSpaceError
from nas_gym.spaces.space import Prefix, SearchSpace, Slot, n_actions

Answer = TypeVar("Answer")
Seen = tuple[int | None, NDArray[np.bool_]]


def random_walk(space: SearchSpace, rng: np.random.Generator) -> Prefix:
    """Return a complete prefix whose actions were drawn uniformly from the legal ones."""
    prefix: Prefix = ()
    while space.next_slot(prefix) is not None:
        prefix += (int(rng.choice(np.flatnonzero(space.legal(prefix)))),)
    return prefix


def check_space(space: SearchSpace, *, walks: int = 100, seed: int = 0) -> None:
    """Check that a search space keeps the contract of `nas_gym.spaces.SearchSpace`.

    Along random legal walks: functions are pure, masks are fresh and exact in form, illegal actions raise
    OutOfSpaceError, every walk completes, candidates have stable keys and survive JSON.

    Args:
        space: The space to check.
        walks: Random legal walks to take.
        seed: Seeds the walks.

    Raises:
        AssertionError: The space breaks the contract; the message says where and how.
    """
    _check_facts(space)
    rng = np.random.default_rng(seed)
    seen: dict[Prefix, Seen] = {}
    keys: dict[Prefix, str] = {}
    for _ in range(walks):
        prefix = _check_walk(space, rng, seen)
        keys[prefix] = _check_candidate(space, prefix)
    _check_purity(space, rng, seen, keys)


def _require(kept: bool, sentence: str) -> None:
    if not kept:
        raise AssertionError(sentence)


def _check_facts(space: SearchSpace) -> None:
    _require(isinstance(space, SearchSpace), f"{space!r} lacks a part of SearchSpace: {', '.join(_parts())}")
    name, slots = space.name, space.slots
    _require(isinstance(name, str) and name != "", f"the name of a space must be text, got {name!r}")
    _require(space.name == name, "the name of a space must not change")
    _require(
        isinstance(slots, tuple) and len(slots) > 0 and all(isinstance(slot, Slot) for slot in slots),
        f"slots must be a tuple of Slot, at least one, got {slots!r}",
    )
    _require(space.slots == slots, "the slots of a space must not change")
    names = [slot.name for slot in slots]
    _require(len(set(names)) == len(names), f"slot names must be distinct, got {names}")


def _parts() -> list[str]:
    return ["name", "slots", "next_slot", "legal", "candidate"]


def _check_walk(space: SearchSpace, rng: np.random.Generator, seen: dict[Prefix, Seen]) -> Prefix:
    """Take one random legal walk, check every step and return the complete prefix."""
    prefix: Prefix = ()
    filled: list[int] = []
    while True:
        slot = _next_slot(space, prefix)
        _require(slot not in filled, f"slot {slot} is filled twice after {prefix}: a decision has a place of its own")
        mask = _check_mask(space, prefix, slot)
        seen[prefix] = (slot, mask)
        _check_illegal(space, prefix, slot, mask, rng)
        if slot is None:
            return prefix
        filled.append(slot)
        _check_incomplete(space, prefix)
        prefix += (int(rng.choice(np.flatnonzero(mask))),)


def _answer(function: Callable[[Prefix], Answer], prefix: Prefix) -> Answer:
    """Return what a function of the space says of a legal prefix."""
    try:
        return function(prefix)
    except OutOfSpaceError as error:
        raise AssertionError(
            f"{prefix} consists of legal actions, yet {function.__name__} refuses it: {error}"
        ) from error


def _next_slot(space: SearchSpace, prefix: Prefix) -> int | None:
    slot = _answer(space.next_slot, prefix)
    _require(
        slot is None or (isinstance(slot, int) and 0 <= slot < len(space.slots)),
        f"next_slot({prefix}) must be None or the index of a slot, got {slot!r}",
    )
    return slot


def _check_mask(space: SearchSpace, prefix: Prefix, slot: int | None) -> NDArray[np.bool_]:
    """Return a copy of the mask after a legal prefix."""
    mask, place = _answer(space.legal, prefix), f"legal({prefix})"
    wanted = (n_actions(space),)
    _require(
        isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == wanted,
        f"{place} must be an array of bool of shape {wanted}, got {mask!r}",
    )
    kept = mask.copy()
    _require(not np.shares_memory(mask, space.legal(prefix)), f"{place} must be a fresh array at every call")
    mask[:] = ~mask
    _require(np.array_equal(space.legal(prefix), kept), f"{place} changes when a caller writes into an earlier answer")
    if slot is None:
        _require(not kept.any(), f"{place} must be all False, since the prefix is complete")
    else:
        _require(bool(kept.any()), f"{place} is all False before completion: an earlier action should be illegal")
        choices = space.slots[slot].choices
        _require(
            not kept[len(choices) :].any(),
            f"{place} allows an action beyond the {len(choices)} choices of slot {space.slots[slot].name!r}",
        )
    return kept


def _check_illegal(
    space: SearchSpace, prefix: Prefix, slot: int | None, mask: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Check that one illegal action, drawn from the masked ones and those out of range, is refused."""
    action = int(rng.choice([-1, len(mask), *np.flatnonzero(~mask)]))
    wrong = (*prefix, action)
    for function in (space.next_slot, space.legal, space.candidate):
        try:
            function(wrong)
        except OutOfSpaceError as error:
            named = str(action) in str(error) and (slot is None or space.slots[slot].name in str(error))
            _require(named, f"the error of {wrong} must name the decision and the value, got: {error}")
        except Exception as error:
            raise AssertionError(
                f"{function.__name__}({wrong}) must raise OutOfSpaceError, since the last action is illegal; "
                f"it raised {error!r}"
            ) from error
        else:
            raise AssertionError(
                f"{function.__name__}({wrong}) must raise OutOfSpaceError, since the last action is illegal"
            )


def _check_incomplete(space: SearchSpace, prefix: Prefix) -> None:
    try:
        space.candidate(prefix)
    except OutOfSpaceError:
        return
    raise AssertionError(f"candidate({prefix}) must raise OutOfSpaceError, since the prefix is not complete")


def _check_candidate(space: SearchSpace, prefix: Prefix) -> str:
    """Check what a complete prefix stands for; return its key."""
    candidate = _answer(space.candidate, prefix)
    _require(isinstance(candidate, Candidate), f"candidate({prefix}) must be a Candidate, got {candidate!r}")
    key = candidate.key
    _require(isinstance(key, str) and key != "", f"the key of candidate({prefix}) must be text, got {key!r}")
    again = space.candidate(prefix)
    _require(again == candidate, f"candidate({prefix}) must be equal at every call")
    _require(again.key == key, f"candidate({prefix}) must have the same key at every call")
    read = type(candidate).from_json(json.dumps(candidate.to_json()))
    _require(read == candidate and read.key == key, f"candidate({prefix}) does not survive a round trip through JSON")
    return key


def _check_purity(
    space: SearchSpace, rng: np.random.Generator, seen: dict[Prefix, Seen], keys: dict[Prefix, str]
) -> None:
    """Ask everything again, in another order."""
    prefixes = list(seen)
    for i in rng.permutation(len(prefixes)):
        prefix = prefixes[i]
        slot, mask = seen[prefix]
        same = _next_slot(space, prefix) == slot and np.array_equal(space.legal(prefix), mask)
        same = same and (prefix not in keys or space.candidate(prefix).key == keys[prefix])
        _require(same, f"the answers for {prefix} changed when asked again: spaces must be pure functions of prefixes")
