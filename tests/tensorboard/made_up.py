"""Made-up searches, with every field that a decision can have; their numbers add up as real ones do."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas_gym.explain.record import FORCED, OUT_OF_BUDGET, UNEXPLAINED, Decision, Header
from nas_gym.history import Episode
from nas_gym.spaces import ChainSpace, SearchSpace, n_actions
from nas_gym_agents.tensorboard import TensorBoardWriter

SPACE = ChainSpace((1, 8, 8), 10, max_layers=4, hyperparameters=("learning_rate", "batch_size"))
PER_ROLLOUT = 20
VIEWS = {
    "counterfactual": {
        "meaning": "By how much replacing this decision alone would have changed the reward.",
        "trusted": True,
    },
    "shapley_surrogate": {"meaning": "The surrogate orders held-out networks badly.", "trusted": False},
    "regret": {"meaning": "How much better the best that could still be reached was.", "trusted": True, "of": "test"},
}
CHECKS: list[dict[str, Any]] = [
    {"name": "infidelity", "value": 0.02, "limit": 0.1, "passed": True, "sentence": "2 % of a random attribution's."},
    {"name": "randomisation", "value": 0.4, "limit": 0.2, "passed": False, "sentence": "A random network looks alike."},
    {
        "name": "baseline",
        "value": 0.7,
        "limit": None,
        "passed": None,
        "sentence": "The answer depends on the baseline.",
    },
]


def header(space: SearchSpace = SPACE) -> Header:
    names = tuple(slot.name for slot in space.slots)
    return Header(names, tuple(slot.choices for slot in space.slots), names, n_actions(space))


def episodes(
    count: int, seed: int = 0, space: SearchSpace = SPACE, start: int = 0, policy: bool = True
) -> Iterator[list[Decision]]:
    """Yield the decisions of episodes, in order; a sixth of the episodes is left unexplained for lack of time."""
    generator = np.random.default_rng(seed)
    preference = generator.normal(size=(len(space.slots), n_actions(space)))
    for number in range(start, start + count):
        learned = min(1.0, number / max(1, count))
        yield list(_episode(space, number, generator, 2 * learned * preference, policy))


def _episode(
    space: SearchSpace, number: int, generator: np.random.Generator, preference: NDArray[np.float64], policy: bool
) -> Iterator[Decision]:
    prefix: tuple[int, ...] = ()
    steps = []
    while (slot := space.next_slot(prefix)) is not None:
        legal = space.legal(prefix)
        logits = np.where(legal, preference[slot] + 0.3 * generator.normal(size=len(legal)), -np.inf)
        logps = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        action = int(generator.choice(len(legal), p=np.exp(logps)))
        steps.append((slot, legal, logps, action))
        prefix += (action,)
    reward = float(0.5 + 0.4 / (1 + np.exp(-np.mean([preference[slot, action] for slot, _, _, action in steps]))))
    values = [*(reward + generator.normal(scale=0.05, size=len(steps))), reward]
    observation = np.zeros(len(space.slots), np.uint8)
    for step, (slot, legal, logps, action) in enumerate(steps):
        facts: dict[str, Any] = {
            "episode": number,
            "step": step,
            "global_step": number * len(space.slots) + step,
            "policy_version": number // PER_ROLLOUT,
            "slot": slot,
            "observation": observation.copy(),
            "action": action,
            "legal": legal,
            "log_uniform": -float(np.log(legal.sum())),
            "flags": UNEXPLAINED | (FORCED if legal.sum() == 1 else 0),
            "reward": reward,
            "key": hashlib.sha256(repr(prefix).encode()).hexdigest()[:32],
        }
        if policy:
            facts |= _policy(generator, legal, logps, action, observation > 0, values[step], number)
            facts |= {"reward_credit": values[step + 1] - values[step], "credit_kind": "critic_waterfall"}
        yield Decision(**facts)
        observation[slot] = 1 + action


def _policy(
    generator: np.random.Generator,
    legal: NDArray[np.bool_],
    logps: NDArray[np.float64],
    action: int,
    players: NDArray[np.bool_],
    value: float,
    number: int,
) -> dict[str, Any]:
    others = logps.copy()
    others[action] = -np.inf
    own: dict[str, Any] = {
        "probabilities": np.exp(logps),
        "runner_up": int(others.argmax()) if np.isfinite(others).any() else -1,
        "logp": float(logps[action]),
        "entropy": -float((np.exp(logps[legal]) * logps[legal]).sum()),
        "value": value,
        "advantage": float(generator.normal()),
        "logp_error": 2e-7,
        "sampling_probability": 5 / 6,
    }
    if number % 6 == 5:
        return own | {"flags": UNEXPLAINED | OUT_OF_BUDGET | (FORCED if legal.sum() == 1 else 0)}
    phi_actions = generator.normal(scale=0.3, size=(len(players), len(legal))) * players[:, None] * legal
    phi0_actions = np.where(legal, np.where(legal, logps, 0.0) - phi_actions.sum(0), 0.0)
    value_phi = generator.normal(scale=0.02, size=len(players)) * players
    return own | {
        "phi0": float(phi0_actions[action]),
        "phi": phi_actions[:, action],
        "phi0_actions": phi0_actions,
        "phi_actions": phi_actions,
        "phi_std_err": np.zeros(len(players)),
        "value0": value - float(value_phi.sum()),
        "value_phi": value_phi,
        "residual": 3e-7,
        "n_players": int(players.sum()),
        "n_evaluations": 2 ** int(players.sum()),
        "flags": FORCED if legal.sum() == 1 else 0,
    }


def credit(decisions: Sequence[Sequence[Decision]], seed: int = 0) -> pd.DataFrame:
    """Return credits by every one of `VIEWS`; the surrogate's also of slots that were left open."""
    generator = np.random.default_rng(seed)
    rows = [
        {"episode": own[0].episode, "step": step, "slot": slot, "view": view, "credit": value, "low": low, "high": high}
        for own in decisions
        for view in VIEWS
        for step, slot in [*_open(own, view), *((d.step, d.slot) for d in own)]
        for value, half in [generator.normal(scale=(0.02, 0.005))]
        for value in [abs(value) if view == "regret" else value]
        for low, high in [(value - abs(half), value + abs(half)) if view == "counterfactual" else (np.nan, np.nan)]
    ]
    return pd.DataFrame(rows)


