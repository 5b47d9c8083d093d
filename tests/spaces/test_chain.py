"""The chain space: exact masks against brute force, clear errors, a name that follows its contents."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from nas_gym.architecture import Architecture, Operation, Shape
from nas_gym.errors import ConfigurationError, InvalidArchitectureError, OutOfSpaceError
from nas_gym.operations import ACTIVATIONS
from nas_gym.spaces import (
    AveragePool,
    BatchNorm,
    ChainSpace,
    Convolution,
    Dropout,
    FullyConnected,
    GlobalPool,
    Layer,
    Limits,
    MaxPool,
    Prefix,
    ResidualBlock,
    SeparableConvolution,
    default_catalogue,
    describe,
    n_actions,
)
from nas_gym.spaces.catalogue import Step
from nas_gym.testing import check_space, random_walk


@dataclass(frozen=True)
class PooledVector:
    """A layer of a user's own, whose smallest map is not its last shape."""

    name: str = "pooled vector"

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        return [("max_pool", (("kernel", 2),), (0,)), ("flatten", (), (1,)), (activation, (), (2,))]


LAYERS: tuple[Layer, ...] = (
    Convolution(4),
    Convolution(2, kernel=1, stride=2),
    Convolution(3, kernel=5, batch_norm=False, activation=False),
    SeparableConvolution(4),
    SeparableConvolution(6, stride=2, batch_norm=False),
    ResidualBlock(3),
    ResidualBlock(4, stride=2),
    MaxPool(2),
    AveragePool(3),
    BatchNorm(),
    Dropout(0.5),
    FullyConnected(5),
    FullyConnected(40),
    GlobalPool(),
    PooledVector(),
)


class BruteForce:
    """Every network of a chain space, built one by one from its layers' steps and looked at when it is finished."""

    def __init__(
        self, shape: tuple[int, int, int], n_classes: int, catalogue: Sequence[Layer], max_layers: int, activation: str
    ) -> None:
        self.shape, self.n_classes, self.catalogue, self.activation = shape, n_classes, catalogue, activation
        self.networks = {
            layers: network
            for length in range(max_layers + 1)
            for layers in itertools.product(range(len(catalogue)), repeat=length)
            if (network := self._network(layers)) is not None
        }

    def _network(self, layers: Sequence[int]) -> Architecture | None:
        operations: list[Operation] = []
        shape: tuple[int, ...] = self.shape
        try:
            for layer in layers:
                start = len(operations)
                for kind, values, inputs in self.catalogue[layer].steps(shape, self.activation):
                    operations.append(Operation(kind, values, tuple(start - 1 + i for i in inputs)))
                shape = Architecture(self.shape, tuple(operations)).output_shape
        except InvalidArchitectureError:
            return None
        if len(shape) == 3:
            operations.append(Operation("global_average_pool", (), (len(operations) - 1,)))
        operations.append(Operation("linear", (("units", self.n_classes),), (len(operations) - 1,)))
        return Architecture(self.shape, tuple(operations))

    def within(self, limits: Limits) -> dict[tuple[int, ...], Architecture]:
        return {
            layers: network
            for layers, network in self.networks.items()
            if len(layers) >= limits.min_layers
            and (limits.parameters is None or network.parameters <= limits.parameters)
            and (limits.macs is None or network.macs <= limits.macs)
            and all(min(s[1:]) >= limits.resolution for s in (self.shape, *network.shapes) if len(s) == 3)
        }


def legal_by_brute_force(
    allowed: dict[tuple[int, ...], Architecture], layers: tuple[int, ...], n_choices: int
) -> list[bool]:
    """Return which of the layers, and last *stop*, some allowed network continues with."""
    continued = {
        network[len(layers)] for network in allowed if len(network) > len(layers) and network[: len(layers)] == layers
    }
    return [choice in continued for choice in range(n_choices)] + [layers in allowed]


