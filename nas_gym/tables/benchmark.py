"""Benchmark tables: for every row of decisions what its network reached, as arrays, and their Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Fidelity
from nas_gym.spaces import CategoricalSpace, CellSpace, SearchSpace, Slot, row_keys
from nas_gym.spaces.cell import N_CELLS, edge_slots
from nas_gym.tables.parquet import numbers_of, read_as

if TYPE_CHECKING:
    from nas_gym.tables.table import Table

Column = NDArray[np.float32]
CELL, CATEGORICAL, CHAIN = "nasbench201", "categorical", "fashion-chain"
SPACES = (CATEGORICAL, CELL)
_MANIFEST = b"nas_gym_benchmark"  # where the manifest is in the file's metadata, as JSON


@dataclass(frozen=True, eq=False)
class BenchmarkTable:
    """What every row's network reached. Row ``i`` of every array belongs to ``keys[i]``; accuracies lie in [0, 1].

    Attributes:
        name: Of the table.
        slots: The decisions of a row.
        decisions: Action of every slot, int16 (n, slots); -1 where a slot is not decided.
        accuracies: By fidelity (`Fidelity` as text): validation accuracy, or whatever a search may see, of every
            training, float32 (n, trainings).
        scores: By name: how an answer is scored, float32 (n,).
        costs: By fidelity: seconds of one query, float32 (n,).
        latencies: By device: milliseconds, float32 (n,).
        parameters: Trainable parameters, int64 (n,); None: not known.
        macs: Multiply-accumulates, int64 (n,); None: not known.
        kind: Of the space: ``"categorical"``, ``"nasbench201"`` or ``"fashion-chain"``.
        facts: Source, licence, citation and the like; JSON-ready.
        keys: Of the rows; None: `nas_gym.spaces.row_key` of the decisions.

    Raises:
        ConfigurationError: The arrays do not fit each other, rows repeat, or a number is out of its range.
    """

    name: str
    slots: tuple[Slot, ...]
    decisions: NDArray[np.int16]
    accuracies: Mapping[str, Column]
    scores: Mapping[str, Column]
    costs: Mapping[str, Column] = field(default_factory=dict)
    latencies: Mapping[str, Column] = field(default_factory=dict)
    parameters: NDArray[np.int64] | None = None
    macs: NDArray[np.int64] | None = None
    kind: str = CATEGORICAL
    facts: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys:
            object.__setattr__(self, "keys", row_keys(self.decisions))
        self._check()

    def _check(self) -> None:
        n = len(self.keys)
        if n == 0 or self.decisions.shape != (n, len(self.slots)):
            raise ConfigurationError(
                f"a table needs rows that decide its {len(self.slots)} slots, got decisions of {self.decisions.shape}"
            )
        if self.kind not in (*SPACES, CHAIN):
            raise ConfigurationError(f"the kind of a table's space is one of {', '.join(SPACES)}, got {self.kind!r}")
        if self.kind == CELL and (self.slots != edge_slots() or n != N_CELLS):
            raise ConfigurationError(f"a table of {CELL} decides six edges in all {N_CELLS:,} ways, got {n:,} rows")
        least, most = (-1 if self.kind == CHAIN else 0), [len(slot.choices) - 1 for slot in self.slots]
        if self.decisions.min() < least or (self.decisions.max(axis=0) > most).any():
            raise ConfigurationError("a row of a table decides something that is no choice of its slot")
        if len(self.rows) < n:
            repeated = next(key for i, key in enumerate(self.keys) if self.rows[key] != i)
            raise ConfigurationError(f"every row of a table decides something else, yet {repeated} comes twice")
        if not self.accuracies or not self.scores:
            raise ConfigurationError("a table needs at least one accuracy as reward and one as score")
        for fidelity in (*self.accuracies, *self.costs):
            Fidelity.from_text(fidelity)
        for role, columns in self._columns():
            for name, values in columns.items():
                if values.ndim != (2 if role == "reward" else 1) or len(values) != n:
                    raise ConfigurationError(f"the {role} {name!r} of a table needs {n} rows, got {values.shape}")
                _check_range(role, name, values)

    def _columns(self) -> list[tuple[str, Mapping[str, Column]]]:
        return [
            ("reward", self.accuracies),
            ("score", self.scores),
            ("cost", self.costs),
            ("device", self.latencies),
        ]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of every key."""
        return {key: row for row, key in enumerate(self.keys)}

    @property
    def default_fidelity(self) -> str:
        """The fidelity that a search sees unless told otherwise: the manifest's, else the first."""
        return str(self.facts.get("default_fidelity") or next(iter(self.accuracies)))

    @property
    def default_score(self) -> str:
        """The score unless told otherwise: the manifest's, else the first."""
        return str(self.facts.get("default_score") or next(iter(self.scores)))

    def mean_accuracy(self, fidelity: str | None = None) -> Column:
        """Return the accuracy at a fidelity, mean over the trainings, float32 (n,)."""
        return np.asarray(self.accuracies[fidelity or self.default_fidelity].mean(axis=1, dtype=np.float64), np.float32)

    def space(self) -> SearchSpace:
        """Return the space whose candidates are the rows."""
        if self.kind == CHAIN:
            from nas_gym.tables.fashion_chain import fashion_chain_space

            return fashion_chain_space()
        full = int(np.prod([len(slot.choices) for slot in self.slots], dtype=np.float64))
        if self.kind == CELL:
            shape, n_classes = self.facts.get("input_shape", (3, 32, 32)), self.facts.get("n_classes", 10)
            return CellSpace(tuple(shape), int(n_classes))
        rows = None if len(self) == full else [tuple(row) for row in self.decisions.tolist()]
        return CategoricalSpace(self.slots, name=f"table/1/{self.name}", rows=rows)


