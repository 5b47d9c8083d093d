"""Many episodes of one space that go on together: a step is a few look-ups in arrays for all of them."""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Evaluator, evaluate
from nas_gym.evaluation.repeated import trainings_of
from nas_gym.objective import Objective
from nas_gym.spaces import SearchSpace
from nas_gym_envs.answers import AnswerTable, is_pure
from nas_gym_envs.budget import Budget
from nas_gym_envs.encoding import Encoder
from nas_gym_envs.late import outcome
from nas_gym_envs.prefix_graph import COMPLETE, ILLEGAL, ROOT, UNKNOWN, PrefixGraph

Indices = NDArray[np.int64]
MEMORY_MB = 256  # of the graph, which all episodes share
_NONE: Indices = np.zeros(0, dtype=np.int64)


@dataclass
class Stepped:
    """What became of the episodes in one step.

    Attributes:
        rewards: float64, shape (n,).
        terminations: bool, shape (n,).
        truncations: bool, shape (n,).
        finished: Indices of the episodes whose candidate was evaluated, ascending.
        illegal: Indices of those that took an illegal action, ascending.
        cut: Indices of those that the budget cut, ascending.
        evaluations: Of the finished ones, in order; None: the evaluator is pure, and `Episodes.answers` has them.
        actions: What the illegal ones did; None: no 64-bit integer.
    """

    rewards: NDArray[np.float64]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    finished: Indices
    illegal: Indices
    cut: Indices
    evaluations: list[Evaluation] | None
    actions: tuple[int | None, ...] = ()

    @property
    def any_ended(self) -> bool:
        """Whether any episode ended."""
        return bool(len(self.finished) or len(self.illegal) or len(self.cut))


