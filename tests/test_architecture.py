"""Architectures and candidates as values: checked, frozen, hashable, and the same after a trip through JSON."""

import copy
import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_gym.architecture import Architecture, Candidate, Operation, Shape
from nas_gym.errors import InvalidArchitectureError
from nas_gym.operations import KINDS, Settings
from nas_gym.spaces import ChainSpace
from nas_gym.testing import random_walk

CONV: Settings = (("bias", 0), ("channels", 4), ("groups", 1), ("kernel", 3), ("stride", 1))


def conv(inputs: tuple[int, ...] = (-1,), **changed: Any) -> Operation:
    return Operation("conv", tuple(sorted((dict(CONV) | changed).items())), inputs)


def small() -> Architecture:
    return Architecture(
        (2, 8, 8),
        (
            conv(),
            Operation("relu", (), (0,)),
            conv((1,), channels=4, stride=2, bias=1),
            Operation("max_pool", (("kernel", 2),), (1,)),
            Operation("add", (), (2, 3)),
            Operation("global_average_pool", (), (4,)),
            Operation("linear", (("units", 3),), (5,)),
        ),
    )


# Predictions, by hand -------------------------------------------------------------------------------------------------


def test_shapes_parameters_and_macs_by_hand() -> None:
    network = small()
    assert network.shapes == ((4, 8, 8), (4, 8, 8), (4, 4, 4), (4, 4, 4), (4, 4, 4), (4,), (3,))
    assert network.output_shape == (3,)
    assert network.parameters == 4 * 2 * 9 + (4 * 4 * 9 + 4) + (4 * 3 + 3)
    assert network.macs == 4 * 2 * 9 * 64 + 4 * 4 * 9 * 16 + 4 * 3


@pytest.mark.parametrize(
    ("operation", "shape", "output", "parameters", "macs"),
    [
        (conv(kernel=1, bias=1), (2, 5, 7), (4, 5, 7), 2 * 4 + 4, 2 * 4 * 35),
        (conv(kernel=5, stride=2), (2, 5, 7), (4, 3, 4), 200, 200 * 12),
        (conv(groups=2), (2, 5, 7), (4, 5, 7), 36, 36 * 35),
        (conv(bias=True), (2, 1, 1), (4, 1, 1), 76, 72),
        (Operation("max_pool", (("kernel", 3),)), (2, 5, 7), (2, 1, 2), 0, 0),
        (Operation("average_pool", (("kernel", 1),)), (2, 5, 7), (2, 5, 7), 0, 0),
        (Operation("batch_norm"), (2, 5, 7), (2, 5, 7), 4, 0),
        (Operation("batch_norm"), (6,), (6,), 12, 0),
        (Operation("dropout", (("rate", 0.5),)), (6,), (6,), 0, 0),
        (Operation("flatten"), (2, 5, 7), (70,), 0, 0),
        (Operation("flatten"), (70,), (70,), 0, 0),
        (Operation("global_average_pool"), (2, 5, 7), (2,), 0, 0),
        (Operation("linear", (("units", 3),)), (6,), (3,), 21, 18),
        (Operation("add", (), (-1, -1, -1)), (2, 5, 7), (2, 5, 7), 0, 0),
    ],
    ids=str,
)
def test_the_cost_of_one_operation_by_hand(
    operation: Operation, shape: Shape, output: Shape, parameters: int, macs: int
) -> None:
    network = Architecture(shape, (operation,))
    assert (network.output_shape, network.parameters, network.macs) == (output, parameters, macs)


