"""Tables of trained candidates: what was measured, as arrays, and their Parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.tables.parquet import numbers_of, read_as

if TYPE_CHECKING:
    import pyarrow as pa

_FACTS = b"nas_gym"  # where the facts are in the file's metadata, as JSON


@dataclass(frozen=True, eq=False)
class Table:
    """Every candidate of a space with its trainings; row ``i`` of every array is candidate ``keys[i]``.

    Arrays are read-only. Accuracies are kept as the numbers of images that were classified correctly, which is exact.

    Attributes:
        name: Of the table.
        keys: `nas_gym.architecture.Candidate.key` of every row, sorted.
        actions: One complete prefix for every row; others may lead to the same key.
        parameters: Trainable parameters, int64 (n,).
        macs: Multiply-accumulates for one sample, int64 (n,).
        curve_correct: Validation images right after every epoch, uint16 (n, repeats, epochs).
        test_correct: Test images right after the last epoch, uint16 (n, repeats).
        loss: Mean validation cross-entropy in nats after the last epoch, float32 (n, repeats).
        train_seconds: Wall-clock seconds of every training with its validation, float32 (n, repeats).
        n_validation: Images in the validation split.
        n_test: Images in the test split.
        facts: How it was made: recipe, data, space, versions, hardware, seeds; JSON-ready.
    """

    name: str
    keys: tuple[str, ...]
    actions: tuple[tuple[int, ...], ...]
    parameters: NDArray[np.int64]
    macs: NDArray[np.int64]
    curve_correct: NDArray[np.uint16]
    test_correct: NDArray[np.uint16]
    loss: NDArray[np.float32]
    train_seconds: NDArray[np.float32]
    n_validation: int
    n_test: int
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
                if len(value) != len(self.keys):
                    raise ConfigurationError(
                        f"every array of a table has one row per key, {len(self.keys)}, yet {f.name} has {len(value)}"
                    )

    def __len__(self) -> int:
        """Return the number of candidates."""
        return len(self.keys)

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of every key."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def curves(self) -> NDArray[np.float64]:
        """Validation accuracy in [0, 1] after every epoch, float64 (n, repeats, epochs)."""
        return self.curve_correct / self.n_validation

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Validation accuracy in [0, 1] after the last epoch, float64 (n, repeats)."""
        return self.curves[:, :, -1]

    @property
    def test_accuracy(self) -> NDArray[np.float64]:
        """Test accuracy in [0, 1], float64 (n, repeats)."""
        return self.test_correct / self.n_test

    @property
    def mean_accuracy(self) -> NDArray[np.float64]:
        """Validation accuracy, mean over the repeats, float64 (n,)."""
        return np.asarray(self.accuracy.mean(axis=1), dtype=np.float64)

    @property
    def mean_test_accuracy(self) -> NDArray[np.float64]:
        """Test accuracy, mean over the repeats, float64 (n,)."""
        return np.asarray(self.test_accuracy.mean(axis=1), dtype=np.float64)

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error of `mean_accuracy` over trainings on this data, from the row's own repeats, float64 (n,)."""
        accuracy = self.accuracy
        return np.asarray(accuracy.std(axis=1, ddof=1) / np.sqrt(accuracy.shape[1]))


def write_table(table: Table, path: str | Path) -> None:
    """Write a table as Parquet: one row per candidate, small types, zstd; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = dict(table.facts) | {"name": table.name, "n_validation": table.n_validation, "n_test": table.n_test}
    columns: dict[str, pa.Array] = {
        "key": pa.array(table.keys, pa.string()),
        "actions": pa.array([list(actions) for actions in table.actions], pa.list_(pa.uint8())),
        "parameters": pa.array(table.parameters, pa.int32()),
        "macs": pa.array(table.macs, pa.int64()),
        "standard_error": pa.array(table.standard_error.astype(np.float32), pa.float32()),
    }
    for repeat in range(table.test_correct.shape[1]):
        curve = table.curve_correct[:, repeat]
        columns[f"correct_{repeat}"] = pa.array(curve[:, -1], pa.uint16())
        columns[f"test_correct_{repeat}"] = pa.array(table.test_correct[:, repeat], pa.uint16())
        columns[f"loss_{repeat}"] = pa.array(table.loss[:, repeat], pa.float32())
        columns[f"train_seconds_{repeat}"] = pa.array(table.train_seconds[:, repeat], pa.float32())
        flat = pa.array(curve.reshape(-1), pa.uint16())
        columns[f"curve_{repeat}"] = pa.FixedSizeListArray.from_arrays(flat, curve.shape[1])
    written = pa.table(columns).replace_schema_metadata({_FACTS: json.dumps(facts, sort_keys=True).encode()})
    pq.write_table(written, path, compression="zstd", compression_level=19)


def read_table(path: str | Path) -> Table:
    """Return the table that `write_table` wrote.

    Raises:
        ConfigurationError: The file is missing, damaged or no such table.
    """
    return read_as(path, _FACTS, _table, expected="no table of candidates; expected a file of scripts/build_table.py")


def _table(read: pa.Table, facts: dict[str, Any]) -> Table:
    import pyarrow as pa

    repeats = [name.removeprefix("loss_") for name in read.column_names if name.startswith("loss_")]

    def side_by_side(name: str, dtype: type) -> NDArray[Any]:
        return np.stack([numbers_of(read[f"{name}_{repeat}"]) for repeat in repeats], axis=1).astype(dtype)

    curves = [numbers_of(pa.chunked_array([c.flatten() for c in read[f"curve_{repeat}"].chunks])) for repeat in repeats]
    return Table(
        name=str(facts.pop("name")),
        keys=tuple(read["key"].to_pylist()),
        actions=tuple(tuple(actions) for actions in read["actions"].to_pylist()),
        parameters=numbers_of(read["parameters"]).astype(np.int64),
        macs=numbers_of(read["macs"]).astype(np.int64),
        curve_correct=np.stack([c.reshape(len(read), -1) for c in curves], axis=1).astype(np.uint16),
        test_correct=side_by_side("test_correct", np.uint16),
        loss=side_by_side("loss", np.float32),
        train_seconds=side_by_side("train_seconds", np.float32),
        n_validation=int(facts.pop("n_validation")),
        n_test=int(facts.pop("n_test")),
        facts=facts,
    )
