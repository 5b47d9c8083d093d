"""From the updates of a training and its decision log to what taught the decisions of one network."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import RunError
from nas_gym.explain.record import FORCED, Header, unpack_mask
from nas_gym.run import Run
from nas_gym.run_directory import DECISIONS
from nas_gym_agents.influence.checks import FEWEST, agreement, path_check
from nas_gym_agents.influence.result import (
    ENTROPY,
    EVALUATION,
    MOMENTUM,
    UNEXPLAINED,
    UNKNOWN,
    VALUE,
    Influence,
    Share,
    Taught,
)
from nas_gym_agents.influence.retraining import logps_without
from nas_gym_agents.influence.states import WRONG, States
from nas_gym_agents.influence.tracing import Questions, Trace, trace
from nas_gym_agents.updates import START, UPDATES, Updates, read_updates

if TYPE_CHECKING:
    import pandas as pd

RETRAININGS = 24
NO_UPDATES = {
    "model-ppo": "its policy learns from imagined rewards, which belong to no evaluation",
    "recurrent-ppo": "its policy is recurrent, and the steps that taught it are not taken apart yet",
    "reinforce": "its updates are not kept",
}


def influence_of_run(
    run: Run | str | Path, episode: int | None = None, *, final: bool = False, retrainings: int = RETRAININGS
) -> Influence:
    """Return what taught a run's policy the decisions of one network; the same at every call.

    Args:
        run: A search by ``maskable-ppo`` or ``ppo``, or its directory.
        episode: Whose decisions; None: those of the best network.
        final: Whether the last version of the policy is explained, in place of the one that took the decision.
        retrainings: Evaluations without which the policy is taught again, to compare; 0: none. They are drawn.

    Raises:
        RunError: The run kept no updates, or they can't be traced; the sentence says why.
    """
    run = run if isinstance(run, Run) else Run(run)
    folder, agent = run.path / DECISIONS / UPDATES, run.settings["agent"]
    if agent in NO_UPDATES and not (folder / START).is_file():
        raise RunError(
            f"what taught {agent!r} can't be told: {NO_UPDATES[agent]}; search with maskable-ppo or ppo for that"
        )
    updates = read_updates(folder)
    if episode is None:
        best = run.best(1)
        if not best:
            raise RunError(f"no network of {str(run.path)!r} has been evaluated yet, so that there is none to explain")
        episode = best[0].episode
    found = influence_of(updates, run.decisions, run.header, episode, final=final, retrainings=retrainings)
    return replace(found, began_with=str((run.content.get("warm_start") or {}).get("run", "")))


def influence_of(
    updates: Updates,
    decisions: "pd.DataFrame",
    header: Header,
    episode: int,
    *,
    final: bool = False,
    retrainings: int = RETRAININGS,
) -> Influence:
    """Return what taught a policy the decisions of one episode; see `influence_of_run`.

    Args:
        updates: Of the training (`nas_gym_agents.updates.UpdateLedger.read`).
        decisions: Its decision log (`nas_gym.explain.read_decisions`).
        header: Of that.
        episode: Whose decisions.
        final: Whether the last version is explained.
        retrainings: Evaluations without which the policy is taught again.
    """
    rows = decisions[(decisions["episode"] == episode) & ((decisions["flags"] & FORCED) == 0)].sort_values("step")
    if not len(rows):
        raise RunError(f"episode {episode} took no free decision; the log has episodes 0 to {decisions.episode.max()}")
    versions = np.full(len(rows), len(updates)) if final else rows["policy_version"].to_numpy().astype(np.int64)
    asked = questions_of(updates, rows, header, versions)
    states = States(updates, int(versions.max()))
    found = trace(states, asked)
    here = [float(found.logps[i, version]) for i, version in enumerate(versions)]
    if not final:
        _check_recorded(here, rows["logp"].tolist())
    parts = by_episode(found, updates, decisions)
    without, agreed = _retrained(states, asked, np.array(here), decisions, rows, parts, retrainings)
    checks: dict[str, Any] = {
        "replay": {"exact": states.exact, "logp_error": states.logp_error},
        "path": path_check(found),
        "retraining": agreed,
    }
    keys = {
        one: key if isinstance(key, str) else None  # pandas may have made it a NaN
        for one, key in zip(decisions["episode"].tolist(), decisions["key"].tolist(), strict=True)
    }
    taught = [
        Taught(
            episode=episode,
            step=int(row["step"]),
            slot=header.slots[row["slot"]] if 0 <= row["slot"] < len(header.slots) else f"decision {row['step'] + 1}",
            choice=_choice(row, header),
            version=int(versions[i]),
            untaught=float(found.logps[i, 0]),
            logp=here[i],
            shares=_shares(found, parts, without, keys, i),
        )
        for i, row in enumerate(rows.to_dict("records"))
    ]
    return Influence(tuple(taught), checks)


def _retrained(
    states: States,
    asked: Questions,
    here: NDArray[np.float64],
    decisions: "pd.DataFrame",
    rows: "pd.DataFrame",
    parts: dict[int, NDArray[np.float64]],
    n: int,
) -> tuple[dict[int, NDArray[np.float64]], dict[str, Any] | None]:
    """Return what retraining without some episodes takes away, (d,) by episode, and how that agrees with their shares.

    They are drawn from those that every taught decision could learn from; None if these are too few to compare.
    """
    which = asked.versions > 0
    if not n or not which.any():
        return {}, None
    chosen = drawn(states.updates, decisions, int(asked.versions[which].min()), n)
    steps = decisions.groupby("episode")["global_step"]
    effects = {one: here - logps_without(states, asked, steps.get_group(one).tolist()) for one in chosen}
    if len(chosen) < FEWEST:
        return effects, None
    predicted = np.stack([parts[one][which] for one in chosen], axis=1)
    real = np.stack([effects[one][which] for one in chosen], axis=1)
    return effects, agreement(predicted, real, naive(decisions, rows[which], chosen))


def questions_of(updates: Updates, rows: "pd.DataFrame", header: Header, versions: NDArray[np.int64]) -> Questions:
    """Return decisions of the log as questions.

    Their observations are taken from the updates, and where no update holds them put together from the choices.
    """
    wanted = {int(step): place for place, step in enumerate(rows["global_step"])}
    observations: list[NDArray[Any] | None] = [None] * len(rows)
    for update in updates:
        for env_step in zip(*np.nonzero(np.isin(update.global_steps, list(wanted))), strict=True):
            place = wanted[int(update.global_steps[env_step])]
            observations[place] = update.rows["observations"][env_step]
    whole = [
        _one_hot(packed, header) if seen is None else seen
        for seen, packed in zip(observations, rows["observation"], strict=True)
    ]
    masks = np.stack([unpack_mask(mask, header.n_actions) for mask in rows["mask"]])
    actions = rows["action"].to_numpy().astype(np.int64)
    return Questions(np.stack(whole), actions, masks if header.masked else None, versions)


def _one_hot(packed: NDArray[np.uint8], header: Header) -> NDArray[np.float32]:
    blocks = [np.eye(1 + len(choices), dtype=np.float32)[k] for k, choices in zip(packed, header.choices, strict=True)]
    return np.concatenate(blocks)


def _check_recorded(here: list[float], recorded: list[float]) -> None:
    off = max(abs(a - b) for a, b in zip(here, recorded, strict=True))
    if not off <= WRONG:
        raise RunError(
            f"the replayed policy gives these decisions log-probabilities that are off by {off:.2g} nats from the "
            "decision log, so that they can't be explained by it; replay it on the machine that made it"
        )


def by_episode(found: Trace, updates: Updates, decisions: "pd.DataFrame") -> dict[int, NDArray[np.float64]]:
    """Return by number what the rewards of every episode did to log-probabilities, (d,); -1: unknown ones."""
    episode_of = dict(zip(decisions["global_step"].tolist(), decisions["episode"].tolist(), strict=True))
    parts: dict[int, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(found.before)))
    for version, moved in enumerate(found.rewards):
        episodes = np.array([episode_of.get(step, -1) for step in updates[version].flat_steps().tolist()])
        for episode in np.unique(episodes):
            parts[int(episode)] = parts[int(episode)] + moved[:, episodes == episode].sum(1)
    return dict(parts)


def drawn(updates: Updates, decisions: "pd.DataFrame", version: int, n: int, *, seed: int = 0) -> list[int]:
    """Return up to n random episodes with a decision in an update before a version, in order."""
    steps = [update.flat_steps() for update, _ in zip(updates, range(version), strict=False)]
    seen = decisions.loc[decisions["global_step"].isin(np.concatenate([*steps, np.empty(0, int)])), "episode"].unique()
    chosen = np.random.default_rng(seed).permutation(np.sort(seen))[:n]
    return sorted(int(one) for one in chosen)


def naive(decisions: "pd.DataFrame", rows: "pd.DataFrame", episodes: list[int]) -> NDArray[np.float64]:
    """Return what one would guess without the updates: the reward above the mean, where the same was chosen there."""
    rewards = decisions.groupby("episode")["reward"].first()
    chosen = decisions[decisions["episode"].isin(episodes)]
    same = {(e, s, a) for e, s, a in zip(chosen["episode"], chosen["slot"], chosen["action"], strict=True)}
    mean = float(rewards.mean())
    return np.array(
        [
            [(float(rewards[e]) - mean) * ((e, slot, action) in same) for e in episodes]
            for slot, action in zip(rows["slot"], rows["action"], strict=True)
        ]
    )


def _shares(
    found: Trace,
    parts: dict[int, NDArray[np.float64]],
    without: dict[int, NDArray[np.float64]],
    keys: Mapping[int, str | None],
    i: int,
) -> tuple[Share, ...]:
    shares = [
        Share(EVALUATION, float(parts[e][i]), e, keys.get(e), _number(without[e][i]) if e in without else None)
        for e in sorted(parts)
        if e >= 0
    ]
    rest = {
        UNKNOWN: parts[-1][i] if -1 in parts else 0.0,
        ENTROPY: found.entropy[i].sum(),
        VALUE: found.critic[i].sum(),
        MOMENTUM: found.before[i],
        UNEXPLAINED: found.unexplained[i],
    }
    return (*shares, *[Share(source, float(nats)) for source, nats in rest.items()])


def _number(nats: np.floating[Any]) -> float | None:
    return None if np.isnan(nats) else float(nats)


def _choice(row: dict[Any, Any], header: Header) -> str:
    slot, action = row["slot"], row["action"]
    known = 0 <= slot < len(header.choices) and 0 <= action < len(header.choices[slot])
    return header.choices[slot][action] if known else f"action {action}"
