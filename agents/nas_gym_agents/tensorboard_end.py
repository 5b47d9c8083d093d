"""What TensorBoard is shown at the end of a search."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from nas_gym import standard_error
from nas_gym.explain.record import Header
from nas_gym.spaces import SearchSpace

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nas_gym.run import Ranked

MOMENTS = 4  # pictures of the policy over the search


def pictures(
    step: int,
    space: SearchSpace,
    best: "Ranked",
    decisions: "pd.DataFrame",
    header: Header,
    curves: Mapping[int, tuple[float, ...]],
    first: Mapping[str, int],
) -> Iterator[tuple[int, str, "Figure"]]:
    """Yield steps, tags and pictures, one at a time.

    Args:
        step: Of most pictures.
        space: The search space.
        best: The best candidate.
        decisions: All decisions of the run, and the header of their log.
        header: Names of slots, choices and groups.
        curves: Validation curves, by number of the evaluation.
        first: The number of the first evaluation of every key.
    """
    from nas_gym.drawing import decision_figure
    from nas_gym_agents import figures

    header = header.for_figures()
    yield step, "best/architecture", decision_figure(space, best.actions, best.evaluation)
    if curves:
        yield step, "curves/all_trainings", figures.curves_figure(curves, first.get(best.candidate.key))
    if header.slots and len(decisions):
        no_policy = decisions["probabilities"].isna().all()
        for rows in _moments(decisions):
            tag = "actions/frequencies" if no_policy else "policy/action_probabilities"
            yield int(rows["global_step"].max()) + 1, tag, figures.step_action_heatmap(rows, header)
    mine = decisions[decisions["episode"] == best.episode]
    if len(figures.explained(mine)):
        yield step, "xai/mean_abs_attr_by_step", figures.group_step_heatmap(decisions, header)
        yield step, "xai/mean_abs_attr_of_best", figures.attribution_bar(mine, header)
        yield step, "xai/attributions", figures.attribution_beeswarm(decisions, header)
        for place, (slot, figure) in enumerate(figures.attribution_waterfalls(mine, header), start=1):
            yield step, f"best_decisions/{place:02d} {slot.replace(chr(92) + chr(36), chr(36))}", figure


def _moments(decisions: "pd.DataFrame") -> Iterator["pd.DataFrame"]:
    """Yield the decisions at `MOMENTS` moments, from the first to the last; three policies each."""
    versions = np.unique(decisions["policy_version"])
    width = min(3, len(versions))
    for start in np.unique(np.linspace(0, len(versions) - width, MOMENTS).round().astype(int)):
        yield decisions[decisions["policy_version"].isin(versions[start : start + width])]


def facts_table(best: "Ranked") -> str:
    """Return what is known of the best candidate as Markdown tables."""
    evaluation, candidate = best.evaluation, best.candidate
    facts = [
        ("validation accuracy", standard_error.shown(best.accuracy, best.standard_error)),
        ("trainings", str(best.n)),
        ("parameters", f"{evaluation.parameters:,}"),
        ("multiply-accumulates", f"{evaluation.macs:,}"),
        ("episode", str(best.episode)),
        ("key", f"`{candidate.key}`"),
    ]
    tables = (("fact", "value", facts), ("decision", "choice", best.choices))
    return "\n\n".join(
        "\n".join([f"| {left} | {right} |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)])
        for left, right, rows in tables
    )