# Invalid architectures cannot be built --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Operation("conv2d"), r"operation 1: unknown operation 'conv2d'; known are add, average_pool"),
        (Operation("relu", (), ()), r"operation 1 \(relu\) must take its inputs from -1 .* to 0, got \(\)"),
        (Operation("relu", (), (1,)), r"operation 1 \(relu\) must take its inputs from -1 .* to 0, got \(1,\)"),
        (Operation("relu", (), (-2,)), r"operation 1 .*got \(-2,\)"),
        (Operation("relu", (), (0, -1)), "operation 1: relu takes exactly one input, got 2"),
        (Operation("add", (), (0,)), "operation 1: add takes two or more inputs, got 1"),
        (Operation("add", (), (0, -1)), r"operation 1: add needs inputs of one shape, got \(4, 6, 6\), \(2, 6, 6\)"),
        (
            Operation("max_pool", (), (0,)),
            r"operation 1: max_pool takes the settings \(kernel\) in this order, got \(\)",
        ),
        (Operation("relu", (("slope", 0.1),), (0,)), r"operation 1: relu takes the settings \(\) .*got \(slope\)"),
        (Operation("conv", CONV[::-1], (0,)), "operation 1: conv takes the settings .* in this order"),
        (Operation("max_pool", (("kernel", 7),), (0,)), "operation 1: pooling needs a kernel .*got kernel 7 on 6×6"),
        (Operation("max_pool", (("kernel", 0),), (0,)), "operation 1: pooling needs a kernel"),
        (Operation("max_pool", (("kernel", 1.5),), (0,)), "operation 1: kernel must be an integer, got 1.5"),
        (Operation("linear", (("units", 3),), (0,)), r"operation 1: linear needs a \(features,\) input, got shape"),
        (Operation("dropout", (("rate", 1),), (0,)), r"operation 1: dropout needs a rate in \[0, 1\), got 1"),
        (Operation("dropout", (("rate", -0.1),), (0,)), "operation 1: dropout needs a rate"),
        (Operation("dropout", (("rate", float("nan")),), (0,)), "operation 1 needs a kind.*finite number"),
        (Operation("dropout", (("rate", float("inf")),), (0,)), "operation 1 needs a kind.*finite number"),
        (Operation("dropout", (("rate", "0.1"),), (0,)), "operation 1 needs a kind.*finite number"),  # type: ignore
        (Operation("dropout", {"rate": 0.1}, (0,)), "operation 1 needs a kind"),  # type: ignore
        (Operation("dropout", (("rate",),), (0,)), "operation 1 needs a kind"),  # type: ignore
        (Operation("max_pool", (("kernel", 10**400),), (0,)), "operation 1 needs a kind"),
        (Operation("relu", (), [0]), "operation 1 needs a kind.*a tuple of positions"),  # type: ignore
        (Operation("relu", (), (0.0,)), "operation 1 needs a kind"),  # type: ignore
        (Operation("relu", (), (True,)), "operation 1 needs a kind"),
        (Operation(None, (), (0,)), "operation 1 needs a kind"),  # type: ignore
        (Operation(["relu"], (), (0,)), "operation 1 needs a kind"),  # type: ignore
        ("relu", "operation 1 needs a kind.*got 'relu'"),
        (conv((0,), kernel=2), "operation 1: conv needs .*got kernel 2, stride 1, groups 1"),
        (conv((0,), channels=0), "operation 1: conv needs positive channels"),
        (conv((0,), stride=0), "operation 1: conv needs positive channels"),
        (conv((0,), groups=3), "operation 1: conv needs .*divide 4 and 4 channels"),
        (conv((0,), channels=4.5), "operation 1: channels must be an integer, got 4.5"),
        (conv((0,), bias=2), "operation 1: conv needs bias 0 or 1, got 2"),
    ],
)
def test_an_invalid_operation_is_refused_with_its_position(operation: Operation, message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        Architecture((2, 6, 6), (conv(), operation))


@pytest.mark.parametrize("kind", ["conv", "max_pool", "average_pool", "global_average_pool"])
def test_operations_on_maps_refuse_vectors(kind: str) -> None:
    values: Settings = CONV if kind == "conv" else tuple((name, 1) for name in KINDS[kind].settings)
    with pytest.raises(InvalidArchitectureError, match=r"operation 1: .* needs a \(channels, height, width\) input"):
        Architecture((2, 6, 6), (Operation("flatten"), Operation(kind, values, (0,))))


def test_a_setting_that_equals_a_checked_one_is_checked_too() -> None:
    """Costs are remembered by value, and 3 == 3.0 == True + 2: none may slip through because of that."""
    Architecture((2, 6, 6), (conv(),))
    assert Architecture((2, 6, 6), (conv(kernel=3.0),)).parameters == Architecture((2, 6, 6), (conv(),)).parameters
    with pytest.raises(InvalidArchitectureError):
        Architecture((2, 6, 6), (conv(kernel="3"),))


@pytest.mark.parametrize("shape", [(), (0,), (1, 2), (2, -1, 3), (1, 2, 3, 4), (2.0,), ("2",), [2], None, 5], ids=repr)
def test_an_invalid_input_shape_is_refused(shape: Any) -> None:
    with pytest.raises(InvalidArchitectureError, match=r"input_shape must be .* positive integers, got"):
        Architecture(shape, (Operation("relu"),))


@pytest.mark.parametrize("operations", [(), [Operation("relu")], None], ids=repr)
def test_operations_must_be_a_tuple_with_something_in_it(operations: Any) -> None:
    with pytest.raises(InvalidArchitectureError, match="needs a tuple of operations"):
        Architecture((2, 6, 6), operations)


# Values ---------------------------------------------------------------------------------------------------------------


def test_architectures_are_frozen_equal_by_value_and_hashable() -> None:
    one, other = small(), small()
    assert one == other
    assert one is not other
    assert len({one, other, Architecture((2, 8, 8), one.operations[:-1])}) == 2
    for field in ("input_shape", "operations", "shapes", "parameters", "macs"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.operations[0].kind = "relu"  # type: ignore[misc]
    assert Architecture((5,), (Operation("relu"),)) != Architecture((6,), (Operation("relu"),))


def test_candidates_are_frozen_equal_by_value_and_hashable() -> None:
    one, other = Candidate.of(small(), {"b": 2, "a": 0.5}), Candidate(small(), (("a", 0.5), ("b", 2)))
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.hyperparameters = ()  # type: ignore[misc]
    assert one != Candidate(small())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal_with_or_without_what_was_computed(copied: Any) -> None:
    candidate = Candidate.of(small(), {"a": 1})
    assert copied(candidate) == candidate
    assert copied(candidate).key == candidate.key
    assert copied(candidate) == candidate


@pytest.mark.parametrize(
    "hyperparameters",
    [
        (("b", 1), ("a", 2)),
        (("a", 1), ("a", 2)),
        (("a", "1"),),
        (("a", None),),
        (("a", float("nan")),),
        (("a", float("inf")),),
    ],
    ids=str,
)
def test_invalid_hyperparameters_are_refused(hyperparameters: Any) -> None:
    with pytest.raises(InvalidArchitectureError, match="distinct, sorted names and finite numbers, got"):
        Candidate(small(), hyperparameters)


def test_equal_candidates_have_equal_keys_however_their_numbers_are_written() -> None:
    base = small()
    for one, other in [
        (Candidate.of(base, {"a": 1}), Candidate.of(base, {"a": 1.0})),
        (Candidate.of(base, {"a": 0}), Candidate.of(base, {"a": 0.0})),
        (Candidate.of(base, {"a": 0.0}), Candidate.of(base, {"a": -0.0})),
        (Candidate.of(base, {"a": 1e15}), Candidate.of(base, {"a": 10**15})),
        (Candidate(Architecture((2, 6, 6), (conv(bias=1),))), Candidate(Architecture((2, 6, 6), (conv(bias=True),)))),
        (Candidate(Architecture((2, 6, 6), (conv(),))), Candidate(Architecture((2, 6, 6), (conv(kernel=3.0),)))),
    ]:
        assert one == other
        assert one.key == other.key
        assert Candidate.from_json(json.dumps(one.to_json())).key == other.key


def test_keys_tell_hyperparameters_apart() -> None:
    sets: list[dict[str, float]] = [
        {},
        {"a": 1},
        {"a": 2},
        {"b": 1},
        {"a": 1, "b": 1},
        {"a": 0.1},
        {"a": 0.1 + 1e-17 * 8},
    ]
    assert len({Candidate.of(small(), values).key for values in sets}) == len(sets)
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in [Candidate.of(small()).key])


def test_operations_and_labels_read_well() -> None:
    assert str(Operation("relu")) == "relu"
    assert str(Operation("dropout", (("rate", 0.2),))) == "dropout(rate=0.2)"
    assert conv().label == "conv(bias=0, channels=4, groups=1, kernel=3, stride=1)"
    assert conv().taking((-1,)) == conv()
    assert conv().taking((5,)) == conv((5,))


# JSON -----------------------------------------------------------------------------------------------------------------


SPACES = [
    ChainSpace((1, 8, 8), 10, hyperparameters=("learning_rate", "batch_size", "weight_decay")),
    ChainSpace((3, 16, 16), 5, max_layers=4),
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SPACES), st.integers(0, 2**32 - 1))
def test_candidates_survive_json(space: ChainSpace, seed: int) -> None:
    candidate = space.candidate(random_walk(space, np.random.default_rng(seed)))
    for read in (
        Candidate.from_json(json.dumps(candidate.to_json())),
        Candidate.from_json(candidate.to_json()),
        Candidate.from_json(json.loads(json.dumps(candidate.to_json(), sort_keys=True))),
    ):
        assert read == candidate
        assert read.key == candidate.key
        assert read.to_json() == candidate.to_json()
        for field in ("shapes", "parameters", "macs"):
            assert getattr(read.architecture, field) == getattr(candidate.architecture, field)
    assert Architecture.from_json(candidate.architecture.to_json()) == candidate.architecture


