"""Attributions over the training: the rollouts of a run, gathered into moments."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.tensorboard.payload import PayloadError, single, singles

MOST_MOMENTS = 48
MEANS = ("prior", "entropy")


def checked(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a record of the heat map.

    Raises:
        PayloadError: Something is missing or has no meaning.
    """
    try:
        rows: list[dict[str, Any]] = [
            {
                **{name: int(row[name]) for name in ("step", "slot", "n")},
                **{name: float(row[name]) for name in ("weight", *MEANS)},
                "phi": np.array(row["phi"], dtype=np.float64),
            }
            for row in content["rows"]
        ]
        told = {name: int(content[name]) for name in ("policy_version", "global_step", "n_decisions")}
    except (KeyError, TypeError, ValueError) as error:
        raise PayloadError(f"no rollout ({error})") from None
    if not rows or any(row["phi"].shape != rows[0]["phi"].shape or row["phi"].ndim != 1 for row in rows):
        raise PayloadError("the rows of a rollout differ in their groups")
    return told | {"rows": rows}


def moments(rollouts: Sequence[Mapping[str, Any]], most: int = MOST_MOMENTS) -> list[dict[str, Any]]:
    """Return the rollouts in up to ``most`` moments of equally many, in order; JSON-ready.

    Each says between which policy versions it lies, and for every step and slot the mean absolute attribution of every
    group, weighted by the decisions that the rollouts' means stand for.

    Args:
        rollouts: As `checked` returns them, in order. Those with another number of groups than the last are left out.
        most: Number of moments.
    """
    if not rollouts:
        return []
    n_groups = len(rollouts[-1]["rows"][0]["phi"])
    kept = [one for one in rollouts if len(one["rows"][0]["phi"]) == n_groups]
    parts = np.array_split(np.arange(len(kept)), min(most, len(kept)))
    return [_moment([kept[i] for i in part]) for part in parts]


def _moment(rollouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    places: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for row in (row for rollout in rollouts for row in rollout["rows"]):
        places.setdefault((row["step"], row["slot"]), []).append(row)
    return {
        "policy_versions": [rollouts[0]["policy_version"], rollouts[-1]["policy_version"]],
        "global_step": rollouts[-1]["global_step"],
        "rows": [_mean(step, slot, rows) for (step, slot), rows in sorted(places.items())],
    }


def _mean(step: int, slot: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    weights = np.array([row["weight"] for row in rows])
    shares: NDArray[np.float64] = weights / max(weights.sum(), 1e-300)
    means = {name: single(float(shares @ np.array([row[name] for row in rows]))) for name in MEANS}
    phi = singles(shares @ np.stack([row["phi"] for row in rows]))
    n = sum(row["n"] for row in rows)
    return {"step": step, "slot": slot, "n": n, "weight": single(float(weights.sum())), **means, "phi": phi}
