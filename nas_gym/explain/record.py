"""The record of decisions: what a controller saw, what it did, and what moved it."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError, RunError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = 2
HEADER = "header.json"

# Names behind the small numbers in the records; the header repeats them.
EXPLAINERS = ("none", "exact_shapley", "permutation_sampling")
TARGETS = ("none", "logp_masked")
BASELINES = ("none", "empty", "same_step")
CREDITS = ("none", "critic_waterfall", "counterfactual", "shapley_table", "shapley_surrogate")

FORCED = 1  # one legal action only: nothing was decided
UNEXPLAINED = 2  # no attributions: no policy, too many slots, or a space the explainer refuses
UNFINISHED = 4  # the search ended inside the episode
ILLEGAL = 8  # the action was illegal and ended the episode
OUT_OF_BUDGET = (
    16  # no attributions, since explaining had used its share of the time; `nas-gym explain` makes up for it
)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision; None where an agent has no policy.

    Attributes:
        episode: Run-wide number, counted at the end of episodes.
        step: Position in the episode, from 0.
        env_index: Sub-environment.
        global_step: Environment steps of the run before this one.
        policy_version: Policy updates before this decision.
        slot: Index of the slot that was filled.
        observation: Choice per slot, uint8: 0 undecided, else 1 + the choice; shape (n_slots,).
        action: What was chosen.
        legal: The mask the policy used, bool, shape (n_actions,); all True for a policy without masks.
        probabilities: Of all actions, float, shape (n_actions,).
        runner_up: The most probable other legal action; -1 if there is none.
        logp: Log-probability of the action.
        log_uniform: Log-probability under the uniform policy over the legal actions.
        phi0: Log-probability of the action at the baseline, under the same mask.
        phi: Shapley value of every group of the observation, shape (n_groups,), in nats: logp = phi0 + sum(phi).
        phi0_actions: As ``phi0``, of every action, shape (n_actions,); 0 for illegal ones. Kept as float32.
        phi_actions: As ``phi``, of every action, shape (n_groups, n_actions); 0 for illegal ones. Kept flat, float16.
            Other targets follow from these two (`nas_gym.explain.targets`).
        phi_std_err: Standard error of ``phi``, shape (n_groups,), where it was sampled; None where it is exact.
        entropy: Of the policy, in nats.
        value: Of the critic.
        value0: Of the critic, at the baseline.
        value_phi: Shapley values of the critic's value, shape (n_groups,): value = value0 + sum(value_phi).
        advantage: Of the update that followed; None where none followed.
        residual: abs(phi0 + sum(phi) - logp), logp taken from a pass of its own.
        logp_error: abs(recomputed logp - logp the policy acted with).
        n_players: Groups that differ from the baseline.
        n_evaluations: Passes through the policy; 2**n_players where the values are exact.
        explainer: One of `EXPLAINERS`; what computed the attributions.
        baseline: One of `BASELINES`; what they compare with.
        sampling_probability: With which probability this decision was among those explained, in (0, 1]; 0 where it
            was left out for the time it would have taken. None: no choice was made.
        flags: Sum of `FORCED`, `UNEXPLAINED`, `UNFINISHED`, `ILLEGAL`, `OUT_OF_BUDGET`.
        reward: Final reward of the episode; None if it did not end.
        key: Of the episode's candidate; None if it had none.
        reward_credit: What the decision earned by the view that is there as the search runs (`credit_kind`).
        credit_kind: One of `CREDITS`.
    """

    episode: int
    step: int
    env_index: int = 0
    global_step: int
    policy_version: int = 0
    slot: int
    observation: NDArray[np.uint8]
    action: int
    legal: NDArray[np.bool_]
    probabilities: NDArray[np.floating] | None = None
    runner_up: int | None = None
    logp: float | None = None
    log_uniform: float
    phi0: float | None = None
    phi: NDArray[np.floating] | None = None
    phi0_actions: NDArray[np.floating] | None = None
    phi_actions: NDArray[np.floating] | None = None
    phi_std_err: NDArray[np.floating] | None = None
    entropy: float | None = None
    value: float | None = None
    value0: float | None = None
    value_phi: NDArray[np.floating] | None = None
    advantage: float | None = None
    residual: float | None = None
    logp_error: float | None = None
    n_players: int = 0
    n_evaluations: int = 0
    explainer: str = "exact_shapley"
    baseline: str = "empty"
    sampling_probability: float | None = None
    flags: int = UNEXPLAINED
    reward: float | None = None
    key: str | None = None
    reward_credit: float | None = None
    credit_kind: str = "none"

    def row(self) -> dict[str, Any]:
        """Return the row of the log."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for named in ("legal", "explainer", "baseline"):
            del values[named]
        explained = self.phi is not None
        return values | {
            "schema": SCHEMA,
            "mask": np.packbits(self.legal).tobytes(),
            "n_valid": int(self.legal.sum()),
            "probabilities": _half(self.probabilities),
            "phi_actions": None if self.phi_actions is None else _half(self.phi_actions.reshape(-1)),
            "explainer_id": EXPLAINERS.index(self.explainer) if explained else 0,
            "target_id": TARGETS.index("logp_masked") if explained else 0,
            "baseline_id": BASELINES.index(self.baseline) if explained else 0,
            "std_err": None if not explained else _largest(self.phi_std_err),
            "credit_kind": CREDITS.index(self.credit_kind),
        }


def _half(values: NDArray[np.floating] | None) -> NDArray[np.float16] | None:
    return None if values is None else values.astype(np.float16)


def _largest(values: NDArray[np.floating] | None) -> float:
    return 0.0 if values is None else float(values.max(initial=0.0))


@dataclass(frozen=True)
class Header:
    """What all records of a log share; written once.

    Attributes:
        slots: Names of the slots.
        choices: Names of the choices, per slot.
        groups: Names of the groups that the attributions speak of.
        n_actions: Length of masks and probabilities.
        note: One sentence where there are no attributions; empty otherwise.
        masked: Whether the policy knew which actions are legal; if not, ``legal`` in the records is all True.
    """

    slots: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    n_actions: int
    note: str = ""
    masked: bool = True

    def for_figures(self) -> "Header":
        """Return the header with names that matplotlib draws as they are: between dollars it would read formulas."""

        def plain(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(name.replace("$", r"\$") for name in names)

        choices = tuple(plain(names) for names in self.choices)
        return replace(self, slots=plain(self.slots), choices=choices, groups=plain(self.groups))

    def to_json(self) -> dict[str, Any]:
        """Return the header with the names behind the ids, as JSON-ready data."""
        names = {"explainers": EXPLAINERS, "targets": TARGETS, "baselines": BASELINES, "credits": CREDITS}
        return {"schema": SCHEMA, **asdict(self), **names}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Header":
        """Return the header that `to_json` wrote."""
        choices = tuple(tuple(names) for names in data["choices"])
        names = tuple(data["slots"]), choices, tuple(data["groups"])
        return cls(*names, int(data["n_actions"]), str(data["note"]), bool(data["masked"]))


class DecisionLog:
    """Decisions in a folder: a header, and one Parquet file per batch, each written whole or not at all.

    Args:
        folder: Made if it is missing; None: keep the decisions in memory only.

    Raises:
        ConfigurationError: The folder holds decisions already; two logs would mix.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and any(folder.glob("part-*.parquet")):
            raise ConfigurationError(f"{str(folder)!r} holds a decision log already; name another folder")
        self.folder = folder
        self._memory: list[Decision] = []
        self._parts = 0

    def write_header(self, header: Header) -> None:
        """Write the header, once, before any decision."""
        self.header = header
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_header(self.folder / HEADER, header)

    def append(self, decisions: Sequence[Decision]) -> None:
        """Add decisions as one part."""
        if not decisions:
            return
        if self.folder is None:
            self._memory.extend(decisions)
            return
        write_part(self.folder / f"part-{self._parts:06d}.parquet", decisions)
        self._parts += 1

    def frame(self) -> "pd.DataFrame":
        """Return all decisions as a data frame; see `read_decisions`."""
        return read_decisions(self.folder) if self.folder is not None else _table(self._memory).to_pandas()


