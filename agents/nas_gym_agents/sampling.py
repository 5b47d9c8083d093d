"""Drawing architectures from a saved policy."""

from pathlib import Path
from typing import Any

import numpy as np

from nas_gym.errors import RunError
from nas_gym.randomness import isolated_generators
from nas_gym.run import Run
from nas_gym.run_directory import POLICY
from nas_gym.spaces import describe
from nas_gym_agents.attribution import log_probabilities
from nas_gym_agents.recurrent import first_state, is_recurrent, recurrent_log_probabilities
from nas_gym_agents.registry import agent_class
from nas_gym_agents.settings import SearchSettings

TRIES = 1_000


def sample_policy(run_dir: Path, n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return architectures drawn from the saved policy of a run; nothing is trained.

    Args:
        run_dir: The run directory.
        n: How many; repeats are possible.
        seed: Of the draws.

    Returns:
        Per architecture: actions, choices, key, probability, parameters, macs, validation_accuracy and
        validation_standard_error (None where the run did not evaluate it, or does not know).

    Raises:
        RunError: The directory is no run, or its agent saves no policy.
    """
    run = Run(run_dir)
    settings = SearchSettings.from_json(run.settings)
    load = getattr(agent_class(settings.agent), "load", None)
    if load is None:
        raise RunError(f"{str(run_dir)!r} was searched by {settings.agent!r}, which has no policy to sample from")
    if not (run.path / POLICY).exists():
        raise RunError(f"{str(run_dir)!r} holds no {POLICY} yet; let the search make its first update")
    known = {one.candidate.key: one for one in run.best(len(run.history))}
    env = settings.make_env()
    drawn: list[dict[str, Any]] = []
    generator = np.random.default_rng(seed)
    with isolated_generators(seed):
        try:
            policy = load(run.path / POLICY).policy
        except Exception as error:  # whatever reading a damaged archive raises
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise RunError(f"{str(run.path / POLICY)!r} is damaged ({reason}); nas-gym resume writes it anew") from None
        masked = getattr(agent_class(settings.agent), "masked", False)
        for _ in range(TRIES * n):
            actions, probability = _draw(env, policy, masked, generator)
            if actions is not None:
                candidate = env.space.candidate(actions)
                seen = known.get(candidate.key)
                drawn.append(
                    {
                        "actions": list(actions),
                        "choices": [list(pair) for pair in describe(env.space, actions)],
                        "key": candidate.key,
                        "probability": probability,
                        "parameters": candidate.architecture.parameters,
                        "macs": candidate.architecture.macs,
                        "validation_accuracy": seen.accuracy if seen else None,
                        "validation_standard_error": seen.standard_error if seen else None,
                    }
                )
            if len(drawn) == n:
                return drawn
    raise RunError(
        f"the policy of {str(run_dir)!r} drew only {len(drawn)} legal architectures in {TRIES * n} tries; search longer"
    )


def _draw(env: Any, policy: Any, masked: bool, generator: np.random.Generator) -> tuple[tuple[int, ...] | None, float]:
    """Return the actions of one drawn candidate (None after an illegal action) and its probability."""
    prefix: tuple[int, ...] = ()
    observation, logp = env.encoder.encode(()), 0.0
    state = first_state(policy) if is_recurrent(policy) else None
    while (slot := env.space.next_slot(prefix)) is not None:
        legal = env.space.legal(prefix)
        if state is None:
            logps = log_probabilities(policy, observation[None], legal[None] if masked else None)[0]
        else:
            tensor, _ = policy.obs_to_tensor(observation[None])
            (logps,), state = recurrent_log_probabilities(policy, tensor, state, np.array([not prefix]))
        probabilities = np.exp(logps)
        action = int(generator.choice(len(probabilities), p=probabilities / probabilities.sum()))
        if not legal[action]:
            return None, 0.0
        logp += float(logps[action])
        prefix = (*prefix, action)
        observation = env.encoder.advance(observation, slot, action)
    return prefix, float(np.exp(logp))