def every_prefix(space: ChainSpace) -> Iterator[tuple[Prefix, tuple[int, ...] | None]]:
    """Yield every legal prefix, with its layers so far, or None where no layer is to be decided."""
    stack: list[tuple[Prefix, tuple[int, ...] | None]] = [((), None)]
    while stack:
        prefix, layers = stack.pop()
        yield prefix, layers
        stop = len(space.catalogue)
        for action in map(int, np.flatnonzero(space.legal(prefix))):
            if not prefix:
                following: tuple[int, ...] | None = ()
            elif layers is None or action == stop or len(layers) + 1 == space.max_layers:
                following = None
            else:
                following = (*layers, action)
            stack.append(((*prefix, action), following))


@dataclass(frozen=True)
class Setting:
    """A small chain space that hypothesis drew, and its networks."""

    shape: tuple[int, int, int]
    catalogue: tuple[Layer, ...]
    max_layers: int
    limits: Limits
    hyperparameters: tuple[str, ...]
    brute: BruteForce

    def space(self) -> ChainSpace:
        return ChainSpace(
            self.shape,
            self.brute.n_classes,
            catalogue=self.catalogue,
            max_layers=self.max_layers,
            limits=self.limits,
            hyperparameters=dict.fromkeys(self.hyperparameters, (1, 2)),
            activations=("tanh", "relu"),
        )


@st.composite
def settings_of_spaces(draw: st.DrawFn) -> Setting:
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    catalogue = tuple(draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=5, unique=True)))
    max_layers = draw(st.integers(1, 3 if len(catalogue) < 5 else 2))
    brute = BruteForce(shape, draw(st.integers(2, 4)), catalogue, max_layers, "relu")

    def limit(costs: Sequence[int]) -> int | None:
        """None, or one of the numbers that separate the networks, or the number just below it."""
        if not draw(st.booleans()):
            return None
        return max(1, draw(st.sampled_from(sorted(set(costs)))) - draw(st.integers(0, 1)))

    limits = Limits(
        parameters=limit([network.parameters for network in brute.networks.values()]),
        macs=limit([network.macs for network in brute.networks.values()]),
        resolution=draw(st.integers(1, 5)),
        min_layers=draw(st.integers(0, max_layers)),
    )
    hyperparameters = tuple(draw(st.sampled_from([(), (), ("momentum",), ("batch_size", "learning_rate")])))
    return Setting(shape, catalogue, max_layers, limits, hyperparameters, brute)


@settings(max_examples=250, deadline=None)
@given(settings_of_spaces())
def test_masks_are_those_of_brute_force_under_every_combination_of_limits(setting: Setting) -> None:
    allowed = setting.brute.within(setting.limits)
    if not any(len(layers) <= setting.max_layers for layers in allowed):
        event("no network")
        with pytest.raises(ConfigurationError):
            setting.space()
        return
    event("some networks" if len(allowed) < len(setting.brute.networks) else "all networks")
    space, n_choices = setting.space(), len(setting.catalogue)
    reached = set()
    for prefix, layers in every_prefix(space):
        slot = space.next_slot(prefix)
        choices = space.slots[slot].choices if slot is not None else ()
        wanted = [True] * len(choices)
        if layers is not None:
            wanted = legal_by_brute_force(allowed, layers, n_choices)
        assert space.legal(prefix).tolist() == wanted + [False] * (n_actions(space) - len(wanted)), prefix
        if slot is None and prefix[0] == 1:  # brute force used the second activation
            chosen = prefix[1 : 1 + setting.max_layers]
            network = chosen[: chosen.index(n_choices)] if n_choices in chosen else chosen
            architecture = space.candidate(prefix).architecture
            assert architecture == allowed[network]
            assert architecture.shapes == allowed[network].shapes
            assert (architecture.parameters, architecture.macs) == (allowed[network].parameters, allowed[network].macs)
            reached.add(network)
    assert reached == set(allowed)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(min_layers=0),
        Limits(min_layers=3),
        Limits(parameters=400),
        Limits(macs=6_000),
        Limits(resolution=4),
        Limits(parameters=900, macs=9_000),
        Limits(parameters=1_000, macs=9_000, resolution=2, min_layers=2),
    ],
    ids=str,
)
def test_masks_are_those_of_brute_force_under_each_kind_of_limit(limits: Limits) -> None:
    catalogue = (Convolution(4), ResidualBlock(4, stride=2), MaxPool(2), FullyConnected(6), GlobalPool())
    brute = BruteForce((1, 8, 8), 3, catalogue, 3, "relu")
    allowed = brute.within(limits)
    assert len(allowed) > 0
    space = ChainSpace((1, 8, 8), 3, catalogue=catalogue, max_layers=3, limits=limits, activations=("relu",))
    checked = 0
    for prefix, layers in every_prefix(space):
        if layers is not None:
            assert space.legal(prefix).tolist() == legal_by_brute_force(allowed, layers, 5), prefix
            checked += 1
    assert checked >= 5


