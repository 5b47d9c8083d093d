"""The environment: it wires space, evaluator, objective, budget and encoder, and computes nothing itself."""

import operator
from collections.abc import Iterable, Iterator
from typing import Any, SupportsFloat, SupportsIndex

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Evaluator, capacity_of
from nas_gym.evaluation.repeated import trainings_of
from nas_gym.objective import Objective, VectorObjective, accuracy
from nas_gym.spaces import Prefix, SearchSpace
from nas_gym_envs.answers import Answers, is_pure
from nas_gym_envs.budget import Budget
from nas_gym_envs.encoding import MakeEncoder, Observation, one_hot
from nas_gym_envs.late import Promises, Settled, outcome
from nas_gym_envs.prefix_graph import COMPLETE, ILLEGAL, ROOT, PrefixGraph

# The reward is a float, or with a vector objective an array.
Step = tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]
_NONE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


class ArchitectureEnv(gym.Env[Observation, np.int64]):
    """Designing a neural network, one decision per step.

    ## Description
    An episode builds one candidate: every step fills one slot of the search space ("activation", "layer 3",
    "learning rate"). When the candidate is complete it is evaluated, usually by training it, and the episode ends.

    ## Action Space
    `Discrete(n)`, n being the size of the largest slot. Which actions are legal depends on the decisions so far:
    `info["action_mask"]` (int8, shape (n,)) and `action_masks()` (bool, shape (n,)) tell. Masks are exact: every
    legal action leaves a way to complete the candidate within all limits.

    ## Observation Space
    By default `Box(0, 1, (m,), float32)`: one one-hot block per slot, the first place of a block meaning "undecided".

    ## Rewards
    0 for every step but the last; then the objective of the evaluation, by default the validation accuracy in
    [0, 1]. A failed training gives the objective's floor, an illegal action `illegal_reward`.

    With a vector objective (`nas_gym.objective.Vector`) every reward is a float32 array of shape (reward_dim,), as
    MO-Gymnasium has it, `reward_space` and `reward_dim` describe it, and an illegal action gives `illegal_reward` in
    every component. Gymnasium's own checker knows scalar rewards only: make such an environment with
    `gym.make(..., disable_env_checker=True)`, as MO-Gymnasium does.

    ## Starting State
    Nothing is decided. `reset(options={"prefix": [...]})` starts after the given decisions. `unwrapped.prefix` is the
    whole state: read it to save the state, assign it to restore it.

    ## Episode End
    `terminated` when the candidate is complete, or after an illegal action, such as any action after the end. Once the
    budget is spent, every step is `truncated` and evaluates nothing.

    ## Information
    * `action_mask`: which actions are legal next; all 0 at the end.
    * `slot`: index of the slot the next action fills; -1 at the end.

    and on the last step of an episode, where they apply:

    * `actions`: the decisions, list of int; an illegal one comes last, unless it is no 64-bit integer.
    * `evaluation`: of a complete candidate, the deterministic fields of the evaluation.
    * `failure`: of an illegal action or a failed evaluation, a dict with `kind` and `reason`.
    * `budget_spent`: True if the step was truncated.
    * `ticket`: with `late_rewards`, in place of `evaluation` and `failure`: the number under which `settle` will
      tell them, with the reward.

    ## Late Rewards
    An evaluator that works on several candidates at once (worker processes, a cluster) is only busy if many are asked
    for together. With the attribute `late_rewards` set, the last step of an episode returns at once, with reward 0 and
    a ticket, and `settle` yields the true outcomes in the order of the episodes. `nas_gym.agents.LateRewards` does what
    is needed for PPO, `nas_gym.agents.play_all` for agents without a policy. Under a budget of epochs or seconds, whose
    end depends on the evaluations, rewards are never late.

    ## Arguments
    See the constructor.

    ## Version History
    * v0: first version.

    Args:
        space: The decision process.
        evaluator: Asked for complete candidates.
        objective: From an evaluation to a reward, or to a vector of rewards; by default the validation accuracy.
        budget: What may be spent; None: no end.
        encoder: From the space to its encoder.
        illegal_reward: Reward of an illegal action, finite.
        render_mode: ``"ansi"`` (a table of the decisions so far), ``"rgb_array"`` (a drawing), or None.
    """

    _node: int  # of the graph: the whole state
    _failed: bool  # after an illegal action
    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}  # noqa: RUF012  Gymnasium's convention

    def __init__(
        self,
        space: SearchSpace,
        evaluator: Evaluator,
        objective: Objective | VectorObjective | None = None,
        *,
        budget: Budget | None = None,
        encoder: MakeEncoder = one_hot,
        illegal_reward: float = -1.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ConfigurationError(f"render_mode is one of {self.metadata['render_modes']}, got {render_mode!r}")
        if not np.isfinite(illegal_reward):
            raise ConfigurationError(f"illegal_reward must be finite, got {illegal_reward}")
        if objective is not None and not callable(objective):
            raise ConfigurationError(f"objective is a function of an evaluation, got {objective!r}")
        self.space = space
        self.evaluator = evaluator
        self.objective = accuracy() if objective is None else objective
        self.budget = budget
        self.encoder = encoder(space)
        self.illegal_reward = float(illegal_reward)
        if isinstance(self.objective, VectorObjective):
            self.reward_dim, self.reward_space = (
                self.objective.reward_dim,
                _reward_space(self.objective, illegal_reward),
            )
        self.render_mode = render_mode
        self.late_rewards = False
        self._promises = Promises()
        self.observation_space = self.encoder.observation_space
        self._graph = PrefixGraph(space, self.encoder)
        self._answers = Answers(self._graph)
        self._n_actions = self._graph.n_actions
        self.action_space = gym.spaces.Discrete(self._n_actions)
        self._scalar = not isinstance(self.objective, VectorObjective)
        self._place(ROOT)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode; ``options={"prefix": [...]}`` starts after these decisions.

        Raises:
            OutOfSpaceError: The prefix is illegal or leaves nothing to decide.
        """
        if seed is not None:  # without one Gymnasium's reset does nothing
            super().reset(seed=seed)
        start = options.get("prefix") if options else None
        if start is None:
            if self._graph.crowded:
                self._graph.forget(_NONE)
            self._place(ROOT)
        else:
            self.prefix = start
        return self._state()

    def step(self, action: SupportsIndex) -> Step:
        """Take one decision; an illegal one ends the episode and never raises."""
        if self.budget is not None and self.budget.exhausted:
            return self._cut()
        graph, node = self._graph, self._node
        try:
            chosen = operator.index(action)
        except TypeError:
            return self._fail(None)
        if self._failed or not 0 <= chosen < self._n_actions:
            return self._fail(chosen)
        following = graph.children.item(node, chosen)
        if following < 0:
            if following == ILLEGAL:
                return self._fail(chosen)
            following = graph.child(node, chosen)
        self._node = following
        slot = graph.slots.item(following)
        if slot == COMPLETE:
            return self._finish(following)
        info: dict[str, Any] = {"action_mask": graph.int8_masks[following].copy(), "slot": slot}
        return graph.observations[following].copy(), 0.0 if self._scalar else self._reward(0.0), False, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions are legal now: bool, shape (n,); all False once the episode is over."""
        return np.zeros(self._n_actions, dtype=np.bool_) if self._failed else self._graph.masks[self._node].copy()

    def settle(self, leave: int = 0) -> Iterator[Settled]:
        """Yield the outcomes of episodes whose rewards are late, in order, each as soon as it is there.

        Args:
            leave: How many may still be to come when it ends; those that are there already, and before them no gap,
                are told anyway.

        Raises:
            StoreError: An evaluation could not be stored.
        """
        trainings = trainings_of(self.evaluator)
        return self._promises.settle(leave, lambda told: self._reward(self.objective(told)), self.budget, trainings)

    @property
    def capacity(self) -> int:
        """How many candidates the evaluator works on at once."""
        return capacity_of(self.evaluator)

    @property
    def prefix(self) -> Prefix:
        """The decisions of the episode so far; assigning restores that state (the budget stays as it is).

        Raises:
            OutOfSpaceError: An assigned prefix is illegal or leaves nothing to decide.
        """
        return self._graph.prefixes[self._node]

    @prefix.setter
    def prefix(self, prefix: Iterable[SupportsIndex]) -> None:
        node = self._graph.node(prefix)
        self._place(int(self._graph.forget(np.array([node]))[0]) if self._graph.crowded else node)

    def render(self) -> str | NDArray[np.uint8] | None:
        """Return the decisions so far as text, or a drawing of the growing network: uint8, (height, width, 3)."""
        from nas_gym import drawing

        if self.render_mode == "ansi":
            return drawing.decision_table(self.space, self.prefix, self.last_evaluation)
        if self.render_mode == "rgb_array":
            return drawing.decision_picture(self.space, self.prefix, self.last_evaluation)
        return None

    def _place(self, node: int) -> None:
        """Enter a state; what the graph holds is handed out as copies only."""
        self.last_evaluation: Evaluation | None = None
        self._node = node
        self._failed = False  # after an illegal action

    def _state(self) -> tuple[Observation, dict[str, Any]]:
        """Return observation and info of the state, fresh."""
        graph, node = self._graph, self._node
        info: dict[str, Any]
        if self._failed:
            info = {"action_mask": np.zeros(self._n_actions, dtype=np.int8), "slot": COMPLETE}
        else:
            info = {"action_mask": graph.int8_masks[node].copy(), "slot": graph.slots.item(node)}
        return graph.observations[node].copy(), info

    def _finish(self, node: int) -> Step:
        late = self.late_rewards and (self.budget is None or self.budget.foreseeable)
        if not late and is_pure(self.evaluator):
            return self._finish_at_once(node)
        candidate = self._graph.candidate(node)
        (future,) = self.evaluator.submit([candidate])
        observation, info = self._state()
        info["actions"] = list(self.prefix)
        if late:
            first = True if self.budget is None else self.budget.charge_ahead(candidate.key)
            info["ticket"] = self._promises.add(future, first=first)
            return observation, self._reward(0.0), True, False, info
        evaluation = future.result()
        self.last_evaluation = evaluation
        if self.budget is not None:
            self.budget.charge(evaluation, trainings=trainings_of(self.evaluator))
        return observation, self._reward(self.objective(evaluation)), True, False, info | outcome(evaluation)

    def _finish_at_once(self, node: int) -> Step:
        """End an episode whose evaluation costs nothing and is kept."""
        graph, answers = self._graph, self._answers
        answers.check(self.evaluator, self.objective)
        evaluation, reward, told = answers.get(node)
        self.last_evaluation = evaluation
        if self.budget is not None:
            self.budget.charge(evaluation)
        info: dict[str, Any] = {
            "action_mask": graph.int8_masks[node].copy(),
            "slot": COMPLETE,
            "actions": list(graph.prefixes[node]),
            "evaluation": told.copy(),
        }
        if evaluation.status != "ok":
            info["failure"] = {"kind": evaluation.status, "reason": evaluation.reason}
        return graph.observations[node].copy(), self._reward(reward), True, False, info

    def _fail(self, action: int | None) -> Step:
        if action is not None and not -(2**63) <= action < 2**63:
            action = None
        if self.budget is not None:
            self.budget.pass_idle()
        reason = "the episode is over; call reset()" if self._failed else self._graph.refusal(self._node, action)
        self._failed = True
        observation, info = self._state()
        info["actions"] = [*self.prefix] if action is None else [*self.prefix, action]
        info["failure"] = {"kind": "illegal_action", "reason": reason}
        return observation, self._reward(self.illegal_reward), True, False, info

    def _cut(self) -> Step:
        observation, info = self._state()
        return observation, self._reward(0.0), False, True, info | {"actions": list(self.prefix), "budget_spent": True}

    def _reward(self, value: float | NDArray[np.float64]) -> SupportsFloat:
        """Return a reward as agents get it: a float, or with a vector objective an array, made anew."""
        if self._scalar:
            return float(value)
        return np.array(np.broadcast_to(value, (self.reward_dim,)), dtype=np.float32)


def _reward_space(objective: VectorObjective, illegal_reward: float) -> gym.spaces.Box:
    """Return the space of reward vectors: those of evaluations, of illegal actions, and 0 for every other step."""
    low = np.minimum(np.array(objective.low), min(0.0, illegal_reward)).astype(np.float32)
    high = np.maximum(np.array(objective.high), max(0.0, illegal_reward)).astype(np.float32)
    return gym.spaces.Box(low, high, dtype=np.float32)
