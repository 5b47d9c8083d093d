"""The credit of a run as a table and its facts, and their files: ``credit.parquet`` and ``credit.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.errors import RunError
from nas_gym.explain.record import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = 1
CREDIT_TABLE = "credit.parquet"
CREDIT_FACTS = "credit.json"
_FACTS = b"nas_gym_credit"  # the facts are in the table's metadata, too, so that either file is whole alone
NO_STEP = -1

Quality = Mapping[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one decision of one episode earned by one view.

    Attributes:
        episode: Run-wide number.
        step: Position in the episode; `NO_STEP` for a slot that the episode left open.
        slot: Index of the slot.
        view: One of `nas_gym.explain.credit.VIEWS`.
        credit: In units of the reward; None where the view can't tell (no alternative).
        low: Lower end of the 95 % interval; None where none is known.
        high: Upper end.
        base: What the credits of the episode add to, where the view sums.
        alternatives: How many alternatives were known, where the view compares with them.
        trusted: Whether it may be shown without a warning: as the view, or of a critic as it was at that time.
    """

    episode: int
    step: int
    slot: int
    view: str
    credit: float | None
    low: float | None = None
    high: float | None = None
    base: float | None = None
    alternatives: int | None = None
    trusted: bool = True


@dataclass(frozen=True, kw_only=True)
class View:
    """What is known of one view of a run.

    Attributes:
        name: One of `nas_gym.explain.credit.VIEWS`.
        meaning: One sentence.
        trusted: Whether it may be shown without a warning.
        trust: Why, or why not, as a sentence with the number that decided.
        of: What is credited: ``"reward"``, or the name of a score.
        sums_to: What ``base`` and the credits of an episode sum to, as a sentence; empty where they sum to nothing.
        quality: The numbers that say how far it is to be believed; JSON-ready.
    """

    name: str
    meaning: str
    trusted: bool
    trust: str
    of: str = "reward"
    sums_to: str = ""
    quality: Quality = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CreditTable:
    """What the decisions of a run earned, by every view that there is.

    Attributes:
        rows: Of the table.
        views: What is known of every view that is there.
        missing: The views that are not, with one sentence that says why.
        unit: What ``credit * factor`` is counted in: ``"points of accuracy"`` or ``"units of reward"``.
        factor: From the reward to that unit.
        objective: Of the run, as text.
        episodes: How many episodes are in the table.
        left_out: Finished episodes that are not, since there are more than the table takes.
    """

    rows: Sequence[Row]
    views: tuple[View, ...]
    missing: Mapping[str, str]
    unit: str
    factor: float
    objective: str
    episodes: int
    left_out: int

    def view(self, name: str) -> View | None:
        """Return what is known of a view; None if it is missing."""
        return next((view for view in self.views if view.name == name), None)

    def facts(self) -> dict[str, Any]:
        """Return everything but the rows as JSON-ready data."""
        return {
            "schema": SCHEMA,
            "unit": self.unit,
            "factor": self.factor,
            "objective": self.objective,
            "episodes": self.episodes,
            "left_out": self.left_out,
            "rows": len(self.rows),
            "views": [asdict(view) | {"quality": dict(view.quality)} for view in self.views],
            "missing": dict(self.missing),
        }

    def frame(self) -> pd.DataFrame:
        """Return the rows as a data frame; see `read_credit`."""
        return _table(self).to_pandas()

    def write(self, folder: Path) -> None:
        """Write both files, each whole or not at all.

        Args:
            folder: Made if it is missing.
        """
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{CREDIT_TABLE}.tmp"
        try:
            pq.write_table(_table(self), unfinished, compression="zstd")
            unfinished.replace(folder / CREDIT_TABLE)
        finally:
            unfinished.unlink(missing_ok=True)
        write_atomically(folder / CREDIT_FACTS, json.dumps(self.facts(), ensure_ascii=False, indent=1))


def read_credit(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows that were written, one column per field of `Row`, and the facts (`CreditTable.facts`).

    Raises:
        RunError: They are missing or damaged.
    """
    import pyarrow as pa

    from nas_gym.tables.parquet import read_parquet

    try:
        table = read_parquet(folder / CREDIT_TABLE)
        facts = json.loads((table.schema.metadata or {})[_FACTS])
        if facts["schema"] != SCHEMA or not set(_schema().names) <= set(table.column_names):
            raise ValueError(f"schema {facts['schema']}, columns {', '.join(table.column_names)}")
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"there is no credit to read in {str(folder)!r} ({reason}); nas-gym explain RUN computes it"
        ) from None
    return table.to_pandas(), dict(facts)


def _table(credit: CreditTable) -> pa.Table:
    import pyarrow as pa

    schema = _schema()
    columns = [pa.array([getattr(row, f.name) for row in credit.rows], type=f.type) for f in schema]
    made = pa.table(columns, schema=schema)
    return made.replace_schema_metadata({_FACTS: json.dumps(credit.facts(), ensure_ascii=False).encode()})


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = [(name, pa.float64()) for name in ("credit", "low", "high", "base")]
    return pa.schema(
        [
            ("episode", pa.uint32()),
            ("step", pa.int16()),
            ("slot", pa.int16()),
            ("view", pa.string()),
            *numbers,
            ("alternatives", pa.uint16()),
            ("trusted", pa.bool_()),
        ]
    )