def test_an_action_overspends_unless_a_pooling_follows() -> None:
    """Parameters are not monotone: after the same convolution the one way on is to shrink the map."""
    convolution, pool, dense = Convolution(8), MaxPool(4), FullyConnected(10)
    limits = Limits(parameters=500, min_layers=3)
    space = ChainSpace(
        (1, 8, 8), 2, catalogue=(convolution, pool, dense), max_layers=3, limits=limits, activations=("relu",)
    )
    # 72 + 16 parameters, then 8·8·8·10 + 10 for a fully connected layer at once, 8·2·2·10 + 10 after a pooling.
    assert space.legal((0, 0)).tolist() == [False, True, False, False]
    assert space.legal((0, 0, 1)).tolist() == [False, False, True, False]
    assert space.candidate((0, 0, 1, 2)).architecture.parameters == 72 + 16 + 330 + 22
    with pytest.raises(ConfigurationError):
        ChainSpace((1, 8, 8), 2, catalogue=(convolution, dense), max_layers=3, limits=limits, activations=("relu",))


def test_two_limits_must_be_met_by_one_and_the_same_network() -> None:
    """After the pooling a convolution has few parameters and a fully connected layer few MACs, neither has both."""

    def space(**limits: int) -> ChainSpace:
        return ChainSpace(
            (4, 3, 30),
            2,
            catalogue=(MaxPool(2), Convolution(4), FullyConnected(10)),
            max_layers=2,
            limits=Limits(min_layers=2, **limits),
            activations=("relu",),
        )

    assert space(parameters=400).legal((0,)).tolist() == [True, True, False, False]
    assert space(parameters=400).legal((0, 0)).tolist() == [False, True, False, False]
    assert space(macs=1_500).legal((0,)).tolist() == [True, False, False, False]
    assert space(macs=1_500).legal((0, 0)).tolist() == [False, False, True, False]
    with pytest.raises(ConfigurationError, match="no network"):
        space(parameters=400, macs=1_500)
    assert space(parameters=700, macs=1_500).legal((0, 0)).tolist() == [False, False, True, False]


@settings(max_examples=60, deadline=None)
@given(settings_of_spaces(), st.integers(0, 2**32 - 1))
def test_composed_architectures_equal_checked_ones(setting: Setting, seed: int) -> None:
    assume(setting.brute.within(setting.limits))
    space = setting.space()
    architecture = space.candidate(random_walk(space, np.random.default_rng(seed))).architecture
    checked = Architecture(architecture.input_shape, architecture.operations)
    assert checked == architecture
    assert hash(checked) == hash(architecture)
    for field in ("shapes", "parameters", "macs", "output_shape"):
        assert getattr(checked, field) == getattr(architecture, field)


@pytest.mark.parametrize(
    "space",
    [
        ChainSpace((1, 8, 8), 10),
        ChainSpace((3, 32, 32), 10, limits=Limits(parameters=20_000, macs=1_000_000, resolution=4, min_layers=2)),
        ChainSpace((1, 28, 28), 10, hyperparameters=("learning_rate", "batch_size", "weight_decay"), max_layers=3),
        ChainSpace((2, 5, 7), 3, catalogue=LAYERS, max_layers=4, activations=("gelu",), limits=Limits(min_layers=0)),
        ChainSpace((1, 1, 1), 2, catalogue=(Dropout(0.1),), max_layers=1, activations=("relu",)),
    ],
    ids=lambda space: f"{space.input_shape}-{space.max_layers}",
)
def test_chain_spaces_conform(space: ChainSpace) -> None:
    check_space(space, walks=60)


