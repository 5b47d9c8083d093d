"""Networks whose first layer is linear in the observation, at all mixtures of an observation and a baseline.

What the first layer says of a mixture is what it says of the baseline, plus one term per group that is taken from the
observation. The sums for all coalitions of groups take one addition each, and no mixture is ever built.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import Tensor, nn
from torch.nn.functional import linear

BLOCK = 4_096  # mixtures that go through a network together: their activations stay in the cache
LARGEST_EXPONENT = 80.0  # exp(±80) is a normal float32


class Network(Protocol):
    """A network on flat observations."""

    @property
    def weight(self) -> Tensor:
        """Of the first layer, float32 (n_hidden, m)."""

    def outputs(self, baseline: Tensor, deltas: Tensor, members: Tensor | None) -> Tensor:
        """Return the outputs for n decisions at c coalitions of their p players each, float32 (n, n_out, c).

        Args:
            baseline: (m,).
            deltas: What each player adds to it, (n, p, m).
            members: Which players are in, float32 (c, p); None: all 2**p coalitions, in the order of
                `nas_gym.explain.coalitions`.
        """


@dataclass(frozen=True)
class AnyNetwork:
    """A network of a linear layer and whatever follows.

    Attributes:
        weight: Of the first layer, float32 (n_hidden, m).
        bias: Of the first layer, float32 (n_hidden,).
        rest: From the first layer's sums, (rows, n_hidden), to the outputs, (n_out, rows).
    """

    weight: Tensor
    bias: Tensor
    rest: Callable[[Tensor], Tensor]

    def outputs(self, baseline: Tensor, deltas: Tensor, members: Tensor | None) -> Tensor:
        """See `Network`."""
        first, terms = linear(baseline, self.weight, self.bias), linear(deltas, self.weight)
        return _by_blocks(lambda some: self.rest(_sums(first, some, members)), terms, members)


class TanhNetwork:
    """A network of linear layers with Tanh between them, computed with sigmoids, which take torch a third of the time.

    tanh(x) = 2 sigmoid(2 x) - 1: the first factor 2 and the -1 go into the layer after it, the second into that before.
    The first layer's sigmoids are 1 / (1 + exp(-sum)), and the exponential of a sum is a product: no exponential is
    taken of any coalition.
    """

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        layers = []
        for place, layer in enumerate(linears):
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if place > 0:
                weight, bias = 2 * weight, (bias.double() - weight.double().sum(1)).to(bias.dtype)
            scale = 1 if place == len(linears) - 1 else 2
            layers.append((scale * weight, scale * bias))
        (self.weight, self.bias), *self._rest = layers

    def outputs(self, baseline: Tensor, deltas: Tensor, members: Tensor | None) -> Tensor:
        """See `Network`."""
        first, terms = linear(baseline, self.weight, self.bias), linear(deltas, self.weight)
        if members is None and float((first.abs() + terms.abs().sum(1)).max()) <= LARGEST_EXPONENT:
            factor, factors = first.neg().exp_(), terms.neg_().exp_()
            return _by_blocks(lambda some: self._after_first(_products(factor, some)), factors, None)
        return _by_blocks(lambda some: self._after_first(_sums(first, some, members).sigmoid_()), terms, members)

    def _after_first(self, hidden: Tensor) -> Tensor:
        *inner, (weight, bias) = self._rest
        for inner_weight, inner_bias in inner:
            hidden = linear(hidden, inner_weight, inner_bias).sigmoid_()
        return torch.addmm(bias.unsqueeze(1), weight, hidden.t())


def all_subsets(combine: Callable[..., Any], first: Tensor, terms: Tensor) -> Tensor:
    """Return ``first`` combined with every subset of the terms, (n, 2**p, n_hidden), in the order of `coalitions`.

    Args:
        combine: ``torch.add`` or ``torch.mul``.
        first: (n_hidden,).
        terms: (n, p, n_hidden).
    """
    n, p, n_hidden = terms.shape
    found = torch.empty((n, 2**p, n_hidden), dtype=terms.dtype, device=terms.device)
    found[:, 0] = first
    for player, term in enumerate(terms.unsqueeze(2).unbind(1)):
        size = 2**player
        combine(found[:, :size], term, out=found[:, size : 2 * size])
    return found


def networks(policy: Any) -> tuple[Network, Network] | None:
    """Return actor (to logits) and critic of an SB3 policy, or None if a first layer is not linear.

    These are the policies of PPO and MaskablePPO whose features are the flat observation: ``"MlpPolicy"`` of any
    ``net_arch`` and activation, features shared or not.
    """
    body = getattr(policy, "mlp_extractor", None)
    extractors = [getattr(policy, f"{part}_features_extractor", None) for part in ("pi", "vf")]
    if type(body) is not MlpExtractor or any(type(one) is not FlattenExtractor for one in extractors):
        return None
    actor = _network([*body.policy_net, policy.action_net])
    critic = _network([*body.value_net, policy.value_net])
    return None if actor is None or critic is None else (actor, critic)


def _network(modules: Sequence[nn.Module]) -> Network | None:
    first, activations = modules[0], modules[1::2]
    if type(first) is not nn.Linear:
        return None
    linears = [module for module in modules[::2] if type(module) is nn.Linear]
    tanh = bool(activations) and all(type(module) is nn.Tanh for module in activations)
    if tanh and len(linears) == len(activations) + 1:
        return TanhNetwork(linears)
    rest = nn.Sequential(*modules[1:])
    return AnyNetwork(first.weight.detach(), first.bias.detach(), lambda sums: rest(sums).t())


def _products(factor: Tensor, factors: Tensor) -> Tensor:
    """Return the sigmoids of the first layer, (rows, n_hidden), from exp(-term) of baseline and players."""
    return all_subsets(torch.mul, factor, factors).add_(1.0).reciprocal_().flatten(0, 1)


def _sums(first: Tensor, terms: Tensor, members: Tensor | None) -> Tensor:
    """Return the first layer's sums, (rows, n_hidden)."""
    if members is None:
        return all_subsets(torch.add, first, terms).flatten(0, 1)
    return torch.matmul(members, terms).add_(first).flatten(0, 1)


def _by_blocks(function: Callable[[Tensor], Tensor], terms: Tensor, members: Tensor | None) -> Tensor:
    """Return (n, n_out, c) from a function from terms of some decisions, (some, p, n_hidden), to (n_out, some * c)."""
    n, p, _ = terms.shape
    c = 2**p if members is None else len(members)
    blocks = [function(some) for some in torch.split(terms, max(1, BLOCK // c))]
    return (blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)).view(-1, n, c).transpose(0, 1)
