"""Teaching a policy again without what some evaluations earned: what tracing is checked against."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym_agents.attribution import log_probabilities
from nas_gym_agents.influence.states import States
from nas_gym_agents.influence.tracing import Questions
from nas_gym_agents.replay import log_probs, teach


def logps_without(
    states: States, questions: Questions, steps: Collection[int], *, own_ratios: bool = True
) -> NDArray[np.float64]:
    """Return the log-probabilities after a training in which the advantages of some decisions were zero; (d,).

    They are set to zero after a minibatch's advantages were normalised, so that those of all others are as they were.
    The rollouts stay as recorded, although this policy would have made others, and so does the order of samples. NaN
    where none of the decisions is in an update before a question's version.

    Args:
        states: Of all versions before the last that is asked for.
        questions: Whose log-probabilities.
        steps: Global steps of the decisions.
        own_ratios: See `taught_again`.
    """
    first = first_update(states, questions, steps)
    if first is None:
        return np.full(len(questions.actions), np.nan)
    return taught_again(states, questions, first, steps, own_ratios=own_ratios)


def first_update(states: States, questions: Questions, steps: Collection[int]) -> int | None:
    """Return the first update with one of some decisions, before the last version that is asked for; None: none has."""
    wanted = list(steps)
    versions = range(int(questions.versions.max(initial=0)))
    return next((one for one in versions if np.isin(states.updates[one].global_steps, wanted).any()), None)


def taught_again(
    states: States,
    questions: Questions,
    first: int,
    steps: Collection[int] = (),
    *,
    own_ratios: bool = True,
    order: int | None = None,
) -> NDArray[np.float64]:
    """Return the log-probabilities after a training that is made again from some update on; (d,).

    Args:
        states: Of all versions before the last that is asked for.
        questions: Whose log-probabilities; NaN for versions up to the first update.
        first: Number of the first update that is made again.
        steps: Global steps of the decisions whose advantages are zero.
        own_ratios: Whether the later updates compare the policy with itself at their beginning, as PPO does, or with
            the recorded one, which it then is not.
        order: Seed of another order of the samples; None: the recorded one.
    """
    found = np.full(len(questions.actions), np.nan)
    model = states.restore(first)
    for version in range(first, int(questions.versions.max(initial=0))):
        update = states.updates[version]
        silenced = np.isin(update.flat_steps(), list(steps))
        if own_ratios and version > first:
            update = replace(update, rows=update.rows | {"log_probs": log_probs(model, update)})
        if order is not None:
            key = np.random.default_rng((order, version)).integers(2**32, size=624, dtype=np.uint32)
            update = replace(update, numpy_state=key)
        with _silencing(model, silenced) as prepare:
            teach(model, update, prepare)
        ends = questions.versions == version + 1
        if ends.any():
            found[ends] = _logps(model, questions)[ends]
    return found


def _logps(model: Any, questions: Questions) -> NDArray[np.float64]:
    of_all = log_probabilities(model.policy, questions.observations, questions.masks)
    result: NDArray[np.float64] = of_all[np.arange(len(of_all)), questions.actions]
    return result


@contextmanager
def _silencing(model: Any, silenced: NDArray[np.bool_]) -> Iterator[Any]:
    """Yield what makes a model's training normalise advantages and then set those of some rows to zero."""
    normalises = model.normalize_advantage
    heard = torch.as_tensor(~silenced, dtype=torch.float32)

    def prepare(model: Any) -> None:
        buffer = model.rollout_buffer
        get = type(buffer)._get_samples

        def altered(rows: Any, env: Any = None) -> Any:
            samples = get(buffer, rows, env)
            advantages = samples.advantages
            if normalises and len(advantages) > 1:  # as stable-baselines3's PPO.train
                advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            return samples._replace(advantages=advantages * heard[rows])

        buffer._get_samples, model.normalize_advantage = altered, False

    try:
        yield prepare
    finally:
        model.normalize_advantage = normalises
        vars(model.rollout_buffer).pop("_get_samples", None)