def test_slots_are_the_activation_the_layers_and_the_hyperparameters() -> None:
    space = ChainSpace(
        (1, 8, 8),
        10,
        catalogue=(Convolution(4), MaxPool(2)),
        max_layers=2,
        hyperparameters={"learning_rate": (0.1, 0.01), "label_smoothing": (0.0, 0.1, 0.2)},
        activations=("silu", "gelu"),
    )
    assert [(slot.name, slot.choices) for slot in space.slots] == [
        ("activation", ("silu", "gelu")),
        ("layer 1", ("conv 3×3 4 bn", "max pool 2", "stop")),
        ("layer 2", ("conv 3×3 4 bn", "max pool 2", "stop")),
        ("learning rate", ("0.1", "0.01")),
        ("label smoothing", ("0", "0.1", "0.2")),
    ]
    assert n_actions(space) == 3
    walk = (1, 0, 2, 1, 2)
    assert [space.next_slot(walk[:i]) for i in range(6)] == [0, 1, 2, 3, 4, None]
    assert [space.next_slot((1, 0, 1, 1, 2)[:i]) for i in range(6)] == [0, 1, 2, 3, 4, None]
    assert describe(space, walk) == [
        ("activation", "gelu"),
        ("layer 1", "conv 3×3 4 bn"),
        ("layer 2", "stop"),
        ("learning rate", "0.01"),
        ("label smoothing", "0.2"),
    ]
    assert space.candidate(walk).hyperparameters == (("label_smoothing", 0.2), ("learning_rate", 0.01))


def test_stop_leaves_the_remaining_layer_slots_undecided() -> None:
    space = ChainSpace((1, 8, 8), 10, max_layers=5, hyperparameters=("batch_size",))
    stop = len(space.catalogue)
    assert space.next_slot((0, 0, stop)) == 6
    assert space.next_slot((0, 0, stop, 1)) is None
    assert dict(space.candidate((0, 0, stop, 1)).hyperparameters) == {"batch_size": 64}
    assert space.next_slot((0, 0, 0, 0, 0, 0)) == 6


def test_the_defaults_are_small_enough_for_exact_explanations() -> None:
    space = ChainSpace((3, 32, 32), 10, hyperparameters=("learning_rate", "batch_size", "weight_decay"))
    assert len(space.slots) == 12
    assert [slot.name for slot in space.slots[-3:]] == ["learning rate", "batch size", "weight decay"]
    assert n_actions(space) == len(default_catalogue()) + 1 <= 24
    assert len(ChainSpace((1, 8, 8), 10).slots) == 9
    assert space.slots[0].choices == ACTIVATIONS


def test_one_hyperparameter_may_be_given_as_text() -> None:
    assert [slot.name for slot in ChainSpace((1, 8, 8), 10, hyperparameters="batch_size").slots][-1] == "batch size"


def test_numbers_of_numpy_become_plain_numbers() -> None:
    grids = {"learning_rate": np.array([0.1, 0.01]), "batch_size": np.array([16, 32])}
    space = ChainSpace(
        (1, 8, np.int64(8)), np.int64(10), catalogue=(Convolution(np.int64(4)), MaxPool(2)), hyperparameters=grids
    )
    plain = ChainSpace(
        (1, 8, 8),
        10,
        catalogue=(Convolution(4), MaxPool(2)),
        hyperparameters={"learning_rate": (0.1, 0.01), "batch_size": (16, 32)},
    )
    walk = (0, 0, 2, 1, 1)
    assert space.candidate(walk).key == plain.candidate(walk).key
    assert space.candidate(walk).to_json() == plain.candidate(walk).to_json()
    assert space.candidate(walk).architecture.canonical() == plain.candidate(walk).architecture.canonical()
    check_space(space, walks=20)


# What a wrong prefix is told ------------------------------------------------------------------------------------------


