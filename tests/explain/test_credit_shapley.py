"""Exact credit over tables, against brute force over orders, shap's exact explainer, and tables solved by hand."""

from itertools import combinations, permutations, product
from math import factorial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain import coalitions
from nas_gym.explain.credit_shapley import coalition_means, pair_interactions, shapley_of_table
from nas_gym.explain.prefixes import complete_prefixes, decisions_of
from tests.explain.small_tables import SIZES, chain

Vector = NDArray[np.float64]


def all_rows(sizes: tuple[int, ...] = SIZES) -> NDArray[np.int16]:
    return np.array(list(product(*map(range, sizes))), dtype=np.int16)


def mean_where(decisions: NDArray[np.int16], scores: Vector, row: int, slots: tuple[int, ...]) -> float:
    agree = [all(other[s] == decisions[row][s] for s in slots) for other in decisions]
    return float(np.mean(scores[agree]))


def by_orders(decisions: NDArray[np.int16], scores: Vector, row: int) -> Vector:
    """The mean over all orders in which decisions are told of how the mean score changes."""
    n = decisions.shape[1]
    values = np.zeros(n)
    for order in permutations(range(n)):
        for place, slot in enumerate(order):
            before, after = tuple(order[:place]), tuple(order[: place + 1])
            values[slot] += mean_where(decisions, scores, row, after) - mean_where(decisions, scores, row, before)
    return values / factorial(n)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_equals_the_mean_over_all_orders(seed: int, sizes: list[int]) -> None:
    decisions, generator = all_rows(tuple(sizes)), np.random.default_rng(seed)
    scores = generator.normal(size=len(decisions))
    found = shapley_of_table(decisions, scores)
    row = int(generator.integers(len(decisions)))
    np.testing.assert_allclose(found.values[row], by_orders(decisions, scores, row), atol=1e-12)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), scores, atol=1e-12)
    assert found.base == pytest.approx(scores.mean())


def test_of_a_chain_open_slots_are_players_too_and_all_sum_to_the_score() -> None:
    space = chain()
    decisions = decisions_of(space, complete_prefixes(space))
    scores = np.random.default_rng(3).normal(size=len(decisions))
    found = shapley_of_table(decisions, scores)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), scores, atol=1e-12)
    short = int(np.argmax((decisions == -1).sum(axis=1)))
    assert (decisions[short] == -1).any()
    np.testing.assert_allclose(found.values[short], by_orders(decisions, scores, short), atol=1e-12)
    assert np.abs(found.values[short][decisions[short] == -1]).max() > 1e-3


def test_equals_shap_exact_explainer_with_the_whole_table_as_background() -> None:
    import shap

    decisions = all_rows()
    table = np.random.default_rng(5).normal(size=SIZES)
    scores = table[tuple(decisions.T)]

    def score(rows: Any) -> Any:
        return table[tuple(np.asarray(rows).astype(int).T)]

    masker = shap.maskers.Independent(decisions.astype(float), max_samples=len(decisions))
    explained = shap.explainers.ExactExplainer(score, masker)(decisions[[4, 17]].astype(float))
    np.testing.assert_allclose(shapley_of_table(decisions, scores).values[[4, 17]], explained.values, atol=1e-9)


def test_an_additive_table_gives_back_its_terms() -> None:
    decisions, generator = all_rows(), np.random.default_rng(0)
    terms = [generator.normal(size=size) for size in SIZES]
    worth = np.stack([term[decisions[:, slot]] for slot, term in enumerate(terms)], axis=1)
    found = shapley_of_table(decisions, worth.sum(axis=1))
    np.testing.assert_allclose(found.values, worth - [term.mean() for term in terms], atol=1e-12)
    np.testing.assert_allclose(pair_interactions(coalition_means(decisions, worth.sum(axis=1))), 0, atol=1e-12)


def test_a_coalition_is_worth_the_mean_of_the_rows_that_agree() -> None:
    space = chain()
    decisions = decisions_of(space, complete_prefixes(space))
    scores = np.random.default_rng(2).normal(size=len(decisions))
    means = coalition_means(decisions, scores)
    for row in (0, 11, len(decisions) - 1):
        for number, member in enumerate(coalitions(decisions.shape[1])):
            wanted = mean_where(decisions, scores, row, tuple(np.flatnonzero(member).tolist()))
            assert means[row, number] == pytest.approx(wanted)


def interaction(table: Vector, i: int, j: int) -> float:
    """The index by its definition."""
    n = len(table).bit_length() - 1
    others = [k for k in range(n) if k not in (i, j)]
    total = 0.0
    for size in range(n - 1):
        weight = factorial(size) * factorial(n - size - 2) / factorial(n - 1)
        for chosen in combinations(others, size):
            s = sum(1 << k for k in chosen)
            total += weight * (table[s | 1 << i | 1 << j] - table[s | 1 << i] - table[s | 1 << j] + table[s])
    return total


def test_interactions_are_those_of_their_definition() -> None:
    tables = np.random.default_rng(0).normal(size=(3, 16))
    found = pair_interactions(tables)
    assert found.shape == (3, 4, 4)
    for game in range(3):
        for i in range(4):
            for j in range(4):
                wanted = 0.0 if i == j else interaction(tables[game], i, j)
                assert found[game, i, j] == pytest.approx(wanted)


def test_of_two_players_the_interaction_is_what_they_have_only_together() -> None:
    np.testing.assert_allclose(pair_interactions(np.array([0.0, 1.0, 2.0, 7.0])), [[0, 4], [4, 0]])
    assert pair_interactions(np.zeros(2)).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("decisions", "scores", "sentence"),
    [
        (np.zeros((2, 2), np.int16), np.zeros(2), "decide the same"),
        (all_rows(), np.zeros(3), "one score per row"),
        (np.zeros((0, 2), np.int16), np.zeros(0), "one score per row"),
        (np.arange(30, dtype=np.int16).reshape(2, 15), np.zeros(2), "14 players"),
        (np.zeros((5000, 14), np.int16) + np.arange(5000, dtype=np.int16)[:, None], np.zeros(5000), "surrogate"),
    ],
    ids=["twice", "too few", "none", "too many slots", "too much memory"],
)
def test_refuses_what_is_no_full_table(decisions: Any, scores: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        shapley_of_table(decisions, scores)


def test_interactions_need_a_game() -> None:
    with pytest.raises(ConfigurationError, match=r"2\*\*n"):
        pair_interactions(np.zeros(3))
