"""A network as a small labelled graph, and the names of its parts: what models of networks look at."""

from collections import Counter
from collections.abc import Sequence

from nas_gym.architecture import Candidate

Row = tuple[str, tuple[int, ...]]
NetworkGraph = tuple[Row, ...]
DEPTH = 3  # rounds of relabelling
MOST_PATHS = 64


def candidate_graph(candidate: Candidate) -> NetworkGraph:
    """Return the graph of a candidate: the operations of the canonical form, nothing dead or idle among them.

    A row is a label and the positions of what it reads, -1 being the network's input; the last is the output.
    """
    return tuple([(operation.label, operation.inputs) for operation in candidate.architecture.canonical_operations])


def alive(rows: Sequence[Row]) -> NetworkGraph:
    """Return the rows on a way to the last one, which is the output, renumbered."""
    needed = {len(rows) - 1}
    for place in range(len(rows) - 1, -1, -1):
        if place in needed:
            needed.update(rows[place][1])
    order = [place for place in range(len(rows)) if place in needed]
    moved = {-1: -1} | {old: new for new, old in enumerate(order)}
    return tuple([(rows[old][0], tuple([moved[i] for i in rows[old][1]])) for old in order])


def operation_counts(graph: NetworkGraph) -> Counter[str]:
    """Return how often each operation occurs, by its label and, where that holds settings, by its kind too."""
    counts = Counter([label for label, _ in graph])
    for label, _ in graph:
        kind = label.partition("(")[0]
        if kind != label:
            counts[kind] += 1
    return counts


def subtree_counts(graph: NetworkGraph, depth: int = DEPTH) -> Counter[str]:
    """Return how often each way of being made occurs: an operation, with what it reads, with what these read, ….

    The labels of Weisfeiler and Lehman (Shervashidze et al. 2011, JMLR 12) over the inputs of an operation, in
    rounds 1 to ``depth``.
    """
    names = ["input", *[label for label, _ in graph]]  # of position -1, 0, …
    counts: Counter[str] = Counter()
    for level in range(1, depth + 1):
        names = ["input"] + [f"{label}<{','.join(sorted([names[i + 1] for i in inputs]))}>" for label, inputs in graph]
        counts.update([f"{level}:{name}" for name in names[1:]])
    return counts


def path_counts(graph: NetworkGraph) -> Counter[str]:
    """Return how often each sequence of operations occurs among the ways from the input to the output.

    The path encoding of BANANAS (White et al. 2019, arXiv 1910.11858) on what is alive. Empty for a graph of more than
    `MOST_PATHS` ways.
    """
    ways: list[Counter[str]] = [Counter({"": 1})]
    for label, inputs in graph:
        here: Counter[str] = Counter()
        for i in inputs:
            for way, count in ways[i + 1].items():
                here[f"{way}>{label}"] += count
        if here.total() > MOST_PATHS:
            return Counter()
        ways.append(here)
    return ways[-1] if graph else Counter()
