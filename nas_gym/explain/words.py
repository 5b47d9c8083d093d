"""Accounts in words of what moved a controller.

Log-probabilities add up, so probabilities multiply: that of the chosen action is the uniform policy's, times a
factor for the policy's prior preference, times one factor per earlier decision, exp(phi). The text uses these factors.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nas_gym.explain.record import FORCED, ILLEGAL, OUT_OF_BUDGET, UNEXPLAINED, Header

if TYPE_CHECKING:
    import pandas as pd

CLOSE_TO_CHANCE = 0.95  # of the entropy of the uniform policy over the legal actions
WORTH_NAMING = 0.05  # of a log-probability, in nats: 5 %

LIMIT = (
    "These factors say what the policy computed when it decided, not what makes the network good; "
    "what a decision earned is another question."
)
UNTOLD = (
    "What moved the policy to these decisions was not computed in the search; nas-gym explain RUN does it if it can."
)
_LATER = "Not explained: explaining had used its share of the time; nas-gym explain RUN makes up for it."


def account(decisions: "pd.DataFrame", header: Header) -> list[str]:
    """Return an account of the decisions of one episode: an opening, one paragraph per decision, a closing.

    Args:
        decisions: Rows of one episode (`nas_gym.explain.read_decisions`), in order.
        header: Of their log.
    """
    rows = decisions.sort_values("step").to_dict("records")
    if not rows:
        return ["No decision of this network is on record."]
    if all(row["probabilities"] is None for row in rows):
        return [
            "No policy of this agent is on record, so no preference can be explained: its choices are listed only."
        ] + [f"{_named(row, header)}." for row in rows]
    free = [row for row in rows if not row["flags"] & FORCED]
    chance = [row for row in free if is_close_to_chance(row)]
    opening = []
    if chance:
        places = ", ".join(_slot(row, header) for row in chance)
        share = "All" if len(chance) == len(free) else f"{len(chance)} of {len(free)}"
        opening.append(
            f"{share} free decisions were close to chance (the policy was nearly uniform over the {_kind(header)}): "
            f"{places}. Chance, not a learned preference, explains them."
        )
    if header.note:
        opening.append(f"{header.note[0].upper()}{header.note[1:]}.")
    closing = LIMIT if any(row["phi"] is not None for row in rows) else UNTOLD
    return [*opening, *(_paragraph(row, header) for row in rows), closing]


def is_close_to_chance(row: dict[Any, Any]) -> bool:
    """Return whether a decision's policy was close to uniform over its legal actions."""
    if row["n_valid"] < 2 or row["entropy"] is None:
        return False
    return bool(row["entropy"] >= CLOSE_TO_CHANCE * np.log(row["n_valid"]))


def _paragraph(row: dict[Any, Any], header: Header) -> str:
    named = _named(row, header)
    if row["flags"] & FORCED:
        return f"{named}: forced, the only legal choice."
    if row["flags"] & ILLEGAL:
        named += " (illegal)"
    probability = float(np.exp(row["logp"]))
    text = (
        f"{named}: {'close to chance, ' if is_close_to_chance(row) else ''}probability {_percent(probability)} "
        f"among {row['n_valid']} {_kind(header)} (uniform: {_percent(1 / row['n_valid'])})."
    )
    if row["flags"] & UNEXPLAINED or row["phi"] is None:
        return f"{text} {_LATER}" if row["flags"] & OUT_OF_BUDGET else text
    return f"{text} {_reasons(row, header)}{_runner_up(row, header)}"


def _kind(header: Header) -> str:
    return "legal choices" if header.masked else "choices, legal or not"


def _reasons(row: dict[Any, Any], header: Header) -> str:
    prior = row["phi0"] - row["log_uniform"]
    parts = [f"the prior preference, before any decision, {_times(prior)}"]
    phi = np.asarray(row["phi"])
    for group in np.argsort(-np.abs(phi)):
        if abs(phi[group]) < WORTH_NAMING or len(parts) > 3:
            break
        choice = int(row["observation"][group])
        chosen = header.choices[group][choice - 1] if choice and group < len(header.choices) else "undecided"
        parts.append(f"{header.groups[group]} = {chosen} {_times(float(phi[group]))}")
    if len(parts) == 1 and row["step"]:
        parts.append("no earlier decision moved it by more than 5 %")
    joined = "; ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}."


def _runner_up(row: dict[Any, Any], header: Header) -> str:
    other = int(row["runner_up"])
    if other < 0 or not 0 <= row["slot"] < len(header.choices) or other >= len(header.choices[row["slot"]]):
        return ""
    probability = float(row["probabilities"][other])
    place = "Runner-up" if probability <= float(np.exp(row["logp"])) else "More probable was"
    return f" {place}: {header.choices[row['slot']][other]} ({_percent(probability)})."


def _times(nats: float) -> str:
    if abs(nats) < 0.005:
        return "left it as likely"
    factor = float(np.exp(nats))
    return f"made it {factor:.2f} times as likely"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _slot(row: dict[Any, Any], header: Header) -> str:
    return header.slots[row["slot"]] if 0 <= row["slot"] < len(header.slots) else f"decision {row['step'] + 1}"


def _named(row: dict[Any, Any], header: Header) -> str:
    slot, action = row["slot"], row["action"]
    known = 0 <= slot < len(header.choices) and 0 <= action < len(header.choices[slot])
    return f"{_slot(row, header)} = {header.choices[slot][action] if known else f'action {action}'}"
