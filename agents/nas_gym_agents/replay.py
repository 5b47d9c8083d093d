"""Teaching a policy again from the ledger of its updates: every policy there was, bit for bit on the same machine.

stable-baselines3's own ``train`` runs on the recorded rollouts, on one thread, with the global generators in the
recorded state; they are as they were afterwards.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from nas_gym.errors import RunError
from nas_gym.randomness import isolated_generators
from nas_gym_agents.updates import ALGORITHMS, Update, Updates, weights_digest

SEEN = ("observations", "actions")
Prepare = Callable[[Any], None]  # is given the model with the filled buffer, before it trains


def start(updates: Updates) -> OnPolicyAlgorithm:
    """Return the model as it was before the first update.

    Raises:
        RunError: It can't be loaded, or nothing was learned.
    """
    if not len(updates):
        raise RunError("the search ended before its first update, so that nothing was taught; search longer")
    with isolated_generators(0):
        try:
            model: OnPolicyAlgorithm = ALGORITHMS[updates[0].algorithm].load(io.BytesIO(updates.start), device="cpu")
        except Exception as error:  # whatever reading a damaged archive raises
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise RunError(f"the model before the first update is damaged ({reason}); search again") from None
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.policy.set_training_mode(False)
    return model


def teach(model: Any, update: Update, prepare: Prepare | None = None) -> None:
    """Give a model one recorded update.

    Args:
        model: The policy before it, with its optimiser's state.
        update: The rollout and the generators' states.
        prepare: Called with the model before it trains, for instance to listen to its optimiser.
    """
    buffer = model.rollout_buffer
    buffer.buffer_size, buffer.n_envs = update.rows["advantages"].shape
    buffer.reset()
    for name, values in update.rows.items():
        setattr(buffer, name, values.copy())
    buffer.pos, buffer.full = buffer.buffer_size, True
    model._current_progress_remaining, model._n_updates = update.progress, update.n_updates
    with _as_recorded(update):
        if prepare is not None:
            prepare(model)
        model.train()
    model.policy.set_training_mode(False)


@contextmanager
def _as_recorded(update: Update) -> Iterator[None]:
    """Put the global generators into the recorded state inside, on one thread."""
    position, has_gauss, gauss = update.numpy_rest
    threads = torch.get_num_threads()
    with isolated_generators(0):
        np.random.set_state(("MT19937", update.numpy_state, int(position), int(has_gauss), gauss))  # noqa: NPY002
        torch.set_rng_state(torch.from_numpy(update.torch_state.copy()))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def replay(updates: Updates, prepare: Prepare | None = None) -> Iterator[tuple[int, Any]]:
    """Yield every version of the policy: version and model, from the untaught one (0) to the last.

    It is one model, which the next turn changes.

    Args:
        updates: Of the training.
        prepare: See `teach`.
    """
    model = start(updates)
    yield 0, model
    for version, update in enumerate(updates):
        teach(model, update, prepare)
        yield version + 1, model


def policy_at(updates: Updates, version: int) -> Any:
    """Return the model after so many updates.

    Raises:
        RunError: There were not so many.
    """
    if not 0 <= version <= len(updates):
        raise RunError(f"versions of this policy are 0 to {len(updates)}, got {version}")
    return next(model for number, model in replay(updates) if number == version)


def log_probs(model: Any, update: Update) -> NDArray[np.float32]:
    """Return the log-probability of every recorded action under a model, float32 (n_steps, n_envs)."""
    shape = update.rows["log_probs"].shape
    observations, actions = (update.rows[name].reshape(-1, *update.rows[name].shape[2:]) for name in SEEN)
    masks = update.rows.get("action_masks")
    more = {} if masks is None else {"action_masks": torch.as_tensor(masks.reshape(-1, masks.shape[-1]))}
    with torch.no_grad():
        taken = torch.as_tensor(actions).long().flatten()
        _, found, _ = model.policy.evaluate_actions(torch.as_tensor(observations), taken, **more)
    result: NDArray[np.float32] = found.numpy().reshape(shape)
    return result


def first_difference(updates: Updates) -> int | None:
    """Return the first version whose replay differs in some bit from the policy there was; None: all are equal.

    The last version's bits are not in the ledger; ``policy.zip`` of the run holds them.
    """
    versions = zip(replay(updates), updates, strict=False)
    return next((version for (version, model), u in versions if weights_digest(model.policy) != u.digest), None)