def test_hyperparameters_are_optional_in_json() -> None:
    assert Candidate.from_json({"architecture": small().to_json()}) == Candidate(small())
    assert Candidate.from_json({"architecture": small().to_json(), "hyperparameters": None}) == Candidate(small())


def damaged(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a good candidate's JSON with another value at a path."""
    data = Candidate.of(small(), {"a": 1}).to_json()
    place: Any = data
    for step in path[:-1]:
        place = place[step]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


PATHS: list[tuple[Any, ...]] = [
    ("architecture",),
    ("architecture", "input_shape"),
    ("architecture", "input_shape", 1),
    ("architecture", "operations"),
    ("architecture", "operations", 0),
    ("architecture", "operations", 0, "kind"),
    ("architecture", "operations", 0, "settings"),
    ("architecture", "operations", 0, "settings", "kernel"),
    ("architecture", "operations", 4, "inputs"),
    ("architecture", "operations", 4, "inputs", 0),
    ("hyperparameters", "a"),
]
GARBAGE: list[Any] = [None, "x", "12", 1e400, float("nan"), 10**400, [], {}, [[]], [None], [{}], {"x": []}, ["a", 1]]


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path in PATHS for value in GARBAGE]
    + [(path, value) for path in PATHS[:-1] for value in (-7, 0.5)]
    + [(path, KeyError) for path in PATHS if path[-1] not in (0, 1, "a") or path[-2] == "inputs"],
)
def test_damaged_json_is_refused_with_one_kind_of_error(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(InvalidArchitectureError):
        Candidate.from_json(damaged(path, value))


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "5", "[]", '"x"', "{}", '{"architecture": {}}', "[" * 100_000, '{"hyperparameters": 1}', "NaN"],
    ids=lambda text: text[:12] or "empty",
)
def test_text_that_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(InvalidArchitectureError):
        Candidate.from_json(text)