def test_an_illegal_action_is_told_the_decision_the_value_and_the_allowed_set() -> None:
    space = ChainSpace(
        (1, 4, 4),
        10,
        catalogue=(Convolution(8), MaxPool(4), GlobalPool()),
        max_layers=3,
        limits=Limits(min_layers=2),
        activations=("relu", "tanh"),
        hyperparameters=("batch_size",),
    )
    for prefix, message in [
        ((7,), "'activation' can't be 7 here; allowed are 0 (relu), 1 (tanh)"),
        ((2,), "'activation' can't be 2 here; allowed are 0 (relu), 1 (tanh)"),
        ((0, -1), "'layer 1' can't be -1 here; allowed are 0 (conv 3×3 8 bn), 1 (max pool 4)"),
        ((0, 1, 1), "'layer 2' can't be 1 (max pool 4) here; allowed are 0 (conv 3×3 8 bn), 2 (global pool)"),
        ((0, 0, 3), "'layer 2' can't be 3 (stop) here; allowed are 0 (conv 3×3 8 bn), 1 (max pool 4), 2 (global pool)"),
        ((0, 0, 0, 3, 4), "'batch size' can't be 4 here; allowed are 0 (32), 1 (64), 2 (128), 3 (256)"),
        ((0, 0, 0, 3, 1, 0), "the prefix (0, 0, 0, 3, 1) is complete, yet 0 follows it; start a new one"),
    ]:
        for function in (space.next_slot, space.legal, space.candidate):
            with pytest.raises(OutOfSpaceError) as raised:
                function(prefix)
            assert str(raised.value) == message
        with pytest.raises(OutOfSpaceError):  # also when something illegal lies further back
            space.next_slot((*prefix, 0))


def test_an_incomplete_prefix_is_told_what_is_undecided() -> None:
    space = ChainSpace((1, 8, 8), 10, hyperparameters=("batch_size",))
    for prefix, slot in [((), "activation"), ((0,), "layer 1"), ((0, 0, len(space.catalogue)), "batch size")]:
        with pytest.raises(OutOfSpaceError, match=f"not complete: '{slot}' is undecided"):
            space.candidate(prefix)


def test_masks_are_fresh() -> None:
    space = ChainSpace((1, 8, 8), 10, hyperparameters=("batch_size",))
    for prefix in [(), (0,), (0, 0, len(space.catalogue)), (0, 0, len(space.catalogue), 1)]:
        before = space.legal(prefix)
        space.legal(prefix)[:] = ~before
        assert np.array_equal(space.legal(prefix), before)
        assert before.dtype == np.bool_


