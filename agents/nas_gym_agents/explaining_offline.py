"""Explaining after the search: what its time did not allow, from the recorded observations and the policies there were.

The policies come from the ledger of updates (`nas_gym_agents.updates`): stable-baselines3 teaches the first one again,
step by step. That the policy is the one that acted is checked at every decision by its log-probability.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas_gym.errors import RunError
from nas_gym.explain.record import HEADER, UNEXPLAINED, Decision, Header, read_header, write_header
from nas_gym.explain.rewriting import decision_of, rewrite
from nas_gym.run import Run
from nas_gym.run_directory import DECISIONS
from nas_gym_agents.attribution import Groups, attribute
from nas_gym_agents.explaining import LEAST_CHECKED, with_attributions
from nas_gym_agents.explanation_checks import Check, run_checks
from nas_gym_agents.replay import policy_at, replay
from nas_gym_agents.updates import UPDATES, read_updates

LARGEST_LOGP_ERROR = 1e-4  # nats; above it another policy is being explained
SWITCHED_OFF = "attributions were switched off"

Place = tuple[int, int]  # episode and step


@dataclass(frozen=True)
class Extension:
    """What explaining after the search came to.

    Attributes:
        explained: Decisions that have attributions now and had none, or have them anew.
        logp_error: Largest difference between the replayed policies' log-probability and the recorded one, nats.
        residual: Largest additivity residual, nats.
    """

    explained: int
    logp_error: float
    residual: float


def groups_of(header: Header) -> tuple[Groups, int]:
    """Return the groups of one-hot observations with a place for "undecided" in front, and their length."""
    sizes = [1 + len(names) for names in header.choices]
    starts = np.cumsum([0, *sizes])
    named = zip(header.groups, starts, sizes, strict=False)
    return tuple((name, slice(int(start), int(start + size))) for name, start, size in named), int(starts[-1])


def observations_of(decisions: Sequence[Decision], groups: Groups, length: int) -> Any:
    """Return the one-hot observations of decisions: float32, (n, length)."""
    observations = np.zeros((len(decisions), length), dtype=np.float32)
    packed = np.stack([decision.observation for decision in decisions]).astype(np.int64)
    for place, (_, part) in enumerate(groups):
        observations[np.arange(len(packed)), part.start + packed[:, place]] = 1.0
    return observations


def extend(run: Run, *, every: bool = False) -> Extension:
    """Explain the decisions of a run that have no attributions, and put these into its decision log.

    Args:
        run: Nobody else is writing to it.
        every: Whether to explain again what has attributions.

    Raises:
        RunError: The run has no policy, none that can be explained, or not the one that acted.
    """
    folder = run.path / DECISIONS
    header = read_header(folder)
    if header.note and header.note != SWITCHED_OFF:
        raise RunError(f"the decisions of {str(run.path)!r} have {header.note}")
    wanted = _wanted(run, header, every)
    if not wanted:
        _count_all_alike(run)
        return Extension(0, 0.0, 0.0)
    done: dict[Place, Decision] = {}
    for version, model in replay(read_updates(folder / UPDATES)):
        for batch in _batches(wanted.pop(version, [])):
            done |= {(d.episode, d.step): d for d in _explained(model.policy, batch, header)}
        if not wanted:
            break
    worst = max(d.logp_error or 0.0 for d in done.values())
    if worst > LARGEST_LOGP_ERROR or wanted:
        raise RunError(
            f"the policies that the ledger in {str(folder / UPDATES)!r} gives are not those that acted "
            f"(log-probabilities differ by up to {worst:.2g}): explain the run on the kind of machine and with the "
            "versions it was made with"
        )
    rewrite(folder, lambda decisions: [_certain(done.get((d.episode, d.step), d)) for d in decisions])
    if header.note:
        write_header(folder / HEADER, replace(header, note=""))
    return Extension(len(done), worst, max(d.residual or 0.0 for d in done.values()))


def _certain(decision: Decision) -> Decision:
    """Return a decision as one of a log in which all are explained: it stands for itself alone in every average."""
    return decision if decision.phi is None else replace(decision, sampling_probability=1.0)


def _count_all_alike(run: Run) -> None:
    """Say that no decision was drawn, where all are explained, yet some were explained within a time budget before."""
    rows = run.decisions
    if (rows["phi"].notna() & (rows["sampling_probability"] < 1.0)).any():
        rewrite(run.path / DECISIONS, lambda decisions: [_certain(d) for d in decisions])


def checks_of(run: Run) -> list[Check]:
    """Return the checks of a run's attributions, at the latest version of its policy that took enough decisions.

    Args:
        run: Its ledger gives the policies that acted (`extend` sees to it).

    Raises:
        RunError: The ledger is damaged or gone.
    """
    folder = run.path / DECISIONS
    header = read_header(folder)
    rows = run.decisions
    counts = rows[rows["logp"].notna()]["policy_version"].value_counts()
    versions = counts.index[counts >= LEAST_CHECKED]
    if header.note or not len(versions):
        return []
    version = int(max(versions))
    rows = rows[rows["policy_version"] == version].sort_values("global_step")
    decisions = [decision_of(row, header) for row in rows.to_dict("records")]
    policy = policy_at(read_updates(folder / UPDATES), version).policy
    observations, masks, baseline, groups = _inputs(decisions, header)
    actions = np.array([d.action for d in decisions])
    return run_checks(
        policy,
        observations,
        actions,
        masks,
        attribute(policy, observations, actions, masks, baseline=baseline, groups=groups),
        baseline=baseline,
        groups=groups,
        acted_logp=np.array([d.logp for d in decisions], dtype=np.float64),
        seed=version,
    )


def _wanted(run: Run, header: Header, every: bool) -> dict[int, list[Decision]]:
    """Return the decisions to explain, by policy version."""
    rows = run.decisions
    if rows["logp"].isna().all():
        raise RunError(f"{str(run.path)!r} was searched by an agent without a policy: there is no decision to explain")
    rows = rows[rows["logp"].notna() & (every | (rows["flags"] & UNEXPLAINED > 0))]
    wanted: dict[int, list[Decision]] = defaultdict(list)
    for row in rows.to_dict("records"):
        wanted[int(row["policy_version"])].append(decision_of(row, header))
    return wanted


def _batches(decisions: list[Decision], size: int = 1_024) -> Iterator[list[Decision]]:
    for start in range(0, len(decisions), size):
        yield decisions[start : start + size]


def _explained(policy: Any, decisions: list[Decision], header: Header) -> list[Decision]:
    observations, masks, baseline, groups = _inputs(decisions, header)
    actions = np.array([d.action for d in decisions])
    found = attribute(policy, observations, actions, masks, baseline=baseline, groups=groups)
    own = found.log_probabilities[np.arange(len(actions)), actions]
    return [
        replace(
            with_attributions(decision, found, place),
            logp_error=abs(float(own[place]) - float(decision.logp or 0.0)),
            sampling_probability=1.0,
        )
        for place, decision in enumerate(decisions)
    ]


def _inputs(decisions: list[Decision], header: Header) -> tuple[Any, Any, Any, Groups]:
    """Return observations, masks (or None), the observation of the empty prefix, and the groups."""
    groups, length = groups_of(header)
    baseline = np.zeros(length, dtype=np.float32)
    baseline[[part.start for _, part in groups]] = 1.0
    masks = np.stack([d.legal for d in decisions]) if header.masked else None
    return observations_of(decisions, groups, length), masks, baseline, groups
