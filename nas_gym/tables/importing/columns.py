"""Tables out of anybody's CSV or Parquet: its columns are named, and what is asked of them is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.spaces import Slot
from nas_gym.spaces.cell import EDGES, N_CELLS, OPERATIONS, edge_slots
from nas_gym.tables.benchmark import CATEGORICAL, CELL, SPACES, BenchmarkTable

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = NDArray[np.float64]
MAX_CHOICES = 1000  # of one decision; a column with more is no decision


@dataclass(frozen=True)
class Decision:
    """A column that decides something.

    Attributes:
        column: Its name.
        slot: Name of the slot; empty: the column's.
        choices: Its values, as text, in the order of the actions; empty: those there are, sorted.
        labels: Names of the choices; empty: the values.
    """

    column: str
    slot: str = ""
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the columns of a file mean. An expression is a weighted sum, such as ``12*train_s+2.5*eval_s``.

    Attributes:
        decisions: The columns that decide, in order.
        rewards: By fidelity (`Fidelity` as text): a column of accuracies for every training.
        scores: By name: an expression for an accuracy.
        costs: By fidelity: an expression for seconds.
        devices: By name: a column of milliseconds.
        device_file: Name of a file whose other columns are devices, beside the source, if it is there.
        parameters: Column of trainable parameters; empty: not known.
        macs: Column of multiply-accumulates; empty: not known.
        kind: Of the space: ``"categorical"``, or ``"nasbench201"`` for the full table of cells.
        percent: Whether accuracies are in percent; otherwise they are in [0, 1].
        facts: For the manifest: default_fidelity, default_score, licence, citation, …
    """

    decisions: tuple[Decision, ...]
    rewards: Mapping[str, tuple[str, ...]]
    scores: Mapping[str, str]
    costs: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    device_file: str = ""
    parameters: str = ""
    macs: str = ""
    kind: str = CATEGORICAL
    percent: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


def import_columns(read: pa.Table, layout: Layout, name: str, devices: Mapping[str, Numbers]) -> BenchmarkTable:
    """Return the table of a file's columns.

    Args:
        read: The file (`read_file`).
        layout: What its columns mean.
        name: Of the table.
        devices: Latencies from elsewhere, by device, in milliseconds, float64 (n,); see `device_columns`.

    Raises:
        ConfigurationError: A column is missing, holds something else, or the table is none (`BenchmarkTable`).
    """
    if not layout.decisions or not layout.rewards or not layout.scores:
        raise ConfigurationError(
            "to make a table of a file, name its columns: at least one --decision, one --reward and one --score; "
            f"it has {_listed(read.column_names)}"
        )
    if layout.kind not in SPACES:
        raise ConfigurationError(f"the kind of a table's space is one of {', '.join(SPACES)}, got {layout.kind!r}")
    scale = 100.0 if layout.percent else 1.0

    def accuracies(fidelity: str, columns: Sequence[str]) -> NDArray[np.float32]:
        if not columns:
            raise ConfigurationError(f"the reward {fidelity!r} needs a column for every training, got none")
        return np.stack([_numbers(read, column) / scale for column in columns], axis=1).astype(np.float32)

    def narrow(values: Numbers) -> NDArray[np.float32]:
        return values.astype(np.float32)

    slots, decisions = _decided(read, layout)
    return BenchmarkTable(
        name=name,
        slots=slots,
        decisions=decisions,
        accuracies={fidelity: accuracies(fidelity, columns) for fidelity, columns in layout.rewards.items()},
        scores={score: narrow(weighted_sum(read, text) / scale) for score, text in layout.scores.items()},
        costs={fidelity: narrow(weighted_sum(read, text)) for fidelity, text in layout.costs.items()},
        latencies={device: narrow(_numbers(read, column)) for device, column in layout.devices.items()}
        | {device: narrow(values) for device, values in devices.items()},
        parameters=_counts(read, layout.parameters),
        macs=_counts(read, layout.macs),
        kind=layout.kind,
        facts=dict(layout.facts) | {"columns": _described(layout)},
    )


