"""From numbers to the rows of a credit table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain import credit as names
from nas_gym.explain.credit import waterfall
from nas_gym.explain.credit_file import NO_STEP, Row
from nas_gym.explain.credit_replacement import Counterfactual, interval
from nas_gym.explain.prefixes import UNDECIDED

if TYPE_CHECKING:
    import pandas as pd

    from nas_gym.history import Episode
    from nas_gym.spaces.space import Prefix

Vector = NDArray[np.float64]


def decisions_of_episodes(episodes: Sequence[Episode], n_slots: int) -> NDArray[np.int16]:
    """Return the action per slot of episodes, int16 (n, slots); `UNDECIDED` where a slot was left open."""
    decided = np.full((len(episodes), n_slots), UNDECIDED, dtype=np.int16)
    for row, episode in enumerate(episodes):
        decided[row, list(episode.slots)] = episode.actions
    return decided


def critic_rows(episode: Episode, decisions: pd.DataFrame | None, believed: bool) -> list[Row]:
    """Return the waterfall of the critic's values; no rows where the episode's decisions are not all on record.

    Args:
        episode: The episode.
        decisions: Its rows of the decision log that have a value, in any order; None: none.
        believed: Whether the critic is trusted at that time.
    """
    if decisions is None or len(decisions) < len(episode.actions):
        return []
    split = waterfall(decisions.sort_values("step")["value"], episode.reward)
    return step_rows(episode, names.CRITIC, split.credits, split.start, believed)


def step_rows(episode: Episode, view: str, credits: Vector, base: float | None, trusted: bool = True) -> list[Row]:
    """Return a row per decision.

    Args:
        episode: The episode.
        view: Of the credits.
        credits: One per decision, float64 (T,).
        base: What they add to; None where the view says itself what they sum to.
        trusted: See `Row`.
    """
    return [
        Row(episode=episode.number, step=step, slot=slot, view=view, credit=credit, base=base, trusted=trusted)
        for step, (slot, credit) in enumerate(zip(episode.slots, credits.tolist(), strict=True))
    ]


def slot_rows(
    episode: Episode,
    view: str,
    values: Vector,
    base: float,
    errors: Vector | None = None,
    trusted: bool = True,
) -> list[Row]:
    """Return a row per slot: the decisions in their order, then the slots that were left open.

    Args:
        episode: The episode.
        view: Of the values.
        values: One per slot, float64 (slots,).
        base: What they add to.
        errors: Standard errors, float64 (slots,); None: not known.
        trusted: See `Row`.
    """
    open_ = [slot for slot in range(len(values)) if slot not in episode.slots]
    steps = [*enumerate(episode.slots), *[(NO_STEP, slot) for slot in open_]]
    rows = []
    for step, slot in steps:
        credit = float(values[slot])
        low, high = interval(credit, None if errors is None else float(errors[slot]))
        row = Row(episode=episode.number, step=step, slot=slot, view=view, credit=credit, base=base, trusted=trusted)
        rows.append(row if low is None else replace(row, low=low, high=high))
    return rows


def counterfactual_rows(episode: Episode, found: Mapping[Prefix, list[Counterfactual]], best: bool) -> list[Row]:
    """Return a row per decision, compared with the mean of its alternatives or the best; none where none is known."""
    name = names.COUNTERFACTUAL_BEST if best else names.COUNTERFACTUAL
    rows = []
    for step, one in enumerate(found.get(episode.actions, ())):
        credit = one.best if best else one.mean
        low, high = interval(credit, one.best_error if best else one.mean_error)
        rows.append(
            Row(
                episode=episode.number,
                step=step,
                slot=one.slot,
                view=name,
                credit=credit,
                low=low,
                high=high,
                alternatives=one.alternatives,
            )
        )
    return rows