class Episodes:
    """What `ArchitectureVectorEnv` steps: the states of n episodes, without any convention of how they are told.

    Attributes:
        nodes: Where every episode is, as nodes of `graph`: int64, shape (n,).
        failed: Whether it ended by an illegal action: bool, shape (n,).
        evaluator: Asked for complete candidates, all of a step together and in order.
        objective: From an evaluation to a reward.
        budget: What may be spent; None: no end.
        illegal_reward: Reward of an illegal action.

    Args:
        space: The decision process.
        encoder: Of that space.
        n: Number of episodes.
    """

    evaluator: Evaluator
    objective: Objective
    budget: Budget | None
    illegal_reward: float

    def __init__(self, space: SearchSpace, encoder: Encoder, n: int) -> None:
        self.n = n
        self.graph = PrefixGraph(space, encoder, memory_mb=MEMORY_MB)
        self.answers = AnswerTable(self.graph)
        self.nodes: Indices = np.full(n, ROOT, dtype=np.int64)
        self.failed: NDArray[np.bool_] = np.zeros(n, dtype=np.bool_)

    def place(self, where: NDArray[np.bool_] | slice, prefix: Iterable[SupportsIndex] | None = None) -> None:
        """Start episodes anew, after the decisions of a prefix if there is one.

        Raises:
            OutOfSpaceError: The prefix is illegal or leaves nothing to decide.
        """
        node = ROOT if prefix is None else self.graph.node(prefix)
        self.nodes[where] = node
        self.failed[where] = False
        if self.graph.crowded:
            self.nodes = self.graph.forget(self.nodes)

    def step(self, actions: Any, starting: NDArray[np.bool_] | None = None) -> Stepped:
        """Take one decision in every episode.

        Args:
            actions: One for every episode; an illegal one ends its episode and never raises.
            starting: Episodes that start anew instead, bool (n,); None: none.

        Raises:
            ConfigurationError: There are not n actions.
        """
        if self.graph.crowded:
            self.nodes = self.graph.forget(self.nodes)
        chosen, given = self._read(actions)
        graph, width = self.graph, self.graph.n_actions + 1
        # What is no action, read as unsigned, is larger than all of them, and the last column is always illegal.
        columns = np.minimum(chosen.view(np.uint64), np.uint64(graph.n_actions)).view(np.int64)
        targets = graph.children.ravel().take(self.nodes * width + columns)
        if starting is not None:
            targets[starting] = ROOT
        illegal = _NONE
        if targets.min() < 0:
            for index in np.flatnonzero(targets == UNKNOWN).tolist():
                targets[index] = graph.child(int(self.nodes[index]), int(chosen[index]))
            illegal = np.flatnonzero(targets == ILLEGAL)
            targets[illegal] = self.nodes[illegal]
        finished = np.flatnonzero(graph.slots.take(targets) == COMPLETE)
        stepped = self._settle(targets, finished, illegal, starting)
        if len(stepped.illegal):
            stepped.actions = tuple([given[index] for index in stepped.illegal.tolist()])
        targets[stepped.cut] = self.nodes[stepped.cut]
        self.nodes = targets
        if starting is not None:
            self.failed[starting] = False
        self.failed[stepped.illegal] = True
        return stepped

    def masks(self) -> NDArray[np.bool_]:
        """Return which actions are legal: bool, shape (n, n_actions), fresh."""
        masks: NDArray[np.bool_] = self.graph.masks.take(self.nodes, axis=0)
        self._close(masks, False)
        return masks

    def int8_masks(self) -> NDArray[np.int8]:
        """Return the same as int8."""
        masks: NDArray[np.int8] = self.graph.int8_masks.take(self.nodes, axis=0)
        self._close(masks, 0)
        return masks

    def slots(self) -> NDArray[np.int64]:
        """Return the slots that are next, -1 where an episode is over: int64, shape (n,), fresh."""
        slots: NDArray[np.int64] = self.graph.slots.take(self.nodes)
        self._close(slots, COMPLETE)
        return slots

    def observations(self) -> NDArray[Any]:
        """Return the observations: shape (n, …), fresh."""
        return self.graph.observations.take(self.nodes, axis=0)

    def ending(self, stepped: Stepped, index: int) -> dict[str, Any]:
        """Return what the info of an episode that ended in this step has beside mask and slot.

        Args:
            stepped: The step, just made.
            index: Of the episode.
        """
        node = int(self.nodes[index])
        decided = list(self.graph.prefixes[node])
        if stepped.truncations[index]:
            return {"actions": decided, "budget_spent": True}
        if self.failed[index]:
            action = stepped.actions[int(np.searchsorted(stepped.illegal, index))]
            failure = {"kind": "illegal_action", "reason": self.graph.refusal(node, action)}
            return {"actions": decided if action is None else [*decided, action], "failure": failure}
        return {"actions": decided, **outcome(self.evaluation(stepped, index))}

    def evaluation(self, stepped: Stepped, index: int) -> Evaluation:
        """Return the evaluation of an episode that finished in this step."""
        if stepped.evaluations is None:
            return self.answers.get(int(self.nodes[index])).evaluation
        return stepped.evaluations[int(np.searchsorted(stepped.finished, index))]

    def _close(self, values: NDArray[Any], closed: int) -> None:
        if self.failed.any():
            values[self.failed] = closed

    def _read(self, actions: Any) -> tuple[Indices, list[int | None]]:
        """Return the actions as int64 for look-ups, -1 for what is no action, and as they are told."""
        if np.ndim(actions) == 0 or len(actions) != self.n:
            raise ConfigurationError(f"a step takes one action for each of {self.n} environments, got {actions!r}")
        if isinstance(actions, np.ndarray) and actions.ndim == 1 and actions.dtype.kind in "iu":
            chosen = actions.astype(np.int64)
            if actions.dtype != np.uint64 or chosen.min() >= 0:
                return chosen, chosen.tolist()
        read = [_integer(action) for action in actions]
        return np.array([-1 if action is None else action for action in read], dtype=np.int64), read

    def _settle(
        self, targets: Indices, finished: Indices, illegal: Indices, starting: NDArray[np.bool_] | None
    ) -> Stepped:
        """Evaluate what is finished, charge the budget in order, and cut whoever comes after its end."""
        n, budget = self.n, self.budget
        evaluations: list[Evaluation] | None = None
        end = 0 if budget is not None and budget.exhausted else n
        if end and is_pure(self.evaluator):
            self.answers.check(self.evaluator, self.objective)
            self.answers.learn(targets[finished])
            if budget is not None:
                end = self._charge(budget, targets, finished, illegal)
        elif end and budget is None:
            evaluations = self._evaluate(self._candidates(targets[finished]))
        elif end and budget is not None and budget.foreseeable:
            end, evaluations = self._charge_ahead(budget, targets, finished, illegal)
        elif end and budget is not None:
            end, evaluations = self._evaluate_in_turn(budget, targets, finished, illegal)
        rewards = np.zeros(n)
        terminations, truncations = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        cut = _NONE
        if end < n:
            finished, illegal = finished[finished < end], illegal[illegal < end]
            cut = np.arange(end, n)
            cut = cut if starting is None else cut[~starting[end:]]
            truncations[cut] = True
        if len(finished):
            terminations[finished] = True
            rewards[finished] = (
                self.answers.rewards.take(targets[finished])
                if evaluations is None
                else [float(self.objective(evaluation)) for evaluation in evaluations]
            )
        if len(illegal):
            terminations[illegal] = True
            rewards[illegal] = self.illegal_reward
        return Stepped(rewards, terminations, truncations, finished, illegal, cut, evaluations)

    def _candidates(self, nodes: Indices) -> list[Candidate]:
        return [self.graph.candidate(node) for node in nodes.tolist()]

    def _evaluate(self, candidates: list[Candidate]) -> list[Evaluation]:
        """Return the evaluations of candidates, which are asked for together."""
        return evaluate(self.evaluator, candidates) if candidates else []

    def _charge(self, budget: Budget, targets: Indices, finished: Indices, illegal: Indices) -> int:
        """Charge kept answers; return the index from which everything is cut."""
        for index, legal in _ends(finished, illegal):
            if legal:
                budget.charge(self.answers.get(int(targets[index])).evaluation)
            else:
                budget.pass_idle()
            if budget.exhausted:
                return index + 1
        return self.n

    def _charge_ahead(
        self, budget: Budget, targets: Indices, finished: Indices, illegal: Indices
    ) -> tuple[int, list[Evaluation]]:
        """Charge what is known before the evaluations are there, which are then asked for together."""
        end, candidates = self.n, self._candidates(targets[finished])
        first: list[bool] = []
        for index, legal in _ends(finished, illegal):
            if legal:
                first.append(budget.charge_ahead(candidates[len(first)].key))
            else:
                budget.pass_idle()
            if budget.exhausted:
                end = index + 1
                break
        evaluations = self._evaluate(candidates[: len(first)])
        for evaluation, new in zip(evaluations, first, strict=True):
            budget.charge_rest(evaluation, first=new, trainings=trainings_of(self.evaluator))
        return end, evaluations

    def _evaluate_in_turn(
        self, budget: Budget, targets: Indices, finished: Indices, illegal: Indices
    ) -> tuple[int, list[Evaluation]]:
        """Evaluate one after the other: whether the budget lasts for the next depends on what the last one cost."""
        evaluations = []
        for index, legal in _ends(finished, illegal):
            if legal:
                evaluations += self._evaluate(self._candidates(targets[index : index + 1]))
                budget.charge(evaluations[-1], trainings=trainings_of(self.evaluator))
            else:
                budget.pass_idle()
            if budget.exhausted:
                return index + 1, evaluations
        return self.n, evaluations


def _ends(finished: Indices, illegal: Indices) -> list[tuple[int, bool]]:
    """Return the indices of episodes that end, ascending, and whether they do so by a legal action."""
    return sorted([*((index, True) for index in finished.tolist()), *((index, False) for index in illegal.tolist())])


def _integer(action: Any) -> int | None:
    """Return an action as an int, or None if it is no 64-bit integer."""
    try:
        value = operator.index(action)
    except TypeError:
        return None
    return value if -(2**63) <= value < 2**63 else None
