"""Where the policy's preference came from: what taught it the decisions of the best network."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_gym.document import Heading, Items, Rows
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, factor, percent, plain
from nas_gym.report.section import Page, Section, silent

if TYPE_CHECKING:
    import pandas as pd

TITLE = "Where the preference came from"
TABLE, FACTS = "influence.parquet", "influence.json"
EVALUATION = "evaluation"
SOURCES = {
    EVALUATION: "rewards of episodes",
    "unknown": "rewards not on record",
    "entropy": "entropy bonus",
    "value": "critic's loss",
    "momentum": "optimiser's momentum",
    "unexplained": "unexplained",
}
TEACHERS = 3  # per decision
_FRESH = "Before its first update the policy had no preference to speak of."
_WARM = "The search began with the policy of `{}`, whose preferences were taught by that run and are not traced here."
_HOW = (
    "Every update moved the log-probabilities of the decisions below; here the moves are traced back to what made "
    "them. Factors multiply: the probability before learning, times the factors of a row, is the probability at the "
    "decision."
)


def influence(material: Material) -> Section:
    """Return what taught the policy the decisions of the best network."""
    facts, frame = material.object(FACTS, dict), material.table(TABLE, ("episode", "step", "source", "nats"))
    if facts is None or frame is None:
        what = (
            "Not computed for this run" if material.has_policy else "The agent has no policy that learned a preference"
        )
        return silent(TITLE, f"{what}; `{material.explain}` computes it where it can.")
    told = [one for one in facts.get("decisions", []) if material.best and one["episode"] == material.best.episode]
    page = Page(TITLE, "influence")
    if not told:
        page.say("The decisions of the best network are not among those that were traced.")
        return page.section()
    began_with = (material.run.content.get("warm_start") or {}).get("run")
    page.say(f"{_WARM.format(began_with) if began_with else _FRESH} {_HOW}")
    mine = frame[frame["episode"] == told[0]["episode"]]
    page.blocks.append(_sources(told, mine))
    page.blocks += [Heading("The networks that taught most", 3), _teachers(told, mine, material)]
    page.say(
        "A network teaches by the rewards of all episodes that designed it. What teaches a choice was better than the "
        "critic expected with it, or worse without it; that is not yet what the choice is worth."
    )
    checks = facts.get("checks")
    if isinstance(checks, dict) and checks:
        page.blocks.append(Heading("How far this can be relied on", 3))
        page.blocks.append(Items([f"{name.replace('_', ' ')}: {plain(value)}" for name, value in checks.items()]))
    return page.section()


def _named(one: dict[str, Any]) -> str:
    return f"{one['slot']} = {one['choice']}"


def _sources(told: list[dict[str, Any]], frame: "pd.DataFrame") -> Rows:
    """Return one row per decision: its probability before and after, and the factors between the two."""
    present = [source for source in SOURCES if (frame["source"] == source).any()]
    rows = []
    for one in told:
        mine = frame[frame["step"] == one["step"]]
        moved = [factor(float(mine.loc[mine["source"] == source, "nats"].sum())) for source in present]
        rows.append([_named(one), percent(math.exp(one["untaught"])), *moved, percent(math.exp(one["logp"]))])
    header = ("decision", "before learning", *(SOURCES[source] for source in present), "at the decision")
    return Rows(header, rows, "What moved the probability of each choice while the policy learned.")


def _teachers(told: list[dict[str, Any]], frame: "pd.DataFrame", material: Material) -> Rows:
    """Return the networks whose rewards moved each decision most, towards it or away from it."""
    rewards = {episode.number: episode.reward for episode in material.run.history}
    rows = []
    for one in told:
        mine = frame[(frame["step"] == one["step"]) & (frame["source"] == EVALUATION)]
        key = (
            mine["key"].where(mine["key"].notna(), mine["evaluation"].astype(str))
            if "key" in mine
            else mine["evaluation"]
        )
        groups = mine.assign(key=key).groupby("key", sort=False)
        moved = groups["nats"].sum()
        for name in moved.abs().sort_values(ascending=False, kind="stable").index[:TEACHERS]:
            episodes = groups.get_group(name)["evaluation"].to_numpy(np.int64)
            reward = rewards.get(int(episodes.min()))
            rows.append(
                [
                    _named(one),
                    factor(float(moved[name])),
                    f"{episodes.min():,}",
                    "–" if reward is None else f"{reward:.4f}",
                    counted(len(episodes), "episode"),
                ]
            )
    header = ("decision", "moved it", "first in episode", "reward", "designed in")
    return Rows(header, rows, f"At most {TEACHERS} networks per decision, those that moved it most.")
