"""The canonical form of an architecture: equal networks have equal forms, whatever way they were written.

Dead operations are pruned, what computes nothing is removed (`_Simplifier`, until nothing changes), and the rest is
put into an order that does not depend on how the graph was numbered. Two networks are the same if these rules, each
of which keeps the function of inputs, weights and dropout masks in training mode, make them isomorphic:

* identities, dropout of rate 0, pooling with kernel 1, flattening of a vector are removed;
* ReLU after ReLU is one ReLU; pooling after pooling of the same type is one pooling with the product of the kernels;
  dropout after a dropout that nothing else reads is one dropout with the keep rates multiplied;
* global average pooling of a 1×1 map is flattening; average pooling before an average over the whole map (global
  average pooling, or flattening of 1×1) has the smallest kernel that reads the same pixels, and kernel 1 is removed;
* flattening comes before activations; and before dropout, and batch normalisation of a 1×1 map, that nothing else reads;
* two operations without parameters that do the same to the same input are one.

Identities that would need other weights (merging two linear layers, say) or another amount of computation (moving a
1×1 convolution across a pooling) are outside this definition.
"""

from collections.abc import Sequence
from functools import lru_cache

from nas_gym.operations import ACTIVATIONS, INPUT, KINDS, POOLS, Number, Operation, Shape, cost

# An operation inside a block: label, whether the order of the inputs is irrelevant, the inputs (0 is the block's
# entry, else 1 + position).
Row = tuple[str, bool, tuple[int, ...]]

_SIMPLIFIED = {"identity", "flatten", "global_average_pool", "dropout", "relu", *POOLS}  # what `_simpler` looks at
_IMPURE = {kind for kind, facts in KINDS.items() if not facts.pure}
_COMMUTATIVE = {kind for kind, facts in KINDS.items() if facts.commutative}


def canonical_operations(
    operations: Sequence[Operation], shapes: Sequence[Shape], input_shape: Shape
) -> tuple[Operation, ...]:
    """Return the canonical form of a graph; empty if the network is the identity.

    Args:
        operations: Operations in topological order; the last one is the output.
        shapes: Output shape of every operation.
        input_shape: Shape of the network's input.
    """
    output = len(operations) - 1
    while output != INPUT:
        uses, cuts = _scan(operations, output)
        if 0 in uses[: output + 1] or len(operations) > output + 1:
            operations, shapes = _alive(operations, shapes, uses)
            uses, cuts = _scan(operations, len(operations) - 1)
        simplifier = _Simplifier(operations, shapes, input_shape, uses)
        if not simplifier.changed:
            return _ordered(operations, cuts)
        operations, shapes, output = simplifier.operations, simplifier.shapes, simplifier.output
    return ()


def _scan(operations: Sequence[Operation], output: int) -> tuple[list[int], list[int]]:
    """Return how often each operation is read on the way to the output, and the cuts, the output first.

    The output counts as read, the last place stands for the network's input, 0 is dead. A cut is a position that
    every path passes; whatever order a graph without dead operations is written in, it has the same cuts.
    """
    uses = [0] * (len(operations) + 1)
    uses[output] = 1
    cuts = []
    first_read = output  # by the operations behind
    for position in range(output, -1, -1):
        if first_read >= position:
            cuts.append(position)
        if uses[position]:
            for i in operations[position].inputs:
                uses[i] += 1
                if i < first_read:
                    first_read = i
    return uses, cuts


def _alive(
    operations: Sequence[Operation], shapes: Sequence[Shape], uses: list[int]
) -> tuple[list[Operation], list[Shape]]:
    """Return the operations that are read, renumbered, and their shapes."""
    kept = [position for position in range(len(operations)) if uses[position]]
    moved = {old: new for new, old in enumerate(kept)} | {INPUT: INPUT}
    alive = [operations[i].taking(tuple([moved[j] for j in operations[i].inputs])) for i in kept]
    return alive, [shapes[i] for i in kept]