def read_file(path: Path) -> pa.Table:
    """Return the columns of a CSV or Parquet file.

    Raises:
        ConfigurationError: It can't be read.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    csv = path.suffix.lower() in (".csv", ".tsv")
    try:
        if csv:
            options = pa.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            read = pa.csv.read_csv(path, parse_options=options)
        else:
            read = pa.parquet.read_table(path, use_threads=False, memory_map=False)
    except (OSError, pa.ArrowException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        kind = "CSV" if csv else "Parquet"
        raise ConfigurationError(f"{str(path)!r} can't be read as a {kind} file ({reason})") from None
    if len(set(read.column_names)) < len(read.column_names) or not len(read):
        raise ConfigurationError(f"{str(path)!r} needs rows, and columns of distinct names")
    return read


def device_columns(path: Path, read: pa.Table) -> dict[str, Numbers]:
    """Return the latencies of another file, in the order of a table's rows: float64 (n,) by device.

    Rows are matched by the column ``index`` of both, where the table has none by the number of its row.

    Raises:
        ConfigurationError: The file can't be read, has no index, or lacks rows.
    """
    other = read_file(path)
    if "index" not in other.column_names:
        raise ConfigurationError(f"{str(path)!r} needs a column index beside its devices' columns")
    wanted = _numbers(read, "index") if "index" in read.column_names else np.arange(len(read), dtype=np.float64)
    given = _numbers(other, "index")
    order = np.argsort(given, kind="stable")
    places = np.minimum(np.searchsorted(given[order], wanted), len(given) - 1)
    rows = order[places]
    if len(np.unique(given)) < len(given) or (given[rows] != wanted).any():
        raise ConfigurationError(f"{str(path)!r} needs every row's index once; an index is missing or comes twice")
    columns = [column for column in other.column_names if column != "index"]
    return {column.removesuffix("_ms"): _numbers(other, column)[rows] for column in columns}


def weighted_sum(read: pa.Table, text: str) -> Numbers:
    """Return the value of an expression in every row, float64 (n,).

    Args:
        read: The columns.
        text: The name of a column, or such as ``0.5*a+0.5*b``.

    Raises:
        ConfigurationError: It is no weighted sum of numeric columns.
    """
    if text in read.column_names:
        return _numbers(read, text)
    total = np.zeros(len(read))
    for term in text.split("+"):
        factor, star, column = term.strip().partition("*")
        weight = 1.0
        if star and term.strip() not in read.column_names:
            try:
                weight = float(factor)
            except ValueError:
                raise ConfigurationError(
                    f"expected a weighted sum of columns such as 0.5*a+0.5*b, got {text!r}: {factor!r} is no number"
                ) from None
        else:
            column = term
        total += weight * _numbers(read, column.strip())
    return total


def _numbers(read: pa.Table, column: str) -> Numbers:
    """Return a numeric column as float64 (n,); what is missing in it is NaN."""
    import pyarrow as pa

    if column not in read.column_names:
        raise ConfigurationError(f"there is no column {column!r}; there are {_listed(read.column_names)}")
    values = read[column]
    kind = pa.types
    if not (kind.is_integer(values.type) or kind.is_floating(values.type) or kind.is_decimal(values.type)):
        raise ConfigurationError(f"the column {column!r} must hold numbers, it holds {values.type}")
    return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _counts(read: pa.Table, column: str) -> NDArray[np.int64] | None:
    if not column:
        return None
    values = _numbers(read, column)
    if not (np.isfinite(values) & (values >= 0) & (values == np.floor(values))).all():
        raise ConfigurationError(f"the column {column!r} must hold whole numbers of at least 0")
    return values.astype(np.int64)


def _decided(read: pa.Table, layout: Layout) -> tuple[tuple[Slot, ...], NDArray[np.int16]]:
    """Return the slots and the action of every row in every slot."""
    if layout.kind == CELL:
        return _cells(read, layout.decisions)
    decided = [_decision(read, decision) for decision in layout.decisions]
    return tuple(slot for slot, _ in decided), np.stack([actions for _, actions in decided], axis=1)


def _decision(read: pa.Table, decision: Decision) -> tuple[Slot, NDArray[np.int16]]:
    import pyarrow as pa

    column = decision.column
    if column not in read.column_names:
        raise ConfigurationError(f"there is no column {column!r}; there are {_listed(read.column_names)}")
    kind = read[column].type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    if not (text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise ConfigurationError(f"the decision {column!r} must hold whole numbers or text, it holds {kind}")
    values = read[column].to_pylist()
    if None in values:
        raise ConfigurationError(f"the decision {column!r} is missing in row {values.index(None)}")
    known = decision.choices or tuple(str(value) for value in sorted(set(values)))
    if len(known) > MAX_CHOICES:
        raise ConfigurationError(f"the column {column!r} has {len(known)} different values: is it a decision?")
    actions = {choice: action for action, choice in enumerate(known)}
    unknown = next((value for value in values if str(value) not in actions), None)
    if unknown is not None:
        raise ConfigurationError(f"the column {column!r} holds {unknown!r}, its choices are {', '.join(known)}")
    found = np.array([actions[str(value)] for value in values], dtype=np.int16)
    return Slot(decision.slot or column, decision.labels or known), found


def _cells(read: pa.Table, decisions: Sequence[Decision]) -> tuple[tuple[Slot, ...], NDArray[np.int16]]:
    """Return the slots and actions of NAS-Bench-201: operations by the benchmark's numbers, or by their names."""
    if len(decisions) != len(EDGES):
        edges = ", ".join(f"{start}→{end}" for start, end in EDGES)
        raise ConfigurationError(
            f"a table of NAS-Bench-201 has six decisions, the edges {edges} in that order, got {len(decisions)}"
        )
    numbers = tuple(map(str, range(len(OPERATIONS))))
    found = []
    for decision in decisions:
        seen = set(map(str, read[decision.column].to_pylist())) if decision.column in read.column_names else set()
        named = OPERATIONS if seen <= set(OPERATIONS) else numbers
        found.append(_decision(read, Decision(decision.column, choices=named))[1])
    stacked = np.stack(found, axis=1)
    if len(read) != N_CELLS:
        raise ConfigurationError(
            f"a table of NAS-Bench-201 has all {N_CELLS:,} cells, got {len(read):,} rows; import it as categorical"
        )
    return edge_slots(), stacked


def _described(layout: Layout) -> dict[str, Any]:
    """Return where every number of the table came from, for the manifest."""
    return {
        "reward": {fidelity: list(columns) for fidelity, columns in layout.rewards.items()},
        "score": dict(layout.scores),
        "cost": dict(layout.costs),
    }


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:30])
    return f"{shown} and {len(names) - 30} more" if len(names) > 30 else shown