def _open(own: Sequence[Decision], view: str) -> list[tuple[int, int]]:
    """Return step and slot of what an episode left open, for the view that credits it."""
    filled = {d.slot for d in own}
    return [(-1, slot) for slot in range(len(SPACE.slots)) if slot not in filled and view == "shapley_surrogate"]


class Search:
    """A made-up search that writes as a real one does.

    Args:
        folder: Of the run; its events go to ``tensorboard`` in it.
        agent: Named in the header.
        policy: Whether the agent has one.
    """

    def __init__(self, folder: Path, *, agent: str = "maskable-ppo", policy: bool = True, seed: int = 0) -> None:
        settings = {"env": "nas_gym/Chain-Digits-v0", "agent": agent, "seed": seed, "evaluations": 100}
        self.folder = folder / "tensorboard"
        self.writer = TensorBoardWriter(self.folder, space=SPACE, settings=settings, header=header)
        self.written: list[list[Decision]] = []
        self._policy, self._seed = policy, seed

    def play(self, count: int) -> list[list[Decision]]:
        """Write that many more episodes."""
        new = self._new(count)
        for start in range(0, len(new), PER_ROLLOUT):
            rollout = new[start : start + PER_ROLLOUT]
            for own in rollout:
                first = own[0]
                actions, slots = tuple(d.action for d in own), tuple(d.slot for d in own)
                told = Episode(first.episode, actions, slots, first.key, "ok", first.reward or 0.0, first.reward)
                self.writer.episode(told, None, from_store=0)
            decisions = [d for own in rollout for d in own]
            if self._policy:
                self.writer.rollout(decisions, 0.1)
            self.writer.decisions(decisions)
        self.written += new
        self.writer._writer.flush()
        return new

    def _new(self, count: int) -> list[list[Decision]]:
        return list(episodes(count, self._seed, start=len(self.written), policy=self._policy))

    def explain(self) -> None:
        """Write what comes at the end: checks, credit, words."""
        self.writer.checks(CHECKS)
        self.writer.credit(credit(self.written), VIEWS)
        best = max(self.written, key=lambda own: own[0].reward or 0.0)[0].episode
        self.writer._tab.words(best, ["What moved it.", "And what did not."])
        self.writer._writer.flush()
