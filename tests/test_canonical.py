"""Keys: equal exactly where an independent oracle, written on networkx graphs, says that the networks are the same."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import MultiDiGraphMatcher
from torch import Tensor, nn

from nas_gym.architecture import Architecture, Candidate
from nas_gym.builder import build
from nas_gym.errors import InvalidArchitectureError
from nas_gym.operations import ACTIVATIONS, INPUT, Operation, Settings, Shape
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
    ResidualBlock,
)
from nas_gym.testing import random_walk

# The oracle -----------------------------------------------------------------------------------------------------------
#
# A network is a multigraph from "in" to "out" that is rewritten, one match at a time, until no rule matches. The normal
# form differs from the package's on purpose: every average over a whole map becomes the mean of a region, one pixel
# large, that is flattened, and flattening moves towards the output rather than towards the input.

ELEMENTWISE = {*ACTIVATIONS, "dropout"}
WEIGHTED = {"conv", "batch_norm", "linear"}
RANDOM = {"dropout"}


def graph_of(architecture: Architecture) -> nx.MultiDiGraph:
    """Return the network as it was written; nodes are positions, attributes kind, values and shape."""
    graph = nx.MultiDiGraph()
    graph.add_node("in", kind="in", values={}, shape=architecture.input_shape)
    for position, (operation, shape) in enumerate(zip(architecture.operations, architecture.shapes, strict=True)):
        graph.add_node(position, kind=operation.kind, values=dict(operation.settings), shape=shape)
        graph.add_edges_from(("in" if i == INPUT else i, position) for i in operation.inputs)
    graph.add_node("out", kind="out", values={}, shape=architecture.output_shape)
    graph.add_edge(len(architecture.operations) - 1, "out")
    return graph


class Rewriting:
    """Rewrites a network's graph to its normal form."""

    def __init__(self, graph: nx.MultiDiGraph) -> None:
        self.graph = graph
        self.fresh = 0
        rules: list[Callable[[], bool]] = [
            self.drop_dead,
            self.drop_idle,
            self.merge_pools,
            self.merge_dropouts,
            self.averages_to_regions,
            self.merge_regions,
            self.flatten_later,
            self.merge_equal,
        ]
        while any(rule() for rule in rules):
            pass

    # Reading and writing -----

    def kind(self, node: object) -> str:
        return self.graph.nodes[node]["kind"]

    def value(self, node: object) -> float:
        return next(iter(self.graph.nodes[node]["values"].values()))

    def shape(self, node: object) -> Shape:
        return self.graph.nodes[node]["shape"]

    def source(self, node: object) -> object:
        (source,) = self.graph.predecessors(node)
        return source

    def of_kind(self, *kinds: str) -> list:
        return [node for node in self.graph if self.kind(node) in kinds]

    def insert(self, kind: str, source: object, shape: Shape, **values: object) -> str:
        self.fresh += 1
        name = f"new {self.fresh}"
        self.graph.add_node(name, kind=kind, values=values, shape=shape)
        self.graph.add_edge(source, name)
        return name

    def replace(self, node: object, by: object) -> bool:
        """Let everything that reads a node read another one."""
        self.graph.add_edges_from([(by, reader) for _, reader, _ in self.graph.out_edges(node, keys=True)])
        self.graph.remove_node(node)
        return True

    def feed(self, node: object, source: object) -> bool:
        """Let a node read a new source, once."""
        self.graph.remove_edges_from(list(self.graph.in_edges(node, keys=True)))
        self.graph.add_edge(source, node)
        return True

    # Rules: each applies one match and returns whether it found one -----

    def drop_dead(self) -> bool:
        dead = set(self.graph) - nx.ancestors(self.graph, "out") - {"out", "in"}
        self.graph.remove_nodes_from(dead)
        return bool(dead)

    def drop_idle(self) -> bool:
        for node in self.of_kind("identity", "dropout", "max_pool", "average_pool", "flatten", "relu", "region"):
            kind, source = self.kind(node), self.source(node)
            if (
                kind == "identity"
                or (kind == "dropout" and self.value(node) == 0)
                or (kind in ("max_pool", "average_pool") and self.value(node) == 1)
                or (kind == "flatten" and len(self.shape(source)) == 1)
                or (kind == "relu" and self.kind(source) == "relu")
                or (kind == "region" and self.shape(source)[1:] == (1, 1))
            ):
                return self.replace(node, source)
        return False

    def merge_pools(self) -> bool:
        for node in self.of_kind("max_pool", "average_pool"):
            source = self.source(node)
            if self.kind(source) == self.kind(node):
                self.graph.nodes[node]["values"] = {"kernel": self.value(node) * self.value(source)}
                return self.feed(node, self.source(source))
        return False

    def merge_dropouts(self) -> bool:
        for node in self.of_kind("dropout"):
            source = self.source(node)
            if self.kind(source) == "dropout" and self.graph.out_degree(source) == 1:
                kept = (1 - self.value(node)) * (1 - self.value(source))
                self.graph.nodes[node]["values"] = {"rate": round(1 - kept, 9)}
                return self.feed(node, self.source(source))
        return False

    def averages_to_regions(self) -> bool:
        """An average over the whole map is the mean of a region: rows and columns from the upper left corner."""
        for node in self.of_kind("global_average_pool"):
            source = self.source(node)
            channels, height, width = self.shape(source)
            region = self.insert("region", source, (channels, 1, 1), rows=height, columns=width)
            return self.replace(node, self.insert("flatten", region, (channels,)))
        for node in self.of_kind("average_pool"):
            if self.shape(node)[1:] == (1, 1):
                side = self.value(node)
                region = self.insert("region", self.source(node), self.shape(node), rows=side, columns=side)
                return self.replace(node, region)
        return False

    def merge_regions(self) -> bool:
        for node in self.of_kind("region"):
            source = self.source(node)
            if self.kind(source) == "average_pool":
                values = self.graph.nodes[node]["values"]
                self.graph.nodes[node]["values"] = {name: side * self.value(source) for name, side in values.items()}
                return self.feed(node, self.source(source))
        return False

    def flatten_later(self) -> bool:
        for node in self.of_kind(*ELEMENTWISE, "batch_norm"):
            source = self.source(node)
            if self.kind(source) != "flatten":
                continue
            earlier = self.source(source)
            if self.kind(node) in ELEMENTWISE or self.shape(earlier)[1:] == (1, 1):
                readers = list(self.graph.out_edges(node, keys=True))
                self.feed(node, earlier)
                flattened = self.insert("flatten", node, self.shape(node))
                self.graph.nodes[node]["shape"] = self.shape(earlier)
                self.graph.remove_edges_from(readers)
                self.graph.add_edges_from((flattened, reader) for _, reader, _ in readers)
                return True
        return False

    def merge_equal(self) -> bool:
        known: dict[object, object] = {}
        for node in self.graph:
            if self.kind(node) in {"in", "out", *WEIGHTED, *RANDOM}:
                continue
            sources = sorted(str(source) for source, _, _ in self.graph.in_edges(node, keys=True))
            place = (label(self.graph.nodes[node]), tuple(sources))
            if place in known:
                return self.replace(node, known[place])
            known[place] = node
        return False


