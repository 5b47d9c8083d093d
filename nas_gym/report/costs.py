"""What failed, and what the search took."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_gym.document import Heading, Rows
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.explain.record import OUT_OF_BUDGET
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, duration, percent
from nas_gym.report.search_figures import seconds_figure
from nas_gym.report.section import Page, Section, silent

TITLE = "Failures and costs"
MOST_REASONS = 12


def costs(material: Material) -> Section:
    """Return the outcomes by status with their reasons, and the seconds of trainings and explanations."""
    history = material.run.history
    if not history:
        return silent(TITLE, "No episode has ended yet.")
    page = Page(TITLE, "costs")
    page.blocks += _outcomes(material)
    page.blocks.append(Heading("What it took", 3))
    page.blocks.append(Rows(("", ""), _taken(material), plain=True))
    seconds = [evaluation.train_seconds for evaluation in material.evaluations if evaluation.train_seconds > 0]
    if len(seconds) > 1:
        caption = (
            f"The seconds of {counted(len(seconds), 'training')}: from {duration(min(seconds))} to "
            f"{duration(max(seconds))}, half of them under {duration(float(np.median(seconds)))} (dashed)."
        )
        page.show("seconds", lambda width: seconds_figure(seconds, width), caption)
    elif not seconds:
        page.say("Nothing was trained in this run, so that there are no seconds of training to show.")
    return page.section()


def _outcomes(material: Material) -> list[Heading | Rows]:
    history = material.run.history
    statuses = Counter(episode.status for episode in history)
    total = len(history)
    rows = [[status, f"{count:,}", percent(count / total)] for status, count in statuses.most_common()]
    caption = "How the episodes ended; an illegal action ends an episode before there is a network."
    found: list[Heading | Rows] = [
        Heading("How the episodes ended", 3),
        Rows(("outcome", "episodes", "share"), rows, caption),
    ]
    reasons = _reasons(material.evaluations)
    if reasons:
        found.append(Rows(("failure", "reason", "evaluations"), reasons, "Why evaluations failed.", plain=True))
    return found


def _reasons(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    kinds = Counter((one.status, one.reason) for one in evaluations if not one.ok)
    shown = [[status, reason or "–", f"{count:,}"] for (status, reason), count in kinds.most_common(MOST_REASONS)]
    others = kinds.total() - sum(count for _, count in kinds.most_common(MOST_REASONS))
    return [*shown, *([["others", "", f"{others:,}"]] if others else [])]


def _taken(material: Material) -> list[tuple[str, str]]:
    result, history = material.result or {}, material.run.history
    evaluated = sum(episode.key is not None for episode in history)
    distinct = len({episode.key for episode in history if episode.key is not None})
    repeats = result.get("from_store", evaluated - distinct)
    trained = sum(one.train_seconds for one in material.evaluations)
    charged = sum(one.cost_seconds for one in material.evaluations)
    rows = [
        ("wall-clock time of the last process", duration(result["seconds"]) if "seconds" in result else ""),
        ("seconds of all trainings", duration(trained) if trained else ""),
        ("what the table says these trainings cost", duration(charged) if charged and not trained else ""),
        (
            "answers without a training",
            f"{repeats:,} of {counted(evaluated, 'evaluation')}{_share(repeats, evaluated)}",
        ),
        *_explaining(material, result),
    ]
    memory = [one.peak_memory_mb for one in material.evaluations if one.peak_memory_mb is not None]
    if memory:
        rows.append(("most memory of one training", f"{max(memory):,.0f} MB"))
    return [(name, value) for name, value in rows if value]


def _share(part: int, whole: int) -> str:
    return f" ({percent(part / whole)})" if whole else ""


def _explaining(material: Material, result: dict[str, Any]) -> list[tuple[str, str]]:
    if material.log is None or not material.has_policy:
        return []
    decisions = material.log[0]
    done, short = int(decisions["phi"].notna().sum()), int(((decisions["flags"] & OUT_OF_BUDGET) != 0).sum())
    told = f"{done:,} of {counted(len(decisions), 'decision')}{_share(done, len(decisions))}"
    if short:
        told += f"; {short:,} were left out for the time it would have taken (`{material.explain}` makes up for them)"
    rows = [("decisions explained", told)]
    spent = result.get("explaining_seconds")
    if spent is not None and result.get("seconds"):
        rows.append(("seconds of explaining", f"{duration(spent)}{_share(spent, result['seconds'])} of the search"))
    return rows
