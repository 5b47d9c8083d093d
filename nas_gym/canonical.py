"""The canonical form of an architecture: equal networks have equal forms, whatever way they were written.

Dead operations are pruned, what computes nothing is removed (`_Graph`, until nothing changes), and the rest is put
into an order that does not depend on how the graph was numbered. Two networks are the same if these rules, each
of which keeps the function of inputs, weights and dropout masks in training mode, make them isomorphic:

* identities, dropout of rate 0, pooling with kernel 1, flattening of a vector are removed;
* ReLU after ReLU is one ReLU; pooling after pooling of the same type is one pooling with the product of the kernels;
  dropout after a dropout that nothing else reads is one dropout with the keep rates multiplied;
* global average pooling of a 1×1 map is flattening; average pooling before an average over the whole map (global
  average pooling, or flattening of 1×1) has the smallest kernel that reads the same pixels, and kernel 1 is removed;
* flattening comes before activations; also before dropout, and before batch normalisation of a 1×1 map, that nothing
  else reads;
* two operations without parameters that do the same to the same input are one;
* what only makes zeros of zeros (pooling, ReLU, a convolution without bias, …) is zero, and a sum leaves zeros out.

Identities that would need other weights (merging two linear layers, say) or another amount of computation (moving an
activation or a 1×1 convolution across a pooling) are outside this definition.
"""

from collections.abc import Sequence
from functools import lru_cache

from nas_gym.operations import ACTIVATIONS, INPUT, KINDS, POOLS, Operation, Settings, Shape, cost

# An operation inside a block: label, whether the order of the inputs is irrelevant, the inputs (0 is the block's
# entry, else 1 + position).
Row = tuple[str, bool, tuple[int, ...]]

# What computes the same as an operation: a position, and kind and settings of what is applied to it, one by one.
Simpler = tuple[int, Sequence[tuple[str, Settings]]]

_SIMPLIFIED = {"identity", "flatten", "global_average_pool", "dropout", "relu", *POOLS}
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
    operations, shapes, output = list(operations), list(shapes), len(operations) - 1
    if any(operation.kind == "zero" for operation in operations):
        operations, shapes = _without_zeros(operations, shapes)
        output = len(operations) - 1
    while output != INPUT:
        uses, shared, cuts = _scan(operations, output)
        if 0 in uses:
            operations, shapes = _alive(operations, shapes, uses)
            uses, shared, cuts = _scan(operations, len(operations) - 1)
        graph = _Graph(operations, shapes, input_shape, shared)
        first = graph.first_simplified()
        if first is None:
            return _ordered(operations, cuts)
        operations, shapes, output = graph.simplified(first, uses)
    return ()


# What gives zeros where all inputs are zero.
_KEEPS_ZERO = {
    "zero",
    "identity",
    "dropout",
    "relu",
    "tanh",
    "silu",
    "gelu",
    "max_pool",
    "average_pool",
    "smooth",
    "add",
}
_KEEPS_ZERO |= {"flatten", "global_average_pool"}


def _without_zeros(operations: list[Operation], shapes: list[Shape]) -> tuple[list[Operation], list[Shape]]:
    """Return the graph without what adds zeros; zeros that something else reads are made of the network's input.

    Vectors of zeros are left as they are computed: `zero` makes maps.
    """
    zero: list[bool] = []
    moved: list[int] = []  # where what an operation computes is now
    result: list[Operation] = []
    sizes: list[Shape] = []

    def add(operation: Operation, shape: Shape) -> int:
        result.append(operation)
        sizes.append(shape)
        return len(result) - 1

    for operation, shape in zip(operations, shapes, strict=True):
        inputs = [INPUT if i == INPUT else moved[i] for i in operation.inputs]
        zeros = [i != INPUT and zero[i] for i in operation.inputs]
        biased = operation.kind == "conv" and dict(operation.settings)["bias"]
        keeps = operation.kind in _KEEPS_ZERO or (operation.kind == "conv" and not biased)
        zero.append(operation.kind == "zero" or (keeps and all(zeros) and len(shape) == 3))
        if zero[-1]:
            settings = (("channels", shape[0]), ("height", shape[1]), ("width", shape[2]))
            moved.append(add(Operation("zero", settings), shape))
            continue
        if operation.kind == "add" and any(zeros):
            inputs = [i for i, is_zero in zip(inputs, zeros, strict=True) if not is_zero]
        if operation.kind == "add" and len(inputs) == 1:
            moved.append(add(Operation("identity", (), (inputs[0],)), shape))
            continue
        moved.append(add(operation.taking(tuple(inputs)), shape))
    return result, sizes


