"""Layers a chain is built from: compound choices that expand into operations.

To add a layer, write a frozen dataclass with `name` and `steps` (and, if its operations are new, rows in
`nas_gym.operations` and `nas_gym.builder`), and put it into a catalogue.
"""

from dataclasses import dataclass
from typing import Protocol

from nas_gym.operations import Settings, Shape

# One operation of a layer: kind, settings, inputs counted from the layer's own start: 0 is what the layer is
# given, i > 0 its i-th operation.
Step = tuple[str, Settings, tuple[int, ...]]


class Layer(Protocol):
    """A compound choice of a catalogue: a frozen, comparable value."""

    @property
    def name(self) -> str:
        """Name in masks, logs and figures; distinct for distinct layers."""

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the operations on an input of this shape; the last one is the output.

        A shape they do not fit raises InvalidArchitectureError when the steps are costed: the choice is illegal there.
        The activation may decide which operation is applied, but neither shapes nor parameters nor MACs.
        """


class _Steps(list[Step]):
    """A list of steps that chains: every step takes the one before unless told otherwise."""

    def then(self, kind: str, *, of: tuple[int, ...] | None = None, **settings: int | float) -> "_Steps":
        self.append((kind, tuple(sorted(settings.items())), (len(self),) if of is None else of))
        return self

    def convolution(
        self,
        channels: int,
        kernel: int,
        stride: int,
        *,
        groups: int = 1,
        bias: bool = False,
        of: int | None = None,
    ) -> "_Steps":
        source = None if of is None else (of,)
        return self.then(
            "conv", of=source, channels=channels, kernel=kernel, stride=stride, groups=groups, bias=int(bias)
        )

    def finish(self, batch_norm: bool, activation: str | None) -> "_Steps":
        if batch_norm:
            self.then("batch_norm")
        if activation:
            self.then(activation)
        return self


def _suffix(batch_norm: bool, activation: bool) -> str:
    return (" bn" if batch_norm else "") + ("" if activation else " linear")


@dataclass(frozen=True)
class Convolution:
    """A convolution, then batch normalisation and the network's activation unless switched off."""

    channels: int
    kernel: int = 3
    stride: int = 1
    batch_norm: bool = True
    activation: bool = True

    @property
    def name(self) -> str:
        """Such as ``conv 3×3 32 bn``, with ``/2`` for stride 2."""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"conv {self.kernel}×{self.kernel}{stride} {self.channels}" + _suffix(self.batch_norm, self.activation)

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return convolution, batch normalisation, activation."""
        steps = _Steps().convolution(self.channels, self.kernel, self.stride, bias=not self.batch_norm)
        return steps.finish(self.batch_norm, activation if self.activation else None)


@dataclass(frozen=True)
class SeparableConvolution:
    """A depthwise and a 1×1 convolution (Chollet 2017, arXiv 1610.02357), then normalisation and activation."""

    channels: int
    kernel: int = 3
    stride: int = 1
    batch_norm: bool = True
    activation: bool = True

    @property
    def name(self) -> str:
        """Such as ``separable 3×3 32 bn``."""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        shown = f"separable {self.kernel}×{self.kernel}{stride} {self.channels}"
        return shown + _suffix(self.batch_norm, self.activation)

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return depthwise convolution, pointwise convolution, batch normalisation, activation."""
        steps = _Steps().convolution(shape[0], self.kernel, self.stride, groups=shape[0])
        steps.convolution(self.channels, 1, 1, bias=not self.batch_norm)
        return steps.finish(self.batch_norm, activation if self.activation else None)


@dataclass(frozen=True)
class ResidualBlock:
    """Two normalised convolutions around which the input is added (He et al. 2016, arXiv 1512.03385, figure 2).

    Where the block changes the shape, the shortcut is a normalised 1×1 convolution (their option B).
    """

    channels: int
    kernel: int = 3
    stride: int = 1

    @property
    def name(self) -> str:
        """Such as ``residual 32`` or ``residual/2 64``."""
        shown = f"residual/{self.stride} {self.channels}" if self.stride > 1 else f"residual {self.channels}"
        return shown if self.kernel == 3 else f"{shown} {self.kernel}×{self.kernel}"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the block's operations, the addition and the last activation included."""
        steps = _Steps().convolution(self.channels, self.kernel, self.stride).finish(True, activation)
        steps.convolution(self.channels, self.kernel, 1).finish(True, None)
        body = len(steps)
        shortcut = 0
        if self.stride > 1 or shape[0] != self.channels:
            steps.convolution(self.channels, 1, self.stride, of=0).finish(True, None)
            shortcut = len(steps)
        return steps.then("add", of=(shortcut, body)).then(activation)


@dataclass(frozen=True)
class MaxPool:
    """Max pooling whose stride is its kernel."""

    kernel: int = 2

    @property
    def name(self) -> str:
        """Such as ``max pool 2``."""
        return f"max pool {self.kernel}"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the pooling."""
        return _Steps().then("max_pool", kernel=self.kernel)


@dataclass(frozen=True)
class AveragePool:
    """Average pooling whose stride is its kernel."""

    kernel: int = 2

    @property
    def name(self) -> str:
        """Such as ``average pool 2``."""
        return f"average pool {self.kernel}"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the pooling."""
        return _Steps().then("average_pool", kernel=self.kernel)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation on its own (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

    name: str = "batch norm"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the normalisation."""
        return _Steps().then("batch_norm")


@dataclass(frozen=True)
class Dropout:
    """Dropout of single values (Srivastava et al. 2014, JMLR 15)."""

    rate: float

    @property
    def name(self) -> str:
        """Such as ``dropout 0.3``."""
        return f"dropout {self.rate:g}"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the dropout."""
        return _Steps().then("dropout", rate=self.rate)


@dataclass(frozen=True)
class FullyConnected:
    """A linear layer on the flattened input, then the network's activation; convolutions can't follow it."""

    units: int
    activation: bool = True

    @property
    def name(self) -> str:
        """Such as ``fully connected 64``."""
        return f"fully connected {self.units}" + _suffix(False, self.activation)

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return flattening (of a map), linear layer, activation."""
        steps = _Steps().then("flatten") if len(shape) > 1 else _Steps()
        return steps.then("linear", units=self.units).finish(False, activation if self.activation else None)


@dataclass(frozen=True)
class GlobalPool:
    """Average over the whole map (Lin et al. 2014, arXiv 1312.4400); only fully connected layers can follow it."""

    name: str = "global pool"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        """Return the pooling."""
        return _Steps().then("global_average_pool")


def default_catalogue(widths: tuple[int, int, int] = (16, 32, 64)) -> tuple[Layer, ...]:
    """Return the default catalogue: 21 compound choices in three widths; with *stop* 22.

    Args:
        widths: Channels of narrow, middle and wide layers.
    """
    narrow, middle, wide = widths
    return (
        Convolution(narrow),
        Convolution(middle),
        Convolution(wide),
        Convolution(middle, kernel=5),
        Convolution(wide, kernel=5),
        Convolution(middle, kernel=1),
        Convolution(wide, kernel=1),
        Convolution(middle, stride=2),
        Convolution(wide, stride=2),
        SeparableConvolution(middle),
        SeparableConvolution(wide),
        ResidualBlock(middle),
        ResidualBlock(wide),
        ResidualBlock(wide, stride=2),
        MaxPool(2),
        AveragePool(2),
        BatchNorm(),
        Dropout(0.2),
        FullyConnected(wide),
        FullyConnected(2 * wide),
        GlobalPool(),
    )
