"""The cells of NAS-Bench-201: six edges, five operations each; also as the network that the benchmark trains."""

from collections.abc import Sequence

from nas_gym.architecture import INPUT, Architecture, Operation, Shape
from nas_gym.errors import ConfigurationError
from nas_gym.operations import Number
from nas_gym.spaces.categorical import CategoricalSpace
from nas_gym.spaces.network_graph import NetworkGraph, Row, alive
from nas_gym.spaces.space import Prefix, Slot

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # in the order of the official architecture string
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
N_CELLS = len(OPERATIONS) ** len(EDGES)
STAGES = 3


class CellSpace(CategoricalSpace):
    """The 15,625 cells of NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326), one decision an edge.

    A cell has four nodes; an edge from each to every later one holds an operation, and a node is the sum of what comes
    in. The network is the benchmark's: a 3×3 convolution to `channels`, three stages of `cells` cells with a residual
    block of stride 2 between them that doubles the channels, batch normalisation, ReLU, global average pooling, a
    linear layer. Dead edges are built and trained too, as in the benchmark, so that parameters and MACs are its own.

    Args:
        input_shape: Of one image.
        n_classes: Outputs of the classifier.
        channels: Of the first stage.
        cells: In every stage.
    """

    def __init__(
        self, input_shape: Shape = (3, 32, 32), n_classes: int = 10, *, channels: int = 16, cells: int = 5
    ) -> None:
        if len(input_shape) != 3 or min(*input_shape, channels, cells, n_classes - 1) < 1:
            raise ConfigurationError(
                f"a cell space needs (channels, height, width), 2 classes, 1 channel and 1 cell or more, got "
                f"{input_shape}, {n_classes}, {channels}, {cells}"
            )
        self.input_shape, self.n_classes, self.channels, self.cells = tuple(input_shape), n_classes, channels, cells
        sizes = "x".join(map(str, self.input_shape))
        super().__init__(
            edge_slots(),
            name=f"nasbench201/1/{sizes}-{n_classes}-{channels}-{cells}",
            network=self.architecture,
        )

    def architecture(self, prefix: Prefix) -> Architecture:
        """Return the whole network of six decisions."""
        graph = _Graph(self.input_shape)
        here = graph.batch_norm(graph.conv(INPUT, self.channels, 3))
        for stage in range(STAGES):
            if stage:
                here = _reduction(graph, here, self.channels * 2**stage)
            for _ in range(self.cells):
                here = _cell(graph, here, prefix)
        here = graph.add("global_average_pool", graph.add("relu", graph.batch_norm(here)))
        graph.add("linear", here, units=self.n_classes)
        return Architecture(self.input_shape, tuple(graph.operations))

    def graph(self, prefix: Prefix) -> NetworkGraph:
        """Return what is alive in one cell of six decisions; see `cell_graph`."""
        return cell_graph(prefix)


def edge_slots() -> tuple[Slot, ...]:
    """Return the six decisions."""
    return tuple(Slot(f"edge {start}→{end}", OPERATIONS) for start, end in EDGES)


class _Graph:
    """Operations that are written one after the other."""

    def __init__(self, input_shape: Shape) -> None:
        self.operations: list[Operation] = []
        self._shapes: dict[int, Shape] = {INPUT: input_shape}

    def add(self, kind: str, *inputs: int, **settings: Number) -> int:
        """Append an operation; return its position."""
        from nas_gym.operations import cost

        operation = Operation(kind, tuple(sorted(settings.items())), inputs)
        self.operations.append(operation)
        place = len(self.operations) - 1
        self._shapes[place] = cost(kind, operation.settings, tuple(self._shapes[i] for i in inputs)).shape
        return place

    def conv(self, source: int, channels: int, kernel: int, stride: int = 1) -> int:
        return self.add("conv", source, bias=0, channels=channels, groups=1, kernel=kernel, stride=stride)

    def batch_norm(self, source: int) -> int:
        return self.add("batch_norm", source)

    def relu_conv(self, source: int, channels: int, kernel: int, stride: int = 1) -> int:
        """Append ReLU, a convolution without bias and batch normalisation."""
        return self.batch_norm(self.conv(self.add("relu", source), channels, kernel, stride))

    def sum(self, inputs: Sequence[int]) -> int:
        return inputs[0] if len(inputs) == 1 else self.add("add", *inputs)

    def zero(self, source: int) -> int:
        channels, height, width = self._shapes[source]
        return self.add("zero", source, channels=channels, height=height, width=width)

    def channels(self, source: int) -> int:
        return self._shapes[source][0]


