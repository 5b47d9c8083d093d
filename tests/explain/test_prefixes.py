"""All complete prefixes of a space, and what a table says of each."""

import numpy as np
import pytest

from nas_gym.errors import ConfigurationError, OutOfSpaceError
from nas_gym.evaluation import Evaluation
from nas_gym.evaluation.tabular import TabularEvaluator
from nas_gym.explain.prefixes import complete_prefixes, decisions_of, slope, slots_of, truth_of
from nas_gym.objective import Accuracy, SoftLimit, named_objective
from nas_gym.spaces import CategoricalSpace
from nas_gym.tables import load_benchmark
from nas_gym.testing import random_walk
from tests.explain.small_tables import chain, full_table, truth


def test_all_prefixes_are_walked_and_a_table_has_them_in_its_order() -> None:
    table = full_table()
    prefixes = complete_prefixes(table.space())
    assert [list(prefix) for prefix in prefixes] == table.decisions.tolist()


def test_of_a_chain_every_walk_is_among_them_and_none_comes_twice() -> None:
    space, generator = chain(), np.random.default_rng(0)
    prefixes = complete_prefixes(space)
    assert len(set(prefixes)) == len(prefixes)
    assert {random_walk(space, generator) for _ in range(500)} <= set(prefixes)
    decided = decisions_of(space, prefixes)
    for prefix, row in zip(prefixes, decided.tolist(), strict=True):
        assert [row[slot] for slot in slots_of(space, prefix)] == list(prefix)
        assert row.count(-1) == len(space.slots) - len(prefix)
    assert len(np.unique(decided, axis=0)) == len(prefixes)


def test_a_large_space_is_refused_before_it_is_walked() -> None:
    with pytest.raises(ConfigurationError, match="more than 100 prefixes"):
        complete_prefixes(CategoricalSpace({f"slot {i}": "abcde" for i in range(20)}), most=100)


def test_an_illegal_prefix_is_refused() -> None:
    with pytest.raises(OutOfSpaceError):
        decisions_of(chain(), [(0, 99)])


def test_the_truth_is_the_mean_of_the_trainings_whatever_the_search_saw() -> None:
    table = full_table()
    found = truth(table, trainings=1, noise=0.1)
    np.testing.assert_allclose(found.rewards, table.accuracies["full"].astype(float).mean(axis=1))
    np.testing.assert_allclose(found.scores, table.scores["test"])
    assert found.rows[found.prefixes[5]] == 5
    assert found.errors is not None
    noise = table.accuracies["full"].astype(float).std(axis=1, ddof=1)
    np.testing.assert_allclose(found.errors, np.sqrt((noise**2).mean() / 3), rtol=1e-6)
    assert found.errors.mean() == pytest.approx(0.01 / np.sqrt(3), rel=0.3), "as the noise that was added"
    assert truth(full_table(trainings=1)).errors is None


def test_rewards_are_those_of_the_objective() -> None:
    table, goal = full_table(), SoftLimit("macs", 5000, alpha=0.0, beta=-1.0)
    found = truth(table, goal)
    means = table.accuracies["full"].astype(float).mean(axis=1)
    weights = np.minimum(1.0, 5000 / table.macs)  # type: ignore[operator]
    np.testing.assert_allclose(found.rewards, means * weights)
    np.testing.assert_allclose(found.scores, table.scores["test"] * weights)
    plain = truth(table)
    assert found.errors is not None and plain.errors is not None
    np.testing.assert_allclose(found.errors, plain.errors * weights, rtol=1e-6)


def test_the_shipped_table_has_every_prefix_of_its_space() -> None:
    table = load_benchmark()
    found = truth_of(table.space(), TabularEvaluator(table), Accuracy())
    assert (len(found.prefixes), len(set(found.rewards)) > 100) == (1268, True)
    assert {found.space.candidate(prefix).key for prefix in found.prefixes} == set(table.keys)


def test_the_slope_of_an_objective_is_its_derivative() -> None:
    evaluation = Evaluation(key="k", accuracy=0.5, macs=2_000_000)
    assert slope(Accuracy(), evaluation) == pytest.approx(1.0)
    assert slope(named_objective("soft-macs:1e6:0:-1"), evaluation) == pytest.approx(0.5)  # type: ignore[arg-type]
    assert slope(Accuracy(), Evaluation(key="k", accuracy=1.0)) == pytest.approx(1.0)
    assert slope(Accuracy(), Evaluation(key="k", status="crashed")) == 0.0
