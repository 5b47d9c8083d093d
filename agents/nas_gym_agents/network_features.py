"""What a reward model sees of a candidate: its decisions, and the operations and the structure of its network."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from nas_gym.spaces.network_graph import NetworkGraph, operation_counts, path_counts, subtree_counts

Decisions = tuple[tuple[int, int], ...]  # pairs of slot and action
Similarities = NDArray[np.float64]
PARTS = ("decisions", "operations", "structure")


class FeatureTable:
    """Candidates by number, with how similar they are to each other in every part of their features.

    A part of a candidate is a multiset of labels: its decisions; its operations; ways of being made and paths from the
    input to the output. Similarities lie in [0, 1]. Decisions: the share of the slots decided alike. The others:
    what both have over what either has, each label as often as it occurs (the kernel of Tanimoto or Ruzicka; Ralaivola
    et al. 2005, doi 10.1016/j.neunet.2005.07.009). All three are positive definite.

    Args:
        networks: Whether graphs are given; without them there is the first part only.
    """

    def __init__(self, *, networks: bool) -> None:
        self.n_parts = len(PARTS) if networks else 1
        self._columns: list[dict[tuple[str, int], int]] = [{} for _ in range(self.n_parts)]
        self._rows: list[list[NDArray[np.int64]]] = [[] for _ in range(self.n_parts)]

    def __len__(self) -> int:
        """Return how many candidates there are."""
        return len(self._rows[0])

    def add(self, decisions: Decisions, graph: NetworkGraph | None = None) -> int:
        """Add a candidate; return its number. Without a graph the other parts know nothing of it."""
        self._append(0, {f"{slot}={action}": 1 for slot, action in decisions})
        if self.n_parts > 1:
            structure: Counter[str] = Counter()
            if graph is not None:
                structure = subtree_counts(graph)
                structure.update(path_counts(graph))
            self._append(1, operation_counts(graph) if graph is not None else {})
            self._append(2, structure)
        return len(self) - 1

    def _append(self, part: int, counts: Mapping[str, int]) -> None:
        """Add a multiset as a set: the first of a label, the second of it, …."""
        columns = self._columns[part]
        places = [columns.setdefault((label, k), len(columns)) for label, n in counts.items() for k in range(n)]
        self._rows[part].append(np.array(places, dtype=np.int64))

    def similarities(self, these: Sequence[int], those: Sequence[int]) -> Similarities:
        """Return how similar candidates are, float64 (parts, these, those), in [0, 1]."""
        found = np.empty((self.n_parts, len(these), len(those)))
        for part in range(self.n_parts):
            one, other = self._matrix(part, these), self._matrix(part, those)
            shared = np.asarray((one @ other.T).todense())
            sizes, other_sizes = np.diff(one.indptr)[:, None], np.diff(other.indptr)[None, :]
            whole = np.maximum(sizes, other_sizes) if part == 0 else sizes + other_sizes - shared
            found[part] = np.where(whole > 0, shared / np.maximum(whole, 1), 1.0)
        return found

    def _matrix(self, part: int, numbers: Iterable[int]) -> csr_matrix:
        rows = [self._rows[part][number] for number in numbers]
        ends = np.cumsum([0, *[len(row) for row in rows]])
        columns = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(rows), len(self._columns[part])))
