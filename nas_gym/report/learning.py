"""How the policy and what moved it changed while it learned."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.document import Heading
from nas_gym.explain.record import FORCED, Header
from nas_gym.report.bar_figures import HeatMap, heat_figure
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, percent
from nas_gym.report.section import Page, Section, silent

if TYPE_CHECKING:
    import pandas as pd

TITLE = "How the policy changed as it learned"
STAGES = 10


def learning(material: Material) -> Section:
    """Return how sure the policy was, and how much each decision moved it, from its first version to its last."""
    if material.log is None:
        return silent(TITLE, "There is no decision log to read.")
    if not material.has_policy:
        return silent(TITLE, "The agent has no policy on record.")
    decisions, header = material.log
    free = decisions[((decisions["flags"] & FORCED) == 0) & decisions["entropy"].notna() & (decisions["n_valid"] > 1)]
    if not len(free) or not header.slots:
        return silent(TITLE, "No free decision of a policy is on record.")
    page = Page(TITLE, "learning")
    versions = len(np.unique(decisions["policy_version"]))
    page.say(
        f"{counted(len(decisions), 'decision')} by {counted(versions, 'version')} of the policy, which is updated "
        f"after every rollout; versions are put together into at most {STAGES} stages."
    )
    _add_entropy(page, free, header)
    _add_attributions(page, material)
    return page.section()


def _add_entropy(page: Page, free: "pd.DataFrame", header: Header) -> None:
    share = (free["entropy"] / np.log(free["n_valid"])).to_numpy(np.float64)
    heat = _by_stage(free, free["slot"].to_numpy(np.int64), share, np.ones(len(free)), header.slots)
    if heat is None:
        return
    values, stages, slots = heat
    first, last = (float(np.nanmean(values[row])) for row in (0, -1))
    caption = (
        "How undecided the policy was at each decision: its entropy as a share of that of chance. 100 %: every legal "
        f"choice alike; 0 %: it always decides the same. On average {percent(first)} in the first stage, "
        f"{percent(last)} in the last."
    )
    page.blocks.append(Heading("How undecided it was", 3))
    shown = HeatMap(
        100 * values, stages, slots, "policy versions", "decision", "% of chance's entropy", 100.0, "{:.0f}"
    )
    page.show("entropy", lambda width: heat_figure(shown, width), caption)


def _add_attributions(page: Page, material: Material) -> None:
    page.blocks.append(Heading("What moved it", 3))
    if material.explained is None:
        note = material.log[1].note if material.log else ""
        page.say(f"No decision has attributions{f': {note}' if note else ''}.")
        return
    explained, header = material.explained
    phi = np.abs(np.stack(explained["phi"].to_list()).astype(np.float64))
    decided = np.stack(explained["observation"].to_list()) > 0
    chance = explained["sampling_probability"].fillna(1.0).to_numpy(np.float64)
    weights = 1.0 / np.where(chance > 0, chance, 1.0)
    rows, groups = np.nonzero(decided)
    heat = _by_stage(explained.iloc[rows], groups, phi[rows, groups], weights[rows], header.groups)
    if heat is None:
        page.say("No decision was taken after another one, so that none could move another.")
        return
    values, stages, names = heat
    totals = np.nanmean(values, axis=0)
    strongest = names[int(np.nanargmax(totals))]
    caption = (
        "How much each choice moved the decisions after it: the mean absolute attribution, in nats of log-probability "
        f"(0.69 is a factor of two). Over all stages, {strongest} moved the policy most. This says what the policy "
        "computed, not what earned the reward."
    )
    top = float(np.nanmax(values))
    shown = HeatMap(values, stages, names, "policy versions", "the choice for …", "mean |attribution|, nats", top)
    page.show("attributions", lambda width: heat_figure(shown, width), caption)


def _by_stage(
    decisions: "pd.DataFrame",
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    names: tuple[str, ...],
) -> tuple[NDArray[np.float64], list[str], list[str]] | None:
    """Return weighted means by stage and column, with the names of both; columns without any value are left out.

    Args:
        decisions: One row per value.
        columns: Of the values; those without a name are left out.
        values: To be averaged.
        weights: Their weights.
        names: Of all columns.
    """
    version = decisions["policy_version"].to_numpy(np.int64)
    known = (columns >= 0) & (columns < len(names))
    if not known.any():
        return None
    groups = np.array_split(np.unique(version), min(STAGES, len(np.unique(version))))
    sums, totals = np.zeros((2, len(groups), len(names)))
    for stage, group in enumerate(groups):
        mine = known & (version >= group[0]) & (version <= group[-1])
        np.add.at(sums[stage], columns[mine], (values * weights)[mine])
        np.add.at(totals[stage], columns[mine], weights[mine])
    means = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
    kept = np.flatnonzero(totals.sum(0) > 0)
    stages = [f"{group[0]}" if len(group) == 1 else f"{group[0]}–{group[-1]}" for group in groups]
    return means[:, kept], stages, [names[column] for column in kept]
