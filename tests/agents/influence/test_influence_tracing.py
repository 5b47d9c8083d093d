"""Tracing: shares that sum to the change, a closed form, and sums that go forwards in place of backwards."""

from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from taught import VARIANTS, Shared, asked, taught, with_advantages
from torch import nn

from nas_gym.errors import RunError
from nas_gym_agents.attribution import log_probabilities
from nas_gym_agents.influence.losses import Heads, Weights, chosen, sample_losses
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.steps import steps_of
from nas_gym_agents.influence.tracing import Questions, Trace, trace
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.replay import policy_at
from nas_gym_agents.updates import Updates

ROWS = np.array([0, 1, 3, 5, 8])


def traced(updates: Updates, questions: Questions) -> Trace:
    return trace(States(updates, int(questions.versions.max())), questions)


def logp(updates: Updates, version: int, questions: Questions, place: int) -> float:
    of_all = log_probabilities(policy_at(updates, version).policy, questions.observations, questions.masks)
    return float(of_all[place, questions.actions[place]])


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "it stops early"])
def test_the_shares_and_the_rest_sum_to_the_change_and_the_rest_is_small(name: str) -> None:
    recorder, _ = taught(**VARIANTS[name])
    updates = recorder.ledger.read()
    questions = asked(updates, ROWS, [0, 1, 2, 3, 3])
    found = traced(updates, questions)
    for place, version in enumerate(questions.versions):
        change = logp(updates, int(version), questions, place) - logp(updates, 0, questions, place)
        shares = sum(one[place].sum() for one in found.rewards) + found.entropy[place].sum() + found.critic[place].sum()
        assert shares + found.before[place] + found.unexplained[place] == pytest.approx(change, abs=2e-6)
        np.testing.assert_allclose(found.actual[place, version:], 0)
        assert np.isnan(found.logps[place, version + 1 :]).all()
    moved = np.abs(found.actual).sum()
    assert np.abs(found.predicted - found.actual).sum() < 0.02 * moved
    assert np.abs(found.left - found.actual).sum() > np.abs(found.predicted - found.actual).sum()
    assert np.abs(found.unexplained).sum() < 0.02 * moved
    assert not found.before.any()
    shared = name == "a shared layer"
    assert found.critic.any() == shared, "the critic moves the actor through shared weights only"


def forwards(updates: Updates, questions: Questions, version: int, row: int) -> np.ndarray[Any, Any]:
    """Return one sample's share: what its gradients alone, with Adam's scales as they were, did to the weights."""
    states = States(updates, len(updates))
    heads = Heads(states.model.policy)
    weights = Weights(heads)
    masks = None if questions.masks is None else torch.as_tensor(questions.masks)
    observations = heads.prepared(questions.observations)
    logps = chosen(weights, observations, torch.as_tensor(questions.actions), masks)
    momentum, total = torch.zeros(weights.size, dtype=torch.float64), np.zeros(len(questions.actions))
    for number, update in enumerate(updates):
        for step in steps_of(states.restore(number), update, heads):
            own = torch.zeros_like(momentum)
            if number == version and row in step.rows.tolist():
                place = step.rows.tolist().index(row)
                losses = sample_losses(weights, step.batch, step.coefficients)
                own = torch.func.grad(lambda v, losses=losses, place=place: losses(v)[0, place])(step.before)
                whole = torch.func.grad(lambda v, losses=losses: losses(v).sum())(step.before)
                own = own * min(1.0, step.coefficients.max_norm / (float(whole.norm()) + 1e-6))
            momentum = step.decay * momentum + step.share * own
            slopes = [torch.func.jacrev(logps)(point) for point in (step.before, step.after)]
            total -= (((slopes[0] + slopes[1]) / 2) @ (step.scale * momentum)).numpy()
    return total


def test_a_share_equals_what_its_own_gradients_did_summed_forwards() -> None:
    updates = taught(updates=2)[0].ledger.read()
    questions = asked(updates, ROWS, [2] * len(ROWS))
    found = traced(updates, questions)
    for version, row in ((0, 3), (0, 17), (1, 8)):
        np.testing.assert_allclose(
            found.rewards[version][:, row], forwards(updates, questions, version, row), atol=1e-10
        )
    assert np.abs(found.rewards[0][:, 3]).max() > 1e-4


