"""Which samples of which updates moved log-probabilities: TracIn along the path that the optimiser really took.

A log-probability changes along the weights' path by the sum over all gradient steps of its gradient times the step
(TracIn, Pruthi et al. 2020, arXiv 2002.08484, section 3; for PPO, one rollout: Hu et al. 2025, arXiv 2505.19281).
Here the gradient is the mean of those before and after the step (the trapezoid rule), and a step is what Adam made of
all gradients so far: with its scales taken as given, it is linear in them, and each is a sum over samples.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, jacrev, jvp, vmap

from nas_gym.errors import RunError
from nas_gym_agents.influence.losses import Heads, Weights, chosen, sample_losses
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.steps import Step, check_optimiser, steps_of, vector_of

CLOSE = 1e-3  # relative error up to which a gradient counts as understood


@dataclass(frozen=True, eq=False)
class Questions:
    """Decisions whose log-probabilities are to be traced, d of them.

    Attributes:
        observations: As the policy gets them, (d, …).
        actions: int64 (d,).
        masks: bool (d, n_actions); None: without masks.
        versions: Up to which version of the policy each is traced, int64 (d,).
    """

    observations: NDArray[Any] = field(repr=False)
    actions: NDArray[np.int64]
    masks: NDArray[np.bool_] | None = field(repr=False)
    versions: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trace:
    """What moved d log-probabilities in u updates, in nats; float64.

    ``change = rewards.sum() + entropy.sum(1) + critic.sum(1) + before + unexplained`` for every decision.

    Attributes:
        rewards: By the policy loss of every row of every rollout, u arrays (d, n_rows), rows as in minibatches.
        entropy: By the entropy bonus of every update, (d, u).
        critic: By the critic's loss, (d, u); zero where actor and critic share no weights.
        before: By momentum from before the first update, (d,).
        logps: Log-probability at every version of the policy, (d, u + 1); NaN after the version that is asked for.
        predicted: Change in every update as the trapezoid rule has it, (d, u).
        left: The same by the gradient before each step alone, as TracIn has it, (d, u).
        gradient_error: Largest relative error of a step's gradient, put together again from its samples.
    """

    rewards: list[NDArray[np.float64]] = field(repr=False)
    entropy: NDArray[np.float64] = field(repr=False)
    critic: NDArray[np.float64] = field(repr=False)
    before: NDArray[np.float64]
    logps: NDArray[np.float64] = field(repr=False)
    predicted: NDArray[np.float64] = field(repr=False)
    left: NDArray[np.float64] = field(repr=False)
    gradient_error: float

    @property
    def actual(self) -> NDArray[np.float64]:
        """Change in every update as it was, (d, u); 0 after the version that is asked for."""
        return np.nan_to_num(np.diff(self.logps, axis=1))

    @property
    def unexplained(self) -> NDArray[np.float64]:
        """What is left of the change, (d,): the path's curvature within a step, and rounding."""
        told = sum((one.sum(1) for one in self.rewards), self.before) + self.entropy.sum(1) + self.critic.sum(1)
        rest: NDArray[np.float64] = self.actual.sum(1) - told
        return rest


def trace(states: States, questions: Questions) -> Trace:
    """Return what moved the log-probabilities of decisions, by sample.

    Args:
        states: Of all versions before the last that is asked for.
        questions: The decisions.

    Raises:
        RunError: The optimiser is not understood, or the gradients are not.
    """
    check_optimiser(states.model.policy.optimizer)
    n_updates = int(questions.versions.max(initial=0))
    tracer = _Tracer(states.model, questions, n_updates)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's forward mode loads what torch has deprecated
        for version in reversed(range(n_updates)):
            update = states.updates[version]
            tracer.back(version, steps_of(states.restore(version), update, tracer.heads), len(update.flat_steps()))
    return tracer.trace()


class _Tracer:
    """Goes back through the updates, with what the gradient of each step will come to in the end."""

    def __init__(self, model: Any, questions: Questions, n_updates: int) -> None:
        self.heads = Heads(model.policy)
        self._weights = Weights(self.heads)
        masks = None if questions.masks is None else torch.as_tensor(questions.masks)
        observations = self.heads.prepared(questions.observations)
        self._logp = chosen(self._weights, observations, torch.as_tensor(questions.actions), masks)
        self._versions = torch.as_tensor(questions.versions)
        d = len(questions.actions)
        self._later = torch.zeros(d, self._weights.size, dtype=torch.float64)
        self._decay = 0.0
        self._rewards: list[NDArray[np.float64]] = []
        self._entropy, self._critic, self._predicted, self._left = (np.zeros((d, n_updates)) for _ in range(4))
        self._logps = np.full((d, n_updates + 1), np.nan)
        if not n_updates:
            with torch.no_grad():
                self._logps[:, 0] = self._logp(vector_of(model.policy.parameters())).numpy()
        self._before = np.zeros(d)
        self._error = 0.0

    def back(self, version: int, steps: list[Step], n_rows: int) -> None:
        """Take the steps of one update, the last first."""
        active = (self._versions > version).double()
        points = [steps[0].before, *(step.after for step in steps)]
        slopes = [jacrev(self._logp)(point) * active[:, None] for point in points]
        for place, version_there in ((0, version), (-1, version + 1)):
            known = (self._versions >= version_there).numpy()
            self._logps[known, version_there] = self._logp(points[place]).numpy()[known]
        rewards = torch.zeros(len(active), n_rows, dtype=torch.float64)
        for step, first, last in zip(reversed(steps), reversed(slopes[:-1]), reversed(slopes[1:]), strict=True):
            slope = (first + last) / 2
            momentum = step.scale * (step.decay * step.momentum + step.share * step.gradient)
            self._predicted[:, version] -= (slope @ momentum).numpy()
            self._left[:, version] -= (first @ momentum).numpy()
            self._later = self._decay * self._later + slope * step.scale
            self._decay = step.decay
            moved = -step.share * self._moved(step)
            rewards.index_add_(1, step.rows, moved[:, 0])
            self._entropy[:, version] += moved[:, 1].sum(1).numpy()
            self._critic[:, version] += moved[:, 2].sum(1).numpy()
        self._before = -steps[0].decay * (self._later @ steps[0].momentum).numpy()
        self._rewards.insert(0, rewards.numpy())

    def _moved(self, step: Step) -> Tensor:
        """Return the gradient of every sample's losses, times `_later`: (d, 3, b)."""
        losses = sample_losses(self._weights, step.batch, step.coefficients)
        whole: Tensor = grad(lambda weights: losses(weights).sum())(step.before)
        shortened = min(1.0, step.coefficients.max_norm / (float(whole.norm()) + 1e-6))  # torch's clip_grad_norm_
        error = float((shortened * whole - step.gradient).norm() / step.gradient.norm().clamp_min(1e-12))
        self._error = max(self._error, error)
        if error > CLOSE:
            raise RunError(
                f"the gradients of this policy's updates differ by {error:.2g} (relative) from what its losses give, "
                "so that nothing is told of what taught it; a policy with dropout or losses of its own can't be traced"
            )
        along: Tensor = vmap(lambda direction: jvp(losses, (step.before,), (direction,))[1])(self._later)
        return shortened * along

    def trace(self) -> Trace:
        """Return what was found."""
        shares = self._rewards, self._entropy, self._critic, self._before
        return Trace(*shares, self._logps, self._predicted, self._left, self._error)
