"""The builder: a module for every kind of operation, seeds that stay their own, and graphs computed as written."""

import random
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nas_gym.architecture import Architecture, Operation
from nas_gym.builder import MODULES, build
from nas_gym.operations import KINDS, Settings, Shape
from nas_gym.spaces import ChainSpace, Layer, ResidualBlock, SeparableConvolution

SETTINGS: dict[str, Settings] = {
    "conv": (("bias", 1), ("channels", 4), ("groups", 2), ("kernel", 3), ("stride", 2)),
    "dropout": (("rate", 0.3),),
    "max_pool": (("kernel", 2),),
    "average_pool": (("kernel", 3),),
    "linear": (("units", 5),),
    "smooth": (("kernel", 3),),
    "zero": (("channels", 3), ("height", 5), ("width", 4)),
}
LINEAR_3: Settings = (("units", 3),)


def test_every_kind_has_a_module_and_every_module_a_kind() -> None:
    assert MODULES.keys() == KINDS.keys()


ON_MAPS = {"conv", "max_pool", "average_pool", "global_average_pool", "smooth"}
UNKNOWN = "choice"  # of a table whose networks are not known
MAP, VECTOR = (2, 7, 6), (6,)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(kind, MAP) for kind in KINDS if kind not in ("linear", UNKNOWN)]
    + [(kind, VECTOR) for kind in KINDS if kind not in (*ON_MAPS, UNKNOWN)],
    ids=str,
)
def test_every_kind_gives_the_predicted_shape_and_parameters(kind: str, shape: Shape) -> None:
    inputs = (-1, -1) if KINDS[kind].many_inputs else (-1,)
    architecture = Architecture(shape, (Operation(kind, SETTINGS.get(kind, ()), inputs),))
    module = build(architecture, seed=0)
    assert module(torch.randn(3, *shape)).shape == (3, *architecture.output_shape)
    assert sum(weights.numel() for weights in module.parameters()) == architecture.parameters
    assert (architecture.parameters > 0) <= (not KINDS[kind].pure)


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("relu", torch.relu),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("silu", nn.functional.silu),
        ("gelu", nn.functional.gelu),
        ("identity", lambda inputs: inputs),
        ("flatten", lambda inputs: inputs.reshape(len(inputs), -1)),
        ("global_average_pool", lambda inputs: inputs.mean(dim=(2, 3))),
        ("max_pool", lambda inputs: nn.functional.max_pool2d(inputs, 2, 2)),
        ("average_pool", lambda inputs: nn.functional.avg_pool2d(inputs, 3, 3)),
    ],
)
def test_operations_without_parameters_compute_what_their_name_says(
    kind: str, function: Callable[[Tensor], Tensor]
) -> None:
    inputs = torch.randn(3, 2, 7, 6)
    module = build(Architecture((2, 7, 6), (Operation(kind, SETTINGS.get(kind, ())),)))
    assert torch.equal(module(inputs), function(inputs))


def test_a_module_is_in_training_mode_and_on_the_cpu() -> None:
    module = build(ChainSpace((1, 8, 8), 10).candidate((0, 0, 17, 21)).architecture)
    assert module.training
    assert all(weights.device.type == "cpu" and weights.requires_grad for weights in module.parameters())
    assert [type(layer).__name__ for layer in module.layers] == [
        "Conv2d",
        "BatchNorm2d",
        "ReLU",
        "Dropout",
        "GlobalAveragePool",
        "Linear",
    ]


# Against modules written by hand --------------------------------------------------------------------------------------


