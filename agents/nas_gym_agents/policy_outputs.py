"""What an actor-critic policy of stable-baselines3 says of observations, and which policies can be explained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym_agents.recurrent import is_recurrent


def refuse_unexplainable(policy: Any) -> None:
    """Say in one sentence why a policy can't be explained, if it can't.

    Raises:
        ConfigurationError: The policy is recurrent, takes Dict observations, or takes no Discrete actions.
    """
    if is_recurrent(policy):
        raise ConfigurationError("the policy is recurrent, and what moves its hidden state can't be attributed yet")
    if isinstance(policy.observation_space, gym.spaces.Dict):
        raise ConfigurationError(
            f"attributions need one flat observation, got a Dict of {', '.join(policy.observation_space)}; "
            "gymnasium.wrappers.FlattenObservation makes one of it"
        )
    if not isinstance(policy.action_space, gym.spaces.Discrete):
        raise ConfigurationError(
            f"attributions need a categorical policy over Discrete actions, got {policy.action_space}"
        )


@contextmanager
def acting(policy: Any) -> Iterator[None]:
    """Keep no gradients, and let the policy be as it is when it acts: dropout and the like are off."""
    training = policy.training
    if training:
        policy.set_training_mode(False)
    try:
        with torch.no_grad():
            yield
    finally:
        if training:
            policy.set_training_mode(True)


def log_probabilities(policy: Any, observations: NDArray[Any], masks: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return the log-probabilities of all actions, float64 (n, n_actions), of an SB3 actor-critic policy.

    Args:
        policy: With a categorical action distribution; masked where ``masks`` are given.
        observations: (n, …) as the policy gets them.
        masks: bool (n, n_actions), or None for a policy without masks.

    Raises:
        ConfigurationError: The distribution is not a categorical one, or depends on more than the observation.
    """
    refuse_unexplainable(policy)
    with acting(policy):
        tensor, _ = policy.obs_to_tensor(observations)
        if masks is None:
            distribution = policy.get_distribution(tensor)
        else:
            distribution = policy.get_distribution(tensor, action_masks=masks)
        inner = getattr(distribution, "distribution", None)
        if not isinstance(inner, torch.distributions.Categorical):
            raise ConfigurationError(
                f"attributions need a categorical policy over Discrete actions, got {type(distribution).__name__}"
            )
        result: NDArray[np.float64] = inner.logits.double().cpu().numpy()
    return result


def critic_values(policy: Any, observations: NDArray[Any]) -> NDArray[np.float64]:
    """Return what the critic of an SB3 actor-critic policy expects, float64 (n,)."""
    with acting(policy):
        tensor, _ = policy.obs_to_tensor(observations)
        values: NDArray[np.float64] = policy.predict_values(tensor).double().cpu().numpy().reshape(-1)
    return values
