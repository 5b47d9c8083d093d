"""The best network as it grows, with what moved the policy at each decision: in pictures and in words."""

import math
from typing import Any

import numpy as np

from nas_gym.document import Heading
from nas_gym.errors import RunError
from nas_gym.explain.record import FORCED, Header
from nas_gym.explain.targets import of_row
from nas_gym.explain.words import WORTH_NAMING, account
from nas_gym.report import credit
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, factor, percent
from nas_gym.report.section import Page, Section, silent
from nas_gym.report.step_figures import Bar, Scale, Step, certainty_figure, chain_figure, step_figure

TITLE = "How the network grew, and what moved the policy"
HOW_TO_READ = (
    "One picture per decision. The boxes are the network so far, the new decision framed. Below, the bars lead from "
    "chance, where every legal choice is alike, through the preference that the policy had before any decision (grey) "
    "and the decisions taken so far (blue: towards the choice, orange: away from it, also under their boxes) to the "
    "probability that the policy gave the choice. Factors multiply; equal lengths are equal factors, in all pictures."
)
MOST_BARS = 6


def growing(material: Material) -> Section:
    """Return what the policy computed at each decision of the best network."""
    best = material.best
    if best is None:
        return silent(TITLE, "There is no network yet whose decisions could be shown.")
    if material.log is None or not material.steps:
        return silent(TITLE, f"The decisions of the best network are not on record{_why(material)}.")
    decisions, header = material.log
    mine = decisions[decisions["episode"] == best.episode]
    told = account(mine, header)
    rows = material.steps
    page = Page(TITLE, "growing")
    if not material.has_policy:
        page.say(told[0], f"What each of its decisions earned {_earned(material)}.")
        names = {int(row["slot"]): _choice(header, row["slot"], row["action"]) for row in rows}
        listed = ", ".join(f"{header.slots[slot]} = {choice}" for slot, choice in names.items())
        earned, told_how = _credit(material)
        caption = f"The decisions of the best network{told_how}."
        alt = f"{caption} {listed}."
        page.show("chain", lambda width: chain_figure(header.slots, names, earned, width), caption, alt)
        return page.section()
    opening, paragraphs, limit = told[: -1 - len(rows)], told[-1 - len(rows) : -1], told[-1]
    page.say(*opening, limit)
    _add_steps(page, rows, header, paragraphs)
    return page.section()


def _why(material: Material) -> str:
    if material.log is None:
        return ": there is no decision log to read; `nas-gym resume` rebuilds that of a search that was stopped"
    return ": its rollout had not ended when this report was written"


def _earned(material: Material) -> str:
    return "is in the next section" if material.file("credit.parquet") else f"is computed by `{material.explain}`"


def _credit(material: Material) -> tuple[dict[int, float], str]:
    """Return what the decisions earned, by slot, in the first view that is trusted; and how it is shown, in words."""
    try:
        views = [pair for pair in credit.of_best(material) if pair[0].trusted]
    except RunError:  # the section on credit says so
        views = []
    if not views:
        return {}, ""
    view, rows = views[0]
    sign = -1.0 if view.name in credit.LOSSES else 1.0
    earned = {int(row["slot"]): sign * float(row["credit"]) for row in rows if not credit.absent(row["credit"])}
    name = credit.title(view.name)
    how = "under them what each earned (blue: gained, orange: lost; the stronger the colour, the more)"
    return earned, f", {how}, by one view: {name[:1].lower()}{name[1:]}"


def _add_steps(page: Page, rows: list[dict[str, Any]], header: Header, paragraphs: list[str]) -> None:
    steps = {place: step for place, row in enumerate(rows) if (step := step_of(row, rows, header)) is not None}
    if steps:
        caption = (
            "How sure the policy was of each decision of the best network: from chance (ring) to the probability that "
            "it gave the choice (diamond)."
        )
        numbers = "; ".join(f"{_named(step)} {percent(math.exp(step.policy))}" for step in steps.values())
        page.show(
            "certainty", lambda width: certainty_figure(list(steps.values()), width), caption, f"{caption} {numbers}."
        )
        if any(step.bars for step in steps.values()):
            page.say(HOW_TO_READ)
    scale = Scale.of(list(steps.values())) if steps else Scale(0.0, 0.0, 0)
    for place, (row, paragraph) in enumerate(zip(rows, paragraphs, strict=True)):
        slot = int(row["slot"])
        where = header.slots[slot] if 0 <= slot < len(header.slots) else f"decision {place + 1}"
        named = f"{where} = {_choice(header, slot, row['action'])}"
        page.blocks.append(Heading(f"Decision {place + 1}: {named}", 3))
        if place in steps:
            _add_step(page, steps[place], scale, place)
        told = paragraph.removeprefix(f"{named}: ")
        page.say(f"{told[0].upper()}{told[1:]}", against(row, header))


