"""From what a rollout showed to decisions: what the policy computed, and as much of why as there is time for."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.record import FORCED, ILLEGAL, OUT_OF_BUDGET, UNEXPLAINED, Decision
from nas_gym_agents.attribution import Attributions, Options, attribute, log_probabilities
from nas_gym_agents.explanation_budget import ExplanationBudget
from nas_gym_agents.explanation_checks import Check, run_checks
from nas_gym_agents.late_rewards import LATE_REWARD
from nas_gym_agents.recording_face import Face

LEAST_CHECKED = 16  # decisions


@dataclass(frozen=True)
class Seen:
    """One transition of one sub-environment, copied before SB3 reuses its buffers.

    Attributes:
        env_index: Sub-environment.
        global_step: Environment steps of the run before this one.
        slot: That the action fills.
        observation: Float32, (m,); empty where it is no array.
        mask: Of the legal actions; None for a policy without masks.
        action: What was chosen.
        value: Of the critic.
        logp: Log-probability the policy acted with.
        reward: Of the step.
        done: Whether it ended an episode.
        info: Of the step; a late reward is put into it.
        logps: Log-probabilities of all actions, where the policy is recurrent; None: computed later.
    """

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
    logps: NDArray[np.float64] | None

    @property
    def final_reward(self) -> float:
        """The reward of an episode that ends here."""
        return float(self.info.get(LATE_REWARD, self.reward))

    @property
    def key(self) -> str | None:
        """The key of the candidate of an episode that ends here; None if it has none."""
        return key_of(self.info)


@dataclass(frozen=True)
class Batch:
    """The transitions of a rollout, stacked.

    Attributes:
        observations: Float32, (n, m).
        masks: Bool, (n, n_actions); None for a policy without masks.
        actions: Int, (n,).
        episodes: Numbers within the rollout, int (n,): transitions of one episode share one.
        rewards: Of their episodes, float (n,); NaN where the episode does not end in this rollout.
    """

    observations: NDArray[np.float32]
    masks: NDArray[np.bool_] | None
    actions: NDArray[np.int64]
    episodes: NDArray[np.int64]
    rewards: NDArray[np.float64]

    @classmethod
    def of(cls, rollout: list[Seen]) -> "Batch":
        """Return the batch of a rollout, which is not empty."""
        masks = [s.mask for s in rollout if s.mask is not None]
        now: dict[int, int] = {}
        episodes, rewards = np.zeros(len(rollout), np.int64), np.full(len(rollout), np.nan)
        for place, seen in enumerate(rollout):
            episodes[place] = now.setdefault(seen.env_index, place)  # an episode is named after its first place
            if seen.done:
                rewards[episodes == now.pop(seen.env_index)] = seen.final_reward
        return cls(
            np.stack([s.observation for s in rollout]),
            np.stack(masks) if masks else None,
            np.array([s.action for s in rollout]),
            episodes,
            rewards,
        )

    def only(self, chosen: NDArray[np.int64]) -> "Batch":
        """Return some of the transitions."""
        masks = None if self.masks is None else self.masks[chosen]
        actions, episodes, rewards = self.actions[chosen], self.episodes[chosen], self.rewards[chosen]
        return Batch(self.observations[chosen], masks, actions, episodes, rewards)


def explained(rollout: list[Seen], policy: Any, face: Face, budget: ExplanationBudget, version: int) -> list[Decision]:
    """Return the decisions of a rollout; their episode and step are to be filled in.

    Args:
        rollout: Not empty.
        policy: An actor-critic policy of stable-baselines3, as it acted.
        face: Of the environment; is told why there are no attributions, if so.
        budget: Chooses which are explained; is told what that took.
        version: Of the policy.
    """
    batch = Batch.of(rollout)
    if batch.masks is None:
        face.unmasked()
    started = time.thread_time()
    logps = _log_probabilities(policy, batch, face)
    if rollout[0].logps is not None:
        logps = np.stack([s.logps for s in rollout if s.logps is not None])
    decisions = [_decision(seen, face, version) for seen in rollout]
    if logps is not None:
        decisions = [_with_policy(d, own) for d, own in zip(decisions, logps, strict=True)]
    chances = budget.chances(batch.episodes, batch.rewards)
    chosen = np.flatnonzero(chances)
    found = _attributions(policy, batch.only(chosen), face, version) if len(chosen) else None
    if face.note:
        return decisions
    for place, chance in enumerate(chances):
        flags = decisions[place].flags | (0 if chance else OUT_OF_BUDGET)
        decisions[place] = replace(decisions[place], sampling_probability=float(chance), flags=flags)
    if found is not None:
        for row, place in enumerate(chosen.tolist()):
            decisions[place] = with_attributions(decisions[place], found, row)
    budget.took(time.thread_time() - started, len(chosen))
    return decisions


def checked(rollout: list[Seen], policy: Any, face: Face, version: int) -> list[Check]:
    """Return the checks of a policy's attributions on the decisions of a rollout; none where there are too few.

    Args:
        rollout: Not empty.
        policy: As it acted.
        face: Of the environment.
        version: Of the policy.
    """
    batch = Batch.of(rollout)
    baseline = face.baseline
    if baseline is None or face.note or len(rollout) < LEAST_CHECKED:
        return []
    found = _attributions(policy, batch, face, version)
    if found is None:
        return []
    acted = np.array([seen.logp for seen in rollout])
    return run_checks(
        policy,
        batch.observations,
        batch.actions,
        batch.masks,
        found,
        baseline=baseline,
        groups=face.groups,
        acted_logp=acted,
        seed=version,
    )


def _log_probabilities(policy: Any, batch: Batch, face: Face) -> NDArray[np.float64] | None:
    if batch.observations.ndim < 2 or not batch.observations.shape[1]:
        return None
    try:
        return log_probabilities(policy, batch.observations, batch.masks)
    except ConfigurationError as error:
        face.refuse(str(error))
        return None


def _attributions(policy: Any, batch: Batch, face: Face, seed: int) -> Attributions | None:
    baseline = face.baseline
    if baseline is None or face.note:
        return None
    if baseline.shape != batch.observations.shape[1:]:
        face.refuse(f"observations have shape {batch.observations.shape[1:]}, the encoder's {baseline.shape}")
        return None
    try:
        chosen = batch.observations, batch.actions, batch.masks
        options = Options(seed=seed)
        return attribute(policy, *chosen, baseline=baseline, groups=face.groups, options=options)
    except ConfigurationError as error:
        face.refuse(str(error))
        return None


def _decision(seen: Seen, face: Face, version: int) -> Decision:
    legal = np.ones(face.n_actions, dtype=bool) if seen.mask is None else seen.mask
    failure = seen.info.get("failure") or {}
    illegal = ILLEGAL if failure.get("kind") == "illegal_action" else 0
    return Decision(
        episode=0,
        step=0,
        env_index=seen.env_index,
        global_step=seen.global_step,
        policy_version=version,
        slot=seen.slot,
        observation=face.packed(seen.observation),
        action=seen.action,
        legal=legal,
        log_uniform=log_uniform(legal),
        value=seen.value,
        logp=seen.logp,
        flags=flags_of(legal, seen.action) | illegal | UNEXPLAINED,
    )


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


def with_attributions(decision: Decision, found: Attributions, i: int) -> Decision:
    """Return a decision with the i-th attributions."""
    logp = float(found.log_probabilities[i, decision.action])
    exact = found.explainer[i] == "exact_shapley"
    return replace(
        decision,
        phi0=float(found.phi0[i]),
        phi=found.phi[i],
        phi0_actions=found.phi0_actions[i],
        phi_actions=found.phi_actions[i],
        phi_std_err=None if exact else found.std_err[i],
        value0=float(found.value0[i]),
        value_phi=found.value_phi[i],
        residual=abs(float(found.phi0[i] + found.phi[i].sum()) - logp),
        n_players=int(found.n_players[i]),
        n_evaluations=int(found.n_evaluations[i]),
        explainer=found.explainer[i],
        baseline=found.baseline,
        flags=decision.flags & ~(UNEXPLAINED | OUT_OF_BUDGET),
    )


def log_uniform(legal: NDArray[np.bool_]) -> float:
    """Return the log-probability of an action under the uniform policy over the legal ones."""
    return -float(np.log(max(1, int(legal.sum()))))


def flags_of(legal: NDArray[np.bool_], action: int) -> int:
    """Return the flags that mask and action tell."""
    if not len(legal):  # not a Discrete action space
        return 0
    forced = FORCED if int(legal.sum()) == 1 else 0
    return forced | (0 if 0 <= action < len(legal) and legal[action] else ILLEGAL)


def key_of(info: dict[str, Any]) -> str | None:
    """Return the key of the candidate that an info tells of; None if it tells of none."""
    evaluation = info.get("evaluation")
    return str(evaluation["key"]) if evaluation else None
