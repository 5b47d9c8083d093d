"""Fixed lists of decisions: the contract, exact legality, rows as keys."""

import pickle
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_gym.builder import build
from nas_gym.errors import ConfigurationError, InvalidArchitectureError, OutOfSpaceError
from nas_gym.spaces import CategoricalSpace, Prefix, Slot, row_key, row_keys
from nas_gym.testing import check_space

SIZES = {"a": ("x", "y", "z"), "b": ("0", "1"), "c": ("p", "q", "r", "s")}
ALL = list(product(range(3), range(2), range(4)))


def uphill(prefix: Prefix, action: int) -> bool:
    """Never less than the decision before; after "z" there is no second decision that is."""
    return not prefix or action >= prefix[-1]


def completions(space: CategoricalSpace, complete: list[Prefix], prefix: Prefix) -> set[int]:
    """Return the actions after which some complete prefix goes on, by looking at all of them."""
    return {row[len(prefix)] for row in complete if row[: len(prefix)] == prefix and len(row) > len(prefix)}


def check_exact(space: CategoricalSpace, complete: list[Prefix]) -> None:
    prefixes = {row[:end] for row in complete for end in range(4)}
    for prefix in prefixes:
        assert set(np.flatnonzero(space.legal(prefix))) == completions(space, complete, prefix), prefix
    for row in ALL:
        if row in complete:
            assert space.candidate(row).key == row_key(row)
        else:
            with pytest.raises(OutOfSpaceError):
                space.candidate(row)


@pytest.mark.parametrize("space", [
    CategoricalSpace(SIZES),
    CategoricalSpace(SIZES, allowed=uphill),
    CategoricalSpace(SIZES, rows=ALL[::3]),
    CategoricalSpace([Slot("only", ("one",))]),
], ids=["all", "rule", "rows", "one"])  # fmt: skip
def test_the_contract(space: CategoricalSpace) -> None:
    check_space(space, walks=30)


def test_everything_is_legal_without_a_rule() -> None:
    check_exact(CategoricalSpace(SIZES), ALL)


def test_a_rule_is_looked_through_to_the_end() -> None:
    check_exact(CategoricalSpace(SIZES, allowed=uphill), [row for row in ALL if row[0] <= row[1] <= row[2]])


@settings(deadline=None, max_examples=60)
@given(st.sets(st.sampled_from(ALL), min_size=1))
def test_rows_are_exactly_what_is_legal(rows: set[Prefix]) -> None:
    check_exact(CategoricalSpace(SIZES, rows=rows), sorted(rows))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**9))
def test_any_rule_is_exact(seed: int) -> None:
    generator = random.Random(seed)
    verdicts = {
        (prefix, action): generator.random() < 0.6
        for prefix in {row[:end] for row in ALL for end in range(3)}
        for action in range(4)
    }
    complete = [row for row in ALL if all(verdicts[row[:end], row[end]] for end in range(3))]
    if complete:
        check_exact(CategoricalSpace(SIZES, allowed=lambda p, a: verdicts[p, a]), complete)
    else:
        with pytest.raises(ConfigurationError, match="no complete list"):
            CategoricalSpace(SIZES, allowed=lambda p, a: verdicts[p, a])


@pytest.mark.parametrize(("arguments", "word"), [
    ({"slots": {}}, "slots"),
    ({"slots": [Slot("a", ("x",)), Slot("a", ("y",))]}, "distinct"),
    ({"slots": SIZES, "rows": [], }, "no complete list"),
    ({"slots": SIZES, "rows": [(0, 1)]}, "all 3 slots"),
    ({"slots": SIZES, "rows": ALL, "allowed": uphill}, "not both"),
])  # fmt: skip
def test_mistakes(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        CategoricalSpace(**arguments)  # type: ignore[arg-type]


def test_rows_are_keys_and_networks_unknown() -> None:
    space = CategoricalSpace(SIZES)
    one, other = space.candidate((0, 1, 2)), space.candidate((0, 1, 3))
    assert (one.key, other.key) == ("0-1-2", "0-1-3") and one != other
    again = pickle.loads(pickle.dumps(one))
    assert again == one and hash(again) == hash(one) and again.key == "0-1-2"
    with pytest.raises(InvalidArchitectureError, match="table"):
        build(one.trained)


@pytest.mark.parametrize("top", [10, 11, 300])
def test_keys_of_many_rows_are_the_keys_of_each(top: int) -> None:
    decisions = np.random.default_rng(0).integers(0, top, (50, 4)).astype(np.int16)
    assert row_keys(decisions) == tuple(row_key(row) for row in decisions)
    assert row_keys(np.array([[0, -1]])) == ("0--1",)
    assert row_keys(np.zeros((0, 3), np.int16)) == ()