class HandWrittenBlock(nn.Module):
    """A residual block (He et al. 2016), option B, as one would write it."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(self.conv1(inputs)))
        return torch.relu(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))


class HandWrittenSeparable(nn.Module):
    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 5, stride, padding=2, groups=before, bias=False)
        self.pointwise = nn.Conv2d(before, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.bn(self.pointwise(self.depthwise(inputs))))


@pytest.mark.parametrize(("before", "channels", "stride"), [(4, 4, 1), (3, 5, 1), (4, 4, 2), (2, 6, 2)])
@pytest.mark.parametrize(
    ("by_hand", "layer"),
    [
        (HandWrittenBlock, lambda channels, stride: ResidualBlock(channels, stride=stride)),
        (HandWrittenSeparable, lambda channels, stride: SeparableConvolution(channels, kernel=5, stride=stride)),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_blocks_equal_hand_written_ones(
    before: int,
    channels: int,
    stride: int,
    by_hand: type[nn.Module],
    layer: Callable[[int, int], Layer],
    training: bool,
) -> None:
    space = ChainSpace((before, 7, 6), 3, catalogue=(layer(channels, stride),), max_layers=1, activations=("relu",))
    architecture = space.candidate((0, 0)).architecture
    module = build(architecture, seed=1).train(training)
    block = by_hand(before, channels, stride).train(training)
    head = nn.Linear(channels, 3)
    ours = [part for part in module.layers if list(part.parameters())]
    theirs = [part for part in (*block.modules(), head) if list(part.parameters(recurse=False))]
    assert all(isinstance(part, type(other)) for part, other in zip(ours, theirs, strict=True))
    for our, their in zip(ours, theirs, strict=True):
        their.load_state_dict(our.state_dict())
    for _ in range(2):  # the second time with other running statistics
        inputs = torch.randn(4, before, 7, 6)
        torch.testing.assert_close(module(inputs), head(block(inputs).mean(dim=(2, 3))), rtol=1e-5, atol=1e-6)


def test_values_are_kept_exactly_as_long_as_something_reads_them() -> None:
    """Sums may read a value twice, the input may be read late, and what is dead may stand anywhere."""
    operations = (
        Operation("relu"),  # 0
        Operation("tanh", (), (-1,)),  # 1, dead
        Operation("add", (), (0, 0)),  # 2
        Operation("add", (), (2, 0, 2)),  # 3
        Operation("sigmoid", (), (2,)),  # 4, dead
        Operation("add", (), (3, -1, -1)),  # 5
        Operation("add", (), (5, 5)),  # 6
    )
    inputs = torch.randn(3, 5)
    kept = inputs.clone()
    output = build(Architecture((5,), operations))(inputs)
    torch.testing.assert_close(output, 2 * (5 * torch.relu(inputs) + 2 * inputs))
    assert torch.equal(inputs, kept)


def test_intermediate_values_are_freed_as_soon_as_nothing_reads_them() -> None:
    alive: list[int] = []
    n_layers = 30
    module = build(Architecture((1_000,), tuple(Operation("tanh", (), (i - 1,)) for i in range(n_layers))))
    held: set[int] = set()

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        held.add(id(output))
        weakref.finalize(output, held.discard, id(output))
        alive.append(len(held))

    for layer in module.layers:
        layer.register_forward_hook(watch)
    with torch.no_grad():
        module(torch.randn(2, 1_000))
    assert len(alive) == n_layers
    assert max(alive) <= 2


# Seeds ----------------------------------------------------------------------------------------------------------------


def states_equal(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_equal_seeds_give_equal_weights_and_other_seeds_others() -> None:
    architecture = ChainSpace((1, 8, 8), 10).candidate((0, 0, 11, 18, 21)).architecture
    assert states_equal(build(architecture, seed=3), build(architecture, seed=3))
    assert not states_equal(build(architecture, seed=3), build(architecture, seed=4))
    torch.manual_seed(9)
    torch.randn(7)
    assert states_equal(build(architecture, seed=3), build(architecture, seed=3))


def test_a_seeded_build_leaves_every_global_generator_as_it_was() -> None:
    architecture = ChainSpace((1, 8, 8), 10).candidate((0, 0, 18, 21)).architecture
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    build(architecture, seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_without_a_seed_the_global_generator_decides() -> None:
    architecture = Architecture((5,), (Operation("linear", LINEAR_3),))
    torch.manual_seed(1)
    one, other = build(architecture), build(architecture)
    assert not states_equal(one, other)
    torch.manual_seed(1)
    assert states_equal(one, build(architecture))


def test_an_error_in_a_seeded_build_leaves_the_generator_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(values: object, shape: object) -> nn.Module:
        torch.randn(3)
        raise RuntimeError("no such layer")

    monkeypatch.setitem(MODULES, "linear", fail)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError):
        build(Architecture((5,), (Operation("linear", LINEAR_3),)), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_drawn_as_in_he_et_al_and_the_last_layer_as_in_torch() -> None:
    settings: Settings = (("bias", 1), ("channels", 128), ("groups", 1), ("kernel", 3), ("stride", 1))
    architecture = Architecture(
        (64, 4, 4),
        (
            Operation("conv", settings),
            Operation("flatten", (), (0,)),
            Operation("linear", (("units", 200),), (1,)),
            Operation("linear", (("units", 100),), (2,)),
        ),
    )
    conv, _, hidden, last = build(architecture, seed=0).layers
    for layer, fan_in in [(conv, 64 * 9), (hidden, 128 * 16)]:
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
        assert not layer.bias.any()
    assert last.weight.abs().max().item() <= 200**-0.5
    assert last.weight.std().item() == pytest.approx(200**-0.5 / 3**0.5, rel=0.02)
    assert last.bias.any()


def test_modules_can_be_built_on_the_meta_device() -> None:
    architecture = ChainSpace((1, 8, 8), 10).candidate((0, 0, 11, 18, 21)).architecture
    with torch.device("meta"):
        module = build(architecture)
    assert module(torch.empty(2, 1, 8, 8, device="meta")).shape == (2, 10)


def test_equal_networks_get_equal_weights_from_equal_seeds_in_canonical_form() -> None:
    pool_2, pool_4 = Operation("average_pool", (("kernel", 2),)), Operation("average_pool", (("kernel", 4),))
    flatten, linear = Operation("flatten"), Operation("linear", LINEAR_3)
    one = Architecture((2, 8, 8), (pool_2, pool_2.taking((0,)), flatten.taking((1,)), linear.taking((2,))))
    other = Architecture((2, 8, 8), (flatten, pool_4, flatten.taking((1,)), linear.taking((2,))))
    assert one != other
    assert states_equal(build(one.canonical(), seed=2), build(other.canonical(), seed=2))


class Convolutions(TorchDispatchMode):
    """Notes kernel and stride of every convolution that is computed, with its input channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.convolution.default:
            self.seen.append((args[1].shape[1], args[1].shape[2], args[3][0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("channels", "strided"), [(1, False), (3, False), (15, False), (16, True)])
def test_strided_pointwise_convolutions_of_few_channels_stay_out_of_a_broken_kernel(
    channels: int, strided: bool
) -> None:
    """That kernel corrupts memory, so the way to it is looked at, not the crash."""
    settings: Settings = (("bias", 1), ("channels", 4), ("groups", 1), ("kernel", 1), ("stride", 2))
    architecture = Architecture((channels, 7, 6), (Operation("conv", settings),))
    module = build(architecture, seed=0)
    inputs = torch.randn(3, channels, 7, 6)
    (layer,) = module.layers  # type: ignore[union-attr]
    expected = nn.functional.conv2d(inputs, layer.weight, layer.bias, stride=2)
    with Convolutions() as computed:
        outputs = module(inputs)
    assert computed.seen == [(channels, 1, 2 if strided else 1)]
    assert torch.allclose(outputs, expected, atol=1e-6)
    assert outputs.shape[1:] == architecture.output_shape
