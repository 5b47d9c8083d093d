"""What a recurrent policy (sb3-contrib's RecurrentPPO) decides, which depends on its hidden state."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError

State = tuple[torch.Tensor, torch.Tensor]  # hidden and cell state of the actor's LSTM, each (n_layers, n, units)


def is_recurrent(policy: Any) -> bool:
    """Return whether a policy has a hidden state."""
    return hasattr(policy, "lstm_actor")


def first_state(policy: Any) -> State:
    """Return the state before the first observation of an episode."""
    lstm = policy.lstm_actor
    zeros = torch.zeros(lstm.num_layers, 1, lstm.hidden_size, device=policy.device)
    return zeros, zeros.clone()


def recurrent_log_probabilities(
    policy: Any, observations: torch.Tensor, state: State, starts: NDArray[Any]
) -> tuple[NDArray[np.float64], State]:
    """Return the log-probabilities of all actions, float64 (n, n_actions), and the state afterwards.

    Args:
        policy: See `is_recurrent`; with a categorical action distribution.
        observations: (n, …), one for each sub-environment.
        state: Before these observations.
        starts: Whether each is the first of its episode, so that its state is forgotten; (n,).

    Raises:
        ConfigurationError: The distribution is not a categorical one.
    """
    with torch.no_grad():
        begun = torch.as_tensor(starts, dtype=torch.float32, device=policy.device)
        distribution, after = policy.get_distribution(observations, state, begun)
        inner = getattr(distribution, "distribution", None)
        if not isinstance(inner, torch.distributions.Categorical):
            raise ConfigurationError(
                f"probabilities need a categorical policy over Discrete actions, got {type(distribution).__name__}"
            )
        logits: NDArray[np.float64] = inner.logits.double().cpu().numpy()
    return logits, after
