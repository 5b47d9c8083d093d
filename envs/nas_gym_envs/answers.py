"""What a pure evaluator said: kept by node, as values for one environment and as columns for many at once."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_gym.evaluation import Evaluation, Evaluator, evaluate
from nas_gym.evaluation.evaluation import DETERMINISTIC
from nas_gym.objective import Objective, VectorObjective
from nas_gym_envs.prefix_graph import PrefixGraph

Infos = dict[str, Any]


def is_pure(evaluator: object) -> bool:
    """Return whether an evaluator says that the answer for a key never changes and costs nothing."""
    return bool(getattr(evaluator, "pure", False))


class Answer(NamedTuple):
    """Of a complete prefix: its evaluation, the objective's reward, and the fields that enter ``info``."""

    evaluation: Evaluation
    reward: Any
    told: dict[str, Any]


class Answers:
    """The answers for the complete nodes of a graph; asked for once, as long as evaluator and objective stay.

    Args:
        graph: Whose nodes.
    """

    def __init__(self, graph: PrefixGraph) -> None:
        self._graph = graph
        self._by_node: dict[int, Answer] = {}
        self._evaluator: Evaluator | None = None
        self._objective: Objective | VectorObjective | None = None
        self._generation = graph.generation

    def check(self, evaluator: Evaluator, objective: Objective | VectorObjective) -> None:
        """Drop what another evaluator, another objective or forgotten nodes left."""
        if (
            evaluator is not self._evaluator
            or objective is not self._objective
            or self._generation != self._graph.generation
        ):
            self._evaluator, self._objective, self._generation = evaluator, objective, self._graph.generation
            self._clear()

    def get(self, node: int) -> Answer:
        """Return the answer for a complete node."""
        answer = self._by_node.get(node)
        if answer is None:
            self.ask([node])
            answer = self._by_node[node]
        return answer

    def ask(self, nodes: list[int]) -> None:
        """Ask for the answers of nodes that have none yet, together."""
        assert self._evaluator is not None and self._objective is not None, "check comes first"
        candidates = [self._graph.candidate(node) for node in nodes]
        for node, evaluation in zip(nodes, evaluate(self._evaluator, candidates), strict=True):
            self._keep(node, Answer(evaluation, self._objective(evaluation), evaluation.deterministic()))

    def _keep(self, node: int, answer: Answer) -> None:
        self._by_node[node] = answer

    def _clear(self) -> None:
        self._by_node.clear()


class AnswerTable(Answers):
    """The same, with a column per field, so that many nodes are looked up at once.

    Attributes:
        rewards: Of every node that was asked for: float64, shape (capacity,).
        failed: Whether its evaluation failed: bool, shape (capacity,).
    """

    def __init__(self, graph: PrefixGraph) -> None:
        super().__init__(graph)
        self._clear()

    def learn(self, nodes: NDArray[np.int64]) -> None:
        """Make sure that complete nodes have answers."""
        if len(self._known) < self._graph.capacity:
            self._grow(self._graph.capacity)
        missing = nodes[~self._known[nodes]]
        if len(missing):
            self.ask(list(dict.fromkeys(missing.tolist())))

    def infos(self, nodes: NDArray[np.int64], indices: NDArray[np.int64], n: int) -> Infos:
        """Return ``infos["evaluation"]`` as Gymnasium's vector environments write it.

        Args:
            nodes: Complete and learnt, int64, shape (k,).
            indices: Of their environments, int64, shape (k,), ascending.
            n: Number of environments.
        """
        infos: Infos = {}
        for name, column in self._columns.items():
            infos[name], infos[f"_{name}"] = column.batch(nodes, indices, n), marks(indices, n)
        return infos

    def _keep(self, node: int, answer: Answer) -> None:
        super()._keep(node, answer)
        self.rewards[node] = float(answer.reward)
        self.failed[node] = not answer.evaluation.ok
        self._known[node] = True
        for name, column in self._columns.items():
            column.put(node, answer.told[name])

    def _clear(self) -> None:
        super()._clear()
        self.rewards = np.zeros(0)
        self.failed = np.zeros(0, dtype=np.bool_)
        self._known = np.zeros(0, dtype=np.bool_)
        self._columns = {name: _Column() for name in DETERMINISTIC}

    def _grow(self, capacity: int) -> None:
        self.rewards = _grown(self.rewards, capacity)
        self.failed, self._known = _grown(self.failed, capacity), _grown(self._known, capacity)
        for column in self._columns.values():
            column.values = _grown(column.values, capacity)


class _Column:
    """Values of one field: an array of their own type as long as they all are numbers of one type, else objects."""

    def __init__(self) -> None:
        self.values: NDArray[Any] = np.zeros(0, dtype=object)
        self._kinds: set[type | None] = set()  # of the values: a type of numbers, None: any other object

    def put(self, node: int, value: Any) -> None:
        kind = _number_type(value)
        if kind not in self._kinds:
            self._kinds.add(kind)
            wanted = object if len(self._kinds) > 1 or kind is None else kind
            old, self.values = self.values, np.zeros(len(self.values), dtype=wanted)
            if len(self._kinds) > 1:
                self.values[:] = old.tolist() if old.dtype != object else old
        self.values[node] = value

    def batch(self, nodes: NDArray[np.int64], indices: NDArray[np.int64], n: int) -> NDArray[Any]:
        found = self.values.take(nodes)
        if len(self._kinds) == 1:
            return spread(found, indices, n)
        kind = _number_type(found[0])  # in Gymnasium's convention the first one decides the type
        batch: NDArray[Any] = np.full(n, None) if kind is None else np.zeros(n, dtype=kind)
        for index, value in zip(indices.tolist(), found, strict=True):
            batch[index] = value
        return batch


def _number_type(value: object) -> type | None:
    """Return the type of what Gymnasium batches as numbers, None for anything else."""
    kind = type(value)
    return kind if kind in (int, float, bool) or issubclass(kind, np.number) else None


def marks(indices: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Return a mask that is True at the indices: bool, shape (n,)."""
    mask = np.zeros(n, dtype=np.bool_)
    mask[indices] = True
    return mask


def spread(values: NDArray[Any], indices: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Return an array of length n with the values at the indices, elsewhere 0 or, for objects, None; fresh."""
    if len(indices) == n:
        return values
    batch = np.full(n, None) if values.dtype == object else np.zeros((n, *values.shape[1:]), dtype=values.dtype)
    batch[indices] = values
    return batch


def _grown(values: NDArray[Any], capacity: int) -> NDArray[Any]:
    grown = np.zeros(capacity, dtype=values.dtype)
    grown[: len(values)] = values
    return grown