class _Simplifier:
    """One pass of simplification over a graph without dead operations.

    Attributes:
        operations: The simpler graph in topological order, some of it perhaps dead now.
        shapes: Output shape of every operation.
        output: Position of the output.
        changed: Whether there was anything to simplify.
    """

    def __init__(
        self, operations: Sequence[Operation], shapes: Sequence[Shape], input_shape: Shape, uses: list[int]
    ) -> None:
        self.operations: list[Operation] = []
        self.shapes: list[Shape] = []
        self.output = INPUT
        self.changed = False
        self._input_shape = input_shape
        self._shared = {INPUT} if uses[INPUT] > 1 else set()  # positions that are, or may be, read more than once
        self._pure: dict[tuple[str, tuple[int, ...]], int] = {}
        moved = {INPUT: INPUT}
        for position, operation in enumerate(operations):
            if self.changed:
                operation = operation.taking(tuple([moved[i] for i in operation.inputs]))
            if operation.kind in _SIMPLIFIED or self._shared:
                place = self._add(operation, shapes[position])
            else:
                place = self._append(operation, shapes[position])
            moved[position] = place
            if uses[position] > 1:
                self._shared.add(place)
        self.output = place

    def _add(self, operation: Operation, shape: Shape) -> int:
        """Append an operation, in its simplest form; return the position that computes it."""
        if operation.kind in _SIMPLIFIED:
            simpler = self._simpler(operation)
            if simpler is not None:
                self.changed = True
                return simpler
        if operation.inputs[0] in self._shared and operation.kind not in _IMPURE:
            same = (operation.label, tuple(sorted(operation.inputs)))
            known = self._pure.setdefault(same, len(self.operations))
            if known < len(self.operations):
                self.changed = True
                self._shared.add(known)
                return known
        return self._append(operation, shape)

    def _append(self, operation: Operation, shape: Shape) -> int:
        self.operations.append(operation)
        self.shapes.append(shape)
        return len(self.operations) - 1

    def _apply(self, kind: str, source: int, **settings: Number) -> int:
        pairs = tuple(settings.items())
        return self._add(Operation(kind, pairs, (source,)), cost(kind, pairs, (self._shape(source),)).shape)

    def _shape(self, position: int) -> Shape:
        return self._input_shape if position == INPUT else self.shapes[position]

    def _past(self, position: int) -> int:
        """Return the input of an operation, for something that reads it in place of the operation."""
        source = self.operations[position].inputs[0]
        if position in self._shared:
            self._shared.add(source)
        return source

    def _simpler(self, operation: Operation) -> int | None:
        """Return the position of what computes the same in a simpler way, or None if nothing does."""
        kind, source = operation.kind, operation.inputs[0]
        before = self.operations[source] if source != INPUT else None
        if kind in ("flatten", "global_average_pool"):
            return self._simpler_vector(kind, source, before)
        value = operation.settings[0][1] if operation.settings else None
        if kind == "identity" or (kind == "dropout" and value == 0) or (kind in POOLS and value == 1):
            return source
        if before is None or before.kind != kind:
            return None
        if kind == "relu":
            return source
        if kind in POOLS:
            return self._apply(kind, self._past(source), kernel=int(value) * int(before.settings[0][1]))
        rate = round(1 - (1 - value) * (1 - before.settings[0][1]), 12)
        return self._apply(kind, self._past(source), rate=rate) if source not in self._shared and rate < 1 else None

    def _simpler_vector(self, kind: str, source: int, before: Operation | None) -> int | None:
        """Return the position of what computes a flattening or a global average in a simpler way."""
        shape = self._shape(source)
        if len(shape) == 1:
            return source
        single = shape[1:] == (1, 1)
        if before and before.kind == "average_pool" and (single or kind == "global_average_pool"):
            kernel = int(before.settings[0][1])
            smallest = _smallest_kernel(kernel, self._shape(before.inputs[0]))
            if smallest < kernel:
                wider = self._past(source)
                wider = wider if smallest == 1 else self._apply("average_pool", wider, kernel=smallest)
                return self._apply("global_average_pool", wider)
        if kind == "global_average_pool":
            return self._apply("flatten", source) if single else None
        later: list[Operation] = []
        while source != INPUT and self._flattens_before(source):
            later.append(self.operations[source])
            source = self._past(source)
        if not later:
            return None
        place = self._apply("flatten", source)
        for operation in reversed(later):
            place = self._add(operation.taking((place,)), self._shape(place))
        return place

    def _flattens_before(self, position: int) -> bool:
        """Return whether an operation can do its work on the flattened input."""
        kind = self.operations[position].kind
        single = self.shapes[position][1:] == (1, 1)
        return kind in ACTIVATIONS or (
            (kind == "dropout" or (kind == "batch_norm" and single)) and position not in self._shared
        )


def _smallest_kernel(kernel: int, shape: Shape) -> int:
    """Return the smallest kernel whose whole windows cover the same pixels of a map as this one's."""
    covered = [size // kernel * kernel for size in shape[1:]]
    return next(k for k in range(1, kernel + 1) if [size // k * k for size in shape[1:]] == covered)


def _ordered(operations: Sequence[Operation], cuts: list[int]) -> tuple[Operation, ...]:
    """Return the operations in canonical order: between two cuts lies a block that is ordered on its own."""
    if len(cuts) == len(operations):
        return tuple(operations)
    result: list[Operation] = []
    for cut in reversed(cuts):
        start = len(result)
        if cut == start:
            result.append(operations[cut])
        else:
            result += _ordered_block(operations[start : cut + 1], start)
    return tuple(result)


def _ordered_block(block: Sequence[Operation], start: int) -> list[Operation]:
    """Return the operations from position ``start`` on, all fed by the operation before it, in canonical order."""
    before = start - 1
    rows = tuple([(o.label, o.kind in _COMMUTATIVE, tuple([i - before for i in o.inputs])) for o in block])
    order, encoded = _block_order(rows)
    return [
        block[old].taking(tuple([i + before for i in inputs]))
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
