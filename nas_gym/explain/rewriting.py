"""Decisions read back from the log, and the log written anew with more known of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import RunError
from nas_gym.explain.record import (
    BASELINES,
    CREDITS,
    EXPLAINERS,
    Decision,
    Header,
    read_header,
    read_part,
    unpack_mask,
    write_part,
)

Change = Callable[[Sequence[Decision]], Sequence[Decision]]
_ARRAYS = ("probabilities", "phi", "phi0_actions", "phi_std_err", "value_phi")
_FLOATS = ("logp", "phi0", "entropy", "value", "value0", "advantage", "residual", "logp_error")
_OTHER_FLOATS = ("sampling_probability", "reward", "reward_credit")
_WHOLE = ("episode", "step", "env_index", "global_step", "policy_version", "slot", "action", "flags")


def decision_of(row: Mapping[str, Any], header: Header) -> Decision:
    """Return the decision of a row of `nas_gym.explain.read_decisions`, as exact as the log keeps it.

    Args:
        row: Of a data frame, by column.
        header: Of the log.
    """
    known: dict[str, Any] = {name: int(row[name]) for name in _WHOLE}
    known |= {name: _number(row[name]) for name in (*_FLOATS, *_OTHER_FLOATS)}
    known |= {name: _array(row[name]) for name in _ARRAYS}
    every, n_actions = _array(row["phi_actions"]), header.n_actions
    return Decision(
        **known,
        observation=np.asarray(row["observation"], dtype=np.uint8),
        legal=unpack_mask(row["mask"], n_actions),
        runner_up=None if _number(row["runner_up"]) is None else int(row["runner_up"]),
        log_uniform=float(row["log_uniform"]),
        phi_actions=None if every is None else every.reshape(-1, n_actions),
        n_players=int(row["n_players"]),
        n_evaluations=int(row["n_evaluations"]),
        explainer=EXPLAINERS[int(row["explainer_id"])],
        baseline=BASELINES[int(row["baseline_id"])],
        key=row["key"] if isinstance(row["key"], str) else None,
        credit_kind=CREDITS[int(row["credit_kind"])],
    )


def rewrite(folder: Path, change: Change) -> int:
    """Write a log anew, part by part, each whole or not at all; return how many decisions changed.

    Args:
        folder: Of the log, which nobody else is writing.
        change: From the decisions of a part to what they shall be: as many, in the same order.

    Raises:
        RunError: There is no log, it is damaged, or it can't be written.
    """
    header, changed = read_header(folder), 0
    for part in sorted(folder.glob("part-*.parquet")):
        before = [decision_of(row, header) for row in read_part(part).to_dict("records")]
        after = list(change(before))
        different = sum(old is not new for old, new in zip(before, after, strict=True))
        if not different:
            continue
        try:
            write_part(part, after)
        except OSError as error:
            raise RunError(f"{str(part)!r} can't be written: {error.strerror}; make room there") from None
        changed += different
    return changed


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _array(value: Any) -> NDArray[np.floating] | None:
    return None if value is None or np.ndim(value) == 0 else np.asarray(value)
