"""The hook: every decision recorded with its exact attribution."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from nas_gym.errors import ConfigurationError
from nas_gym.explain.record import FORCED, ILLEGAL, UNEXPLAINED, UNFINISHED, Decision, DecisionLog, Header
from nas_gym.explain.shapley import MOST_PLAYERS
from nas_gym_agents.agent import Taken
from nas_gym_agents.attribution import Attributions, Groups, attribute, log_probabilities
from nas_gym_agents.late_rewards import LATE_REWARD
from nas_gym_agents.recurrent import is_recurrent, recurrent_log_probabilities
from nas_gym_agents.updates import UpdateLedger


class DecisionReader(Protocol):
    """Is told of recorded decisions, after every rollout or episode; TensorBoard's writer is one."""

    def decisions(self, decisions: Sequence[Decision]) -> None:
        """Take the decisions of episodes that have ended since the last call."""

    def rollout(self, decisions: Sequence[Decision], seconds: float) -> None:
        """Take all decisions of one rollout, finished episodes or not, and the seconds that explaining them took."""


@dataclass(frozen=True)
class _Seen:
    """One transition of one sub-environment, copied before SB3 reuses its buffers."""

    env_index: int
    global_step: int
    slot: int
    observation: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    action: int
    value: float
    logp: float
    reward: float
    done: bool
    info: dict[str, Any]
    logps: NDArray[np.float64] | None  # of all actions, where the policy is recurrent; else computed later


