"""From the record of an episode, which may be anything, to what the pages are given."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas_gym.tensorboard.payload import PayloadError
from nas_gym.tensorboard.records import ROW, index_row

MOST_DECISIONS = 10_000  # of an episode
WHOLE = ("step", "slot", "action", "flags", "n_players")
NUMBERS = (
    *("logp", "log_uniform", "phi0", "entropy", "value", "value0", "advantage"),
    *("residual", "logp_error", "sampling_probability", "reward_credit"),
)
TEXTS = ("explainer", "baseline", "credit_kind", "legal")
BY_GROUP = ("phi", "phi_std_err", "value_phi")
CREDIT_COLUMNS = ("step", "slot", "credit", "low", "high")


def expanded(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an episode with masks as lists of true and false, and with one value per action.

    Args:
        content: Of its record.

    Returns:
        Facts of the episode and ``decisions``, a list of one mapping per decision. ``probabilities`` and
        ``phi0_actions`` have a value per action, ``phi_actions`` a row per group; illegal actions have null.

    Raises:
        PayloadError: Something is missing or has no meaning.
    """
    facts = _facts(content)
    decisions = [_decision(content, i, facts["n_actions"]) for i in range(len(_listed(content, "step")))]
    return facts | {"decisions": decisions}


def row_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the list of episodes says of one.

    Raises:
        PayloadError: Something is missing or has no meaning.
    """
    _facts(content)
    _listed(content, "step")
    return index_row(content)


def rows_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a record of the index.

    Raises:
        PayloadError: Something is missing or has no meaning.
    """
    columns = [_listed(content, name) for name in ROW]
    if len({len(column) for column in columns}) != 1:
        raise PayloadError("the columns of the index differ in length")
    rows = [dict(zip(ROW, values, strict=True)) for values in zip(*columns, strict=True)]
    for row in rows:
        whole = all(_is_whole(row[name]) for name in ("episode", "policy_version", "length"))
        if not (whole and _is_number(row["reward"]) and isinstance(row["status"], str) and isinstance(row["key"], str)):
            raise PayloadError(f"a row of the index says {row!r}")
    return rows


def credit_of(content: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return what the decisions of an episode earned, by view, from the record of its hundred; empty: nothing is known.

    Raises:
        PayloadError: Something is missing or has no meaning.
    """
    episodes = content.get("episodes")
    views = episodes.get(str(number), {}) if isinstance(episodes, dict) else None
    if not isinstance(views, dict):
        raise PayloadError("the credits have no meaning")
    for view, columns in views.items():
        lists = [columns.get(name) if isinstance(columns, dict) else None for name in CREDIT_COLUMNS]
        same = all(_are_numbers(one) for one in lists) and len({len(one) for one in lists if one is not None}) == 1
        if not same or not isinstance(columns.get("trusted", True), bool):
            raise PayloadError(f"the credits of {view!r} have no meaning")
    return views


def _facts(content: Mapping[str, Any]) -> dict[str, Any]:
    names = ("episode", "env_index", "policy_version", "global_step", "n_actions")
    facts = {name: content.get(name) for name in (*names, "reward", "key", "status", "accuracy", "parameters", "macs")}
    outline = content.get("outline", [])
    n_actions: Any = facts["n_actions"]
    good = all(_is_whole(facts[name]) for name in names) and 0 <= n_actions <= 2**16
    good = good and all(_is_number(facts[name]) for name in ("reward", "accuracy", "parameters", "macs"))
    good = good and isinstance(facts["status"], str) and isinstance(facts["key"], str | None)
    good = good and isinstance(outline, list) and all(isinstance(text, str) for text in outline)
    if not good:
        raise PayloadError("the facts of the episode have no meaning")
    return facts | {"outline": outline}


def _decision(content: Mapping[str, Any], i: int, n_actions: int) -> dict[str, Any]:
    own = {name: _at(content, name, i) for name in (*WHOLE, "runner_up", *NUMBERS, *TEXTS, *BY_GROUP, "observation")}
    good = all(_is_whole(own[name]) for name in WHOLE) and (own["runner_up"] is None or _is_whole(own["runner_up"]))
    good = good and all(_is_number(own[name]) for name in NUMBERS)
    good = good and all(isinstance(own[name], str) for name in TEXTS)
    good = good and all(own[name] is None or _are_numbers(own[name]) for name in (*BY_GROUP, "observation"))
    if not good:
        raise PayloadError(f"decision {i} has no meaning")
    legal = _mask(own["legal"], n_actions)
    places = [action for action, allowed in enumerate(legal) if allowed]
    for name in ("probabilities", "phi0_actions"):
        own[name] = _spread(_at(content, name, i), places, n_actions)
    own["phi_actions"] = _rows(_at(content, "phi_actions", i), places, n_actions, len(own["observation"] or ()))
    return own | {"legal": legal}


def _listed(content: Mapping[str, Any], name: str) -> list[Any]:
    column = content.get(name)
    if not isinstance(column, list) or len(column) > MOST_DECISIONS:
        raise PayloadError(f"{name} is no column")
    return column


def _at(content: Mapping[str, Any], name: str, i: int) -> Any:
    column = _listed(content, name)
    if len(column) != len(content["step"]):
        raise PayloadError(f"the columns {name} and step differ in length")
    return column[i]


def _mask(packed: str, n_actions: int) -> list[bool]:
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), dtype=np.uint8))
    except ValueError:
        raise PayloadError(f"{packed!r} is no mask") from None
    if len(bits) < n_actions:
        raise PayloadError(f"a mask has {len(bits)} bits, there are {n_actions} actions")
    return [bool(bit) for bit in bits[:n_actions]]


def _spread(values: Any, places: Sequence[int], n_actions: int) -> list[float | None] | None:
    if values is None:
        return None
    if not _are_numbers(values) or len(values) != len(places):
        raise PayloadError(f"{len(places)} actions are legal, got {values!r}")
    row: list[float | None] = [None] * n_actions
    for place, value in zip(places, values, strict=True):
        row[place] = value
    return row


def _rows(values: Any, places: Sequence[int], n_actions: int, n_groups: int) -> list[list[float | None] | None] | None:
    if values is None:
        return None
    if not isinstance(values, dict) or not isinstance(values.get("values"), list) or len(values) != 2:
        raise PayloadError("attributions of all actions have no meaning")
    groups: Any = values.get("groups")
    if not _are_numbers(groups) or len(groups) != len(values["values"]):
        raise PayloadError("attributions of all actions have no groups")
    rows: list[list[float | None] | None] = [_spread([0.0] * len(places), places, n_actions) for _ in range(n_groups)]
    for group, own in zip(groups, values["values"], strict=True):
        if not _is_whole(group) or not 0 <= group < n_groups:
            raise PayloadError(f"there is no group {group!r}")
        rows[group] = _spread(own, places, n_actions)
    return rows


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) <= 2**16 and all(_is_number(value) for value in values)
