"""Retraining without what some decisions earned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from taught import asked, taught, with_advantages

from nas_gym_agents.attribution import log_probabilities
from nas_gym_agents.influence.retraining import first_update, logps_without, taught_again
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.tracing import trace
from nas_gym_agents.replay import policy_at, start, teach

ROWS = np.array([0, 1, 3, 5, 8])


@pytest.mark.parametrize("version", [0, 1, 2])
def test_with_nothing_silenced_the_training_is_the_one_there_was(version: int) -> None:
    updates = taught()[0].ledger.read()
    states = States(updates, 3)
    questions = asked(updates, ROWS, [0, 1, 2, 3, 3])
    known = trace(states, questions)
    again = taught_again(states, questions, version, own_ratios=False)
    for place, asked_version in enumerate(questions.versions):
        if asked_version <= version:
            assert np.isnan(again[place])
        else:
            assert again[place] == pytest.approx(known.logps[place, asked_version], abs=1e-6)
    own = taught_again(states, questions, version)
    np.testing.assert_allclose(own, again, atol=1e-3)  # the same ratios up to rounding


def test_silencing_equals_stable_baselines3_taught_with_advantages_of_zero() -> None:
    """Where advantages are not normalised, silencing needs nothing but zeros in the buffer."""
    updates = taught(PPO, updates=2, normalize_advantage=False)[0].ledger.read()
    questions = asked(updates, ROWS, [1, 1, 1, 2, 2])
    gone = updates[0].global_steps[[2, 3, 9], 0].tolist()
    ours = logps_without(States(updates, 2), questions, gone, own_ratios=False)
    advantages = [update.rows["advantages"].copy() for update in updates]
    advantages[0][[2, 3, 9]] = 0
    model = start(updates)
    for update, version in zip(with_advantages(updates, advantages), (1, 2), strict=True):
        teach(model, update)
        logps = log_probabilities(model.policy, questions.observations, None)
        here = questions.versions == version
        np.testing.assert_array_equal(ours[here], logps[np.arange(5), questions.actions][here])


def test_silencing_all_leaves_the_entropy_bonus_alone_and_the_model_as_it_was() -> None:
    after = []
    for entropy in (0.0, 0.03):
        updates = taught(updates=1, ent_coef=entropy)[0].ledger.read()
        states, questions = States(updates, 1), asked(updates, ROWS, [1] * 5)
        after.append(logps_without(states, questions, updates[0].global_steps.reshape(-1).tolist()))
        assert "_get_samples" not in vars(states.model.rollout_buffer) and states.model.normalize_advantage
    untaught = log_probabilities(policy_at(updates, 0).policy, questions.observations, questions.masks)
    np.testing.assert_allclose(after[0], untaught[np.arange(5), questions.actions], atol=1e-7)
    assert np.abs(after[1] - after[0]).max() > 1e-4


def test_what_came_later_has_no_effect_and_another_order_has_one() -> None:
    updates = taught()[0].ledger.read()
    states = States(updates, 3)
    questions = asked(updates, ROWS, [0, 1, 1, 2, 3])
    gone = updates[2].global_steps[:4, 0].tolist()
    assert first_update(states, questions, gone) == 2
    assert first_update(states, replace(questions, versions=np.array([2] * 5)), gone) is None
    assert np.isnan(logps_without(states, questions, gone)).tolist() == [True, True, True, True, False]
    assert np.isnan(logps_without(states, questions, [10**6])).all()
    orders = [taught_again(states, questions, 0, order=order)[1:] for order in (1, 1, 2)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert np.abs(orders[0] - orders[2]).max() > 1e-4


def test_small_updates_agree_with_tracing() -> None:
    """With a small rate nothing is clipped and the path is straight: silencing a sample takes its share away."""
    kwargs = {"policy_kwargs": {"optimizer_class": torch.optim.SGD}}
    plain = taught(
        PPO, updates=1, learning_rate=1e-2, n_epochs=1, batch_size=24, max_grad_norm=1e9, ent_coef=0.0, **kwargs
    )[0].ledger.read()
    questions = asked(plain, ROWS, [1] * 5)
    states = States(plain, 1)
    found = trace(states, questions)
    for row in (2, 11, 20):
        effect = found.logps[:, 1] - logps_without(states, questions, [int(plain[0].global_steps[row, 0])])
        np.testing.assert_allclose(effect, found.rewards[0][:, row], rtol=0.05, atol=2e-6)