class DecisionRecorder(BaseCallback):
    """Records every decision of a controller, with exact Shapley values of why it was taken.

    For stable-baselines3's PPO and sb3-contrib's MaskablePPO it is a callback: ``model.learn(…, callback=recorder)``.
    Attributions are computed at the end of every rollout, before the update, with the weights that acted; the
    last, unfinished rollout counts too. For agents without a policy `record_episode` notes the same without policy
    fields. Needs an environment whose encoder names its groups (`ArchitectureEnv`); any other environment, one with
    more than 14 slots, and a recurrent policy are recorded without attributions, and `Header.note` says so. An
    episode that a call of ``learn`` leaves unfinished is closed as such, whatever the next call does.

    Args:
        folder: Where the decision log goes; None: kept in memory. `frame` gives it as a pandas data frame.
        explain: Whether to compute attributions.
        reader: Told of the decisions as they are recorded.
        log: In place of ``folder``: an open log.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        explain: bool = True,
        reader: DecisionReader | None = None,
        log: DecisionLog | None = None,
    ) -> None:
        super().__init__()
        self.log = log if log is not None else DecisionLog(None if folder is None else Path(folder))
        self.ledger = UpdateLedger(self.log)
        self.explain = explain
        self.reader = reader
        self.seconds = 0.0
        self._episode = 0
        self._steps = 0
        self._version = 0
        self._face: _Face | None = None
        self._rollout: list[_Seen] = []
        self._open: dict[int, list[Decision]] = {}
        self._slots: dict[int, int] = {}

    def frame(self) -> Any:
        """Return all decisions so far as a pandas data frame (`nas_gym.explain.read_decisions`)."""
        return self.log.frame()

    # Agents without a policy

    def record_episode(self, env: gym.Env[Any, Any], taken: list[Taken], reward: float, info: dict[str, Any]) -> None:
        """Note a finished episode of an agent without a policy."""
        face = self._of(env)
        decisions = [
            Decision(
                episode=self._episode,
                step=step,
                global_step=self._steps + step,
                policy_version=self._version,
                slot=one.slot,
                observation=face.packed(one.observation),
                action=one.action,
                legal=one.legal,
                log_uniform=_log_uniform(one.legal),
                flags=UNEXPLAINED | _flags(one.legal, one.action),
                reward=reward,
                key=_key(info),
            )
            for step, one in enumerate(taken)
        ]
        self._episode += 1
        self._steps += len(taken)
        self._write(decisions)

    def update(self) -> None:
        """Note that the agent has learned."""
        self._version += 1

    # stable-baselines3

    def _on_training_start(self) -> None:
        env = self.training_env
        encoder = env.get_attr("encoder", 0)[0] if env.has_attr("encoder") else None
        space = env.get_attr("space", 0)[0] if env.has_attr("space") else None
        self._take_face(encoder, space, env.action_space)
        normaliser = self.model.get_vec_normalize_env()
        if normaliser is not None and normaliser.norm_obs:
            self._face_now.refuse("VecNormalize changes the observations; pass norm_obs=False")
        for i in range(env.num_envs):
            if i not in self._slots or not self.model.num_timesteps:  # the environments were reset
                self._slots[i] = self._first_slot(i)
        self.ledger.begin(self.model)

    def _first_slot(self, env_index: int) -> int:
        """Return the slot that the next episode's first action fills."""
        infos = self.training_env.unwrapped.reset_infos
        return int(infos[env_index].get("slot", -1))

    def _on_step(self) -> bool:
        seen = self.locals
        masks = seen.get("action_masks")
        observations = seen["obs_tensor"]
        if not hasattr(observations, "detach"):
            self._face_now.refuse(f"observations of type {type(observations).__name__} are not explained")
            observations = None
        else:
            observations = observations.detach().cpu().numpy()
        values = seen["values"].detach().cpu().numpy().reshape(-1)
        logps = seen["log_probs"].detach().cpu().numpy().reshape(-1)
        normaliser = self.model.get_vec_normalize_env()
        recurrent = self._recurrent_logps()
        rewards = seen["rewards"] if normaliser is None else normaliser.get_original_reward()
        for i, info in enumerate(seen["infos"]):
            if info.get("budget_spent"):
                continue  # nothing was decided
            observation = np.zeros(0, np.float32) if observations is None else observations[i].copy()
            self._rollout.append(
                _Seen(
                    env_index=i,
                    global_step=self._steps,
                    slot=self._slots[i],
                    observation=observation,
                    mask=None if masks is None else np.asarray(masks[i], dtype=bool).copy(),
                    action=int(np.asarray(seen["actions"][i]).reshape(-1)[0]),
                    value=float(values[i]),
                    logp=float(logps[i]),
                    reward=float(rewards[i]),
                    done=bool(seen["dones"][i]),
                    info=info,
                    logps=None if recurrent is None else recurrent[i],
                )
            )
            self._steps += 1
            self._slots[i] = self._first_slot(i) if seen["dones"][i] else int(info.get("slot", -1))
        return True

    def _recurrent_logps(self) -> NDArray[np.float64] | None:
        """Return the log-probabilities of all actions if the policy is recurrent: its state is there now only."""
        model: Any = self.model
        if not is_recurrent(model.policy) or not self._face_now.n_actions:
            return None
        before, starts = model._last_lstm_states.pi, model._last_episode_starts
        return recurrent_log_probabilities(model.policy, self.locals["obs_tensor"], before, starts)[0]

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        self.ledger.update(self.model, self._version, [seen.global_step for seen in self._rollout])
        self._flush(np.asarray(buffer.advantages))
        self._version += 1

    def _on_training_end(self) -> None:
        """Record what the last, unfinished rollout left; a stopping callback skips ``_on_rollout_end``."""
        self.ledger.end(self.model)
        self._flush(None)
        left: list[Decision] = []
        for kept in self._open.values():
            left += [replace(d, flags=d.flags | UNFINISHED, episode=self._episode) for d in kept]
            self._episode += 1
        self._open.clear()
        self._write(left)

    def _flush(self, advantages: NDArray[np.floating] | None) -> None:
        rollout, self._rollout = self._rollout, []
        if not rollout:
            return
        started = time.perf_counter()
        decisions = self._explained(rollout)
        if advantages is not None and advantages.size == len(rollout):
            flat = advantages.reshape(-1)
            decisions = [replace(d, advantage=float(a)) for d, a in zip(decisions, flat, strict=True)]
        seconds = time.perf_counter() - started
        self.seconds += seconds
        finished: list[Decision] = []
        for place, seen in enumerate(rollout):
            episode = self._open.setdefault(seen.env_index, [])
            decisions[place] = replace(decisions[place], step=len(episode))
            episode.append(decisions[place])
            if seen.done:
                finished += self._closed(seen, self._open.pop(seen.env_index))
        if self.reader is not None:
            self.reader.rollout(decisions, seconds)
        self._write(finished)

    def _closed(self, last: _Seen, episode: list[Decision]) -> list[Decision]:
        reward, key = float(last.info.get(LATE_REWARD, last.reward)), _key(last.info)
        number, self._episode = self._episode, self._episode + 1
        return [replace(d, episode=number, reward=reward, key=key) for d in episode]

    def _explained(self, rollout: list[_Seen]) -> list[Decision]:
        face, policy = self._face_now, self.model.policy
        if rollout[0].mask is None:
            face.unmasked()
        masks = None if rollout[0].mask is None else np.stack([s.mask for s in rollout if s.mask is not None])
        observations = np.stack([s.observation for s in rollout])
        actions = np.array([s.action for s in rollout])
        n_actions = face.n_actions
        found: Attributions | None = None
        logps: NDArray[np.float64] | None = None
        try:
            if face.baseline is not None and face.baseline.shape != observations.shape[1:]:
                face.refuse(f"observations have shape {observations.shape[1:]}, the encoder's {face.baseline.shape}")
            if face.baseline is not None and not face.note:
                found = attribute(policy, observations, actions, masks, baseline=face.baseline, groups=face.groups)
            if observations.ndim > 1 and observations.shape[1]:
                logps = log_probabilities(policy, observations, masks)
        except ConfigurationError as error:
            face.refuse(str(error))
        if rollout[0].logps is not None:
            logps = np.stack([s.logps for s in rollout if s.logps is not None])
        result = []
        for i, seen in enumerate(rollout):
            legal = np.ones(n_actions, dtype=bool) if seen.mask is None else seen.mask
            decision = Decision(
                episode=self._episode,  # set again when the episode ends
                step=0,
                env_index=seen.env_index,
                global_step=seen.global_step,
                policy_version=self._version,
                slot=seen.slot,
                observation=face.packed(seen.observation),
                action=seen.action,
                legal=legal,
                log_uniform=_log_uniform(legal),
                value=seen.value,
                logp=seen.logp,
                flags=_flags(legal, seen.action) | (ILLEGAL if _illegal(seen) else 0) | UNEXPLAINED,
            )
            if logps is not None:
                decision = _with_policy(decision, logps[i])
            if found is not None:
                decision = _with_attributions(decision, found, i)
            result.append(decision)
        return result

    def _write(self, decisions: list[Decision]) -> None:
        self.log.append(decisions)
        if self.reader is not None and decisions:
            self.reader.decisions(decisions)

    # What the environment looks like

    @property
    def _face_now(self) -> "_Face":
        assert self._face is not None, "training has started"
        return self._face

    def _of(self, env: gym.Env[Any, Any]) -> "_Face":
        if self._face is None:
            encoder = env.get_wrapper_attr("encoder") if env.has_wrapper_attr("encoder") else None
            space = env.get_wrapper_attr("space") if env.has_wrapper_attr("space") else None
            self._take_face(encoder, space, env.action_space)
        return self._face_now

    def _take_face(self, encoder: Any, space: Any, action_space: gym.Space[Any]) -> None:
        if self._face is not None:
            return
        self._face = _Face(encoder, space, action_space, self.explain)
        self.log.write_header(self._face.header())
        self._face.on_refusal = lambda: self.log.write_header(self._face_now.header())