def _cell(graph: _Graph, entry: int, prefix: Prefix) -> int:
    nodes = [entry]
    for node in range(1, 4):
        into = [
            _edge(graph, nodes[start], OPERATIONS[action])
            for (start, end), action in zip(EDGES, prefix, strict=True)
            if end == node
        ]
        nodes.append(graph.sum(into))
    return nodes[-1]


def _edge(graph: _Graph, source: int, name: str) -> int:
    if name == "none":
        return graph.zero(source)
    if name == "skip_connect":
        return graph.add("identity", source)
    if name == "avg_pool_3x3":
        return graph.add("smooth", source, kernel=3)
    return graph.relu_conv(source, graph.channels(source), 1 if name == "nor_conv_1x1" else 3)


def _reduction(graph: _Graph, source: int, channels: int) -> int:
    """Append the benchmark's residual block, which halves the map."""
    inside = graph.relu_conv(graph.relu_conv(source, channels, 3, stride=2), channels, 3)
    beside = graph.conv(graph.add("average_pool", source, kernel=2), channels, 1)
    return graph.add("add", beside, inside)


def official_string(prefix: Prefix) -> str:
    """Return the architecture string of the benchmark, such as ``|nor_conv_3x3~0|+|none~0|…|``."""
    names = [OPERATIONS[action] for action in prefix]
    nodes = []
    for node in range(1, 4):
        into = [f"{name}~{start}" for (start, end), name in zip(EDGES, names, strict=True) if end == node]
        nodes.append(f"|{'|'.join(into)}|")
    return "+".join(nodes)


def from_official_string(text: str) -> Prefix:
    """Return the decisions of an architecture string of the benchmark.

    Raises:
        ConfigurationError: It is none.
    """
    operations = tuple(part.partition("~")[0] for node in text.split("+") for part in node.strip("|").split("|"))
    known = len(operations) == len(EDGES) and set(operations) <= set(OPERATIONS)
    prefix = tuple(OPERATIONS.index(operation) for operation in operations) if known else ()
    if not known or official_string(prefix) != text:
        raise ConfigurationError(f"expected the string of a cell such as {official_string((3,) * 6)}, got {text!r}")
    return prefix


def unique_string(prefix: Prefix) -> str:
    """Return the benchmark's own name of a cell's class; isomorphic cells, by its rule, have the same.

    What is read through *none*, or from a node that is zero, is zero; *skip_connect* is what it reads; a node is the
    sorted sum of the rest (the authors' ``to_unique_str`` with zeros considered; 6,466 classes).
    """
    nodes = ["0"]
    for node in range(1, 4):
        terms = []
        for (start, end), action in zip(EDGES, prefix, strict=True):
            if end != node:
                continue
            if OPERATIONS[action] == "none" or nodes[start] == "#":
                terms.append("#")
            elif OPERATIONS[action] == "skip_connect":
                terms.append(nodes[start])
            else:
                terms.append(f"({nodes[start]})@{OPERATIONS[action]}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def cell_graph(prefix: Prefix) -> NetworkGraph:
    """Return the operations of a cell that something reaches and that reach its output, as a labelled graph.

    *none* and what reads only zeros is left out, *skip_connect* is what it reads, a node is all that its readers read,
    as often as it comes in. The last row is the output; a cell that is zero, or only skips, is that row alone.
    """
    rows: list[Row] = []
    nodes: list[list[int]] = [[INPUT]]
    for node in range(1, 4):
        into: list[int] = []
        for (start, end), action in zip(EDGES, prefix, strict=True):
            if end != node or OPERATIONS[action] == "none" or not nodes[start]:
                continue
            if OPERATIONS[action] == "skip_connect":
                into += nodes[start]
            else:
                rows.append((OPERATIONS[action], tuple(sorted(nodes[start]))))
                into.append(len(rows) - 1)
        nodes.append(into)
    return alive([*rows, ("output", tuple(sorted(nodes[-1])))])


def canonical_cell(prefix: Prefix) -> str:
    """Return our own canonical key of one cell: equal exactly for cells that compute the same by `nas_gym.canonical`.

    Finer than `unique_string` where a convolution reads zeros, whose batch normalisation still learns a constant, and
    coarser where that keeps apart what only zeros are added to.
    """
    from nas_gym.architecture import Candidate

    graph = _Graph((2, 4, 4))
    end = _cell(graph, graph.add("tanh", INPUT), prefix)  # an entry that no operation of a cell can be merged with
    graph.add("tanh", end)
    return Candidate(Architecture((2, 4, 4), tuple(graph.operations))).key