@pytest.mark.parametrize("data", [None, 5, [], "x", b"{}", [small().to_json()], {"architecture": small()}], ids=repr)
def test_data_that_are_no_candidate_are_refused(data: Any) -> None:
    with pytest.raises(InvalidArchitectureError):
        Candidate.from_json(data)
    with pytest.raises(InvalidArchitectureError):
        Architecture.from_json(data)


@pytest.mark.parametrize(
    "hyperparameters", [5, "x", [1], [["a"]], {"a": "b"}, {"a": None}, {"a": [1]}, {1: 1, "a": 1}], ids=repr
)
def test_hyperparameters_that_are_none_are_refused(hyperparameters: Any) -> None:
    with pytest.raises(InvalidArchitectureError):
        Candidate.from_json({"architecture": small().to_json(), "hyperparameters": hyperparameters})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["relu", "add", "kernel", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["kind", "settings", "inputs", "operations", "input_shape", "a"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "architecture": st.fixed_dictionaries(
                {
                    "input_shape": JSON | st.just([2, 4, 4]),
                    "operations": JSON
                    | st.lists(
                        st.fixed_dictionaries(
                            {
                                "kind": st.sampled_from([*KINDS]) | JSON,
                                "settings": st.dictionaries(
                                    st.sampled_from(["kernel", "rate", "units", "bias", "channels"]), JSON, max_size=2
                                ),
                                "inputs": st.lists(st.integers(-2, 3), max_size=3) | JSON,
                            }
                        ),
                        max_size=3,
                    ),
                }
            )
        },
        optional={"hyperparameters": JSON},
    )
)
def test_garbage_is_a_candidate_or_refused(data: Any) -> None:
    try:
        candidate = Candidate.from_json(data)
    except InvalidArchitectureError:
        return
    assert Candidate.from_json(json.dumps(candidate.to_json())) == candidate
    assert len(candidate.key) == 32
    assert Candidate(candidate.architecture.canonical(), candidate.hyperparameters).key == candidate.key


@pytest.mark.parametrize("key", ["0" * 32])
def test_composed_trusts_its_caller(key: str) -> None:
    """`composed` is for checked pieces: it equals the checked value, field by field."""
    checked = small()
    composed = Architecture.composed(
        checked.input_shape, checked.operations, checked.shapes, checked.parameters, checked.macs
    )
    assert composed == checked
    assert hash(composed) == hash(checked)
    assert dataclasses.asdict(composed) == dataclasses.asdict(checked)
    assert Candidate(composed).key == Candidate(checked).key != key
    assert composed.canonical() == checked.canonical()
