"""A compressed network as plain data: its architecture with the channels that it has now, and its weights in a file."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_gym.architecture import Architecture, Operation
from nas_gym.builder import Network, build
from nas_gym.errors import ConfigurationError, InvalidArchitectureError, RunError


def architecture_of(network: Network) -> Architecture:
    """Return the architecture of a network whose layers were given other numbers of channels.

    Raises:
        ConfigurationError: There is none: some layers do not fit each other.
    """
    new = []
    for operation, layer in zip(network.architecture.operations, network.layers, strict=True):
        settings = dict(operation.settings)
        if isinstance(layer, nn.Conv2d):
            settings |= {"channels": layer.out_channels, "groups": layer.groups}
        elif isinstance(layer, nn.Linear):
            settings["units"] = layer.out_features
        new.append(Operation(operation.kind, tuple(sorted(settings.items())), operation.inputs))
    try:
        return Architecture(network.architecture.input_shape, tuple(new))
    except InvalidArchitectureError as error:
        raise ConfigurationError(f"the pruned network is no network any more ({error})") from None


def rebuilt(network: Network) -> Network:
    """Return the same network as its architecture builds it, on the CPU, with copies of the weights; in the same mode.

    Raises:
        ConfigurationError: As `architecture_of`.
    """
    return _with_state(architecture_of(network), network.state_dict()).train(network.training)


def write_network(path: Path, network: Network, **facts: Any) -> None:
    """Write a network whose architecture is up to date into a file, whole or not at all.

    Args:
        path: The file; its folder exists.
        network: On any device.
        **facts: What else the file says: plain data.

    Raises:
        OSError: It can't be written.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("wb") as file:
        torch.save({"architecture": network.architecture.to_json(), "state": state, **facts}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_network(path: Path) -> Network:
    """Return the network of a file that `write_network` wrote, on the CPU, in evaluation mode.

    Raises:
        RunError: The file is damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return _with_state(Architecture.from_json(content["architecture"]), content["state"]).eval()
    except Exception as error:  # whatever is wrong with a file, it is no network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(f"the weights in {str(path)!r} can't be read ({reason}); remove the file, then go on") from None


def _with_state(architecture: Architecture, state: dict[str, Any]) -> Network:
    network = build(architecture, seed=0)
    assert isinstance(network, Network), "build returns one"
    network.load_state_dict(state)
    return network