def is_series(operations: Sequence[Operation]) -> bool:
    """Return whether every operation takes the one before it and nothing else."""
    return [operation.inputs for operation in operations] == _series(len(operations))


@lru_cache
def _series(n: int) -> list[tuple[int, ...]]:
    return [(position - 1,) for position in range(n)]


def _scan(operations: Sequence[Operation], output: int) -> tuple[list[int], set[int], Sequence[int]]:
    """Return how often each operation is read on the way to the output, the shared ones, and the cuts, last first.

    The output counts as read, so that 0 is dead. Shared is what is read more than once, the network's input
    included. A cut is a position that every path passes, in whatever order a graph without dead operations is written.
    """
    n = len(operations)
    if output == n - 1 and is_series(operations):
        return [1] * n, set(), range(output, -1, -1)
    uses = [0] * (n + 1)  # the last one, at position -1, is the network's input
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
    return uses[:n], {i for i in range(INPUT, n) if uses[i] > 1}, cuts


def _alive(
    operations: Sequence[Operation], shapes: Sequence[Shape], uses: list[int]
) -> tuple[list[Operation], list[Shape]]:
    """Return the operations that are read, renumbered, and their shapes."""
    kept = [position for position, n in enumerate(uses) if n]
    moved = {old: new for new, old in enumerate(kept)} | {INPUT: INPUT}
    alive = [operations[i].taking(tuple([moved[j] for j in operations[i].inputs])) for i in kept]
    return alive, [shapes[i] for i in kept]


