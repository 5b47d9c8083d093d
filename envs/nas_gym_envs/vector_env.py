"""Many environments as one, in Gymnasium's convention: what `SyncVectorEnv` would return, by look-ups in arrays."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Evaluator, capacity_of
from nas_gym.objective import Objective, VectorObjective
from nas_gym.spaces import Prefix, SearchSpace
from nas_gym_envs.answers import marks, spread
from nas_gym_envs.architecture_env import ArchitectureEnv
from nas_gym_envs.budget import Budget
from nas_gym_envs.encoding import MakeEncoder, one_hot
from nas_gym_envs.episodes import Episodes, Stepped

Observations = NDArray[Any]
Infos = dict[str, Any]
VectorStep = tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Infos]


class ArchitectureVectorEnv(VectorEnv[Observations, NDArray[np.int64], NDArray[Any]]):
    """`ArchitectureEnv`, many at once; equal to Gymnasium's `SyncVectorEnv` over them, only faster.

    ## Description
    Spaces, rewards, masks and infos are those of `ArchitectureEnv`, batched as Gymnasium's vector environments batch
    them: ``infos["action_mask"]`` is int8 of shape (n, actions), ``infos["evaluation"]["accuracy"]`` float64 of shape
    (n,), and ``infos["_evaluation"]`` says whose it is. `action_masks()` is bool, shape (n, actions).

    All candidates that are complete in one step go to the evaluator together, so that several workers have work.
    The answers of an evaluator that is pure (a table) are kept, and a step is a few look-ups in arrays.

    ## Budget
    One for all. Units are charged in the order of the sub-environments. In the step in which the budget runs out, those
    that come after are truncated and evaluate nothing. Under a budget of epochs or seconds, whose end depends on the
    evaluations, candidates are asked for one after the other.

    ## Starting State
    As in `ArchitectureEnv`; `reset(options={"reset_mask": mask})` restarts some of the sub-environments.

    ## Arguments
    See the constructor.

    Args:
        space: The decision process.
        evaluator: Asked for complete candidates.
        objective: From an evaluation to a reward; by default the validation accuracy. Not a vector objective.
        num_envs: Number of sub-environments.
        budget: What may be spent by all together; None: no end.
        encoder: From the space to its encoder.
        illegal_reward: Reward of an illegal action, finite.
        autoreset_mode: When a sub-environment that ended starts anew.
        render_mode: As in `ArchitectureEnv`.

    Raises:
        ConfigurationError: An argument is out of range, or the objective is a vector.
    """

    def __init__(
        self,
        space: SearchSpace,
        evaluator: Evaluator,
        objective: Objective | None = None,
        *,
        num_envs: int,
        budget: Budget | None = None,
        encoder: MakeEncoder = one_hot,
        illegal_reward: float = -1.0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        one = ArchitectureEnv(
            space,
            evaluator,
            objective,
            budget=budget,
            encoder=encoder,
            illegal_reward=illegal_reward,
            render_mode=render_mode,
        )
        if isinstance(one.objective, VectorObjective):
            raise ConfigurationError(
                "Gymnasium's vector environments have one number as reward: give a vector objective weights, such as "
                "objective='weighted:accuracy=1:macs=0.05'"
            )
        if isinstance(num_envs, bool) or not isinstance(num_envs, (int, np.integer)) or num_envs < 1:
            raise ConfigurationError(f"num_envs is a whole number, at least 1, got {num_envs!r}")
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = [mode.value for mode in AutoresetMode]
            raise ConfigurationError(f"autoreset_mode is one of {modes}, got {autoreset_mode!r}") from None
        self.num_envs = int(num_envs)
        self.metadata = {**ArchitectureEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.space, self.encoder = space, one.encoder
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.observation_space = batch_space(one.observation_space, self.num_envs)
        self.action_space = batch_space(one.action_space, self.num_envs)
        self.late_rewards = False
        self.episodes = Episodes(space, one.encoder, self.num_envs)
        self.evaluator, self.objective, self.budget = evaluator, one.objective, budget
        self.episodes.illegal_reward = one.illegal_reward
        self._ended: NDArray[np.bool_] = np.zeros(self.num_envs, dtype=np.bool_)
        self._shown: list[Evaluation | None] = [None] * self.num_envs  # kept for pictures alone

    @classmethod
    def like(
        cls, env: ArchitectureEnv, *, num_envs: int, autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP
    ) -> "ArchitectureVectorEnv":
        """Return a vector environment of the same parts; they are shared, and so is the budget."""
        return cls(
            env.space,
            env.evaluator,
            env.objective,  # type: ignore[arg-type]  # the constructor refuses vectors
            num_envs=num_envs,
            budget=env.budget,
            encoder=lambda _: env.encoder,
            illegal_reward=env.illegal_reward,
            autoreset_mode=autoreset_mode,
            render_mode=env.render_mode,
        )

    @property
    def evaluator(self) -> Evaluator:
        """Asked for complete candidates."""
        return self.episodes.evaluator

    @evaluator.setter
    def evaluator(self, evaluator: Evaluator) -> None:
        self.episodes.evaluator = evaluator

    @property
    def objective(self) -> Objective:
        """From an evaluation to a reward."""
        return self.episodes.objective

    @objective.setter
    def objective(self, objective: Objective) -> None:
        self.episodes.objective = objective

    @property
    def budget(self) -> Budget | None:
        """What may be spent by all together."""
        return self.episodes.budget

    @budget.setter
    def budget(self, budget: Budget | None) -> None:
        self.episodes.budget = budget

    @property
    def illegal_reward(self) -> float:
        """Reward of an illegal action."""
        return self.episodes.illegal_reward

    @property
    def capacity(self) -> int:
        """How many candidates the evaluator works on at once."""
        return capacity_of(self.evaluator)

    @property
    def prefixes(self) -> list[Prefix]:
        """The decisions so far of every sub-environment."""
        return [self.episodes.graph.prefixes[node] for node in self.episodes.nodes.tolist()]

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions are legal now: bool, shape (n, actions); all False where an episode is over."""
        return self.episodes.masks()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start all episodes, or with ``options={"reset_mask": mask}`` some of them.

        Args:
            seed: A number, or one for every sub-environment; the environments themselves draw nothing.
            options: ``"prefix"``: the decisions to start after; ``"reset_mask"``: bool, shape (n,).

        Raises:
            OutOfSpaceError: The prefix is illegal or leaves nothing to decide.
            ConfigurationError: Seeds or mask do not fit.
        """
        super().reset(seed=self._seed(seed))
        options = options or {}
        mask = self._reset_mask(options["reset_mask"]) if "reset_mask" in options else None
        where = slice(None) if mask is None else mask
        self.episodes.place(where, options.get("prefix"))
        self._ended[where] = False
        self._shown = [None if mask is None or mask[i] else shown for i, shown in enumerate(self._shown)]
        return self.episodes.observations(), self._state_infos(mask)

    def step(self, actions: NDArray[np.int64]) -> VectorStep:
        """Take one decision in every sub-environment: int64, shape (n,); an illegal one ends its episode.

        Raises:
            ConfigurationError: There are not n actions.
            gymnasium.error.ResetNeeded: Without autoreset: a sub-environment ended and was not reset.
        """
        starting = None
        if self._ended.any():
            if self.autoreset_mode == AutoresetMode.DISABLED:
                over = np.flatnonzero(self._ended).tolist()
                raise gym.error.ResetNeeded(f"sub-environments {over} are over: reset(options={{'reset_mask': …}})")
            starting = self._ended
        stepped = self.episodes.step(actions, starting)
        rewards, terminations, truncations = stepped.rewards, stepped.terminations, stepped.truncations
        if self.render_mode is not None:
            self._show(stepped, starting)
        if not stepped.any_ended:
            self._ended = np.zeros(self.num_envs, dtype=np.bool_)
            return self.episodes.observations(), rewards, terminations, truncations, self._state_infos()
        ended = terminations | truncations
        infos = self._ending_infos(stepped)
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos = self._final_infos(infos, ended)
            self.episodes.place(ended)
            self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            self._ended = ended
        return self.episodes.observations(), rewards, terminations, truncations, infos | self._state_infos()

    def render(self) -> tuple[Any, ...] | None:
        """Return what `ArchitectureEnv.render` returns, for every sub-environment."""
        from nas_gym import drawing

        if self.render_mode is None:
            return (None,) * self.num_envs
        draw: Any = drawing.decision_table if self.render_mode == "ansi" else drawing.decision_picture
        shown = zip(self.prefixes, self._shown, strict=True)
        return tuple([draw(self.space, prefix, evaluation) for prefix, evaluation in shown])

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return an attribute of every sub-environment, called if it is a function, as `SyncVectorEnv.call` does."""
        if name in ("action_masks", "prefix"):
            return tuple(self.action_masks() if name == "action_masks" else self.prefixes)
        found = getattr(self, name)
        return tuple([found(*args, **kwargs) if callable(found) else found for _ in range(self.num_envs)])

    def _state_infos(self, mask: NDArray[np.bool_] | None = None) -> Infos:
        """Return what every sub-environment tells in every step; with a mask, only those tell it."""
        masks, slots = self.episodes.int8_masks(), self.episodes.slots()
        if mask is None:
            all_ = np.ones((2, self.num_envs), dtype=np.bool_)
            return {"action_mask": masks, "_action_mask": all_[0], "slot": slots, "_slot": all_[1]}
        masks[~mask], slots[~mask] = 0, 0
        return {"action_mask": masks, "_action_mask": mask.copy(), "slot": slots, "_slot": mask.copy()}

    def _ending_infos(self, stepped: Stepped) -> Infos:
        """Return what only the last step of an episode tells."""
        infos: Infos = {}
        slow = [*stepped.illegal.tolist(), *stepped.cut.tolist()]
        finished, episodes = stepped.finished, self.episodes
        if stepped.evaluations is not None:
            slow += finished.tolist()
        elif len(finished):
            nodes, prefixes = episodes.nodes.take(finished), episodes.graph.prefixes
            decided = np.fromiter(map(list, map(prefixes.__getitem__, nodes.tolist())), dtype=object, count=len(nodes))
            infos["actions"] = spread(decided, finished, self.num_envs)
            infos["evaluation"] = episodes.answers.infos(nodes, finished, self.num_envs)
            infos["_actions"], infos["_evaluation"] = marks(finished, self.num_envs), marks(finished, self.num_envs)
            for index in finished[episodes.answers.failed.take(nodes)].tolist():
                infos = self._add_info(infos, {"failure": episodes.ending(stepped, index)["failure"]}, index)
        for index in sorted(slow):
            infos = self._add_info(infos, episodes.ending(stepped, index), index)
        return infos

    def _final_infos(self, infos: Infos, ended: NDArray[np.bool_]) -> Infos:
        """Return the infos of a step in which the ended episodes start anew at once."""
        indices = np.flatnonzero(ended)
        rows = np.fromiter(self.episodes.observations()[indices], dtype=object, count=len(indices))
        return {
            "final_obs": spread(rows, indices, self.num_envs),
            "_final_obs": ended.copy(),
            "final_info": infos | self._state_infos(ended),
            "_final_info": ended.copy(),
        }

    def _show(self, stepped: Stepped, starting: NDArray[np.bool_] | None) -> None:
        for index in [] if starting is None else np.flatnonzero(starting).tolist():
            self._shown[index] = None
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            for index in stepped.finished.tolist():
                self._shown[index] = self.episodes.evaluation(stepped, index)

    def _seed(self, seed: int | Sequence[int | None] | None) -> int | None:
        if seed is None or isinstance(seed, int):
            return seed
        if len(seed) != self.num_envs:
            raise ConfigurationError(f"seeds are one number, or {self.num_envs} of them, got {len(seed)}")
        return next((one for one in seed if one is not None), None)

    def _reset_mask(self, mask: Any) -> NDArray[np.bool_]:
        fits = isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,) and mask.dtype == np.bool_
        if not fits or not mask.any():
            raise ConfigurationError(
                f"reset_mask is a bool array of shape ({self.num_envs},) with at least one True, got {mask!r}"
            )
        return np.array(mask)
