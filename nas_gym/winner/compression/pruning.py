"""Structured pruning: whole channels are taken out, together with all that depends on them.

Which channels hang together (residual additions, depthwise convolutions, normalisations, flattened maps) is what the
dependency graph of torch-pruning says: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", arXiv 2301.12900.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from nas_gym.builder import Network
from nas_gym.errors import ConfigurationError
from nas_gym.winner.compression.network import rebuilt

_AT_ONCE = 8  # channels that a CPU's vector units compute at once


@dataclass(frozen=True)
class Group:
    """Channels that can only be pruned together.

    Attributes:
        layers: Positions of the convolutions and linear layers whose outputs they are, ascending.
        channels: How many there are.
    """

    layers: tuple[int, ...]
    channels: int


def require_pruning() -> Any:
    """Return the package torch_pruning; raises ConfigurationError where the extra is not installed."""
    try:
        import torch_pruning
    except ImportError as error:
        raise ConfigurationError(
            f'pruning needs the extra compress ({error}): pip install "nas-gym[compress]"; or leave out --ratios'
        ) from None
    return torch_pruning


def groups(network: Network) -> list[Group]:
    """Return what can be pruned of a network, in its order; the classes that it answers are not among it."""
    return sorted((group for group, _ in _found(_copied(network))), key=lambda group: group.layers)


def pruned(network: Network, ratios: Mapping[Group, float]) -> Network:
    """Return a network without the least important channels, on the CPU, in evaluation mode; nothing is trained.

    The importance of a channel is the L2 norm of all weights that go with it, in all layers of its group (Li et al.
    2017, arXiv 1608.08710, with L1; `torch_pruning.importance.GroupMagnitudeImportance`).

    Args:
        network: Stays as it is.
        ratios: Share of the channels to take out, in [0, 1), for groups of `groups`. What is left is rounded to a
            multiple of 8, or of 1 where fewer than 16 are left, and is at least 1.

    Raises:
        ConfigurationError: What is left does not fit together.
    """
    tp, copy = require_pruning(), _copied(network)
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    for group, taking in _found(copy):
        n = group.channels - left(group.channels, ratios.get(group, 0.0))
        if n > 0:
            with torch.no_grad():
                worth = importance(taking(list(range(group.channels))))
                taking(torch.argsort(worth)[:n].tolist()).prune()
    return rebuilt(copy).eval()


def left(channels: int, ratio: float) -> int:
    """Return how many of so many channels are left after pruning by a ratio."""
    wanted = channels * (1 - ratio)
    multiple = _AT_ONCE if wanted >= 2 * _AT_ONCE else 1
    return min(channels, max(1, int(wanted / multiple + 0.5) * multiple))


def _copied(network: Network) -> Network:
    copy = deepcopy(network).cpu().eval()
    for parameter in copy.parameters():
        parameter.requires_grad_(True)  # how the graph is traced
    return copy


def _found(network: Network) -> list[tuple[Group, Callable[[list[int]], Any]]]:
    """Return the groups, each with what makes torch-pruning's group of some of its channels."""
    tp = require_pruning()
    example = torch.zeros((2, *network.architecture.input_shape))
    with torch.enable_grad():
        graph = tp.DependencyGraph().build_dependency(network, example_inputs=example)
    positions = {layer: position for position, layer in enumerate(network.layers)}
    last = [layer for layer in network.layers if isinstance(layer, nn.Conv2d | nn.Linear)][-1:]
    told = []
    for found in graph.get_all_groups(ignored_layers=last, root_module_types=[nn.Conv2d, nn.Linear]):
        root, prune = found[0].dep.target.module, found[0].dep.handler
        makers = {d.target.module for d, _ in found if graph.is_out_channel_pruning_fn(d.handler)} & positions.keys()
        layers = sorted(positions[maker] for maker in makers if isinstance(maker, nn.Conv2d | nn.Linear))
        if makers.isdisjoint(last) and not any(_is_grouped(maker) for maker in makers):
            group = Group(tuple(layers), graph.get_out_channels(root))
            again: Callable[[list[int]], Any] = partial(graph.get_pruning_group, root, prune)
            told.append((group, again))
    return told


def _is_grouped(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution in groups that are not single channels: these are left as they are."""
    if not isinstance(layer, nn.Conv2d) or layer.groups == 1:
        return False
    return not layer.groups == layer.in_channels == layer.out_channels
