"""Shared by the tests of attributions: policies, observations, policies whose reasons are planted, and brute force."""

import copy
from itertools import pairwise, permutations
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy

from nas_gym.randomness import isolated_generators

SIZES = (4, 5, 3, 6, 4)  # of the groups' one-hot blocks, "undecided" first
N_ACTIONS = 6
Groups = tuple[tuple[str, slice], ...]


def groups_of(sizes: tuple[int, ...]) -> Groups:
    starts = np.cumsum((0, *sizes))
    return tuple((f"slot {i}", slice(int(a), int(b))) for i, (a, b) in enumerate(pairwise(starts)))


def empty_of(sizes: tuple[int, ...]) -> NDArray[np.float32]:
    return observation(sizes, {})


def observation(sizes: tuple[int, ...], choices: dict[int, int]) -> NDArray[np.float32]:
    """The observation where some slots have choices; the others are undecided."""
    found = np.zeros(sum(sizes), np.float32)
    for i, (_, part) in enumerate(groups_of(sizes)):
        found[part.start + (1 + choices[i] if i in choices else 0)] = 1.0
    return found


def drawn(sizes: tuple[int, ...], decided: list[int], seed: int = 0, n_actions: int = N_ACTIONS) -> Any:
    """Observations with so many slots decided, legal actions, and masks."""
    rng = np.random.default_rng(seed)
    observations = np.stack(
        [
            observation(sizes, {int(i): int(rng.integers(sizes[i] - 1)) for i in rng.permutation(len(sizes))[:n]})
            for n in decided
        ]
    )
    actions = rng.integers(n_actions, size=len(decided))
    masks = rng.random((len(decided), n_actions)) < 0.7
    masks[np.arange(len(decided)), actions] = True
    return observations, actions, masks


def make_policy(
    kind: type[ActorCriticPolicy] = MaskableActorCriticPolicy,
    sizes: tuple[int, ...] = SIZES,
    n_actions: int = N_ACTIONS,
    seed: int = 0,
    **arguments: Any,
) -> Any:
    """A policy with opinions: SB3 begins with action logits near 0."""
    box, actions = gym.spaces.Box(0.0, 1.0, (sum(sizes),), np.float32), gym.spaces.Discrete(n_actions)
    with isolated_generators(seed):
        policy = kind(box, actions, lambda _: 1e-3, **arguments)
        with torch.no_grad():
            for bias in (weights for name, weights in policy.named_parameters() if name.endswith("bias")):
                bias.normal_(0.0, 0.3)
            policy.action_net.weight.mul_(100.0)
    policy.set_training_mode(False)
    return policy


def linear_policy(logits: NDArray[np.float32], sizes: tuple[int, ...], kind: Any = MaskableActorCriticPolicy) -> Any:
    """A policy whose logits are ``logits`` (n_actions, m) times the observation; its critic expects the first."""
    policy = make_policy(kind, sizes, len(logits), net_arch=[])
    with torch.no_grad():
        policy.action_net.weight.copy_(torch.as_tensor(logits))
        policy.action_net.bias.zero_()
        policy.value_net.weight.copy_(torch.as_tensor(logits[:1]))
        policy.value_net.bias.zero_()
    return policy


def either_policy(strength: float, sizes: tuple[int, ...], first: int, second: int) -> Any:
    """Of 2 actions, the second one's logit is ``strength`` if slot ``first`` or ``second`` is decided, else 0."""
    policy = make_policy(sizes=sizes, n_actions=2, net_arch=[2], activation_fn=torch.nn.ReLU)
    with torch.no_grad():
        layer = policy.mlp_extractor.policy_net[0]
        layer.weight.zero_()
        for i in (first, second):
            part = groups_of(sizes)[i][1]
            layer.weight[:, part.start + 1 : part.stop] = 1.0
        layer.bias.copy_(torch.tensor([0.0, -1.0]))  # relu(a + b) - relu(a + b - 1) = min(a + b, 1)
        policy.action_net.weight.copy_(torch.tensor([[0.0, 0.0], [strength, -strength]]))
        policy.action_net.bias.zero_()
    return policy


def exact_outputs(policy: Any, observations: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Log-probabilities of all actions, and the critic's value last, in double precision throughout."""
    twin = copy.deepcopy(policy).double()
    with torch.no_grad():
        tensor = torch.as_tensor(observations, dtype=torch.float64)
        logits = twin.action_net(twin.mlp_extractor.forward_actor(tensor))
        if mask is not None:
            logits = logits.masked_fill(~torch.as_tensor(mask), -torch.inf)
        value = twin.value_net(twin.mlp_extractor.forward_critic(tensor))
        return torch.cat((torch.log_softmax(logits, -1), value), 1).numpy()


def brute_force(policy: Any, row: NDArray[Any], mask: NDArray[np.bool_] | None, empty: Any, groups: Groups) -> Any:
    """Shapley values as the mean over all orders of the groups, float64 (n_groups, n_actions + 1)."""
    n, mixed = len(groups), np.repeat(empty[None], 2 ** len(groups), axis=0)
    for coalition in range(2**n):
        for i, (_, part) in enumerate(groups):
            if coalition >> i & 1:
                mixed[coalition, part] = row[part]
    outputs = exact_outputs(policy, mixed, mask)
    outputs[~np.isfinite(outputs)] = 0.0
    orders = list(permutations(range(n)))
    values = np.zeros((n, outputs.shape[1]))
    for order in orders:
        present = 0
        for player in order:
            values[player] += outputs[present | 1 << player] - outputs[present]
            present |= 1 << player
    return values / len(orders)
