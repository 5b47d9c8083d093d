"""What the decisions of a run earned, by every view that the run allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas_gym.errors import ConfigurationError, RunError
from nas_gym.explain.credit_file import CreditTable, Row, View
from nas_gym.explain.credit_views import Ground, Replacing, Views
from nas_gym.objective import Accuracy

if TYPE_CHECKING:
    from nas_gym.history import Episode
    from nas_gym.run import Run

MOST_EPISODES = 2_000
BEST_EPISODES = 500


def credit_of_run(
    run: Run,
    ground: Ground | None = None,
    *,
    replacing: Replacing | None = None,
    episodes: Sequence[int] | None = None,
    most: int = MOST_EPISODES,
    seed: int = 0,
) -> CreditTable:
    """Return what the decisions of a run earned, by every view that the run allows.

    A view that is not there is named with the reason (`CreditTable.missing`). Nothing is trained, unless by
    `replacing`.

    Args:
        run: The run.
        ground: Its space, objective and table, as far as they are known here.
        replacing: Who tells the rewards of replaced decisions in place of the table.
        episodes: Numbers of episodes; None: those of `chosen_episodes`.
        most: Episodes in the table.
        seed: Of the surrogate's trees, folds and background, and of the draws behind intervals.

    Raises:
        RunError: The run's files are damaged, the space is not that of the run, or an episode is asked for that the run
            has not finished.
    """
    known = Ground() if ground is None else ground
    _check_space(run, known)
    finished = [episode for episode in run.history if episode.key is not None]
    chosen = chosen_episodes(finished, most) if episodes is None else _asked(finished, episodes)
    rows: list[Row] = []
    views: list[View] = []
    missing: dict[str, str] = {}
    for names, build in Views(run, finished, chosen, known, replacing, seed).builders().items():
        try:
            for of_view, view in build():
                rows += of_view
                views.append(view)
        except ConfigurationError as error:
            missing |= {name: str(error) for name in names}
    in_points = isinstance(known.objective, Accuracy)
    return CreditTable(
        rows=rows,
        views=tuple(views),
        missing=missing,
        unit="points of accuracy" if in_points else "units of reward",
        factor=100.0 if in_points else 1.0,
        objective=str(run.settings.get("env_args", {}).get("objective") or "accuracy"),
        episodes=len(chosen),
        left_out=len(finished) - len(chosen),
    )


def chosen_episodes(finished: Sequence[Episode], most: int = MOST_EPISODES) -> list[Episode]:
    """Return the best `BEST_EPISODES` and evenly spaced others, `most` in all, in order.

    Args:
        finished: Episodes with a candidate, in order.
        most: How many at most.
    """
    ranked = sorted(finished, key=lambda episode: (-episode.reward, episode.number))
    best = ranked[: min(most, BEST_EPISODES)]
    others = sorted(ranked[len(best) :], key=lambda episode: episode.number)
    n = min(most - len(best), len(others))
    places = np.linspace(0, len(others) - 1, n).round().astype(int).tolist() if n else []
    return sorted([*best, *[others[place] for place in places]], key=lambda episode: episode.number)


def _check_space(run: Run, ground: Ground) -> None:
    if ground.space is None:
        return
    here = [(slot.name, list(slot.choices)) for slot in ground.space.slots]
    if here != [(slot["name"], list(slot["choices"])) for slot in run.content["slots"]]:
        raise RunError(
            f"{ground.space.name!r} is not the space of the run {str(run.path)!r}: it decides other slots; make "
            "the space from the settings of the run"
        )


def _asked(finished: Sequence[Episode], numbers: Sequence[int]) -> list[Episode]:
    known = {episode.number: episode for episode in finished}
    unknown = [number for number in numbers if number not in known]
    if unknown:
        raise RunError(f"credit is of episodes that ended with a network; number {unknown[0]} of this run did not")
    return [known[number] for number in sorted(set(numbers))]
