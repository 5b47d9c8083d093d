"""The hook: every decision recorded with its attribution."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from nas_gym.explain.record import UNEXPLAINED, UNFINISHED, Decision, DecisionLog
from nas_gym_agents.agent import Taken
from nas_gym_agents.explaining import Seen, checked, explained, flags_of, key_of, log_uniform
from nas_gym_agents.explanation_budget import SHARE, Explain, ExplanationBudget
from nas_gym_agents.explanation_checks import Check
from nas_gym_agents.recording_face import Face
from nas_gym_agents.recurrent import is_recurrent, recurrent_log_probabilities
from nas_gym_agents.updates import UpdateLedger


class DecisionReader(Protocol):
    """Is told of recorded decisions, after every rollout or episode; TensorBoard's writer is one."""

    def decisions(self, decisions: Sequence[Decision]) -> None:
        """Take the decisions of episodes that have ended since the last call."""

    def rollout(self, decisions: Sequence[Decision], seconds: float) -> None:
        """Take all decisions of one rollout, finished episodes or not, and the seconds that explaining them took."""


class DecisionRecorder(BaseCallback):
    """Records every decision of a controller, with Shapley values of what moved the policy to take it.

    For stable-baselines3's PPO and sb3-contrib's MaskablePPO it is a callback: ``model.learn(…, callback=recorder)``.
    Attributions are computed at the end of every rollout, before the update, with the weights that acted; the
    last, unfinished rollout counts too. For agents without a policy `record_episode` notes the same without policy
    fields. Needs an environment whose encoder names its groups (`ArchitectureEnv`); any other environment and a
    recurrent policy are recorded without attributions, and `Header.note` says so. The values are exact for up to 14
    decided slots; beyond, they are sampled, and the decision's ``explainer`` and ``phi_std_err`` say so. An episode
    that a call of ``learn`` leaves unfinished is closed as such, whatever the next call does.

    Beside the log, a ledger keeps the updates of the policy (`nas_gym_agents.updates`), so that all of it can be
    explained later. ``checks`` are those of the latest attributions that were checked, at versions 0, 1, 2, 4, 8, … of
    the policy and at the end (`nas_gym_agents.explanation_checks`).

    Args:
        folder: Where the decision log goes; None: kept in memory. `frame` gives it as a pandas data frame.
        explain: ``"budget"``: attributions may take ``share`` of the search's time, and `Decision.sampling_probability`
            says which were left out (`ExplanationBudget`); ``"all"``: every decision; ``"none"``.
        share: Of the search's time, in (0, 1].
        clock: Seconds of the search so far; None: wall-clock seconds since the recorder was made.
        reader: Told of the decisions as they are recorded.
        log: In place of ``folder``: an open log.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        explain: Explain = "budget",
        share: float = SHARE,
        clock: Callable[[], float] | None = None,
        reader: DecisionReader | None = None,
        log: DecisionLog | None = None,
    ) -> None:
        super().__init__()
        self.log = log if log is not None else DecisionLog(None if folder is None else Path(folder))
        self.budget = ExplanationBudget(explain, share, clock)
        self.seconds = 0.0
        self.reader = reader
        self._episode = 0
        self._steps = 0
        self._version = 0
        self._face: Face | None = None
        self._rollout: list[Seen] = []
        self._open: dict[int, list[Decision]] = {}
        self._slots: dict[int, int] = {}
        self.checks: list[Check] = []
        self.ledger = UpdateLedger(self.log)

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
                log_uniform=log_uniform(one.legal),
                flags=UNEXPLAINED | flags_of(one.legal, one.action),
                reward=reward,
                key=key_of(info),
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
                Seen(
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
        started = time.thread_time()
        decisions = explained(rollout, self.model.policy, self._face_now, self.budget, self._version)
        if advantages is not None and advantages.size == len(rollout):
            flat = advantages.reshape(-1)
            decisions = [replace(d, advantage=float(a)) for d, a in zip(decisions, flat, strict=True)]
        if advantages is None or self._version & (self._version - 1) == 0:  # versions 0, 1, 2, 4, 8, … and the last
            found = checked(rollout, self.model.policy, self._face_now, self._version)
            self.checks = found or self.checks
        seconds = time.thread_time() - started
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

    def _closed(self, last: Seen, episode: list[Decision]) -> list[Decision]:
        number, self._episode = self._episode, self._episode + 1
        return [replace(d, episode=number, reward=last.final_reward, key=last.key) for d in episode]

    def _write(self, decisions: list[Decision]) -> None:
        self.log.append(decisions)
        if self.reader is not None and decisions:
            self.reader.decisions(decisions)

    # What the environment looks like

    @property
    def _face_now(self) -> Face:
        assert self._face is not None, "training has started"
        return self._face

    def _of(self, env: gym.Env[Any, Any]) -> Face:
        if self._face is None:
            encoder = env.get_wrapper_attr("encoder") if env.has_wrapper_attr("encoder") else None
            space = env.get_wrapper_attr("space") if env.has_wrapper_attr("space") else None
            self._take_face(encoder, space, env.action_space)
        return self._face_now

    def _take_face(self, encoder: Any, space: Any, action_space: gym.Space[Any]) -> None:
        if self._face is not None:
            return
        self._face = Face(encoder, space, action_space, self.budget.explain != "none")
        self.log.write_header(self._face.header())
        self._face.on_change = lambda: self.log.write_header(self._face_now.header())