class _Graph:
    """Operations that are read to find what is simpler, and that grow when the simpler graph is written.

    Args:
        operations: In topological order.
        shapes: Output shape of every operation.
        input_shape: Shape of the network's input.
        shared: Positions that are, or may be, read more than once.
    """

    def __init__(self, operations: list[Operation], shapes: list[Shape], input_shape: Shape, shared: set[int]) -> None:
        self.operations = operations
        self.shapes = shapes
        self._input_shape = input_shape
        self._shared = shared
        self._pure: dict[tuple[str, tuple[int, ...]], int] = {}  # only those that take something shared

    def first_simplified(self) -> int | None:
        """Return the first position that something simpler or earlier computes, or None."""
        for position, operation in enumerate(self.operations):
            if operation.kind in _SIMPLIFIED and self._simpler(operation):
                return position
            if self._shared and self._known(operation, position) < position:
                return position
        return None

    def simplified(self, first: int, uses: Sequence[int]) -> tuple[list[Operation], list[Shape], int]:
        """Return a graph simplified from a position on, its shapes and its output; some of it may be dead."""
        shared = {i for i in self._shared if i < first}
        simpler = _Graph(self.operations[:first], self.shapes[:first], self._input_shape, shared)
        simpler._pure = self._pure
        moved = list(range(first))
        for position in range(first, len(self.operations)):
            operation = self.operations[position]
            inputs = tuple([i if i == INPUT else moved[i] for i in operation.inputs])
            place = simpler._add(operation.taking(inputs), self.shapes[position])
            moved.append(place)
            if uses[position] > 1:
                shared.add(place)
        return simpler.operations, simpler.shapes, place

    def _add(self, operation: Operation, shape: Shape) -> int:
        """Append an operation in its simplest form; return the position that computes it."""
        simpler = self._simpler(operation) if operation.kind in _SIMPLIFIED else None
        if simpler:
            place, applied = simpler
            self._bypass(operation.inputs[0], place)
            for kind, settings in applied:
                after = cost(kind, settings, (self._shape(place),)).shape
                place = self._add(Operation(kind, settings, (place,)), after)
            return place
        known = self._known(operation, len(self.operations))
        if known < len(self.operations):
            self._shared.add(known)
        else:
            self.operations.append(operation)
            self.shapes.append(shape)
        return known

    def _known(self, operation: Operation, position: int) -> int:
        """Return the position of an earlier operation that computes the same, else the one given, for later."""
        if operation.inputs[0] not in self._shared or operation.kind in _IMPURE:
            return position
        return self._pure.setdefault((operation.label, tuple(sorted(operation.inputs))), position)

    def _bypass(self, position: int, source: int) -> None:
        """Let something read a source instead of the operation at a position behind it."""
        while position != source:
            before = self.operations[position].inputs[0]
            if position in self._shared:
                self._shared.add(before)
            elif position == len(self.operations) - 1 and before not in self._shared:
                self.operations.pop()
                self.shapes.pop()
            position = before

    def _shape(self, position: int) -> Shape:
        return self._input_shape if position == INPUT else self.shapes[position]

    def _simpler(self, operation: Operation) -> Simpler | None:
        kind, source = operation.kind, operation.inputs[0]
        before = self.operations[source] if source != INPUT else None
        if kind == "identity":
            return source, ()
        if kind == "flatten" or kind == "global_average_pool":
            return self._simpler_vector(kind, source, before)
        same = before is not None and before.kind == kind
        if kind == "relu":
            return (source, ()) if same else None
        value = operation.settings[0][1]
        if value == (0 if kind == "dropout" else 1):
            return source, ()
        if before is None or before.kind != kind:
            return None
        other = before.settings[0][1]
        if kind in POOLS:
            return before.inputs[0], [(kind, (("kernel", int(value * other)),))]
        rate = round(1 - (1 - value) * (1 - other), 12)
        return (before.inputs[0], [(kind, (("rate", rate),))]) if source not in self._shared and rate < 1 else None

    def _simpler_vector(self, kind: str, source: int, before: Operation | None) -> Simpler | None:
        """Return what is simpler than flattening or averaging a map, if anything is."""
        shape = self._shape(source)
        if len(shape) == 1:
            return source, ()
        single = shape[1:] == (1, 1)
        if before and before.kind == "average_pool" and (single or kind == "global_average_pool"):
            kernel = int(before.settings[0][1])
            smallest = _smallest_kernel(kernel, self._shape(before.inputs[0]))
            pool = [] if smallest == 1 else [("average_pool", (("kernel", smallest),))]
            if smallest < kernel:
                return before.inputs[0], [*pool, ("global_average_pool", ())]
        if kind == "global_average_pool":
            return (source, [("flatten", ())]) if single else None
        later: list[tuple[str, Settings]] = []
        alone = True  # nothing else reads what lies between
        while source != INPUT:
            passed = self.operations[source]
            alone = alone and source not in self._shared
            weighted = passed.kind == "batch_norm" and single
            if passed.kind not in ACTIVATIONS and not (alone and (passed.kind == "dropout" or weighted)):
                break
            later.append((passed.kind, passed.settings))
            source = passed.inputs[0]
        return (source, [("flatten", ()), *reversed(later)]) if later else None