def _check_range(role: str, name: str, values: Column) -> None:
    low, high = (0.0, 1.0) if role in ("reward", "score") else (0.0, np.inf)
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        value = float(np.ravel(values[row])[np.argmax(np.ravel(wrong[row]))])
        allowed = "accuracies from 0 to 100 %" if high == 1 else "finite numbers of at least 0"
        shown = f"{100 * value:g} %" if high == 1 else f"{value:g}"
        raise ConfigurationError(f"the {role} {name!r} of a table holds {allowed}, row {row} does not: {shown}")


def write_benchmark(table: BenchmarkTable, path: str | Path) -> None:
    """Write a table as Parquet: a row per candidate, small types, zstd, a manifest in its metadata.

    Equal tables give equal bytes. The file is written beside its place and moved there once it is whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {
        f"slot:{slot.name}": pa.array(table.decisions[:, i], pa.int16()) for i, slot in enumerate(table.slots)
    }
    for fidelity, values in table.accuracies.items():
        columns |= {f"reward:{fidelity}:{i}": pa.array(values[:, i]) for i in range(values.shape[1])}
    for role, group in table._columns()[1:]:
        columns |= {f"{role}:{name}": pa.array(values) for name, values in group.items()}
    for name in ("parameters", "macs"):
        values = getattr(table, name)
        if values is not None:
            columns[name] = pa.array(values, pa.int64())
    manifest = {
        "format": 1,
        "name": table.name,
        "kind": table.kind,
        "slots": [[slot.name, list(slot.choices)] for slot in table.slots],
        "facts": dict(table.facts),
    }
    written = pa.table(columns).replace_schema_metadata({_MANIFEST: json.dumps(manifest, sort_keys=True).encode()})
    place = Path(path)
    unfinished = place.with_name(f".{place.name}.{os.getpid()}.unfinished")
    try:
        pq.write_table(written, unfinished, compression="zstd", compression_level=12)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)


def read_benchmark(path: str | Path) -> BenchmarkTable:
    """Return the table that `write_benchmark` wrote.

    Raises:
        ConfigurationError: The file is missing, damaged or no such table.
    """
    return read_as(path, _MANIFEST, _benchmark, expected="no benchmark table; expected a file of nas-gym table import")


def _benchmark(read: Any, manifest: Mapping[str, Any]) -> BenchmarkTable:
    groups: dict[str, dict[str, list[Any]]] = {role: {} for role in ("reward", "score", "cost", "device")}
    for column in read.column_names:
        role, _, name = column.partition(":")
        if role in groups:
            name = name.rpartition(":")[0] if role == "reward" else name
            groups[role].setdefault(name, []).append(numbers_of(read[column]))
    slots = tuple(Slot(name, tuple(choices)) for name, choices in manifest["slots"])
    counts = {n: numbers_of(read[n]) for n in ("parameters", "macs") if n in read.column_names}
    alone = {role: {name: values for name, (values,) in groups[role].items()} for role in ("score", "cost", "device")}
    return BenchmarkTable(
        name=str(manifest["name"]),
        slots=slots,
        decisions=np.stack([numbers_of(read[f"slot:{slot.name}"]) for slot in slots], axis=1),
        accuracies={name: np.stack(columns, axis=1) for name, columns in groups["reward"].items()},
        scores=alone["score"],
        costs=alone["cost"],
        latencies=alone["device"],
        parameters=counts.get("parameters"),
        macs=counts.get("macs"),
        kind=str(manifest["kind"]),
        facts=manifest["facts"],
    )


def shipped_benchmark(table: Table) -> BenchmarkTable:
    """Return the table of our own trainings as a benchmark: validation accuracy as reward, test accuracy as score.

    Its rows are networks; several lists of decisions may lead to one. A training that was stopped early is a fidelity
    (``stop=1`` …) of its own, whose cost is its share of the epochs.
    """
    from nas_gym.tables.fashion_chain import fashion_chain_space

    space = fashion_chain_space()
    decisions = np.full((len(table), len(space.slots)), -1, dtype=np.int16)
    for row, actions in enumerate(table.actions):
        decisions[row, : len(actions)] = actions  # of a chain, slots are decided in order
    epochs = table.curves.shape[2]
    seconds = table.train_seconds.mean(axis=1, dtype=np.float64)
    names = ["full" if stop == epochs else f"stop={stop}" for stop in range(epochs, 0, -1)]
    return BenchmarkTable(
        name=table.name,
        slots=space.slots,
        decisions=decisions,
        accuracies={n: table.curves[:, :, epochs - 1 - i].astype(np.float32) for i, n in enumerate(names)},
        scores={"test": table.mean_test_accuracy.astype(np.float32)},
        costs={n: (seconds * (epochs - i) / epochs).astype(np.float32) for i, n in enumerate(names)},
        parameters=table.parameters,
        macs=table.macs,
        kind=CHAIN,
        facts=table.facts,
        keys=table.keys,
    )
