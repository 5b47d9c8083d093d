"""Every version of a policy with its optimiser's state, replayed once and kept."""

import copy
from typing import Any

import numpy as np
import torch

from nas_gym.errors import RunError
from nas_gym_agents.replay import log_probs, replay
from nas_gym_agents.updates import Updates, weights_digest

MOST_BYTES = 4 * 2**30
WRONG = 0.01  # nats; a replay that is off by more is another policy


class States:
    """The states before each of the first updates, and whether the replay is the policy there was.

    Attributes:
        updates: Of the training.
        model: One model, which `restore` changes.
        exact: Whether the weights before every update equal those there were, bit for bit.
        logp_error: Largest difference between a log-probability that the policy acted with and the replayed one, nats.

    Args:
        updates: Of the training.
        n_updates: How many of them.

    Raises:
        RunError: They take too much memory, or the replay is not the policy there was.
    """

    def __init__(self, updates: Updates, n_updates: int) -> None:
        self.updates = updates
        self.exact, self.logp_error = True, 0.0
        self._states: list[Any] = []
        for version, model in replay(updates):
            self.model = model
            if not version:
                _check_size(model, n_updates)
            if version == n_updates:
                break
            self._check(version)
            self._states.append(copy.deepcopy((model.policy.state_dict(), model.policy.optimizer.state_dict())))

    def __len__(self) -> int:
        return len(self._states)

    def restore(self, version: int) -> Any:
        """Return the model as it was after so many updates."""
        policy, optimiser = self._states[version]
        self.model.policy.load_state_dict(policy)
        self.model.policy.optimizer.load_state_dict(copy.deepcopy(optimiser))  # else its tensors would be shared
        return self.model

    def _check(self, version: int) -> None:
        update = self.updates[version]
        self.exact &= weights_digest(self.model.policy) == update.digest
        error = float(np.abs(log_probs(self.model, update) - update.rows["log_probs"]).max())
        self.logp_error = max(self.logp_error, error)
        if not error <= WRONG:
            raise RunError(
                f"replayed, the policy gives decisions of version {version} log-probabilities that are off by "
                f"{error:.2g} nats: settings were changed during the training, or this machine computes too "
                "differently; replay it where it was made"
            )


def _check_size(model: Any, n_updates: int) -> None:
    size = 4 * sum(weight.numel() for weight in model.policy.parameters()) * n_updates
    size *= 3 if type(model.policy.optimizer) is torch.optim.Adam else 1
    if size > MOST_BYTES:
        raise RunError(
            f"the {n_updates} versions of this policy take {size / 2**30:.1f} GiB of memory, and at most "
            f"{MOST_BYTES / 2**30:.0f} are used; ask for an earlier decision"
        )
