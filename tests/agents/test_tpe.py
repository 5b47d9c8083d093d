"""TPE: asks Optuna for legal actions only, quietly, and says what to install."""

import logging
import sys
from typing import Any

import numpy as np
import optuna
import pytest
from searching import Cells, chain_env, searched

from nas_gym.errors import ConfigurationError
from nas_gym_agents.registry import make_agent
from nas_gym_agents.tpe import TPE, _choose


def test_without_optuna_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigurationError) as caught:
        make_agent("tpe")
    assert str(caught.value) == 'Optuna is not installed; pip install "nas-gym[optuna]"'


def test_optuna_is_silent_here_and_not_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    searched(TPE(multivariate=True, at_once=4), Cells(30))
    assert optuna.logging.get_verbosity() == before == logging.INFO
    assert capfd.readouterr() == ("", "")


def test_a_parameter_is_named_after_its_slot_and_its_legal_actions() -> None:
    trial = optuna.trial.FixedTrial({"slot 2 of 1 3": 3, "slot 2 of 0 1 2 3": 0})
    assert _choose(trial, 2, np.array([False, True, False, True])) == 3
    assert _choose(trial, 2, np.ones(4, dtype=bool)) == 0
    assert _choose(trial, 5, np.array([False, False, True, False])) == 2  # nothing to ask


@pytest.mark.parametrize("settings", [{}, {"multivariate": True}, {"at_once": 5}])
def test_it_learns_an_additive_task(settings: dict[str, Any]) -> None:
    env = Cells(150)
    _, notes = searched(TPE(**settings), env)
    rewards = np.array([reward for _, reward in notes.history])
    assert rewards[-50:].mean() > rewards[:20].mean() + 0.1


def test_several_at_once_are_told_together() -> None:
    result, notes = searched(TPE(at_once=4, startup=2), chain_env(20))
    assert notes.ends == [4, 8, 12, 16, 20]
    assert result.updates == 5
    _, one = searched(TPE(startup=2), chain_env(20))
    assert one.sequences != notes.sequences


def test_a_budget_that_ends_within_a_batch() -> None:
    result, notes = searched(TPE(at_once=4), chain_env(10))
    assert len(notes.history) == 10 and result.updates == 2


def test_any_seed() -> None:
    _, notes = searched(TPE(), Cells(3), seed=2**63 + 5)
    assert len(notes.history) == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"startup": -1}, "startup is a whole number, at least 0"),
        ({"candidates": 0}, "candidates is a whole number, at least 1"),
        ({"at_once": 1.5}, "at_once is a whole number, at least 1"),
        ({"multivariate": 1}, "multivariate is true or false, got 1"),
    ],
)
def test_invalid_settings_get_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        TPE(**settings)
