"""The ablation path: it ends at the best, its gains add up, each step is the best there, and it stays legal."""

from itertools import permutations

import numpy as np
import pytest
from archives import grid
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.explain.ablation import AblationPath, ablation_path, complete, only_legal
from nas_gym.explain.random_architectures import draw, prefix_of
from nas_gym.spaces import ChainSpace, Limits
from nas_gym.tables import fashion_chain_space

NAMES = [f"s{i}" for i in range(12)]


def path_of(start, goal, values):
    start, goal = np.array(start, dtype=np.int16), np.array(goal, dtype=np.int16)
    words = {"choice": lambda slot, action: f"{slot}:{action}", "names": NAMES, "words": "here", "source": "made up"}
    return ablation_path(start, goal, values, **words)


def table_values(table):
    return lambda decisions: table[tuple(decisions.T)]


@given(st.integers(0, 2**32 - 1))
def test_ends_at_the_goal_and_every_step_is_the_best_there(seed):
    table = np.random.default_rng(seed).normal(size=(3, 3, 3, 3))
    start, goal = (0, 0, 0, 0), (2, 1, 2, 0)
    path = path_of(start, goal, table_values(table))
    assert path.start_value == table[start] and path.end_value == table[goal]
    assert path.start_value + sum(step.gain for step in path.steps) == pytest.approx(path.end_value)
    assert path.steps[-1].value == path.end_value
    here, left = list(start), {0, 1, 2}
    for step in path.steps:
        (change,) = step.changes
        after = {slot: table[tuple(goal[i] if i == slot else a for i, a in enumerate(here))] for slot in left}
        best = max(after, key=lambda slot: after[slot])
        assert (change.slot, change.new) == (f"s{best}", f"{best}:{goal[best]}")
        assert step.value == after[best]
        here[best] = goal[best]
        left.remove(best)
    assert not left


def test_in_an_additive_table_the_gains_do_not_depend_on_the_order():
    terms = np.array([0.3, -0.1, 0.2])
    table = (grid(2, 2, 2) @ terms).reshape(2, 2, 2)
    path = path_of((0, 0, 0), (1, 1, 1), table_values(table))
    assert [step.changes[0].slot for step in path.steps] == ["s0", "s2", "s1"]
    np.testing.assert_allclose([step.gain for step in path.steps], [0.3, 0.2, -0.1])
    for order in permutations(range(3)):
        gains = [terms[slot] for slot in order]
        assert sum(gains) == pytest.approx(path.end_value - path.start_value)


def test_illegal_changes_are_skipped_and_made_together_where_nothing_else_is_legal():
    def legal(row):
        return tuple(row) != (1, 0, 0) and (row[0] == 1 or row[1] == row[2])

    values = only_legal(lambda decisions: decisions.sum(axis=1).astype(float), legal)
    path = path_of((0, 0, 0), (1, 1, 1), values)
    first, second = path.steps
    assert {change.slot for change in first.changes} == {"s0", "s1"} or {c.slot for c in first.changes} == {"s1", "s2"}
    assert first.value == 2.0 and second.value == 3.0


def test_all_at_once_if_only_the_goal_is_legal():
    goal = (1,) * 6
    values = only_legal(lambda decisions: decisions.sum(axis=1).astype(float), lambda row: len(set(row.tolist())) == 1)
    (step,) = path_of((0,) * 6, goal, values).steps
    assert len(step.changes) == 6 and step.gain == 6.0


def test_paths_in_a_chain_space_stay_legal():
    space = fashion_chain_space()
    rows, free = draw(space, 60, 0)
    assert not free
    seen = []

    def values(decisions):
        seen.extend(map(tuple, decisions.tolist()))
        return decisions.sum(axis=1).astype(float)

    for start, goal in zip(rows[::2], rows[1::2], strict=True):
        path = path_of(start, goal, only_legal(values, lambda row: prefix_of(space, row) is not None))
        assert path.steps == () or path.steps[-1].value == float(goal.sum())
        assert sum(len(step.changes) for step in path.steps) == (start != goal).sum()
    assert all(prefix_of(space, np.array(row)) is not None for row in seen)


def test_no_path_where_an_end_has_no_value():
    assert path_of((0, 0), (1, 1), only_legal(lambda d: d.sum(axis=1).astype(float), lambda row: row[0] == 0)) is None
    assert path_of((0, -1), (1, 1), only_legal(lambda d: d.sum(axis=1).astype(float), complete)) is None


def test_equal_ends_have_no_steps():
    path = path_of((1, 2), (1, 2), lambda decisions: decisions.sum(axis=1).astype(float))
    assert path.steps == () and path.start_value == path.end_value == 3.0


def test_json_round_trip():
    path = path_of((0, 0), (1, 1), lambda decisions: decisions.sum(axis=1).astype(float))
    assert AblationPath.from_json(path.to_json()) == path


def test_prefixes_of_chains():
    space = ChainSpace((1, 8, 8), 10, max_layers=3, limits=Limits(resolution=2), hyperparameters=("learning_rate",))
    rows, _ = draw(space, 200, 1)
    for row in rows:
        prefix = prefix_of(space, row)
        assert prefix is not None and space.next_slot(prefix) is None
        filled = [space.next_slot(prefix[:end]) for end in range(len(prefix))]
        assert [row[slot] for slot in filled] == list(prefix)
    stop = len(space.catalogue)
    left_over = np.array([0, 0, stop, 0, 1], dtype=np.int16)  # a layer after the end
    unfinished = np.array([0, 0, -1, -1, 1], dtype=np.int16)
    assert prefix_of(space, left_over) is None and prefix_of(space, unfinished) is None
    left_over[3] = -1
    assert prefix_of(space, left_over) == (0, 0, stop, 1)
