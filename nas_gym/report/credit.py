"""What each decision of the best network earned: every view by itself, with the sentence that says what it means."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_gym.document import Heading, Items, Rows
from nas_gym.report.bar_figures import Interval, interval_figure, signed
from nas_gym.report.material import Material
from nas_gym.report.numbers import plain
from nas_gym.report.section import Page, Section, silent

TITLE = "What each decision earned"
TABLE, FACTS = "credit.parquet", "credit.json"
COLUMNS = ("episode", "step", "slot", "view", "credit", "low", "high")
TITLES = {
    "critic_waterfall": "As the critic expected it, decision by decision",
    "expected_waterfall": "As the table expected it, decision by decision",
    "counterfactual": "Against the mean alternative",
    "counterfactual_best": "Against the best alternative",
    "shapley_table": "Its Shapley value in the table",
    "shapley_surrogate": "Its Shapley value in a model fitted to the run",
    "regret": "What it lost for good (regret)",
}
LOSSES = {"regret"}  # views whose values above zero are losses
_APART = (
    "What moved the policy is one question; what a decision earned is another, and has several answers. Each view "
    "below has a meaning of its own, and they are not to be added or averaged."
)


@dataclass(frozen=True)
class View:
    """What is known of one way to credit decisions.

    Attributes:
        name: Its name in the table.
        meaning: One sentence.
        trusted: Whether it may be read without a warning.
        trust: Why, or why not.
        notes: What else is known, name by name.
    """

    name: str
    meaning: str
    trusted: bool
    trust: str
    notes: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any]) -> "View":
        """Return the view that the facts of a file tell of."""
        known = {"name", "meaning", "trusted", "trust"}
        notes = {key: value for key, value in facts.items() if key not in known and value not in (None, "", {})}
        return cls(
            name, str(facts.get("meaning", "")), bool(facts.get("trusted", True)), str(facts.get("trust", "")), notes
        )


def credit(material: Material) -> Section:
    """Return what each decision of the best network earned, by every view on record."""
    if material.best is None:
        return silent(TITLE, "There is no network yet whose decisions could be credited.")
    if material.file(TABLE) is None:
        return silent(TITLE, f"Not computed for this run; `{material.explain}` does it.")
    facts = material.object(FACTS, dict) or {}
    page = Page(TITLE, "credit")
    page.say(_APART)
    unit, scale = str(facts.get("unit", "units of the reward")), float(facts.get("factor", 1.0))
    for view, rows in of_best(material):
        _add_view(page, view, _intervals(rows, material, scale), unit)
    missing = facts.get("missing", {})
    if missing:
        page.say("Views that are not there:")
        page.blocks.append(Items([f"**{title(name)}**: {reason}" for name, reason in missing.items()]))
    if not page.pictures:
        page.say("The best network is not among the episodes that were credited.")
    return page.section()


def of_best(material: Material) -> list[tuple[View, list[dict[Any, Any]]]]:
    """Return the views of what the best network's decisions earned, trusted ones first, with their rows in order.

    Raises:
        RunError: A file is damaged.
    """
    frame, facts = material.table(TABLE, COLUMNS), material.object(FACTS, dict) or {}
    if frame is None or material.best is None:
        return []
    mine = frame[frame["episode"] == material.best.episode].sort_values(["step", "slot"], kind="stable")
    views = views_of(facts, sorted(set(mine["view"])))
    return [(view, mine[mine["view"] == view.name].to_dict("records")) for view in views]


def views_of(facts: Mapping[str, Any], present: Sequence[str]) -> list[View]:
    """Return the views of a file of facts, a list or a mapping of them, trusted ones first; unnamed ones at the end."""
    listed = facts.get("views", facts)
    if isinstance(listed, list):
        listed = {str(one["name"]): one for one in listed if isinstance(one, dict) and "name" in one}
    told = [View.of(name, one) for name, one in listed.items() if isinstance(one, dict) and name in present]
    told.sort(key=lambda view: not view.trusted)
    known = {view.name for view in told}
    return [*told, *(View(name, "", False, "nothing is known of it", {}) for name in present if name not in known)]


def _intervals(rows: Sequence[dict[str, Any]], material: Material, scale: float) -> list[Interval]:
    slots = material.run.content["slots"]
    chosen = dict(material.best.choices) if material.best else {}
    found = []
    for row in rows:
        slot = slots[int(row["slot"])]["name"] if 0 <= row["slot"] < len(slots) else f"decision {row['step'] + 1}"
        name = f"{slot} = {chosen[slot]}" if row["step"] >= 0 and slot in chosen else f"{slot} (left open)"
        value, low, high = (None if absent(row[key]) else scale * float(row[key]) for key in ("credit", "low", "high"))
        found.append(Interval(name, value, low, high))
    return found


def absent(value: Any) -> bool:
    """Return whether a cell of a table holds nothing."""
    return value is None or math.isnan(value)


def _add_view(page: Page, view: View, rows: list[Interval], unit: str) -> None:
    page.blocks.append(Heading(title(view.name), 3))
    page.say(view.meaning, _sentence(view.trust) if view.trusted else f"**Not to be trusted here:** {view.trust}")
    known = [row for row in rows if row.value is not None]
    if known:
        bounds = any(row.low is not None for row in known)
        caption = f"`{view.name}`, in {unit}{'; lines are 95 % intervals' if bounds else ''}."
        told = "; ".join(f"{row.name} {signed(row.value or 0.0)}" for row in known)
        style = {"pale": not view.trusted, "loss": view.name in LOSSES}
        page.show(view.name, lambda width: interval_figure(known, unit, width, **style), caption, f"{caption} {told}.")
    ends = any(row.low is not None for row in known)
    values = [(row.name, (row.value, row.low, row.high) if ends else (row.value,)) for row in rows]
    cells = [[named, *("–" if value is None else signed(value) for value in told)] for named, told in values]
    page.blocks.append(Rows(("decision", unit, "low", "high") if ends else ("decision", unit), cells))
    page.say(*_notes(view.notes))


def _notes(notes: Mapping[str, Any]) -> list[str]:
    """Return what else is known of a view: what it credits and sums to, and the numbers that tell its quality."""
    of, sums, quality = notes.get("of", "reward"), notes.get("sums_to"), notes.get("quality")
    told = [] if of == "reward" else [f"What is credited is the {of}, not the reward."]
    told += [f"The credits of an episode and a base sum to {sums}."] if sums else []
    others = {name: value for name, value in notes.items() if name not in ("of", "sums_to", "quality")}
    numbers = {**others, **quality} if isinstance(quality, dict) else others
    listed = ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in numbers.items())
    return [*told, *([f"In numbers: {listed}."] if listed else [])]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


def title(view: str) -> str:
    """Return the heading of a view."""
    return TITLES.get(view, _spoken(view))


def _spoken(name: str) -> str:
    words = name.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}"
