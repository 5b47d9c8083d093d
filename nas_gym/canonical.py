"""The canonical form of an architecture: equal networks have equal forms, whatever way they were written.

Three steps: `simplify` removes what computes nothing, dead operations are pruned, and the rest is put into an
order that does not depend on how the graph was numbered. What counts as the same network is the same function
of inputs, weights and dropout masks in training mode:

* identities, dropout of rate 0, pooling with kernel 1, flattening of a vector are removed;
* ReLU after ReLU is one ReLU; dropout after dropout is one dropout with the keep rates multiplied;
* pooling after pooling of the same type is one pooling with the product of the kernels;
* average pooling that tiles the map before global average pooling is absorbed by it; global average pooling of a 1×1
  map is flattening, flattening of an average over the whole map is global average pooling;
* two operations without parameters that do the same to the same input are one.

Identities that would need other weights (merging two linear layers, say) are outside this definition.
"""

from collections.abc import Sequence
from functools import lru_cache

from nas_gym.operations import ACTIVATIONS, INPUT, KINDS, POOLS, Operation, Shape

# An operation inside a block: label, whether the order of the inputs is irrelevant, the inputs (0 is the block's
# entry, else 1 + position).
Row = tuple[str, bool, tuple[int, ...]]

# Kinds that `_Simplifier` may rewrite whatever comes before them; the others only after their own kind.
_REWRITTEN = {"identity", "flatten", "global_average_pool", "dropout", "relu", *POOLS}


def canonical_operations(
    operations: Sequence[Operation], shapes: Sequence[Shape], input_shape: Shape
) -> tuple[Operation, ...]:
    """Return the canonical form of a graph; empty if the network is the identity.

    Args:
        operations: Operations in topological order; the last one is the output.
        shapes: Output shape of every operation.
        input_shape: Shape of the network's input.
    """
    simplifier = _Simplifier(input_shape)
    moved: list[int] = []
    for operation, shape in zip(operations, shapes, strict=True):
        moved.append(simplifier.add(_renumbered(operation, moved), shape))
    return _ordered(_alive(simplifier.operations, moved[-1]))


def _renumbered(operation: Operation, moved: Sequence[int]) -> Operation:
    """Return the operation with inputs moved; itself where nothing changes."""
    inputs = operation.inputs
    if all(i == INPUT or moved[i] == i for i in inputs):
        return operation
    return Operation(operation.kind, operation.settings, tuple(i if i == INPUT else moved[i] for i in inputs))


class _Simplifier:
    """Takes operations one after the other and keeps what computes something."""

    def __init__(self, input_shape: Shape) -> None:
        self.operations: list[Operation] = []
        self._shapes: list[Shape] = []
        self._input_shape = input_shape
        self._pure: dict[tuple[str, tuple[int, ...]], int] = {}

    def add(self, operation: Operation, shape: Shape) -> int:
        """Append an operation in its simplest form; return the position that computes it."""
        if operation.kind in _REWRITTEN:
            replaced = self._rewrite(operation)
            if isinstance(replaced, int):
                return replaced
            operation = replaced
        if KINDS[operation.kind].pure:
            inputs = operation.inputs if len(operation.inputs) == 1 else tuple(sorted(operation.inputs))
            known = self._pure.setdefault((operation.label, inputs), len(self.operations))
            if known < len(self.operations):
                return known
        self.operations.append(operation)
        self._shapes.append(shape)
        return len(self.operations) - 1

    def _shape(self, position: int) -> Shape:
        return self._input_shape if position == INPUT else self._shapes[position]

    def _rewrite(self, operation: Operation) -> Operation | int:
        """Return the simpler operation, or the position of the input where it does nothing."""
        kind, source = operation.kind, operation.inputs[0]
        before = self.operations[source] if source != INPUT else None
        if kind in ACTIVATIONS:
            return source if before and before.kind == kind else operation
        if kind == "identity" or (kind == "flatten" and len(self._shape(source)) == 1):
            return source
        if kind in POOLS:
            return _merged_pool(operation, before)
        if kind == "dropout":
            return _merged_dropout(operation, before)
        return self._to_vector(operation, before)

    def _to_vector(self, operation: Operation, before: Operation | None) -> Operation:
        if before and before.kind == "average_pool":
            kernel, wider = int(before.settings[0][1]), before.inputs[0]
            _, height, width = self._shape(wider)
            whole = operation.kind == "global_average_pool" or height == width == kernel
            if whole and height % kernel == 0 and width % kernel == 0:
                return Operation("global_average_pool", (), (wider,))
        source = operation.inputs[0]
        if self._shape(source)[1:] == (1, 1) and operation.kind != "flatten":
            return Operation("flatten", (), (source,))
        return operation


def _merged_pool(operation: Operation, before: Operation | None) -> Operation | int:
    kernel = int(operation.settings[0][1])
    if kernel == 1:
        return operation.inputs[0]
    if before and before.kind == operation.kind:
        merged = kernel * int(before.settings[0][1])
        return Operation(operation.kind, (("kernel", merged),), before.inputs)
    return operation


def _merged_dropout(operation: Operation, before: Operation | None) -> Operation | int:
    rate = float(operation.settings[0][1])
    if rate == 0:
        return operation.inputs[0]
    if before and before.kind == "dropout":
        merged = round(1 - (1 - rate) * (1 - float(before.settings[0][1])), 12)
        return Operation("dropout", (("rate", merged),), before.inputs)
    return operation


