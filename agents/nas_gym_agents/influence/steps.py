"""The gradient steps of one update, overheard while stable-baselines3 makes it again."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nas_gym.errors import RunError
from nas_gym_agents.influence.losses import Batch, Coefficients, Heads
from nas_gym_agents.replay import teach
from nas_gym_agents.updates import Update


@dataclass(frozen=True, eq=False)
class Step:
    """One gradient step: weights' = weights - scale * momentum', momentum' = decay * momentum + share * gradient.

    For Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) at its t-th step, decay is beta1, share 1 - beta1, and
    scale the learning rate over (1 - beta1**t) (sqrt(second moment / (1 - beta2**t)) + epsilon).

    Attributes:
        before: Weights, float64 (P,).
        after: Weights after it.
        gradient: As the optimiser got it, shortened where it was too long.
        scale: (P,).
        momentum: Before the step, (P,).
        decay: Of the momentum.
        share: Of the gradient in it.
        batch: The samples.
        rows: Which rows of the rollout they are, int64 (b,).
        coefficients: Of the losses.
    """

    before: Tensor = field(repr=False)
    after: Tensor = field(repr=False)
    gradient: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    momentum: Tensor = field(repr=False)
    decay: float
    share: float
    batch: Batch = field(repr=False)
    rows: Tensor = field(repr=False)
    coefficients: Coefficients


def steps_of(model: Any, update: Update, heads: Heads) -> list[Step]:
    """Give a model one update (`nas_gym_agents.replay.teach`) and return its gradient steps.

    Raises:
        RunError: The optimiser is neither Adam nor plain gradient descent.
    """
    ear = _Ear(heads)
    try:
        teach(model, update, ear.listen)
    finally:
        ear.close()
    return ear.steps


def check_optimiser(optimiser: torch.optim.Optimizer) -> None:
    """Refuse an optimiser whose steps are not linear in its gradients, given its scales.

    Raises:
        RunError: It is neither Adam nor plain gradient descent.
    """
    group = optimiser.param_groups[0]
    adam = type(optimiser) is torch.optim.Adam and not group["amsgrad"]
    descent = type(optimiser) is torch.optim.SGD and not group["momentum"]
    plain = len(optimiser.param_groups) == 1 and not group["weight_decay"] and not group["maximize"]
    if not (plain and (adam or descent)):
        raise RunError(
            f"what taught the policy is told for Adam and for plain gradient descent without weight decay, not for "
            f"{type(optimiser).__name__} with these settings; train with stable-baselines3's default"
        )


class _Ear:
    """Listens to the minibatches and to the optimiser of a model that trains."""

    def __init__(self, heads: Heads) -> None:
        self.steps: list[Step] = []
        self._heads = heads
        self._hooks: list[Any] = []
        self._before: dict[str, Tensor] = {}
        self._batch: tuple[Batch, Tensor] | None = None

    def listen(self, model: Any) -> None:
        buffer, self._model = model.rollout_buffer, model
        self._coefficients = Coefficients.of(model)
        get = type(buffer)._get_samples

        def overheard(rows: Any, env: Any = None) -> Any:
            samples = get(buffer, rows, env)
            self._batch = self._taken(samples), torch.as_tensor(rows)
            return samples

        buffer._get_samples = overheard
        self._hooks = [
            model.policy.optimizer.register_step_pre_hook(self._begun),
            model.policy.optimizer.register_step_post_hook(self._done),
        ]

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()
        if self._hooks:
            del self._model.rollout_buffer._get_samples

    def _taken(self, samples: Any) -> Batch:
        advantages = samples.advantages
        if self._model.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        masks = getattr(samples, "action_masks", None)
        return Batch(
            self._heads.prepared(samples.observations),
            samples.actions.long().flatten(),
            None if masks is None else masks.bool(),
            advantages.double(),
            samples.old_log_prob.double(),
            samples.old_values.double(),
            samples.returns.double(),
        )

    def _begun(self, optimiser: Any, *_: Any) -> None:
        weights = optimiser.param_groups[0]["params"]
        moments = [optimiser.state[w]["exp_avg"] if "exp_avg" in optimiser.state[w] else 0 * w for w in weights]
        self._before = {
            "before": vector_of(weights),
            "gradient": vector_of([w.grad if w.grad is not None else 0 * w for w in weights]),
            "momentum": vector_of(moments),
        }

    def _done(self, optimiser: Any, *_: Any) -> None:
        assert self._batch is not None, "samples are drawn before a step"
        batch, rows = self._batch
        decay, share, scale = _adam(optimiser) if type(optimiser) is torch.optim.Adam else _descent(optimiser)
        after = vector_of(optimiser.param_groups[0]["params"])
        more = {"decay": decay, "share": share, "scale": scale, "after": after}
        self.steps.append(Step(**self._before, **more, batch=batch, rows=rows, coefficients=self._coefficients))  # type: ignore[arg-type]


def _adam(optimiser: Any) -> tuple[float, float, Tensor]:
    group = optimiser.param_groups[0]
    beta1, beta2 = group["betas"]
    scales = []
    for weight in group["params"]:
        state = optimiser.state[weight]
        if not state:  # never had a gradient
            scales.append(torch.zeros_like(weight))
            continue
        t, second = float(state["step"]), state["exp_avg_sq"].double()
        deviation = (second / (1 - beta2**t)).sqrt() + group["eps"]
        scales.append(group["lr"] / (1 - beta1**t) / deviation)
    return beta1, 1 - beta1, vector_of(scales)


def _descent(optimiser: Any) -> tuple[float, float, Tensor]:
    group = optimiser.param_groups[0]
    return (
        0.0,
        1.0,
        vector_of([torch.full_like(weight, group["lr"], dtype=torch.float64) for weight in group["params"]]),
    )


def vector_of(parts: Any) -> Tensor:
    """Return tensors as one vector, float64 (P,)."""
    return torch.cat([part.detach().double().reshape(-1) for part in parts])
