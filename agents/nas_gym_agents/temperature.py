"""A policy that has converged is made to explore again: its logits are divided by a temperature.

The softmax with a temperature is equation 1 of Hinton et al. 2015 (arXiv 1503.02531); the entropy is Shannon's.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym_agents.policy_outputs import log_probabilities

LEAST_ENTROPY = 0.5  # of a policy that a search begins with; 1: all legal actions alike
EPISODES = 64  # drawn at every temperature that is tried
HOTTEST = 64.0
HALVINGS = 6


def temper(policy: Any, env: gym.Env[Any, Any], *, masked: bool, seed: int, least: float = LEAST_ENTROPY) -> float:
    """Divide a policy's logits by the lowest temperature in [1, 64] at which its decisions are open enough.

    They are if their entropy, as a share of that of a uniform choice among the legal actions, is at least ``least``
    in the mean over the decisions with a choice of 64 episodes that the policy itself draws. Nothing is evaluated.
    The temperature is found to a factor of 1.07, by halving.

    Args:
        policy: SB3's, whose logits are those of ``action_net``; changed in place.
        env: Whose space and encoder the policy sees.
        masked: Whether the policy is asked with masks; if not, its illegal actions count for nothing here.
        seed: Of the draws.
        least: In [0, 1].

    Returns:
        The temperature.
    """
    low, high = 1.0, HOTTEST
    if openness(policy, env, masked=masked, seed=seed, temperature=low) >= least:
        return low
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        if openness(policy, env, masked=masked, seed=seed, temperature=middle) >= least:
            high = middle
        else:
            low = middle
    with torch.no_grad():
        policy.action_net.weight /= high
        policy.action_net.bias /= high
    return high


def openness(policy: Any, env: gym.Env[Any, Any], *, masked: bool, seed: int, temperature: float = 1.0) -> float:
    """Return the mean entropy of a policy's decisions, as a share of that of a uniform choice, in [0, 1].

    Args:
        policy: SB3's.
        env: Whose space and encoder the policy sees.
        masked: Whether the policy is asked with masks.
        seed: Of the draws.
        temperature: What its logits are divided by.
    """
    space, encoder = env.get_wrapper_attr("space"), env.get_wrapper_attr("encoder")
    generator = np.random.default_rng(seed)
    episodes: list[tuple[int, ...]] = [()] * EPISODES
    observations = [encoder.encode(())] * EPISODES
    shares: list[float] = []
    while episodes:
        slots = [space.next_slot(prefix) for prefix in episodes]
        going = [place for place, slot in enumerate(slots) if slot is not None]
        if not going:
            break
        masks = np.array([space.legal(episodes[place]) for place in going])
        batch = np.array([observations[place] for place in going])
        logits = log_probabilities(policy, batch, masks if masked else None) / temperature
        chances = _softmax(np.where(masks, logits, -np.inf))
        shares += _shares(chances, masks.sum(axis=1))
        actions = [int(generator.choice(len(row), p=row)) for row in chances]
        observations = [
            encoder.advance(observations[place], slots[place], action)
            for place, action in zip(going, actions, strict=True)
        ]
        episodes = [(*episodes[place], action) for place, action in zip(going, actions, strict=True)]
    return float(np.mean(shares)) if shares else 1.0


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _shares(chances: NDArray[np.float64], n_legal: NDArray[np.intp]) -> list[float]:
    """Return the entropies of the decisions that leave a choice, as shares of the highest possible."""
    open_ = n_legal > 1
    powers = np.where(chances > 0, chances, 1.0)  # 0 log 0 is 0
    entropies = -(powers * np.log(powers)).sum(axis=1)
    return [float(share) for share in entropies[open_] / np.log(n_legal[open_])]
