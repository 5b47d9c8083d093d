"""The conformance suite for search spaces finds what breaks the contract."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import OutOfSpaceError
from nas_gym.spaces import ChainSpace, Convolution, Dropout, Limits, MaxPool, Prefix, SearchSpace, Slot
from nas_gym.testing import check_space


class Wrapped:
    """A sound chain space; every broken one below changes one thing."""

    def __init__(self) -> None:
        self.inner = ChainSpace(
            (1, 4, 4), 3, catalogue=(Convolution(2), MaxPool(2), Dropout(0.2)), max_layers=2, limits=Limits(macs=500)
        )
        self.calls = 0

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def slots(self) -> tuple[Slot, ...]:
        return self.inner.slots

    def next_slot(self, prefix: Prefix) -> int | None:
        return self.inner.next_slot(prefix)

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        return self.inner.legal(prefix)

    def candidate(self, prefix: Prefix) -> Candidate:
        return self.inner.candidate(prefix)


class NoCandidate:
    name, slots = "half a space", (Slot("a", ("x",)),)
    next_slot = legal = None


class NoName(Wrapped):
    name = ""


class ChangingName(Wrapped):
    @property
    def name(self) -> str:
        self.calls += 1
        return f"space {self.calls}"


class ListOfSlots(Wrapped):
    @property
    def slots(self) -> Any:
        return list(self.inner.slots)


class SameSlotNames(Wrapped):
    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(Slot("layer", slot.choices) for slot in self.inner.slots)


class SlotFilledTwice(Wrapped):
    def next_slot(self, prefix: Prefix) -> int | None:
        slot = self.inner.next_slot(prefix)
        return 1 if slot == 2 else slot


class UnknownSlot(Wrapped):
    def next_slot(self, prefix: Prefix) -> int | None:
        slot = self.inner.next_slot(prefix)
        return slot if slot is None else slot + 9


class RefusesItsOwnMask(Wrapped):
    def next_slot(self, prefix: Prefix) -> int | None:
        slot = self.inner.next_slot(prefix)
        if len(prefix) == 2:
            raise OutOfSpaceError("no")
        return slot


class IntegerMask(Wrapped):
    def legal(self, prefix: Prefix) -> Any:
        return self.inner.legal(prefix).astype(np.int8)


class ShortMask(Wrapped):
    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        return self.inner.legal(prefix)[:-1]


class SharedMask(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[Prefix, NDArray[np.bool_]] = {}

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        return self.masks.setdefault(prefix, self.inner.legal(prefix))


class DeadEnd(Wrapped):
    """Forgets to look ahead: after the first layer nothing is legal."""

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        return self.inner.legal(prefix) & (len(prefix) < 2)


class LegalAfterTheEnd(Wrapped):
    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        mask = self.inner.legal(prefix)
        if self.inner.next_slot(prefix) is None:
            mask[0] = True
        return mask


class BeyondTheChoices(Wrapped):
    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        mask = self.inner.legal(prefix)
        if len(prefix) == 1:
            mask[-1] = True
        return mask


class AcceptsAnything(Wrapped):
    def next_slot(self, prefix: Prefix) -> int | None:
        try:
            return self.inner.next_slot(prefix)
        except OutOfSpaceError:
            return None


class WrongError(Wrapped):
    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        try:
            return self.inner.legal(prefix)
        except OutOfSpaceError:
            raise KeyError(prefix) from None


class SilentError(Wrapped):
    def candidate(self, prefix: Prefix) -> Candidate:
        try:
            return self.inner.candidate(prefix)
        except OutOfSpaceError:
            raise OutOfSpaceError("illegal") from None


class CandidateTooEarly(Wrapped):
    def candidate(self, prefix: Prefix) -> Candidate:
        stop = len(self.inner.catalogue)
        return self.inner.candidate((*prefix, 0, stop) if len(prefix) == 1 else prefix)


class RefusesCandidates(Wrapped):
    def candidate(self, prefix: Prefix) -> Candidate:
        self.inner.candidate(prefix)
        raise OutOfSpaceError(f"no candidate for {prefix}: 'activation' and all its choices")


class ArchitectureAlone(Wrapped):
    def candidate(self, prefix: Prefix) -> Any:
        return self.inner.candidate(prefix).architecture


class ChangingCandidate(Wrapped):
    def candidate(self, prefix: Prefix) -> Candidate:
        self.calls += 1
        return Candidate.of(self.inner.candidate(prefix).architecture, {"seed": self.calls})


class ChangingKey(Wrapped):
    def candidate(self, prefix: Prefix) -> Candidate:
        self.calls += 1
        candidate = self.inner.candidate(prefix)
        candidate.__dict__["key"] = str(self.calls)
        return candidate


class OwnKey(Wrapped):
    def candidate(self, prefix: Prefix) -> Candidate:
        candidate = self.inner.candidate(prefix)
        candidate.__dict__["key"] = str(prefix)
        return candidate


class Remembering(Wrapped):
    """What it answers depends on what it was asked before."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Prefix = ()

    def candidate(self, prefix: Prefix) -> Candidate:
        architecture = self.inner.candidate(prefix).architecture
        self.calls += prefix != self.last
        self.last = prefix
        return Candidate.of(architecture, {"seed": self.calls})


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (NoCandidate, "lacks a part of SearchSpace"),
        (NoName, "the name of a space must be text"),
        (ChangingName, "the name of a space must not change"),
        (ListOfSlots, "slots must be a tuple of Slot"),
        (SameSlotNames, "slot names must be distinct"),
        (SlotFilledTwice, "slot 1 is filled twice"),
        (UnknownSlot, "must be None or the index of a slot, got 9"),
        (RefusesItsOwnMask, "consists of legal actions, yet next_slot refuses it: no"),
        (IntegerMask, r"legal\(\(\)\) must be an array of bool of shape \(5,\)"),
        (ShortMask, r"must be an array of bool of shape \(5,\)"),
        (SharedMask, "must be a fresh array at every call"),
        (DeadEnd, "is all False before completion"),
        (LegalAfterTheEnd, "must be all False, since the prefix is complete"),
        (BeyondTheChoices, "allows an action beyond the 4 choices of slot 'layer 1'"),
        (AcceptsAnything, "must raise OutOfSpaceError, since the last action is illegal"),
        (WrongError, "must raise OutOfSpaceError, since the last action is illegal; it raised KeyError"),
        (SilentError, "must name the decision and the value, got: illegal"),
        (CandidateTooEarly, "must raise OutOfSpaceError, since the prefix is not complete"),
        (RefusesCandidates, "consists of legal actions, yet candidate refuses it"),
        (ArchitectureAlone, "must be a Candidate, got Architecture"),
        (ChangingCandidate, "must be equal at every call"),
        (ChangingKey, "must have the same key at every call"),
        (OwnKey, "does not survive a round trip through JSON"),
        (Remembering, "changed when asked again: spaces must be pure functions"),
    ],
)
def test_every_breach_is_found_and_named(broken: Callable[[], SearchSpace], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_space(broken(), walks=40)


def test_a_sound_space_passes() -> None:
    check_space(Wrapped(), walks=40)
