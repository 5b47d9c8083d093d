"""From an architecture to a torch module: the only place that knows torch layers.

A new operation needs a row in `nas_gym.operations.KINDS` and one in `MODULES`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.architecture import INPUT, Architecture, Shape
from nas_gym.errors import InvalidArchitectureError
from nas_gym.operations import Values

Maker = Callable[[Values, Shape], nn.Module]


# oneDNN's kernels for the gradient of a strided 1×1 convolution write past their memory for fewer input channels than
# they compute at once, 8 with AVX2 and 16 with AVX-512, in channels_last (uxlfoundation/oneDNN, issue 6035).
_CHANNELS_AT_ONCE = 16


class StridedPointwise(nn.Conv2d):
    """A 1×1 convolution with a stride, as one without on the pixels that are read: the same numbers."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution."""
        rows, columns = self.stride
        read = input[:, :, ::rows, ::columns]
        return functional.conv2d(read, self.weight, self.bias, groups=self.groups)


def _conv(values: Values, shape: Shape) -> nn.Module:
    kernel = int(values["kernel"])
    strided = kernel == 1 and int(values["stride"]) > 1
    few = shape[0] // int(values["groups"]) < _CHANNELS_AT_ONCE
    return (StridedPointwise if strided and few else nn.Conv2d)(
        shape[0],
        int(values["channels"]),
        kernel,
        stride=int(values["stride"]),
        padding=kernel // 2,
        groups=int(values["groups"]),
        bias=bool(values["bias"]),
    )


def _batch_norm(values: Values, shape: Shape) -> nn.Module:
    return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])


class GlobalAveragePool(nn.Module):
    """The mean over height and width: (n, channels, height, width) to (n, channels)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the means."""
        return maps.mean((2, 3))


class Zero(nn.Module):
    """Zeros of one shape, whatever the input is.

    Args:
        shape: ``(channels, height, width)``.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, maps: Tensor) -> Tensor:
        """Return the zeros, in the memory layout of the input."""
        zeros = maps.new_zeros((maps.shape[0], *self.shape))
        last = maps.dim() == 4 and maps.is_contiguous(memory_format=torch.channels_last)
        return zeros.contiguous(memory_format=torch.channels_last) if last else zeros


class Add(nn.Module):
    """The sum of its inputs, all of one shape."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Return the sum."""
        for other in others:
            first = first + other
        return first


def _unknown() -> nn.Module:
    raise InvalidArchitectureError("the table tells what its networks reached, not what they are: none can be built")


MODULES: dict[str, Maker] = {
    "identity": lambda values, shape: nn.Identity(),
    "conv": _conv,
    "batch_norm": _batch_norm,
    "dropout": lambda values, shape: nn.Dropout(float(values["rate"])),
    "max_pool": lambda values, shape: nn.MaxPool2d(int(values["kernel"])),
    "average_pool": lambda values, shape: nn.AvgPool2d(int(values["kernel"])),
    "smooth": lambda values, shape: nn.AvgPool2d(
        int(values["kernel"]), stride=1, padding=int(values["kernel"]) // 2, count_include_pad=False
    ),
    "zero": lambda values, shape: Zero((int(values["channels"]), int(values["height"]), int(values["width"]))),
    "choice": lambda values, shape: _unknown(),
    "global_average_pool": lambda values, shape: GlobalAveragePool(),
    "flatten": lambda values, shape: nn.Flatten(),
    "linear": lambda values, shape: nn.Linear(shape[0], int(values["units"])),
    "add": lambda values, shape: Add(),
    "relu": lambda values, shape: nn.ReLU(),
    "sigmoid": lambda values, shape: nn.Sigmoid(),
    "tanh": lambda values, shape: nn.Tanh(),
    "silu": lambda values, shape: nn.SiLU(),
    "gelu": lambda values, shape: nn.GELU(),
}


class Network(nn.Module):
    """The module of an architecture; layer ``i`` is operation ``i``.

    Args:
        architecture: What to build.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.layers = nn.ModuleList()
        self._inputs = [operation.inputs for operation in architecture.operations]
        self._last_use = {i: position for position, inputs in enumerate(self._inputs) for i in inputs}
        for operation in architecture.operations:
            source = operation.inputs[0]
            shape = architecture.input_shape if source == INPUT else architecture.shapes[source]
            self.layers.append(MODULES[operation.kind](dict(operation.settings), shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output, (n, *output_shape), for inputs (n, *input_shape)."""
        values = {INPUT: inputs}
        for position, layer in enumerate(self.layers):
            sources = self._inputs[position]
            values[position] = layer(*(values[i] for i in sources))
            for i in set(sources):
                if self._last_use[i] == position:
                    del values[i]
        return values[len(self.layers) - 1]


def build(architecture: Architecture, *, seed: int | None = None) -> nn.Module:
    """Return the torch module of an architecture, with fresh weights, on the CPU and in training mode.

    Weights of convolutions and linear layers are drawn as in He et al. 2015 (arXiv 1502.01852, equation 10, fan-in),
    those of the last linear layer as torch does by default.

    Args:
        architecture: What to build, operation by operation; build ``architecture.canonical()`` where equal
            networks must get equal weights from equal seeds.
        seed: Seeds the weights; torch's global generator is left as it was. None: draw from the global generator.
    """
    if seed is None:
        return _initialised(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _initialised(architecture)


def _initialised(architecture: Architecture) -> Network:
    network = Network(architecture)
    last = network.layers[-1]
    for layer in network.layers:
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer is not last and not layer.weight.is_meta:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
