"""A fixed list of named decisions: the space of a table whose rows are what the decisions say."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.errors import ConfigurationError, OutOfSpaceError
from nas_gym.spaces.rows import RowCandidate
from nas_gym.spaces.space import Prefix, Slot

REMEMBERED_STATES = 200_000
REMEMBERED_CANDIDATES = 100_000
Allowed = Callable[[Prefix, int], bool]
MakeNetwork = Callable[[Prefix], Architecture]


class _State(NamedTuple):
    """The slot that is next, and the mask, which is copied before it leaves."""

    slot: int | None
    legal: NDArray[np.bool_]


class CategoricalSpace:
    """Every slot is decided, in order; what is legal may depend on the decisions before.

    The row of a table is the key: ``candidate(prefix).key`` is `row_key` of the decisions, so two rows are two
    candidates even where their networks are isomorphic.

    Args:
        slots: The decisions, as slots or as a mapping from names to choices.
        name: Stable name with a version, part of every store key; by default made of the slots.
        allowed: From the decisions so far and the next action to whether it is allowed; None: everything is. An
            action is legal if it is allowed and some completion follows it.
        rows: The complete prefixes there are, where not all of them are; at most one of `allowed` and `rows`.
        network: From a complete prefix to its network; None: the networks are not known, and can't be trained.

    Raises:
        ConfigurationError: There are no slots, names repeat, or nothing is legal.
    """

    def __init__(
        self,
        slots: Sequence[Slot] | Mapping[str, Sequence[str]],
        *,
        name: str = "",
        allowed: Allowed | None = None,
        rows: Iterable[Prefix] | None = None,
        network: MakeNetwork | None = None,
    ) -> None:
        if isinstance(slots, Mapping):
            slots = [Slot(slot, tuple(choices)) for slot, choices in slots.items()]
        self._slots = tuple(slots)
        names = [slot.name for slot in self._slots]
        if not names or len(set(names)) != len(names):
            raise ConfigurationError(f"a categorical space needs slots with distinct names, at least one, got {names}")
        if allowed is not None and rows is not None:
            raise ConfigurationError("a categorical space takes a rule (allowed) or the rows there are, not both")
        self._name = name or f"categorical/1/{'|'.join(f'{slot.name}:{len(slot.choices)}' for slot in self._slots)}"
        self._n_actions = max(len(slot.choices) for slot in self._slots)
        self._all = [np.arange(self._n_actions) < len(slot.choices) for slot in self._slots]
        self._network = network or self._unknown_network
        self._allowed = allowed
        self._open = None if rows is None else self._prefixes(rows)
        self._completable: dict[Prefix, bool] = {}
        self._states: dict[Prefix, _State] = {}
        self._candidates: dict[Prefix, Candidate] = {}
        if not self._state(()).legal.any():
            raise ConfigurationError("no complete list of decisions is legal in this categorical space")

    @property
    def name(self) -> str:
        """Stable name with a version."""
        return self._name

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The decisions, in order."""
        return self._slots

    def next_slot(self, prefix: Prefix) -> int | None:
        """Return the slot the next action fills; see `SearchSpace.next_slot`."""
        return self._state(prefix).slot

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        """Return the exact mask of the next actions; see `SearchSpace.legal`."""
        return self._state(prefix).legal.copy()

    def candidate(self, prefix: Prefix) -> Candidate:
        """Return the row of a complete prefix; see `SearchSpace.candidate`."""
        known = self._candidates.get(prefix)
        if known is not None:
            return known
        slot = self._state(prefix).slot
        if slot is not None:
            raise OutOfSpaceError(f"the prefix {prefix} is not complete: {self._slots[slot].name!r} is undecided")
        decided = tuple(index(action) for action in prefix)
        if len(self._candidates) >= REMEMBERED_CANDIDATES:
            self._candidates.clear()
        made = self._candidates[decided] = RowCandidate(row_key(decided), partial(self._network, decided))
        return made

    def _unknown_network(self, prefix: Prefix) -> Architecture:
        """Return a chain of the choices, which stands for the network that nobody told us of."""
        operations = tuple(
            Operation("choice", (("option", action), ("place", place)), (place - 1,))
            for place, action in enumerate(prefix)
        )
        return Architecture((1,), operations)

    def _prefixes(self, rows: Iterable[Prefix]) -> set[Prefix]:
        found: set[Prefix] = set()
        for row in rows:
            if len(row) != len(self._slots):
                raise ConfigurationError(f"a row decides all {len(self._slots)} slots, got {row}")
            found.update(tuple(row[:end]) for end in range(len(row) + 1))
        return found

    def _state(self, prefix: Prefix) -> _State:
        state = self._states.get(prefix)
        if state is None:
            if prefix:
                self._check(self._state(prefix[:-1]), prefix)
            if len(self._states) >= REMEMBERED_STATES:
                self._states.clear()
            state = self._states[prefix] = self._entered(prefix)
        return state

    def _entered(self, prefix: Prefix) -> _State:
        slot = len(prefix)
        if slot == len(self._slots):
            return _State(None, np.zeros(self._n_actions, dtype=bool))
        if self._allowed is None and self._open is None:
            return _State(slot, self._all[slot])
        legal = [self._leads_on(prefix, action) for action in range(len(self._slots[slot].choices))]
        return _State(slot, np.array(legal + [False] * (self._n_actions - len(legal))))

    def _leads_on(self, prefix: Prefix, action: int) -> bool:
        """Return whether an action is allowed and some completion follows it."""
        longer = (*prefix, action)
        if self._open is not None:
            return longer in self._open
        assert self._allowed is not None, "one of the two"
        return bool(self._allowed(prefix, action)) and self._completes(longer)

    def _completes(self, prefix: Prefix) -> bool:
        if len(prefix) == len(self._slots):
            return True
        known = self._completable.get(prefix)
        if known is None:
            if len(self._completable) >= REMEMBERED_STATES:
                self._completable.clear()
            choices = range(len(self._slots[len(prefix)].choices))
            known = self._completable[prefix] = any(self._leads_on(prefix, action) for action in choices)
        return known

    def _check(self, state: _State, prefix: Prefix) -> None:
        """Refuse a prefix whose last action is illegal after the others."""
        action = prefix[-1]
        if state.slot is None:
            raise OutOfSpaceError(f"the prefix {prefix[:-1]} is complete, yet {action} follows it; start a new one")
        if not 0 <= action < self._n_actions or not state.legal[action]:
            choices = self._slots[state.slot].choices
            allowed = ", ".join(f"{i} ({choices[i]})" for i in np.flatnonzero(state.legal))
            named = f"{action} ({choices[action]})" if 0 <= action < len(choices) else str(action)
            raise OutOfSpaceError(f"{self._slots[state.slot].name!r} can't be {named} here; allowed are {allowed}")


def row_key(decisions: Iterable[int]) -> str:
    """Return the key of a row: its decisions, parted by hyphens."""
    return "-".join([str(int(decision)) for decision in decisions])


def row_keys(decisions: NDArray[np.integer[Any]]) -> tuple[str, ...]:
    """Return `row_key` of every row of actions, integers (n, slots)."""
    n, slots = decisions.shape
    if n == 0 or slots == 0 or decisions.min() < 0 or decisions.max() > 9:
        return tuple([row_key(row) for row in decisions.tolist()])
    text = np.full((n, 2 * slots - 1), ord("-"), dtype=np.uint8)  # one digit each: written side by side
    text[:, ::2] = decisions + ord("0")
    joined, width = text.tobytes().decode("ascii"), 2 * slots - 1
    return tuple([joined[start : start + width] for start in range(0, n * width, width)])
