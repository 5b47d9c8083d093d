"""Accounts in words of what taught a policy the decisions of a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas_gym_agents.influence.result import ENTROPY, EVALUATION, MOMENTUM, UNKNOWN, VALUE, Influence, Taught, Teacher

WORTH_NAMING = 0.05  # nats: 5 % of a probability
MOST_TOWARDS, MOST_AWAY = 3, 2

MEANING = (
    "These are shares in the steps that the optimiser took: what the rewards of a network did to the policy, not why "
    "the choice is good. A reward counts by how far it lay above or below what the critic expected, and the critic had "
    "been taught by rewards too, which is not followed."
)
_WARM = "The search began with the policy of {}: what that one had been taught by is not traced here."
OTHERS = {
    ENTROPY: "the entropy bonus",
    VALUE: "the critic's loss",
    MOMENTUM: "momentum from before the first update",
    UNKNOWN: "samples of unknown networks",
}


def account_of_influence(influence: Influence) -> list[str]:
    """Return one paragraph per decision, what the numbers mean, and how far they can be relied on."""
    paragraphs = [_paragraph(one, influence.first_policy) for one in influence.decisions]
    warm = [_WARM.format(influence.began_with)] if influence.began_with else []
    return [*paragraphs, *warm, MEANING, reliance(influence.checks)]


def _paragraph(taught: Taught, first_policy: str) -> str:
    name = f"{taught.slot} = {taught.choice}"
    if not taught.version:
        return f"{name}: {_percent(taught.logp)}, decided by the {first_policy}."
    change = taught.logp - taught.untaught
    opening = (
        f"{name}: {_percent(taught.untaught)} before the first update, {_percent(taught.logp)} after "
        f"{taught.version} ({change:+.2f} nats)."
    )
    teachers = taught.teachers
    towards = [one for one in teachers if one.nats >= WORTH_NAMING][:MOST_TOWARDS]
    away = [one for one in reversed(teachers) if one.nats <= -WORTH_NAMING][:MOST_AWAY]
    rest = taught.of(EVALUATION) - sum(one.nats for one in (*towards, *away))
    left = len(teachers) - len(towards) - len(away)
    if not towards and not away:
        learned = f"No single network's reward moved it by 5 %; those of all {left} sum to {rest:+.2f}"
    else:
        learned = f"{_learned(change, towards, away)}; the other {left} sum to {rest:+.2f}"
    others = "".join(
        f", {what} {taught.of(source):+.2f}" for source, what in OTHERS.items() if abs(taught.of(source)) >= 0.005
    )
    return f"{opening} {learned}{others}."


def _learned(change: float, towards: Sequence[Teacher], away: Sequence[Teacher]) -> str:
    """Return who taught a choice, or untaught it; one of the two sides is not empty."""
    if change <= -WORTH_NAMING:
        named = (
            f"It was unlearned mostly because of {_named(away)}" if away else "No network's reward moved it down by 5 %"
        )
        return f"{named}, against {_named(towards)}" if towards else named
    if change < WORTH_NAMING and towards and away:
        return f"It stayed about where it was, between {_named(towards)} and {_named(away)}"
    named = f"It was learned mostly from {_named(towards)}" if towards else "No network's reward moved it up by 5 %"
    return f"{named}, against {_named(away)}" if away else named


def _named(teachers: Sequence[Teacher]) -> str:
    together = all(one.made for one in teachers)
    names = [_name(one, alone=not together) for one in teachers]
    joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    kind = ("networks " if len(teachers) > 1 else "network ") if together else ""
    return f"{kind}{joined} ({', '.join(f'{one.nats:+.2f}' for one in teachers)} nats)"


def _name(teacher: Teacher, *, alone: bool) -> str:
    if not teacher.made:
        return f"episode {teacher.first} that made no network"
    times = f" (evaluated {teacher.episodes} times)" if teacher.episodes > 1 else ""
    return f"{'network ' if alone else ''}{teacher.first}{times}"


def reliance(checks: Mapping[str, Any]) -> str:
    """Return in one or two sentences what the checks found."""
    path, again = checks["path"], checks["retraining"]
    told = f"Along the path of the weights they leave {100 * path['residual_share']:.2g} % of the changes unexplained."
    if again is None:
        return f"{told} They were not compared with retraining."
    found = (
        f"{told} Retraining without one evaluation each ({again['evaluations']} drawn) orders them with a rank "
        f"correlation of {again['correlation']:.2f} with these shares (chance stays below {again['chance']:.2f})"
    )
    if again["correlation"] > again["chance"]:
        return f"{found}."
    return f"{found}: here they keep the books of what happened, and do not say what would have been without a network."


def _percent(logp: float) -> str:
    share = float(np.exp(logp))
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