def _alive(operations: list[Operation], output: int) -> list[Operation]:
    """Return the operations that reach the output, renumbered, the output last."""
    if output == INPUT:
        return []
    used = {i for operation in operations for i in operation.inputs}
    if output == len(operations) - 1 and len(used - {INPUT}) == output:
        return operations  # every operation but the output has a consumer, so every path ends there
    alive = {output}
    for position in range(output, -1, -1):
        if position in alive:
            alive.update(operations[position].inputs)
    moved: list[int] = []
    kept: list[Operation] = []
    for position in range(output + 1):
        moved.append(len(kept))
        if position in alive:
            kept.append(_renumbered(operations[position], moved))
    return kept


def _ordered(operations: list[Operation]) -> tuple[Operation, ...]:
    """Return the operations in canonical order.

    A position that every path passes is a cut, in whatever order the graph is written; between two cuts lies
    a small block, which `_block_order` orders (and remembers).
    """
    n = len(operations)
    first_used = [n] * (n + 1)
    for position in range(n - 1, -1, -1):
        inputs = operations[position].inputs
        first_used[position] = min(first_used[position + 1], inputs[0] if len(inputs) == 1 else min(inputs))
    result: list[Operation] = []
    start = 0
    for position in range(n):
        if first_used[position + 1] >= position:
            if position == start:
                result.append(operations[position])
            else:
                result.extend(_ordered_block(operations[start : position + 1], start))
            start = position + 1
    return tuple(result)


def _ordered_block(block: list[Operation], start: int) -> list[Operation]:
    """Return the operations from position ``start`` on, all fed by the operation before it, in canonical order."""
    rows = tuple((o.label, KINDS[o.kind].commutative, tuple(max(0, i - start + 1) for i in o.inputs)) for o in block)
    order, encoded = _block_order(rows)
    return [
        Operation(block[old].kind, block[old].settings, tuple(i + start - 1 for i in inputs))
        for old, (_, _, inputs) in zip(order, encoded, strict=True)
    ]


@lru_cache(maxsize=16_384)
def _block_order(block: tuple[Row, ...]) -> tuple[tuple[int, ...], tuple[Row, ...]]:
    """Return a block's canonical order: the old positions, and the rows renumbered in that order."""
    depth = [0]
    for _, _, inputs in block:
        depth.append(1 + max(depth[i] for i in inputs))
    labels = [(depth[i + 1], row[0]) for i, row in enumerate(block)]
    ranks = {label: rank for rank, label in enumerate(sorted(set(labels)), start=1)}
    encoded, order = _search(block, [0] + [ranks[label] for label in labels])
    return order, encoded


Leaf = tuple[tuple[Row, ...], tuple[int, ...]]


def _search(block: tuple[Row, ...], colours: list[int]) -> Leaf:
    """Return the smallest encoding below a colouring, with its order.

    Individualisation and refinement (McKay and Piperno 2014, arXiv 1301.1493, section 2), with one pruning
    rule: a vertex whose first leaf equals that of the cell's first vertex is its image under an automorphism.
    """
    colours = _refine(block, colours)
    cells: dict[int, list[int]] = {}
    for vertex, colour in enumerate(colours):
        cells.setdefault(colour, []).append(vertex)
    target = next((cells[c] for c in sorted(cells) if len(cells[c]) > 1), None)
    if target is None:
        return _encode(block, colours)
    leaf = _first_leaf(block, _individualise(colours, target[0]))
    best = _search(block, _individualise(colours, target[0]))
    for vertex in target[1:]:
        split = _individualise(colours, vertex)
        if _first_leaf(block, split) != leaf:
            best = min(best, _search(block, split))
    return best


def _individualise(colours: list[int], vertex: int) -> list[int]:
    """Return the colouring in which the vertex comes just before the others of its cell."""
    split = [2 * colour + 1 for colour in colours]
    split[vertex] -= 1
    return split


def _first_leaf(block: tuple[Row, ...], colours: list[int]) -> tuple[Row, ...]:
    while True:
        colours = _refine(block, colours)
        shared = [c for c in set(colours) if colours.count(c) > 1]
        if not shared:
            return _encode(block, colours)[0]
        colours = _individualise(colours, colours.index(min(shared)))


def _refine(block: tuple[Row, ...], colours: list[int]) -> list[int]:
    """Split colour classes by the colours of inputs and consumers until nothing changes."""
    n_classes = 0
    while len(set(colours)) != n_classes:
        n_classes = len(set(colours))
        uses: list[list[tuple[int, int]]] = [[] for _ in colours]
        takes: list[tuple[int, ...]] = [()]
        for vertex, (_, free, inputs) in enumerate(block, start=1):
            seen = [colours[i] for i in inputs]
            takes.append(tuple(sorted(seen) if free else seen))
            for place, i in enumerate(inputs):
                uses[i].append((colours[vertex], 0 if free else place))
        signatures = [(c, takes[v], tuple(sorted(uses[v]))) for v, c in enumerate(colours)]
        ranks = {signature: rank for rank, signature in enumerate(sorted(set(signatures)))}
        colours = [ranks[signature] for signature in signatures]
    return colours


def _encode(block: tuple[Row, ...], colours: list[int]) -> Leaf:
    """Return the rows in the order of a discrete colouring, whose first key is the depth: topological."""
    order = sorted(range(len(colours)), key=colours.__getitem__)
    moved = {old: new for new, old in enumerate(order)}
    rows = []
    for old in order[1:]:
        label, free, inputs = block[old - 1]
        places = [moved[i] for i in inputs]
        rows.append((label, free, tuple(sorted(places) if free else places)))
    return tuple(rows), tuple(old - 1 for old in order[1:])