def label(facts: dict) -> tuple:
    values = {name: round(value, 6) for name, value in facts["values"].items()}
    return facts["kind"], tuple(sorted(values.items()))


def normal_form(architecture: Architecture) -> nx.MultiDiGraph:
    return Rewriting(graph_of(architecture)).graph


def matching(one: nx.MultiDiGraph, other: nx.MultiDiGraph) -> dict | None:
    """Return an isomorphism between two normal forms, or None."""
    if one.nodes["in"]["shape"] != other.nodes["in"]["shape"] or count(one) != count(other):
        return None
    matcher = MultiDiGraphMatcher(one, other, node_match=lambda a, b: label(a) == label(b))
    return dict(matcher.mapping) if matcher.is_isomorphic() else None


def count(graph: nx.MultiDiGraph) -> Counter:
    return Counter(label(facts) for _, facts in graph.nodes(data=True))


def key(architecture: Architecture) -> str:
    return Candidate(architecture).key


# What equal and unequal keys promise ----------------------------------------------------------------------------------


def outputs(module: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module(inputs)


def inputs_of(architecture: Architecture, n: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn((n, *architecture.input_shape), generator=generator, dtype=torch.float64)


class Mask(nn.Module):
    """Stands in for dropout: a fixed mask for every place of the batch, so that rates multiply as they should."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, inputs: Tensor) -> Tensor:
        places = torch.arange(inputs.numel(), dtype=inputs.dtype).view(inputs.shape)
        return inputs * (1 - self.rate) ** (1 + torch.sin(1.7 * places + 0.3))


def with_masks(module: nn.Module) -> nn.Module:
    """Return the module in training mode, with fixed masks for dropout."""
    layers = module.layers
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.Dropout):
            layers[position] = Mask(layer.p)
    return module.double().train()


def assert_equal_with_copied_weights(one: Architecture, other: Architecture, mapping: dict) -> None:
    first, second = with_masks(build(one, seed=1)), with_masks(build(other, seed=2))
    for left, right in mapping.items():
        if isinstance(left, int) and one.operations[left].kind in WEIGHTED:
            second.layers[right].load_state_dict(first.layers[left].state_dict())
    batch = inputs_of(one)
    torch.testing.assert_close(outputs(first, batch), outputs(second, batch), atol=1e-5, rtol=1e-5)


def assert_same_network(one: Architecture, other: Architecture, mapping: dict) -> None:
    """Equal keys: the canonical modules are equal bit for bit, the written ones equal once weights are copied."""
    first, second = build(one.canonical(), seed=5), build(other.canonical(), seed=5)
    states = first.state_dict(), second.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    batch = inputs_of(one)
    torch.manual_seed(0)
    output = outputs(first, batch.float())
    torch.manual_seed(0)
    assert torch.equal(output, outputs(second, batch.float()))
    assert output.shape[1:] == one.output_shape == other.output_shape

    assert_equal_with_copied_weights(one, other, mapping)
    canonical = matching(normal_form(one), normal_form(one.canonical()))
    assert canonical is not None
    assert_equal_with_copied_weights(one, one.canonical(), canonical)


def assert_oracle_agrees(one: Architecture, other: Architecture) -> bool:
    """Assert that keys are equal exactly if the oracle says so, and what that promises; return whether they are."""
    mapping = matching(normal_form(one), normal_form(other))
    assert (key(one) == key(other)) == (mapping is not None), (one.operations, other.operations)
    if mapping is not None:
        assert_same_network(one, other, mapping)
    return mapping is not None


# Walks ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Atom:
    """One operation as a layer."""

    kind: str
    values: Settings = ()

    @property
    def name(self) -> str:
        return f"{self.kind} {self.values}"

    def steps(self, shape: Shape, activation: str) -> list:
        kind = activation if self.kind == "activation" else self.kind
        return [(kind, self.values, (0,))]


def atom(kind: str, **values: float) -> Atom:
    return Atom(kind, tuple(sorted(values.items())))


ATOMS: tuple[Layer, ...] = (
    Convolution(3),
    atom("conv", channels=3, kernel=3, stride=1, groups=1, bias=0),
    Convolution(3, activation=False),
    ResidualBlock(3),
    BatchNorm(),
    atom("activation"),
    Dropout(0.1),
    Dropout(0.2),
    atom("dropout", rate=0.28),
    atom("dropout", rate=0),
    MaxPool(2),
    MaxPool(3),
    AveragePool(2),
    AveragePool(3),
    atom("average_pool", kernel=1),
    atom("identity"),
    atom("flatten"),
    GlobalPool(),
    FullyConnected(4, activation=False),
)
SHAPES = [(2, 8, 8), (3, 7, 7), (1, 2, 2), (2, 12, 7), (3, 1, 1)]


def space_of_atoms(shape: Shape, activations: tuple[str, ...] = ("relu", "silu"), max_layers: int = 5) -> ChainSpace:
    return ChainSpace(
        shape, 3, catalogue=ATOMS, max_layers=max_layers, activations=activations, limits=Limits(min_layers=0)
    )


def partition(networks: Iterable[Architecture]) -> dict[str, list[Architecture]]:
    by_key: dict[str, list[Architecture]] = defaultdict(list)
    for network in networks:
        by_key[key(network)].append(network)
    return by_key


def assert_partition_is_that_of_the_oracle(by_key: dict[str, list[Architecture]]) -> tuple[int, int]:
    """Compare all pairs; return how many pairs were equal and how many close ones were not."""
    forms = {digest: normal_form(networks[0]) for digest, networks in by_key.items()}
    equal = unequal = 0
    for digest, networks in by_key.items():
        for network in networks[1:]:
            mapping = matching(forms[digest], normal_form(network))
            assert mapping is not None, (networks[0].operations, network.operations)
            if network != networks[0]:
                equal += 1
                if equal % 20 == 1:
                    assert_same_network(networks[0], network, mapping)
    alike: dict[object, list[str]] = defaultdict(list)
    for digest, form in forms.items():
        alike[frozenset(count(form).items())].append(digest)
    for digests in alike.values():
        for one, other in combinations(digests, 2):
            assert matching(forms[one], forms[other]) is None, (by_key[one][0], by_key[other][0])
            unequal += 1
    return equal, unequal


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_walks_share_keys_exactly_where_the_oracle_says_so(shape: Shape) -> None:
    rng = np.random.default_rng(11)
    spaces = [space_of_atoms(shape, max_layers=most) for most in (2, 3, 5)]
    walks = (space.candidate(random_walk(space, rng)).architecture for space in spaces for _ in range(110))
    equal, unequal = assert_partition_is_that_of_the_oracle(partition(walks))
    assert equal >= 50
    assert unequal >= 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fifteen_thousand_walks_share_keys_exactly_where_the_oracle_says_so(shape: Shape, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    spaces = [space_of_atoms(shape, max_layers=8), space_of_atoms(shape, max_layers=3), ChainSpace(shape, 3)]
    walks = (space.candidate(random_walk(space, rng)).architecture for space in spaces for _ in range(250))
    equal, unequal = assert_partition_is_that_of_the_oracle(partition(walks))
    assert equal >= 50
    assert unequal >= 20


def behaviour(architecture: Architecture) -> tuple:
    """Return what a network computes with weights that depend only on their order, and what that takes."""
    module = with_masks(build(architecture, seed=0))
    generator = torch.Generator()
    with torch.no_grad():
        for place, weights in enumerate(module.parameters()):
            generator.manual_seed(1_000 * place + weights.numel())
            weights.copy_(torch.randn(weights.numel(), generator=generator, dtype=torch.float64).view_as(weights))
    output = outputs(module, inputs_of(architecture, n=5)).flatten().tolist()
    return tuple(f"{value:.6g}" for value in output), architecture.parameters, architecture.macs


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_networks_that_behave_alike_at_equal_cost_share_a_key(shape: Shape) -> None:
    """An oracle without any rules: the outputs. (SiLU: outputs of dead ReLUs would say nothing.)"""
    space, rng = space_of_atoms(shape, ("silu", "tanh")), np.random.default_rng(5)
    networks = [space.candidate(random_walk(space, rng)).architecture for _ in range(150)]
    behaviours = {network: behaviour(network) for network in networks}
    shared = 0
    for one, other in combinations(behaviours, 2):
        alike = behaviours[one] == behaviours[other]
        shared += alike
        assert (key(one) == key(other)) == alike, (one.operations, other.operations)
    assert shared >= 10


CONV_4 = {"channels": 4, "kernel": 3, "stride": 1, "groups": 1}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([Convolution(4)], [atom("conv", **CONV_4, bias=0), BatchNorm(), atom("activation")], True),
        ([Convolution(4, activation=False)], [atom("conv", **CONV_4, bias=0), BatchNorm()], True),
        ([Convolution(4, batch_norm=False)], [atom("conv", **CONV_4, bias=0), atom("activation")], False),
        ([GlobalPool()], [], True),
        ([AveragePool(2), GlobalPool()], [], True),
        ([AveragePool(2)], [AveragePool(4)], True),
        ([AveragePool(8), FullyConnected(4)], [GlobalPool(), FullyConnected(4)], True),
        ([AveragePool(3)], [], False),
        ([AveragePool(3), AveragePool(2)], [AveragePool(2), AveragePool(3)], True),
        ([AveragePool(6), atom("flatten")], [AveragePool(2), AveragePool(3), GlobalPool()], True),
        ([MaxPool(2), MaxPool(2)], [MaxPool(4)], True),
        ([MaxPool(2), AveragePool(2)], [AveragePool(2), MaxPool(2)], False),
        ([MaxPool(8)], [AveragePool(8)], False),
        ([MaxPool(8), GlobalPool()], [MaxPool(8), atom("flatten")], True),
        ([MaxPool(8), Dropout(0.1), GlobalPool()], [MaxPool(8), GlobalPool(), Dropout(0.1)], True),
        ([AveragePool(8), Dropout(0.1), GlobalPool()], [GlobalPool(), Dropout(0.1)], True),
        ([Dropout(0.1), GlobalPool()], [GlobalPool(), Dropout(0.1)], False),
        ([MaxPool(8), BatchNorm(), GlobalPool()], [MaxPool(8), atom("flatten"), BatchNorm()], True),
        ([Dropout(0.1), Dropout(0.2)], [Dropout(0.28)], True),
        ([Dropout(0.1), Dropout(0.2)], [Dropout(0.2), Dropout(0.1)], True),
        ([Dropout(0.1), BatchNorm(), Dropout(0.2)], [BatchNorm(), Dropout(0.28)], False),
        ([Dropout(0.5), atom("flatten"), Dropout(0.5)], [atom("flatten"), Dropout(0.75)], True),
        ([Dropout(0)], [], True),
        ([BatchNorm(), BatchNorm()], [BatchNorm()], False),
        ([Convolution(4), atom("activation")], [Convolution(4)], True),  # with ReLU
        ([FullyConnected(4)], [atom("flatten"), FullyConnected(4)], True),
        ([FullyConnected(4), atom("flatten")], [FullyConnected(4)], True),
        ([Convolution(4), FullyConnected(4)], [Convolution(4), atom("flatten"), FullyConnected(4)], True),
        ([FullyConnected(4, activation=False), FullyConnected(4)], [FullyConnected(4)], False),
    ],
    ids=str,
)
def test_known_pairs_of_chains(one: list[Layer], other: list[Layer], equal: bool) -> None:
    def network(layers: list[Layer], activation: str = "relu") -> Architecture:
        catalogue = tuple({layer.name: layer for layer in layers or [GlobalPool()]}.values())
        names = [layer.name for layer in catalogue]
        space = ChainSpace(
            (2, 8, 8),
            3,
            catalogue=catalogue,
            max_layers=max(1, len(layers)),
            limits=Limits(min_layers=0),
            activations=(activation,),
        )
        return space.candidate(
            (0, *(names.index(layer.name) for layer in layers), *([len(names)] * (not layers)))
        ).architecture

    assert assert_oracle_agrees(network(one), network(other)) == equal


def test_the_activation_counts_only_where_it_is_applied() -> None:
    space = ChainSpace((1, 8, 8), 10, catalogue=(MaxPool(2), Convolution(4)), max_layers=2)
    without = {space.candidate((activation, 0, 2)).key for activation in range(5)}
    applied = {space.candidate((activation, 1, 2)).key for activation in range(5)}
    assert (len(without), len(applied)) == (1, 5)


# Graphs ---------------------------------------------------------------------------------------------------------------


def choices_of_settings(kind: str, shape: Shape) -> list[Settings]:
    if kind == "conv":
        common = [("bias", 0), ("channels", shape[0])]
        return [(*common, ("groups", g), ("kernel", k), ("stride", s)) for g, k, s in [(1, 1, 1), (1, 3, 1), (1, 1, 2)]]
    if kind in ("max_pool", "average_pool"):
        return [(("kernel", kernel),) for kernel in (1, 2, 3)]
    if kind == "dropout":
        return [(("rate", rate),) for rate in (0, 0.1, 0.2)]
    return [(("units", shape[0]),)] if kind == "linear" else [()]


KINDS_DRAWN = [
    *("conv", "conv", "add", "add", "add", "add", "relu", "relu", "tanh", "dropout", "dropout", "identity"),
    *("batch_norm", "max_pool", "average_pool", "global_average_pool", "flatten", "flatten", "linear"),
]


class Drawn:
    """A random graph under construction. ``choose(options)`` picks one; hypothesis or numpy stands behind it."""

    def __init__(self, choose: Callable[[list], object], shape: Shape) -> None:
        self.choose = choose
        self.shape = shape
        self.operations: list[Operation] = []

    def architecture(self, operations: list[Operation] | None = None) -> Architecture | None:
        try:
            return Architecture(self.shape, tuple(self.operations if operations is None else operations))
        except InvalidArchitectureError:
            return None

    def shapes(self) -> list[Shape]:
        network = self.architecture()
        return list(network.shapes) if network else []

    def grow(self) -> None:
        """Append an operation on recent values, if the drawn kind fits them."""
        shapes = [*self.shapes(), self.shape]
        recent = [i for i in range(-1, len(self.operations)) if i >= len(self.operations) - 4]
        source = self.choose(recent)
        kind = self.choose(KINDS_DRAWN)
        values = self.choose(choices_of_settings(kind, shapes[source]))
        inputs = (source,)
        if kind == "add":
            same = [i for i in range(-1, len(self.operations)) if shapes[i] == shapes[source]]
            inputs = (source, *(self.choose(same) for _ in range(self.choose([1, 1, 2]))))
        self.try_operations([*self.operations, Operation(kind, values, inputs)])

    def finish(self) -> None:
        """Add what nothing reads, so that branches live: sums of equal shapes, most of the time."""
        read = {i for operation in self.operations for i in operation.inputs}
        shapes = self.shapes()
        last = len(self.operations) - 1
        open_ends = tuple(i for i in range(last) if i not in read and shapes[i] == shapes[last])
        if open_ends and self.choose([True, True, False]):
            self.try_operations([*self.operations, Operation("add", (), (*open_ends, last))])

    def try_operations(self, operations: list[Operation]) -> None:
        if self.architecture(operations) is not None:
            self.operations = operations

    def edit(self) -> None:
        """Change the graph in one place: many of the changes change nothing of the network."""
        position = self.choose(list(range(len(self.operations))))
        operation = self.operations[position]
        change = self.choose([self.insert_idle, self.split, self.copy, self.swap, self.rewire, self.reset, self.bury])
        change(position, operation)

    def inserted(self, position: int, new: list[Operation], reads: Callable[[int], bool] = lambda reader: True) -> None:
        """Insert operations behind a position; those that read the position, and ``reads``, read the last new one."""
        n = len(new)

        def moved(i: int, reader: int) -> int:
            return i if i < position else i + n if i > position or reads(reader) else i

        rest = [
            operation.taking(tuple(moved(i, reader) for i in operation.inputs))
            for reader, operation in enumerate(self.operations[position + 1 :], start=position + 1)
        ]
        self.try_operations([*self.operations[: position + 1], *new, *rest])

    def insert_idle(self, position: int, operation: Operation) -> None:
        kind, values = self.choose(
            [("identity", ()), ("dropout", (("rate", 0),)), ("average_pool", (("kernel", 1),)), ("relu", ())]
        )
        self.inserted(position, [Operation(kind, values, (position,))])

    def split(self, position: int, operation: Operation) -> None:
        """Write a pooling as two, or put a second dropout behind one."""
        if operation.kind in ("max_pool", "average_pool", "dropout"):
            self.inserted(position, [operation.taking((position,))])

    def copy(self, position: int, operation: Operation) -> None:
        """Duplicate an operation for some of its readers: the same network exactly if it is pure."""
        chosen = {reader for reader in range(len(self.operations)) if self.choose([True, False])}
        self.inserted(position, [operation], chosen.__contains__)

    def swap(self, position: int, operation: Operation) -> None:
        """Exchange two operations in series."""
        source = operation.inputs[0]
        if len(operation.inputs) == 1 and source != INPUT and len(self.operations[source].inputs) == 1:
            before = self.operations[source]
            changed = list(self.operations)
            changed[source] = operation.taking(before.inputs)
            changed[position] = before.taking((source,))
            self.try_operations(changed)

    def rewire(self, position: int, operation: Operation) -> None:
        place = self.choose(list(range(len(operation.inputs))))
        other = self.choose(list(range(-1, position)))
        inputs = (*operation.inputs[:place], other, *operation.inputs[place + 1 :])
        self.try_operations([*self.operations[:position], operation.taking(inputs), *self.operations[position + 1 :]])

    def reset(self, position: int, operation: Operation) -> None:
        shapes = [*self.shapes(), self.shape]
        values = self.choose(choices_of_settings(operation.kind, shapes[operation.inputs[0]]))
        changed = Operation(operation.kind, values, operation.inputs)
        self.try_operations([*self.operations[:position], changed, *self.operations[position + 1 :]])

    def bury(self, position: int, operation: Operation) -> None:
        """Add a dead copy."""
        self.inserted(position, [operation], lambda reader: False)

    def renumber(self) -> None:
        """Write the operations in another topological order, and the inputs of sums in another order."""
        left, moved, result = list(range(len(self.operations) - 1)), {INPUT: INPUT}, []
        for _ in range(len(self.operations)):
            ready = [i for i in left if all(j in moved for j in self.operations[i].inputs)]
            chosen = self.choose(ready) if ready else len(self.operations) - 1
            inputs = [moved[i] for i in self.operations[chosen].inputs]
            if len(inputs) > 1 and self.choose([True, False]):
                inputs = inputs[::-1]
            moved[chosen] = len(result)
            result.append(self.operations[chosen].taking(tuple(inputs)))
            if chosen in left:
                left.remove(chosen)
        self.operations = result


SHAPES_DRAWN: list[Shape] = [(2, 6, 6), (2, 1, 1), (2, 7, 4), (3,)]


def draw_pair(choose: Callable[[list], object], n_operations: int, n_edits: int) -> tuple[Architecture, Architecture]:
    """Return a random graph and the same one edited and renumbered."""
    drawn = Drawn(choose, choose(SHAPES_DRAWN))
    while len(drawn.operations) < 1:
        drawn.grow()
    for _ in range(n_operations - 1):
        drawn.grow()
    drawn.finish()
    one = drawn.architecture()
    for _ in range(n_edits):
        drawn.edit()
    drawn.renumber()
    other = drawn.architecture()
    assert one is not None
    assert other is not None
    return one, other


@st.composite
def pairs(draw: st.DrawFn, n_edits: st.SearchStrategy[int]) -> tuple[Architecture, Architecture]:
    return draw_pair(lambda options: draw(st.sampled_from(options)), draw(st.integers(1, 12)), draw(n_edits))


@settings(max_examples=150, deadline=None)
@given(pairs(st.integers(1, 3)))
def test_graphs_share_keys_exactly_where_the_oracle_says_so(pair: tuple[Architecture, Architecture]) -> None:
    event("equal" if assert_oracle_agrees(*pair) else "unequal")


@settings(max_examples=100, deadline=None)
@given(pairs(st.just(0)))
def test_keys_do_not_depend_on_the_numbering(pair: tuple[Architecture, Architecture]) -> None:
    one, other = pair
    assert one.canonical_operations == other.canonical_operations
    assert key(one) == key(other)
    assert one.canonical() == other.canonical() == one.canonical().canonical()
    assert key(one.canonical()) == key(one)
    assert one.canonical().output_shape == one.output_shape


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))])
def test_many_pairs_of_graphs_meet_both_answers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers: Counter[bool] = Counter()
    for _ in range(220):
        one, other = draw_pair(
            lambda options: options[int(rng.integers(len(options)))], int(rng.integers(3, 16)), int(rng.integers(1, 4))
        )
        if one != other:
            answers[assert_oracle_agrees(one, other)] += 1
    assert min(answers[True], answers[False]) >= 30


def network(*operations: tuple, shape: Shape = (2, 6, 6)) -> Architecture:
    """Return an architecture from tuples (kind, inputs, settings); the one before is the default input."""
    return Architecture(
        shape,
        tuple(
            Operation(kind, rest[1] if len(rest) > 1 else (), rest[0] if rest else (position - 1,))
            for position, (kind, *rest) in enumerate(operations)
        ),
    )


CONV: Settings = (("bias", 0), ("channels", 2), ("groups", 1), ("kernel", 3), ("stride", 1))
HALF: Settings = (("rate", 0.5),)
POOL: Settings = (("kernel", 2),)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        pytest.param(
            network(("conv", (-1,), CONV), ("conv", (-1,), CONV), ("add", (0, 1))),
            network(("conv", (-1,), CONV), ("add", (0, 0))),
            False,
            id="two convolutions or one used twice: equal in a bottom-up hash",
        ),
        pytest.param(
            network(("relu", (-1,)), ("relu", (-1,)), ("add", (0, 1))),
            network(("relu", (-1,)), ("add", (0, 0))),
            True,
            id="two relus are one used twice",
        ),
        pytest.param(
            network(("dropout", (-1,), HALF), ("dropout", (-1,), HALF), ("add", (0, 1))),
            network(("dropout", (-1,), HALF), ("add", (0, 0))),
            False,
            id="two dropouts draw two masks",
        ),
        pytest.param(
            network(("dropout", (-1,), HALF), ("dropout", (0,), HALF), ("add", (0, 1))),
            network(("dropout", (-1,), HALF), ("dropout", (-1,), (("rate", 0.75),)), ("add", (0, 1))),
            False,
            id="a dropout that something else reads keeps its mask",
        ),
        pytest.param(
            network(("dropout", (-1,), HALF), ("identity",), ("dropout", (1,), HALF), ("tanh", (0,))),
            network(("tanh", (-1,)), ("dropout", (-1,), HALF), ("tanh", (1,))),
            True,
            id="what reads a dropout may be dead",
        ),
        pytest.param(
            network(
                ("max_pool", (-1,), POOL),
                ("max_pool", (0,), POOL),
                ("conv", (0,), CONV),
                ("max_pool", (2,), POOL),
                ("add", (1, 3)),
            ),
            network(
                ("max_pool", (-1,), (("kernel", 4),)),
                ("max_pool", (-1,), POOL),
                ("conv", (1,), CONV),
                ("max_pool", (2,), POOL),
                ("add", (3, 0)),
            ),
            True,
            id="a pooling that something else reads merges all the same",
        ),
        pytest.param(
            network(("tanh", (-1,)), ("flatten", (0,)), ("conv", (0,), CONV), ("flatten", (2,)), ("add", (1, 3))),
            network(
                ("flatten", (-1,)),
                ("tanh", (0,)),
                ("tanh", (-1,)),
                ("conv", (2,), CONV),
                ("flatten", (3,)),
                ("add", (1, 4)),
            ),
            True,
            id="flattening before an activation that something else reads",
        ),
        pytest.param(
            network(
                ("dropout", (-1,), HALF), ("flatten", (0,)), ("conv", (0,), CONV), ("flatten", (2,)), ("add", (1, 3))
            ),
            network(
                ("flatten", (-1,)),
                ("dropout", (0,), HALF),
                ("dropout", (-1,), HALF),
                ("conv", (2,), CONV),
                ("flatten", (3,)),
                ("add", (1, 4)),
            ),
            False,
            id="flattening before a dropout that something else reads",
        ),
        pytest.param(
            network(
                ("batch_norm", (-1,)),
                ("tanh",),
                ("conv", (1,), CONV),
                ("flatten",),
                ("flatten", (1,)),
                ("add", (3, 4)),
                shape=(2, 1, 1),
            ),
            network(
                ("batch_norm", (-1,)),
                ("tanh",),
                ("conv", (1,), CONV),
                ("flatten",),
                ("flatten", (0,)),
                ("tanh",),
                ("add", (3, 5)),
                shape=(2, 1, 1),
            ),
            True,
            id="flattening stops at a normalisation that something else reads in the end",
        ),
        pytest.param(
            network(
                ("batch_norm", (-1,)),
                ("tanh",),
                ("conv", (1,), CONV),
                ("flatten",),
                ("flatten", (1,)),
                ("add", (3, 4)),
                shape=(2, 1, 1),
            ),
            network(
                ("batch_norm", (-1,)),
                ("tanh",),
                ("conv", (1,), CONV),
                ("flatten",),
                ("flatten", (-1,)),
                ("batch_norm",),
                ("tanh",),
                ("add", (3, 6)),
                shape=(2, 1, 1),
            ),
            False,
            id="one normalisation or two",
        ),
        pytest.param(
            network(
                ("max_pool", (-1,), POOL),
                ("max_pool", (0,), POOL),
                ("max_pool", (-1,), POOL),
                ("conv", (2,), CONV),
                ("max_pool", (3,), (("kernel", 3),)),
                ("add", (1, 4)),
            ),
            network(
                ("max_pool", (-1,), (("kernel", 4),)),
                ("max_pool", (-1,), POOL),
                ("conv", (1,), CONV),
                ("max_pool", (2,), (("kernel", 3),)),
                ("add", (0, 3)),
            ),
            True,
            id="a pooling that was merged is written once more",
        ),
        pytest.param(
            network(("conv", (-1,), CONV), ("conv", (-1,), CONV), ("relu", (0,)), ("tanh", (1,)), ("add", (2, 3))),
            network(("conv", (-1,), CONV), ("tanh", (0,)), ("conv", (-1,), CONV), ("relu", (2,)), ("add", (1, 3))),
            True,
            id="branches in another order",
        ),
        pytest.param(
            network(("conv", (-1,), CONV), ("conv", (0,), CONV), ("add", (0, 1)), ("add", (2, 1))),
            network(("conv", (-1,), CONV), ("conv", (0,), CONV), ("add", (0, 1)), ("add", (2, 0))),
            False,
            id="one edge differs",
        ),
        pytest.param(
            network(("identity", (-1,)), ("dropout", (0,), (("rate", 0.0),))),
            network(("average_pool", (-1,), (("kernel", 1),))),
            True,
            id="the identity",
        ),
        pytest.param(
            network(("flatten", (-1,)), shape=(3,)), network(("relu", (-1,)), shape=(3,)), False, id="vectors"
        ),
        pytest.param(network(("relu", (-1,))), network(("relu", (-1,)), shape=(2, 6, 5)), False, id="input shapes"),
    ],
)
def test_known_pairs_of_graphs(one: Architecture, other: Architecture, equal: bool) -> None:
    assert assert_oracle_agrees(one, other) == equal
    assert assert_oracle_agrees(other, one) == equal


def rings(lengths: list[int], rng: np.random.Generator) -> Architecture:
    """Return sums of neighbouring convolutions around rings, written in a random order; refinement sees no ring."""
    n = sum(lengths)
    place = list(map(int, rng.permutation(n)))
    sums = []
    for start, length in zip(np.cumsum([0, *lengths]), lengths, strict=False):
        sums += [(place[start + i], place[start + (i + 1) % length]) for i in range(length)]
    operations = [("conv", (-1,), CONV)] * n
    operations += [("add", sums[i]) for i in rng.permutation(n)]
    operations += [("conv", (n + i,), CONV) for i in range(n)]
    return network(*operations, ("add", tuple(range(2 * n, 3 * n))))


def test_graphs_that_refinement_alone_cannot_tell_apart_have_different_keys() -> None:
    rng = np.random.default_rng(0)
    keys = [
        {key(rings(lengths, rng)) for _ in range(8)}
        for lengths in ([12], [6, 6], [6, 3, 3], [4, 4, 4], [3, 3, 3, 3], [4, 8])
    ]
    assert [len(same) for same in keys] == [1] * 6
    assert len(set().union(*keys)) == 6
    assert assert_oracle_agrees(rings([6], rng), rings([6], rng))
    assert not assert_oracle_agrees(rings([6], rng), rings([3, 3], rng))


def symmetric(branches: int, depth: int, blocks: int, rng: np.random.Generator) -> Architecture:
    """Return blocks in series, each a sum of equal branches of convolutions and activations, written at random."""
    operations: list[Operation] = []
    entry = INPUT
    for _ in range(blocks):
        ends = [entry] * branches
        turns = rng.permutation([branch for branch in range(branches) for _ in range(depth)])
        for branch in map(int, turns):
            operations.append(Operation("conv", CONV, (ends[branch],)))
            ends[branch] = len(operations) - 1
        operations.append(Operation("add", (), tuple(int(end) for end in rng.permutation(ends))))
        entry = len(operations) - 1
    return Architecture((2, 6, 6), tuple(operations))


@pytest.mark.parametrize(
    ("branches", "depth", "blocks"), [(6, 1, 1), (6, 3, 5), (12, 2, 3), (24, 1, 2), (32, 1, 1), (3, 10, 4)]
)
def test_symmetric_graphs_are_quick(branches: int, depth: int, blocks: int) -> None:
    rng = np.random.default_rng(0)
    networks = [symmetric(branches, depth, blocks, rng) for _ in range(2)]
    started = time.process_time()
    keys = {key(one) for one in networks}
    assert time.process_time() - started < 1
    assert len(keys) == 1


def test_equal_blocks_within_equal_blocks_are_quick() -> None:
    """Four equal branches, each of which holds four equal branches."""

    def nested(order: np.random.Generator) -> Architecture:
        operations: list[Operation] = []
        for _ in range(4):
            operations.append(Operation("conv", CONV))
            outer = len(operations) - 1
            operations += [Operation("conv", CONV, (outer,))] * 4
            inner = tuple(int(i) for i in order.permutation(range(outer + 1, outer + 5)))
            operations.append(Operation("add", (), inner))
        sums = [position for position, operation in enumerate(operations) if operation.kind == "add"]
        operations.append(Operation("add", (), tuple(int(i) for i in order.permutation(sums))))
        return Architecture((2, 6, 6), tuple(operations))

    rng = np.random.default_rng(0)
    networks = [nested(rng), nested(rng)]
    started = time.process_time()
    assert key(networks[0]) == key(networks[1])
    assert time.process_time() - started < 1


def test_long_runs_do_not_exhaust_the_stack() -> None:
    elementwise = [("tanh", (-1,)), *[("tanh",)] * 1_500, ("flatten",)]
    idle = [("identity", (-1,)), *[("identity",)] * 1_500, ("flatten",)]
    flattened = network(("flatten", (-1,)), *[("tanh",)] * 1_501)
    assert key(network(*elementwise)) == key(flattened)
    assert key(network(*idle)) == key(network(("flatten", (-1,))))


def test_many_dropouts_of_high_rate_stay_a_network() -> None:
    almost_all: Settings = (("rate", 0.9999),)
    chain = network(("dropout", (-1,), almost_all), *[("dropout", (i,), almost_all) for i in range(9)])
    assert all(operation.settings[0][1] < 1 for operation in chain.canonical().operations)


def test_the_key_is_pinned() -> None:
    """Stored results are found again only while keys stay what they are."""
    architecture = network(("conv", (-1,), CONV), ("relu",), ("add", (0, 1)), ("global_average_pool",))
    assert Candidate(architecture).key == "500c2fbeab50973070e02f998d0fe14e"
    assert (
        Candidate.of(architecture, {"learning_rate": 0.1, "batch_size": 32}).key == "30f1f8386a30951287868a7c9031262b"
    )
