"""Rectifiers that overwrite what they are given: a pass over memory less, the same numbers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from nas_gym.builder import Network

# Their output is a tensor of its own, and their gradients do not need it.
_FREE_OUTPUT = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)


@contextmanager
def relu_in_place(module: nn.Module) -> Iterator[None]:
    """Let the rectifiers of a network work in place inside, where nobody else reads their input; then as before.

    Only networks of `nas_gym.builder` tell who reads what; other modules stay as they are.
    """
    layers = _rectifiers(module) if isinstance(module, Network) else []
    for layer in layers:
        layer.inplace = True
    try:
        yield
    finally:
        for layer in layers:
            layer.inplace = False


def _rectifiers(network: Network) -> list[nn.ReLU]:
    operations = network.architecture.operations
    readers = Counter(source for operation in operations for source in operation.inputs)
    found = []
    for operation, layer in zip(operations, network.layers, strict=True):
        source = operation.inputs[0]
        alone = source >= 0 and readers[source] == 1 and isinstance(network.layers[source], _FREE_OUTPUT)
        if isinstance(layer, nn.ReLU) and not layer.inplace and alone:
            found.append(layer)
    return found
