"""The results of a benchmark, as they lie in its directory and as arrays."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import RunError
from nas_gym_agents.benchmark.plan import Plan

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PLAN_FILE = "plan.json"
RESULTS = "results.parquet"
PARTS = "parts"
SCHEMA = 1


@dataclass(frozen=True)
class SearchedSeed:
    """One search of the results: one entry for every evaluation, in order.

    Attributes:
        rewards: float64 (n,).
        scores: float64 (n,).
        unique: Different candidates so far, int32 (n,).
        costs: Simulated seconds so far, float64 (n,).
    """

    rewards: NDArray[np.float64]
    scores: NDArray[np.float64]
    unique: NDArray[np.int32]
    costs: NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """A finished benchmark.

    Attributes:
        path: Its directory.
        content: What ``plan.json`` holds: plan, agents, environments, versions, hardware, seconds taken.
        table: One row for every evaluation (`nas_gym_agents.benchmark.chunks.schema`).
    """

    path: Path
    content: Mapping[str, Any]
    table: "pa.Table"

    @classmethod
    def read(cls, path: str | Path) -> "Results":
        """Return the results in a directory.

        Raises:
            RunError: It is no results directory, is not finished, or is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from nas_gym_agents.benchmark.chunks import schema

        folder = Path(path)
        content = read_plan_file(folder)
        place = folder / RESULTS
        if not place.is_file():
            raise RunError(f"{str(folder)!r} is not finished: run the same nas-gym bench command again, it goes on")
        try:
            with pq.ParquetFile(place) as file:
                table = file.read(use_threads=False).cast(schema())
        except (OSError, pa.ArrowException, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(f"{str(place)!r} is damaged ({reason}); delete it and run the benchmark again") from None
        return cls(folder, content, table)

    @cached_property
    def plan(self) -> Plan:
        """What was run."""
        return Plan.from_json(self.content["plan"])

    @property
    def frame(self) -> "pd.DataFrame":
        """The table as a data frame."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def facts(self, env_id: str) -> Mapping[str, Any]:
        """Return what is known of an environment (`nas_gym_agents.benchmark.facts`)."""
        facts: Mapping[str, Any] = self.content["environments"][env_id]
        return facts

    @cached_property
    def searches(self) -> Mapping[tuple[str, str, str], list[SearchedSeed]]:
        """The searches of every environment, track and agent, in the order of the seeds."""
        names = [_texts(self.table[column]) for column in ("env", "track", "agent")]
        seeds = self.table["seed"].to_numpy()
        columns = [self.table[c].to_numpy() for c in ("reward", "score", "unique", "cost_seconds")]
        changed = np.zeros(len(seeds), dtype=bool)
        changed[:1] = True
        for codes in (*(codes for codes, _ in names), seeds):
            changed[1:] |= codes[1:] != codes[:-1]
        starts = np.flatnonzero(changed)
        found: dict[tuple[str, str, str], list[SearchedSeed]] = {}
        for start, end in zip(starts, [*starts[1:], len(seeds)], strict=True):
            env, track, agent = (texts[codes[start]] for codes, texts in names)
            found.setdefault((env, track, agent), []).append(SearchedSeed(*(c[start:end] for c in columns)))
        return found


def _texts(column: "pa.ChunkedArray") -> tuple[NDArray[np.int64], list[str]]:
    """Return the codes and the texts of a column of names."""
    unified = column.unify_dictionaries().combine_chunks()
    return np.asarray(unified.indices.to_numpy(zero_copy_only=False)), unified.dictionary.to_pylist()


def read_plan_file(folder: Path) -> dict[str, Any]:
    """Return the content of a results directory's ``plan.json``.

    Raises:
        RunError: There is none, or it is damaged.
    """
    place = folder / PLAN_FILE
    if not place.is_file():
        raise RunError(f"{str(folder)!r} is no results directory: it holds no {PLAN_FILE}; nas-gym bench makes one")
    try:
        content: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        Plan.from_json(content["plan"])
        if not isinstance(content["environments"], dict) or not isinstance(content["agents"], dict):
            raise ValueError("environments or agents")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(place)!r} is damaged ({error!r}); restore it or start anew") from None
    return content
