"""The losses told apart by sample: their sum has the gradient that stable-baselines3 computed."""

import pytest
import torch
from taught import VARIANTS, taught
from torch import nn

from nas_gym.errors import RunError
from nas_gym_agents.influence.losses import Heads, Weights, log_probabilities, sample_losses
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.steps import steps_of


@pytest.mark.parametrize("name", VARIANTS)
def test_the_samples_gradients_sum_to_the_one_that_stable_baselines3_computed(name: str) -> None:
    recorder, _ = taught(**VARIANTS[name])
    updates = recorder.ledger.read()
    states = States(updates, len(updates))
    heads = Heads(states.model.policy)
    weights, shortened = Weights(heads), []
    for version, update in enumerate(updates):
        for step in steps_of(states.restore(version), update, heads):
            losses = sample_losses(weights, step.batch, step.coefficients)
            ours = torch.func.grad(lambda vector, losses=losses: losses(vector).sum())(step.before)
            factor = min(1.0, step.coefficients.max_norm / (float(ours.norm()) + 1e-6))
            shortened.append(factor < 1)
            assert float((factor * ours - step.gradient).norm()) < 2e-5 * float(step.gradient.norm())
            moved = step.scale * (step.decay * step.momentum + step.share * step.gradient)
            assert float((step.after - step.before + moved).norm()) < 2e-4 * float(moved.norm())
    assert name != "gradients shortened" or all(shortened)
    assert name != "gradients whole" or not any(shortened)
    if name == "it stops early":
        assert len(shortened) < 3 * 2 * 3


def test_log_probabilities_are_the_policys() -> None:
    recorder, model = taught()
    held = recorder.ledger.read()[0].rows
    observations, masks = held["observations"][:, 0], torch.as_tensor(held["action_masks"][:, 0]).bool()
    heads = Heads(model.policy)
    logits, values = heads(heads.prepared(observations))
    with torch.no_grad():
        known, logp, _ = model.policy.evaluate_actions(
            torch.as_tensor(observations), torch.as_tensor(held["actions"][:, 0, 0]), action_masks=masks
        )
    ours = log_probabilities(logits, masks).gather(1, torch.as_tensor(held["actions"][:, 0]))[:, 0]
    torch.testing.assert_close(ours.float(), logp)
    torch.testing.assert_close(values.float(), known.flatten())
    assert (log_probabilities(logits, masks)[~masks] < -1e7).all()


def test_a_policy_with_other_weights_is_refused() -> None:
    _, model = taught(updates=1)
    model.policy.more = nn.Linear(2, 2)
    with pytest.raises(RunError, match="use MlpPolicy"):
        Heads(model.policy)
