"""The seam every search agent implements, and the episode loop that agents without a policy share."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Taken:
    """One decision as an agent without a policy took it.

    Attributes:
        slot: Index of the slot that was filled.
        observation: What the agent saw.
        legal: The mask, bool, shape (n_actions,).
        action: What it chose.
    """

    slot: int
    observation: NDArray[Any]
    legal: Mask
    action: int


@dataclass(frozen=True)
class Played:
    """One finished episode.

    Attributes:
        actions: The decisions.
        slots: The slot each of them filled.
        reward: The sum of the rewards.
        spent: Whether the budget was spent before the episode could end; there is no outcome then.
        info: The last info.
        legal: The mask of each decision, bool, shape (n_actions,).
    """

    actions: tuple[int, ...]
    slots: tuple[int, ...]
    reward: float
    spent: bool
    info: dict[str, Any] = field(repr=False)
    legal: tuple[Mask, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class SearchResult:
    """What a search came to.

    Attributes:
        actions: Decisions of the episode with the highest reward; empty if there was none.
        reward: That reward; minus infinity if there was none.
        episodes: Finished episodes.
        updates: Policy updates, or generations.
    """

    actions: tuple[int, ...] = ()
    reward: float = -np.inf
    episodes: int = 0
    updates: int = 0

    def better(self, played: Played) -> "SearchResult":
        """Return the result with one more episode."""
        if played.reward > self.reward:
            return SearchResult(played.actions, played.reward, self.episodes + 1, self.updates)
        return SearchResult(self.actions, self.reward, self.episodes + 1, self.updates)


class Recorder(Protocol):
    """Notes decisions; `nas_gym_agents.recorder.DecisionRecorder` is the one that explains them."""

    def record_episode(self, env: gym.Env[Any, Any], taken: list[Taken], reward: float, info: dict[str, Any]) -> None:
        """Note a finished episode of an agent without a policy."""

    def update(self) -> None:
        """Note that the agent has learned: a generation or a policy update is over."""


class SearchAgent(Protocol):
    """Searches until the environment's budget is spent.

    An agent knows its environment by ``reset``, ``step``, the spaces and ``info`` only, and is deterministic given its
    seed and the rewards: that is what makes a killed search resume to the same result.
    """

    @property
    def name(self) -> str:
        """Name on the command line."""

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until ``info["budget_spent"]`` appears or the budget is known to be spent."""


Choose = Callable[[int, Mask], int]


def play(env: gym.Env[Any, Any], choose: Choose, recorder: Recorder | None = None, **reset: Any) -> Played:
    """Play one episode.

    Args:
        env: Any environment with ``info["action_mask"]``; without it every action counts as legal.
        choose: From the slot (``info["slot"]``, else the step) and the mask to an action.
        recorder: Told of the finished episode.
        **reset: Arguments of ``env.reset``.
    """
    episode = _play_out(env, choose, **reset)
    if episode.spent:
        return episode.played(episode.reward, episode.info)
    return episode.finished(env, recorder, 0.0, episode.info)


@dataclass
class _Episode:
    """An episode that was played out; its last reward may still be missing."""

    taken: list[Taken]
    reward: float
    spent: bool
    info: dict[str, Any]

    def finished(
        self, env: gym.Env[Any, Any], recorder: Recorder | None, late_reward: float, info: dict[str, Any]
    ) -> Played:
        """Tell the recorder, and return the episode with its whole reward and its last info."""
        total = self.reward + late_reward
        if recorder is not None:
            recorder.record_episode(env, self.taken, total, info)
        return self.played(total, info)

    def played(self, reward: float, info: dict[str, Any]) -> Played:
        actions = tuple([decision.action for decision in self.taken])
        slots = tuple([decision.slot for decision in self.taken])
        legal = tuple([decision.legal for decision in self.taken])
        return Played(actions, slots, reward, self.spent, info, legal)


def _play_out(env: gym.Env[Any, Any], choose: Choose, **reset: Any) -> _Episode:
    observation, info = env.reset(**reset)
    taken: list[Taken] = []
    total = 0.0
    while True:
        legal = legal_actions(env, info)
        slot = int(info.get("slot", len(taken)))
        action = int(choose(slot, legal))
        following, reward, terminated, truncated, info = env.step(action)
        if info.get("budget_spent"):
            return _Episode(taken, total, True, info)
        taken.append(Taken(slot, observation, legal, action))
        observation, total = following, total + float(reward)
        if terminated or truncated:
            return _Episode(taken, total, False, info)


def play_all(
    env: gym.Env[Any, Any], choices: Iterable[Choose], recorder: Recorder | None = None, *, window: int | None = None
) -> Iterator[Played]:
    """Yield the episodes that the choices play, in order, each once its reward is known.

    In an environment with late rewards (`ArchitectureEnv`) the next episodes are played meanwhile, so that workers have
    something to do; the choices of an episode are asked for before the rewards of the ones before it are known. If
    the budget is spent, the last one yielded is `Played.spent`, and the rest of the choices is not asked for.

    Args:
        env: As in `play`.
        choices: One for each episode; may be endless.
        recorder: Told of the finished episodes, in order.
        window: Most episodes whose evaluation is still to come; None: all of the choices.
    """
    waiting: deque[_Episode] = deque()

    def settled(leave: int) -> Iterator[Played]:
        for late in env.get_wrapper_attr("settle")(leave) if waiting else ():
            episode = waiting.popleft()
            info = {name: value for name, value in episode.info.items() if name != "ticket"}
            yield episode.finished(env, recorder, late.reward, info | late.info)

    for choose in choices:
        episode = _play_out(env, choose)
        if episode.spent:
            yield from settled(0)
            yield episode.played(episode.reward, episode.info)
            return
        if "ticket" not in episode.info:
            yield episode.finished(env, recorder, 0.0, episode.info)
            continue
        waiting.append(episode)
        if window is not None:
            yield from settled(window)
    yield from settled(0)


def capacity(env: gym.Env[Any, Any]) -> int:
    """Return how many candidates an environment evaluates at once; 1 where it does not say."""
    return int(env.get_wrapper_attr("capacity")) if env.has_wrapper_attr("capacity") else 1


def legal_actions(env: gym.Env[Any, Any], info: dict[str, Any]) -> Mask:
    """Return the mask of an info as bool; all True where the environment gives none."""
    if "action_mask" in info:
        return np.asarray(info["action_mask"], dtype=bool)
    if not isinstance(env.action_space, gym.spaces.Discrete):
        raise TypeError(f"search agents need a Discrete action space, got {env.action_space}")
    return np.ones(int(env.action_space.n), dtype=bool)