def write_header(path: Path, header: Header) -> None:
    """Write the header of a log, whole or not at all."""
    write_atomically(path, json.dumps(header.to_json(), ensure_ascii=False, indent=1))


def read_header(folder: Path) -> Header:
    """Return the header of a log.

    Raises:
        RunError: The folder holds no log.
    """
    try:
        return Header.from_json(json.loads((folder / HEADER).read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"there is no decision log in {str(folder)!r}: {error}") from None


def read_decisions(folder: Path) -> "pd.DataFrame":
    """Return all decisions of a log, in order: one row per decision, the fields of `Decision` as columns.

    The mask is bit-packed (``numpy.unpackbits(..., count=n_actions)``); `unpack_mask` undoes it.

    Raises:
        RunError: The folder holds no log, or a damaged one.
    """
    import pyarrow as pa

    read_header(folder)
    tables = [_read_table(part) for part in sorted(folder.glob("part-*.parquet"))]
    return (pa.concat_tables(tables) if tables else _schema().empty_table()).to_pandas()


def read_part(part: Path) -> "pd.DataFrame":
    """Return the decisions of one file of a log, as `read_decisions` does.

    Raises:
        RunError: It is damaged.
    """
    return _read_table(part).to_pandas()


def write_part(part: Path, decisions: Iterable[Decision]) -> None:
    """Write one file of a log whole or not at all."""
    import pyarrow.parquet as pq

    unfinished = part.with_suffix(".tmp")
    pq.write_table(_table(decisions), unfinished)
    unfinished.replace(part)


def _read_table(part: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(part, schema=_schema())
    except (OSError, pa.ArrowException) as error:
        folder = str(part.parent)
        raise RunError(f"the decision log in {folder!r} is damaged ({error}); nas-gym resume rebuilds it") from None


def unpack_mask(packed: bytes, n_actions: int) -> NDArray[np.bool_]:
    """Return the mask of a record: bool, shape (n_actions,)."""
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=n_actions).astype(bool)


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all: a reader sees the old text or the new one."""
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _table(decisions: Iterable[Decision]) -> "pa.Table":
    import pyarrow as pa

    rows = [decision.row() for decision in decisions]
    schema = _schema()
    columns = [pa.array([row[f.name] for row in rows], type=f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("schema", pa.uint16()),
            ("episode", pa.uint32()),
            ("step", pa.uint32()),
            ("env_index", pa.uint32()),
            ("global_step", pa.uint32()),
            ("policy_version", pa.uint32()),
            ("slot", pa.int16()),
            ("observation", pa.list_(pa.uint8())),
            ("action", pa.int16()),
            ("runner_up", pa.int16()),
            ("mask", pa.binary()),
            ("n_valid", pa.uint16()),
            ("logp", pa.float32()),
            ("phi0", pa.float32()),
            ("log_uniform", pa.float32()),
            ("entropy", pa.float32()),
            ("value", pa.float32()),
            ("advantage", pa.float32()),
            ("probabilities", pa.list_(pa.float16())),
            ("phi", pa.list_(pa.float32())),
            ("phi0_actions", pa.list_(pa.float32())),
            ("phi_actions", pa.list_(pa.float16())),
            ("phi_std_err", pa.list_(pa.float32())),
            ("value0", pa.float32()),
            ("value_phi", pa.list_(pa.float32())),
            ("explainer_id", pa.uint8()),
            ("target_id", pa.uint8()),
            ("baseline_id", pa.uint8()),
            ("n_players", pa.uint8()),
            ("n_evaluations", pa.uint32()),
            ("sampling_probability", pa.float32()),
            ("residual", pa.float32()),
            ("std_err", pa.float32()),
            ("logp_error", pa.float32()),
            ("flags", pa.uint8()),
            ("reward", pa.float32()),
            ("key", pa.string()),
            ("reward_credit", pa.float32()),
            ("credit_kind", pa.uint8()),
        ]
    )
