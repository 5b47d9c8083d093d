"""A policy that has converged is made to explore again: its logits are divided by a temperature.

The softmax with a temperature is equation 1 of Hinton et al. 2015 (arXiv 1503.02531); the entropy is Shannon's.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from nas_gym.spaces import Prefix
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
    from scipy.special import entr, softmax

    space, encoder = env.get_wrapper_attr("space"), env.get_wrapper_attr("encoder")
    generator = np.random.default_rng(seed)
    prefixes: list[Prefix] = [()] * EPISODES  # of the episodes that go on
    observations = [encoder.encode(())] * EPISODES
    shares: list[float] = []
    while prefixes:
        masks = np.array([space.legal(prefix) for prefix in prefixes])
        logits = log_probabilities(policy, np.array(observations), masks if masked else None) / temperature
        chances = softmax(np.where(masks, logits, -np.inf), axis=1)
        n_legal = masks.sum(axis=1)
        shares += (entr(chances).sum(axis=1)[n_legal > 1] / np.log(n_legal[n_legal > 1])).tolist()
        begun, prefixes, seen, observations = prefixes, [], observations, []
        for prefix, observation, chance in zip(begun, seen, chances, strict=True):
            action = int(generator.choice(len(chance), p=chance))
            longer = (*prefix, action)
            if space.next_slot(longer) is not None:
                prefixes.append(longer)
                observations.append(encoder.advance(observation, space.next_slot(prefix), action))
    return float(np.mean(shares)) if shares else 1.0