class _Face:
    """What a recorder knows of an environment: groups, baseline, names."""

    def __init__(self, encoder: Any, space: Any, action_space: gym.Space[Any], explain: bool) -> None:
        self.groups: Groups = tuple(encoder.groups) if encoder is not None else ()
        self.baseline: NDArray[np.float32] | None = encoder.encode(()) if encoder is not None else None
        self.n_actions = int(action_space.n) if isinstance(action_space, gym.spaces.Discrete) else 0
        self.slots = tuple(slot.name for slot in space.slots) if space is not None else ()
        self.choices = tuple(slot.choices for slot in space.slots) if space is not None else ()
        self.note, self.masked = "", True
        self.on_refusal: Callable[[], None] = lambda: None
        if not explain:
            self.note = "attributions were switched off"
        elif not self.groups:
            self.note = "no attributions: the environment names no groups of its observation (no encoder)"
        elif not self.n_actions:
            self.note = f"no attributions: the action space is {action_space}, not Discrete"
        elif len(self.groups) > MOST_PLAYERS:
            self.note = f"no attributions: the space has {len(self.groups)} slots, exact values take {MOST_PLAYERS}"

    def refuse(self, reason: str) -> None:
        """Note why there are no attributions, once."""
        if not self.note:
            self.note = f"no attributions: {reason}"
            self.on_refusal()

    def header(self) -> Header:
        groups = tuple(name for name, _ in self.groups)
        return Header(self.slots, self.choices, groups, self.n_actions, self.note, self.masked)

    def unmasked(self) -> None:
        """Note that the policy gets no masks, once."""
        if self.masked:
            self.masked = False
            self.on_refusal()

    def packed(self, observation: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the choice per slot: 0 undecided, else 1 + the choice; empty without groups."""
        if not self.groups or observation.ndim != 1 or not observation.size:
            return np.zeros(0, np.uint8)
        return np.array([int(observation[part].argmax()) for _, part in self.groups], dtype=np.uint8)


def _with_policy(decision: Decision, logps: NDArray[np.float64]) -> Decision:
    probabilities = np.where(decision.legal, np.exp(logps), 0.0)
    others = np.where(decision.legal, logps, -np.inf)
    others[decision.action] = -np.inf
    positive = probabilities[probabilities > 0]
    return replace(
        decision,
        probabilities=probabilities,
        entropy=float(-(positive * np.log(positive)).sum()),
        runner_up=int(others.argmax()) if np.isfinite(others).any() else -1,
        logp_error=abs(float(logps[decision.action]) - float(decision.logp or 0.0)),
    )


def _with_attributions(decision: Decision, found: Attributions, i: int) -> Decision:
    logp = float(found.log_probabilities[i, decision.action])
    return replace(
        decision,
        phi0=float(found.phi0[i]),
        phi=found.phi[i],
        residual=abs(float(found.phi0[i] + found.phi[i].sum()) - logp),
        n_players=int(found.n_players[i]),
        n_evaluations=2 ** int(found.n_players[i]),
        flags=decision.flags & ~UNEXPLAINED,
    )


def _log_uniform(legal: NDArray[np.bool_]) -> float:
    return -float(np.log(max(1, int(legal.sum()))))


def _flags(legal: NDArray[np.bool_], action: int) -> int:
    if not len(legal):  # not a Discrete action space
        return 0
    forced = FORCED if int(legal.sum()) == 1 else 0
    return forced | (0 if 0 <= action < len(legal) and legal[action] else ILLEGAL)


def _illegal(seen: _Seen) -> bool:
    failure = seen.info.get("failure") or {}
    return failure.get("kind") == "illegal_action"


def _key(info: dict[str, Any]) -> str | None:
    evaluation = info.get("evaluation")
    return str(evaluation["key"]) if evaluation else None