def _smallest_kernel(kernel: int, shape: Shape) -> int:
    """Return the smallest kernel whose whole windows cover the same pixels of a map as this one's."""
    covered = [size // kernel * kernel for size in shape[1:]]
    return next(k for k in range(1, kernel + 1) if [size // k * k for size in shape[1:]] == covered)


def _ordered(operations: Sequence[Operation], cuts: Sequence[int]) -> tuple[Operation, ...]:
    """Return the operations in canonical order: between two cuts lies a block that is ordered on its own."""
    if len(cuts) == len(operations):
        return tuple(operations)
    result: list[Operation] = []
    for cut in reversed(cuts):
        start = len(result)
        if cut == start:
            result.append(operations[cut])
        else:
            result += _ordered_block(tuple(operations[start : cut + 1]), start)
    return tuple(result)


@lru_cache(maxsize=4096)
def _ordered_block(block: tuple[Operation, ...], start: int) -> list[Operation]:
    """Return the operations from position ``start`` on, all fed by the operation before it, in canonical order."""
    before = start - 1
    rows = tuple([(o.label, o.kind in _COMMUTATIVE, tuple([i - before for i in o.inputs])) for o in block])
    order, encoded = _block_order(rows)
    return [
        block[old].taking(tuple([i + before for i in inputs]))
        for old, (_, _, inputs) in zip(order, encoded, strict=True)
    ]


@lru_cache(maxsize=4096)
def _block_order(block: tuple[Row, ...]) -> tuple[tuple[int, ...], tuple[Row, ...]]:
    """Return a block's canonical order: the old positions, and the rows renumbered in that order."""
    depth = [0]
    for _, _, inputs in block:
        depth.append(1 + max(depth[i] for i in inputs))
    labels = [(depth[i + 1], row[0]) for i, row in enumerate(block)]
    ranks = {label: rank for rank, label in enumerate(sorted(set(labels)), start=1)}
    (encoded, order), _ = _search(block, [0] + [ranks[label] for label in labels])
    return order, encoded


Leaf = tuple[tuple[Row, ...], tuple[int, ...]]


def _search(block: tuple[Row, ...], colours: list[int]) -> tuple[Leaf, list[dict[int, int]]]:
    """Return the smallest encoding below a colouring with its order, and automorphisms that keep the colouring.

    Individualisation and refinement (McKay and Piperno 2014, arXiv 1301.1493, section 2). What is pruned are vertices
    to which an automorphism takes one that was searched: below them lie the same encodings. Two vertices whose
    first leaves have equal encodings are such.
    """
    colours = _refine(block, colours)
    target = _first_cell(colours)
    if not target:
        return _encode(block, colours), []
    first = _individualise(colours, target[0])
    best, automorphisms = _search(block, first)
    leaf, order = _first_leaf(block, first)
    searched = {target[0]}
    for vertex in target[1:]:
        if vertex in _images(searched, automorphisms):
            continue
        split = _individualise(colours, vertex)
        other_leaf, other_order = _first_leaf(block, split)
        if other_leaf == leaf:
            automorphisms.append({one + 1: other + 1 for one, other in zip(order, other_order, strict=True)})
        else:
            found, more = _search(block, split)
            best = min(best, found)
            automorphisms += more
            searched.add(vertex)
    return best, automorphisms


def _images(vertices: set[int], automorphisms: list[dict[int, int]]) -> set[int]:
    """Return everything that automorphisms, one after the other, take vertices to."""
    reached, fresh = set(vertices), list(vertices)
    while fresh:
        vertex = fresh.pop()
        images = {automorphism[vertex] for automorphism in automorphisms} - reached
        reached |= images
        fresh += images
    return reached


def _first_cell(colours: list[int]) -> list[int]:
    """Return the vertices of the smallest colour that several have; empty if there is none."""
    cells: dict[int, list[int]] = {}
    for vertex, colour in enumerate(colours):
        cells.setdefault(colour, []).append(vertex)
    return next((cells[colour] for colour in sorted(cells) if len(cells[colour]) > 1), [])


def _individualise(colours: list[int], vertex: int) -> list[int]:
    """Return the colouring in which the vertex comes just before the others of its cell."""
    split = [2 * colour + 1 for colour in colours]
    split[vertex] -= 1
    return split


def _first_leaf(block: tuple[Row, ...], colours: list[int]) -> Leaf:
    colours = _refine(block, colours)
    while cell := _first_cell(colours):
        colours = _refine(block, _individualise(colours, cell[0]))
    return _encode(block, colours)


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
