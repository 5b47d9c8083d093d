"""Agreement with retraining: scipy's rank correlation, and chance."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from taught import asked, taught

from nas_gym_agents.influence.checks import agreement, path_check
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.tracing import trace


def test_correlations_are_scipys() -> None:
    generator = np.random.default_rng(0)
    effects = generator.normal(size=(5, 30))
    predicted = np.round(effects + generator.normal(size=(5, 30)), 1)  # with ties
    guess = generator.normal(size=(5, 30))
    found = agreement(predicted, effects, guess)
    of_rows = [spearmanr(a, b).statistic for a, b in zip(predicted, effects, strict=True)]
    assert found["correlation"] == pytest.approx(np.mean(of_rows))
    assert found["pooled"] == pytest.approx(spearmanr(predicted.ravel(), effects.ravel()).statistic)
    assert found["naive"] == pytest.approx(
        np.mean([spearmanr(a, b).statistic for a, b in zip(guess, effects, strict=True)])
    )
    assert (found["decisions"], found["evaluations"]) == (5, 30)


def test_what_has_no_order_agrees_with_nothing() -> None:
    found = agreement(np.zeros((3, 10)), np.arange(30.0).reshape(3, 10), np.zeros((3, 10)))
    assert found["correlation"] == found["chance"] == found["naive"] == 0


def test_chance_is_reached_by_one_random_order_in_forty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_gym_agents.influence.checks.PERMUTATIONS", 200)
    generator = np.random.default_rng(1)
    effects = np.cumsum(generator.normal(size=(6, 25)), axis=0)  # decisions that resemble each other, as real ones do
    beaten = []
    for _ in range(200):
        found = agreement(effects[:, generator.permutation(25)], effects, effects)
        beaten.append(found["correlation"] > found["chance"])
    assert 0.002 < np.mean(beaten) < 0.06


def test_the_path_is_predicted_and_better_than_by_the_gradient_before() -> None:
    updates = taught()[0].ledger.read()
    found = path_check(trace(States(updates, 3), asked(updates, np.arange(6), [3] * 6)))
    assert found["correlation"] > 0.9999 and found["residual_share"] < 0.01
    assert found["by_the_gradient_before"]["residual_share"] > found["residual_share"]
    assert (found["decisions"], found["updates"]) == (6, 3) and found["gradient_error"] < 1e-4