def test_one_step_of_a_linear_policy_is_the_closed_form() -> None:
    """d log p(a|x) = rate * A_i / n * <1_a - p(x), 1_{a_i} - p(x_i)> (x . x_i + 1), for softmax over a linear layer."""
    rate, n = 1e-5, 24
    recorder, _ = taught(
        PPO,
        updates=1,
        learning_rate=rate,
        n_epochs=1,
        batch_size=n,
        ent_coef=0.0,
        normalize_advantage=False,
        max_grad_norm=1e9,
        policy_kwargs={"net_arch": [], "optimizer_class": torch.optim.SGD},
    )
    updates = recorder.ledger.read()
    questions = asked(updates, ROWS, [1] * len(ROWS))
    found = traced(updates, questions)
    held = updates[0].rows
    x, a, advantage = held["observations"][:, 0].astype(float), held["actions"][:, 0, 0], held["advantages"][:, 0]
    p = np.exp(log_probabilities(policy_at(updates, 0).policy, held["observations"][:, 0], None))
    pull = np.eye(p.shape[1])[a] - p
    expected = rate * advantage / n * (pull[ROWS] @ pull.T) * (x[ROWS] @ x.T + 1)
    np.testing.assert_allclose(found.rewards[0], expected, rtol=1e-3, atol=1e-12)


def test_only_what_earned_something_is_named_and_it_explains_all() -> None:
    updates = taught(updates=1, ent_coef=0.0, normalize_advantage=False)[0].ledger.read()
    advantages = np.zeros((24, 1), np.float32)
    advantages[4:7, 0] = (1.0, -2.0, 1.5)
    updates = with_advantages(updates, [advantages])
    questions = asked(updates, ROWS, [1] * len(ROWS))
    found = traced(updates, questions)
    silent = np.setdiff1d(np.arange(24), [4, 5, 6])
    assert not found.rewards[0][:, silent].any()
    change = found.actual.sum(1)
    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(found.rewards[0].sum(1), change, atol=0.01 * np.abs(change).max())


def test_momentum_from_an_earlier_training_has_its_own_share() -> None:
    _, model = taught(updates=2)
    recorder = DecisionRecorder(explain="none")
    model.learn(48, callback=recorder)
    updates = recorder.ledger.read()
    found = traced(updates, asked(updates, ROWS, [2] * len(ROWS)))
    assert np.abs(found.before).max() > 1e-4
    assert np.abs(found.unexplained).sum() < 0.02 * np.abs(found.actual).sum()


class Forgetful(Shared):
    """Drops some of what it sees."""

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(observations), 0.5, self.training)


@pytest.mark.parametrize(
    ("policy_kwargs", "sentence"),
    [
        ({"optimizer_class": torch.optim.RMSprop}, "not for RMSprop"),
        ({"optimizer_class": torch.optim.Adam, "optimizer_kwargs": {"weight_decay": 0.1}}, "without weight decay"),
        ({"features_extractor_class": Forgetful}, "a policy with dropout"),
    ],
    ids=["RMSprop", "weight decay", "dropout"],
)
def test_what_is_not_understood_is_refused(policy_kwargs: dict[str, Any], sentence: str) -> None:
    updates = taught(MaskablePPO, policy_kwargs=policy_kwargs)[0].ledger.read()
    with pytest.raises(RunError, match=sentence):
        traced(updates, asked(updates, ROWS, [3] * len(ROWS)))


def test_a_replay_of_another_policy_is_refused() -> None:
    updates = taught()[0].ledger.read()
    other = with_advantages(updates, [-update.rows["advantages"] for update in updates])
    with pytest.raises(RunError, match="of version 1 log-probabilities that are off by"):
        States(other, 3)


def test_versions_that_take_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = taught(updates=1)[0].ledger.read()
    monkeypatch.setattr("nas_gym_agents.influence.states.MOST_BYTES", 1000)
    with pytest.raises(RunError, match="ask for an earlier decision"):
        States(updates, 1)
