"""The losses of PPO, sample by sample, as functions of the weights; float64.

stable-baselines3 minimises the mean over a minibatch of the clipped objective (Schulman et al. 2017, arXiv 1707.06347,
equation 7), of an entropy bonus and of a squared error of the critic. Here every sample's own terms are told apart. The
mean and the deviation by which a minibatch's advantages are normalised count as constants.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn
from torch.func import functional_call

from nas_gym.errors import RunError

MASKED = -1e8  # the logit that sb3-contrib gives to an illegal action


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of a minibatch, b of them.

    Attributes:
        observations: As the networks take them, float64 (b, …).
        actions: int64 (b,).
        masks: bool (b, n_actions); None: without masks.
        advantages: Normalised as the update did, float64 (b,).
        log_probs: Of the policy that acted, (b,).
        values: Of the critic then, (b,).
        returns: What the critic learns, (b,).
    """

    observations: Tensor = field(repr=False)
    actions: Tensor = field(repr=False)
    masks: Tensor | None = field(repr=False)
    advantages: Tensor = field(repr=False)
    log_probs: Tensor = field(repr=False)
    values: Tensor = field(repr=False)
    returns: Tensor = field(repr=False)


@dataclass(frozen=True)
class Coefficients:
    """What weighs and limits the losses.

    Attributes:
        clip: Of the probability ratio.
        clip_value: Of the critic's change; None: not limited.
        entropy: Weight of the entropy bonus.
        value: Weight of the critic's loss.
        max_norm: Of a gradient; a longer one is shortened to it.
    """

    clip: float
    clip_value: float | None
    entropy: float
    value: float
    max_norm: float

    @classmethod
    def of(cls, model: Any) -> "Coefficients":
        """Return those of a model at its present progress."""
        progress = model._current_progress_remaining
        limit = None if model.clip_range_vf is None else float(model.clip_range_vf(progress))
        clip = float(model.clip_range(progress))
        return cls(clip, limit, float(model.ent_coef), float(model.vf_coef), float(model.max_grad_norm))


class Heads(nn.Module):
    """Logits and values of an actor-critic policy of stable-baselines3, in float64; parameters are in the same order.

    Args:
        policy: Its networks are copied.

    Raises:
        RunError: The policy has parameters beside those of its networks.
    """

    pi_features_extractor: Any
    vf_features_extractor: Any
    mlp_extractor: Any
    action_net: Any
    value_net: Any

    def __init__(self, policy: Any) -> None:
        super().__init__()
        # Not the policy itself: it holds its last distribution, which can't be copied.
        names = ("pi_features_extractor", "vf_features_extractor", "mlp_extractor", "action_net", "value_net")
        parts = copy.deepcopy({name: getattr(policy, name) for name in names})  # what is shared stays shared
        for name, part in parts.items():
            setattr(self, name, part.double().eval())
        if [one.shape for one in self.parameters()] != [one.shape for one in policy.parameters()]:
            raise RunError(
                f"a policy of type {type(policy).__name__} has weights that its logits and values do not need, so that "
                "nothing is told of what taught it; use MlpPolicy"
            )
        self._space, self._normalised = policy.observation_space, policy.normalize_images

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, n_actions) and values (n,)."""
        actor = self.mlp_extractor.forward_actor(self.pi_features_extractor(observations))
        critic = self.mlp_extractor.forward_critic(self.vf_features_extractor(observations))
        return self.action_net(actor), self.value_net(critic).flatten()

    def prepared(self, observations: Any) -> Tensor:
        """Return observations as the networks take them."""
        seen: Any = preprocess_obs(torch.as_tensor(observations), self._space, self._normalised)
        prepared: Tensor = seen.double()
        return prepared


class Weights:
    """A policy's weights as one vector, and its heads as functions of it.

    Attributes:
        names: Of the parameters, in order.
        size: Length of the vector, P.
    """

    def __init__(self, heads: Heads) -> None:
        self.heads = heads
        trained = dict(heads.named_parameters())
        self.names = tuple(trained)
        self._shapes = [value.shape for value in trained.values()]
        self._sizes = [value.numel() for value in trained.values()]
        self.size = sum(self._sizes)

    def apart(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a vector (P,) as parameters by name."""
        parts = torch.split(vector, self._sizes)
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self._shapes, strict=True)}

    def __call__(self, vector: Tensor, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and values under these weights."""
        result: tuple[Tensor, Tensor] = functional_call(self.heads, self.apart(vector), (observations,))
        return result


def log_probabilities(logits: Tensor, masks: Tensor | None) -> Tensor:
    """Return the log-probabilities of all actions, (n, n_actions); about `MASKED` where illegal."""
    legal = logits if masks is None else torch.where(masks, logits, torch.full_like(logits, MASKED))
    return torch.log_softmax(legal, dim=-1)


def chosen(weights: Weights, observations: Tensor, actions: Tensor, masks: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return the function from weights (P,) to the log-probabilities of the chosen actions, (n,)."""

    def function(vector: Tensor) -> Tensor:
        logits, _ = weights(vector, observations)
        return log_probabilities(logits, masks).gather(1, actions[:, None])[:, 0]

    return function


def sample_losses(weights: Weights, batch: Batch, coefficients: Coefficients) -> Callable[[Tensor], Tensor]:
    """Return the function from weights (P,) to every sample's losses, (3, b): rewards, entropy bonus, critic.

    Their sum is the loss that stable-baselines3's PPO and sb3-contrib's MaskablePPO minimise.
    """
    n = len(batch.actions)

    def function(vector: Tensor) -> Tensor:
        logits, values = weights(vector, batch.observations)
        logps = log_probabilities(logits, batch.masks)
        ratio = torch.exp(logps.gather(1, batch.actions[:, None])[:, 0] - batch.log_probs)
        near = torch.clamp(ratio, 1 - coefficients.clip, 1 + coefficients.clip)
        rewards = -torch.minimum(batch.advantages * ratio, batch.advantages * near)
        surprise = logps * logps.exp()
        if batch.masks is not None:
            pass
        moved = values - batch.values
        if coefficients.clip_value is not None:
            moved = torch.clamp(moved, -coefficients.clip_value, coefficients.clip_value)
        critic = (batch.returns - (batch.values + moved)) ** 2
        terms = torch.stack([rewards, coefficients.entropy * surprise.sum(-1), coefficients.value * critic])
        return terms / n

    return function