# What a wrong constructor is told -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A layer whose name is free."""

    name: str

    def steps(self, shape: Shape, activation: str) -> list[Step]:
        return [("batch_norm", (), (0,))]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input_shape": (8, 8)}, r"input_shape must be \(channels, height, width\), got \(8, 8\)"),
        ({"input_shape": (0, 8, 8)}, "input_shape must be"),
        ({"input_shape": (1, 8, 8.5)}, "need integers, got"),
        ({"input_shape": 8}, "need integers, got 8"),
        ({"n_classes": 1}, "at least 2 classes"),
        ({"n_classes": 2.5}, "need integers"),
        ({"n_classes": "ten"}, "need integers"),
        ({"max_layers": 0}, "and 1 layer"),
        ({"max_layers": None}, "need integers"),
        ({"catalogue": ()}, "a catalogue needs at least one layer"),
        ({"catalogue": (MaxPool(2), MaxPool(2))}, "distinct names"),
        ({"catalogue": (Named("same"), Named("same"))}, "distinct names"),
        ({"catalogue": (Named("stop"),)}, "none named 'stop'"),
        ({"catalogue": (MaxPool(9),)}, "no network of this catalogue"),
        ({"catalogue": (Convolution(8, kernel=2),)}, "no network of this catalogue"),
        ({"catalogue": (Dropout(1.0),)}, "no network of this catalogue"),
        ({"activations": ()}, "activations must be some of"),
        ({"activations": ("relu", "swish")}, r"activations must be some of .*got \('relu', 'swish'\)"),
        ({"activations": ("relu", "relu")}, "distinct choices"),
        ({"hyperparameters": ("learning_rat",)}, r"must be some of .*got \['learning_rat'\]"),
        ({"hyperparameters": {"momentum": ()}}, "slot 'momentum' needs distinct choices, at least one"),
        ({"hyperparameters": {"momentum": (0.9, 0.9)}}, "needs distinct choices"),
        ({"hyperparameters": {"momentum": ("0.9",)}}, "the grid of 'momentum' needs finite numbers"),
        ({"hyperparameters": {"momentum": "0.9"}}, "the grid of 'momentum' needs finite numbers"),
        ({"hyperparameters": {"momentum": (float("nan"),)}}, "the grid of 'momentum' needs finite numbers"),
        ({"hyperparameters": {"activation": (1, 2)}}, "names of hyper-parameters and of other slots must differ"),
        ({"hyperparameters": {"layer_2": (1, 2)}}, "names of hyper-parameters and of other slots must differ"),
        ({"hyperparameters": {"a b": (1,), "a_b": (1,)}}, "must differ"),
        ({"limits": Limits(parameters=10)}, r"no network .* meets Limits\(parameters=10"),
        ({"limits": Limits(macs=9)}, "no network"),
        ({"limits": Limits(min_layers=3), "max_layers": 2}, "no network"),
        ({"limits": Limits(resolution=9)}, r"no map may be smaller than 9, yet the input is \(1, 8, 8\)"),
        ({"limits": Limits(min_layers=2, resolution=3), "catalogue": (MaxPool(2), MaxPool(3))}, "no network"),
    ],
    ids=str,
)
def test_a_bad_constructor_value_gets_one_clear_sentence(changed: dict[str, object], message: str) -> None:
    values = {"input_shape": (1, 8, 8), "n_classes": 10} | changed
    with pytest.raises(ConfigurationError, match=message):
        ChainSpace(values.pop("input_shape"), values.pop("n_classes"), **values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"parameters": 0},
        {"macs": -1},
        {"parameters": "many"},
        {"macs": float("nan")},
        {"resolution": 0},
        {"resolution": None},
        {"min_layers": -1},
        {"min_layers": "one"},
    ],
    ids=str,
)
def test_bad_limits_are_refused(wrong: dict[str, object]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigurationError, match=f"the limit on {name} must be .*got {value!r}"):
        Limits(**wrong)


def test_the_name_changes_when_anything_that_decides_candidates_changes() -> None:
    values = {
        "input_shape": (1, 8, 8),
        "n_classes": 10,
        "catalogue": (Convolution(4), MaxPool(2)),
        "max_layers": 3,
        "limits": Limits(),
        "hyperparameters": {"learning_rate": (0.1, 0.01)},
        "activations": ("relu", "tanh"),
    }
    others = [
        {"input_shape": (1, 8, 9)},
        {"n_classes": 9},
        {"catalogue": (Convolution(4),)},
        {"catalogue": (MaxPool(2), Convolution(4))},
        {"catalogue": (Convolution(4, kernel=5), MaxPool(2))},
        {"catalogue": (Convolution(4, stride=2), MaxPool(2))},
        {"catalogue": (Convolution(4, batch_norm=False), MaxPool(2))},
        {"catalogue": (replace(Convolution(4), activation=False), MaxPool(2))},
        {"max_layers": 4},
        {"limits": Limits(parameters=10_000)},
        {"limits": Limits(macs=10_000)},
        {"limits": Limits(resolution=2)},
        {"limits": Limits(min_layers=2)},
        {"hyperparameters": {}},
        {"hyperparameters": {"learning_rate": (0.01, 0.1)}},
        {"hyperparameters": {"learning_rate": (0.1, 0.02)}},
        {"hyperparameters": {"momentum": (0.1, 0.01)}},
        {"activations": ("tanh", "relu")},
        {"activations": ("relu",)},
    ]

    def name(changed: dict[str, object]) -> str:
        made = values | changed
        return ChainSpace(made.pop("input_shape"), made.pop("n_classes"), **made).name

    names = [name({}), *map(name, others)]
    assert len(set(names)) == len(names)
    assert names[0] == name({}) == "chain/1/2d752762ac01"  # stable between processes and releases


def test_more_states_than_are_remembered_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_gym.spaces.chain.REMEMBERED_STATES", 3)
    check_space(ChainSpace((1, 8, 8), 10, max_layers=4), walks=20)
