"""The cells of NAS-Bench-201: names, classes, sizes and networks are the benchmark's."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from nas_gym.builder import build
from nas_gym.data import Dataset
from nas_gym.data.dataset import Split
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Fidelity, Recipe, evaluate
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import CellSpace, Prefix
from nas_gym.spaces.cell import (
    EDGES,
    OPERATIONS,
    canonical_cell,
    from_official_string,
    official_string,
    unique_string,
)
from nas_gym.testing import check_space

CELLS = list(product(range(5), repeat=6))
NONE, SKIP, CONV1, CONV3, POOL = range(5)
ALIVE: Prefix = (CONV3, POOL, SKIP, CONV1, NONE, CONV3)
DEAD: Prefix = (CONV3, CONV1, NONE, SKIP, NONE, NONE)  # what edges 0→1 and 0→2 compute is never read


@pytest.fixture(scope="module")
def published(real_data: Callable[[str], Path]) -> dict[str, Any]:
    """Columns of the published table; the decisions as prefixes."""
    read = pq.read_table(real_data("nasbench201") / "nasbench201_cifar10.parquet").to_pydict()
    edges = [read[f"op_{start}to{end}"] for start, end in EDGES]
    return read | {"cells": list(zip(*edges, strict=True))}


def test_the_space_keeps_the_contract() -> None:
    check_space(CellSpace(), walks=30)
    check_space(CellSpace((1, 8, 8), 3, channels=2, cells=1), walks=10)


@pytest.mark.parametrize(
    "arguments", [{"input_shape": (3, 32)}, {"n_classes": 1}, {"channels": 0}, {"cells": 0}, {"input_shape": (0, 8, 8)}]
)
def test_what_is_no_cell_space_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="cell space"):
        CellSpace(**arguments)


def test_strings_are_the_official_ones(published: dict[str, Any]) -> None:
    assert [official_string(cell) for cell in published["cells"]] == published["arch_str"]
    assert sorted(published["cells"]) == CELLS


def test_strings_are_read_back() -> None:
    assert all(from_official_string(official_string(cell)) == cell for cell in CELLS[::97])
    for wrong in ("", "|none~0|", official_string(ALIVE) + "|", official_string(ALIVE).replace("none", "nothing")):
        with pytest.raises(ConfigurationError, match="string of a cell"):
            from_official_string(wrong)


def test_unique_strings_are_the_published_classes(published: dict[str, Any]) -> None:
    pairs = {(unique_string(c), i) for c, i in zip(published["cells"], published["iso_rep_index"], strict=True)}
    assert len(pairs) == len({string for string, _ in pairs}) == len({index for _, index in pairs}) == 6466


def simplified(cell: Prefix) -> nx.MultiDiGraph:
    """Return what a cell computes, by rules of our own: zeros drop out, pools of one thing are one, sums are flat.

    A convolution of zeros is a constant that batch normalisation learns, whatever its kernel.
    """
    graph = nx.MultiDiGraph()
    pools: dict[tuple[int, ...], int] = {}

    def add(label: str, sources: Iterable[int]) -> int:
        node = len(graph)
        graph.add_node(node, label=label)
        graph.add_edges_from((source, node) for source in sources)
        return node

    # The value of a node is the multiset of what is added up in it.
    values: list[tuple[int, ...]] = [(add("input", ()),)]
    sums: dict[tuple[int, ...], int] = {}

    def read(value: tuple[int, ...]) -> int:
        if len(value) == 1:
            return value[0]
        if value not in sums:
            sums[value] = add("sum", value)
        return sums[value]

    for node in range(1, 4):
        total: list[int] = []
        for (start, end), operation in zip(EDGES, cell, strict=True):
            source = values[start] if end == node else ()
            if end != node or operation == NONE or (not source and operation in (SKIP, POOL)):
                continue
            if operation == SKIP:
                total.append(read(source))
            elif operation == POOL:
                pools.setdefault(source, -1)
                if pools[source] < 0:
                    pools[source] = add("pool", [read(source)])
                total.append(pools[source])
            elif not source:
                total.append(add("constant", ()))
            else:
                total.append(add(OPERATIONS[operation], [read(source)]))
        values.append(tuple(sorted(total)))
    output = add("output", [read(values[-1])] if values[-1] else [])
    return graph.subgraph([output, *nx.ancestors(graph, output)]).copy()


def classes(cells: Iterable[Prefix]) -> list[tuple[nx.MultiDiGraph, list[Prefix]]]:
    """Return cells that are isomorphic once simplified, together."""
    buckets: dict[str, list[tuple[nx.MultiDiGraph, list[Prefix]]]] = defaultdict(list)

    def match(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return bool(one["label"] == other["label"])

    for cell in cells:
        graph = simplified(cell)
        nodes = graph.nodes(data="label")
        invariant = sorted((label, graph.in_degree(n), sorted(nodes[m] for m in graph[n])) for n, label in nodes)
        bucket = buckets[str(invariant)]
        for known, members in bucket:
            if nx.is_isomorphic(graph, known, node_match=match, edge_match=lambda a, b: len(a) == len(b)):
                members.append(cell)
                break
        else:
            bucket.append((graph, [cell]))
    return [found for bucket in buckets.values() for found in bucket]


def check_classes(cells: list[Prefix]) -> int:
    """Check that our keys part cells exactly as isomorphism does; return the number of classes."""
    found = classes(cells)
    keys = [{canonical_cell(cell) for cell in members} for _, members in found]
    assert all(len(one) == 1 for one in keys), "isomorphic cells have one key"
    assert len(set().union(*keys)) == len(found), "cells that are not have different keys"
    return len(found)


@pytest.mark.parametrize("operations", [(NONE, SKIP, CONV3), (SKIP, CONV1, POOL), (NONE, POOL, CONV1)])
def test_canonical_keys_are_those_of_isomorphic_cells(operations: tuple[int, ...]) -> None:
    assert 1 < check_classes(list(product(operations, repeat=6))) < 3**6


@pytest.mark.slow
def test_the_number_of_canonical_classes() -> None:
    assert check_classes(CELLS) == 6398


def test_sizes_are_the_published_ones(published: dict[str, Any]) -> None:
    """The published multiply-adds count the bias of the classifier too: one more a class."""
    space, n_classes = CellSpace(), 10
    for row in np.random.default_rng(0).choice(len(CELLS), 150, replace=False):
        architecture = space.candidate(published["cells"][row]).architecture
        assert architecture.parameters == published["params_cifar10"][row]
        assert architecture.macs == published["flops_cifar10"][row] - n_classes


@pytest.mark.parametrize("cell", [ALIVE, DEAD, (NONE,) * 6, (SKIP,) * 6, (CONV3,) * 6, (POOL,) * 6])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_modules_are_as_predicted(cell: Prefix, memory_format: torch.memory_format) -> None:
    candidate = CellSpace((3, 16, 16), 7, channels=4, cells=2).candidate(cell)
    module = build(candidate.trained, seed=0)
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == candidate.architecture.parameters
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(memory_format=memory_format)
    answer = module.to(memory_format=memory_format)(images)
    assert answer.shape == (2, 7) and bool(torch.isfinite(answer).all())


def test_the_published_network_is_built(published: dict[str, Any]) -> None:
    row = published["cells"].index(DEAD)
    module = build(CellSpace().candidate(DEAD).trained, seed=0)
    assert sum(p.numel() for p in module.parameters()) == published["params_cifar10"][row]


@pytest.mark.parametrize("cell", [ALIVE, DEAD])
def test_tiny_cells_train_with_their_dead_edges(cell: Prefix) -> None:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randint(0, 255, (40, 1, 8, 8), dtype=torch.uint8, generator=generator), torch.arange(40) % 2)
    split.inputs[split.targets == 1, :, :4] //= 8
    dataset = Dataset("halves", split, split, split, ("a", "b"), (0.3,), (0.3,))
    trainer = TrainingEvaluator(dataset, Recipe(epochs=6, batch_size=20, learning_rate=0.1), device="cpu")
    candidate = CellSpace((1, 8, 8), 2, channels=4, cells=1).candidate(cell)
    (evaluation,) = evaluate(trainer, [candidate])
    assert evaluation.ok and evaluation.key == candidate.key
    assert evaluation.parameters == candidate.architecture.parameters, "nothing was pruned"
    assert evaluation.accuracy is not None and evaluation.accuracy > 0.8
    assert evaluate(trainer, [candidate], fidelity=Fidelity(epochs=1))[0].ok
    if cell == DEAD:
        assert candidate.architecture.canonical().parameters < evaluation.parameters