def _add_step(page: Page, step: Step, scale: Scale, place: int) -> None:
    along = "; ".join(f"{bar.name} {factor(bar.nats)}" for bar in step.bars)
    alt = (
        f"{_named(step)}: from chance, {percent(math.exp(step.chance))}, to {percent(math.exp(step.policy))}"
        f"{f': {along}' if along else ''}."
    )
    page.show(f"{place + 1:02d}", lambda width: step_figure(step, scale, width), "", alt)


def step_of(row: dict[str, Any], rows: list[dict[str, Any]], header: Header) -> Step | None:
    """Return a decision ready to be drawn; None where nothing was decided, or where its slot has no name.

    Args:
        row: Of the decision log.
        rows: Of its episode, in order.
        header: Of the log.
    """
    slot = int(row["slot"])
    if row["flags"] & FORCED or row["probabilities"] is None or not 0 <= slot < len(header.slots):
        return None
    earlier = {int(one["slot"]): one for one in rows if one["step"] < row["step"]}
    bars, moved = _bars(row, header)
    other, probabilities = int(row["runner_up"]), np.asarray(row["probabilities"], dtype=np.float64)
    known = other >= 0 and probabilities[other] > 0
    return Step(
        slots=header.slots,
        choices={number: _choice(header, number, one["action"]) for number, one in earlier.items()},
        slot=slot,
        choice=_choice(header, slot, row["action"]),
        chance=float(row["log_uniform"]),
        n_legal=int(row["n_valid"]),
        policy=float(row["logp"]),
        bars=bars,
        other=(_choice(header, slot, other), float(np.log(probabilities[other]))) if known else None,
        moved=moved,
    )


def _bars(row: dict[str, Any], header: Header) -> tuple[list[Bar], dict[int, float]]:
    """Return the prior preference, the decisions that moved it most, the rest in one; and all of them by slot."""
    if row["phi"] is None:
        return [], {}
    phi = np.asarray(row["phi"], dtype=np.float64)
    order = [int(group) for group in np.argsort(-np.abs(phi)) if phi[group]]
    named = [group for group in order if abs(phi[group]) >= WORTH_NAMING][:MOST_BARS]
    left = [group for group in order if group not in named]
    bars = [Bar("prior preference", float(row["phi0"] - row["log_uniform"]), "prior")]
    bars += [_bar(_group(header, row, group), float(phi[group])) for group in named]
    if left:
        what = _group(header, row, left[0]) if len(left) == 1 else counted(len(left), "other earlier decision")
        bars.append(_bar(what, float(phi[left].sum())))
    by_slot = {slot: float(phi[group]) for group, slot in enumerate(_slots(header)) if slot is not None and phi[group]}
    return bars, by_slot


def _bar(name: str, nats: float) -> Bar:
    return Bar(name, nats, "towards" if nats > 0 else "away")


def _slots(header: Header) -> list[int | None]:
    places = {name: slot for slot, name in enumerate(header.slots)}
    return [places.get(group) for group in header.groups]


def against(row: dict[str, Any], header: Header) -> str:
    """Return what told the choice from the most probable other one; empty where that is not on record.

    That is the contrast of `nas_gym.explain.targets`: attributions of the difference of two log-probabilities.
    """
    found = of_row(row, "runner_up")
    if found is None:
        return ""
    start, phi = found
    other = _choice(header, int(row["slot"]), int(row["runner_up"]))
    parts = [f"before any decision {_odds(start)}"]
    parts += [
        f"{_group(header, row, int(group))} {factor(phi[group])}"
        for group in np.argsort(-np.abs(phi))[:3]
        if abs(phi[group]) >= WORTH_NAMING
    ]
    odds = start + float(phi.sum())
    preferred = " The policy preferred it, and chance decided." if odds < 0 else ""
    return f"Why not {other}?{preferred} The odds against it were {_odds(odds)}: {', '.join(parts)}."


def _odds(nats: float) -> str:
    return f"{math.exp(nats):.2f} to 1"


def _group(header: Header, row: dict[str, Any], group: int) -> str:
    """Return a group of the observation and the choice that it held, as in the account in words."""
    chosen = int(row["observation"][group])
    known = group < len(header.choices) and 0 < chosen <= len(header.choices[group])
    return f"{header.groups[group]} = {header.choices[group][chosen - 1]}" if known else header.groups[group]


def _choice(header: Header, slot: int, action: int) -> str:
    known = 0 <= slot < len(header.choices) and 0 <= action < len(header.choices[slot])
    return header.choices[slot][int(action)] if known else f"choice {action}"


def _named(step: Step) -> str:
    return f"{step.slots[step.slot]} = {step.choice}"
