"""The pieces a benchmark is done in: some seeds of one agent in one environment, one Parquet file each."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas_gym.errors import RunError
from nas_gym_agents.benchmark.entrants import Entrant
from nas_gym_agents.benchmark.plan import Plan
from nas_gym_agents.benchmark.recording import Searched, search_once

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 10  # seeds a piece: what a kill may cost
_SECONDS, _CPU = b"seconds", b"cpu_seconds"
WRITING = {"compression": "zstd", "compression_level": 6}


@dataclass(frozen=True)
class Chunk:
    """A piece of a benchmark; depends on the plan alone, not on the number of workers.

    Attributes:
        env: Number of the environment in the plan.
        track: Name of the track.
        agent: Name of the agent.
        seeds: Which.
        file: Name of its part.
    """

    env: int
    track: str
    agent: str
    seeds: range
    file: str


def chunks(plan: Plan) -> Iterator[Chunk]:
    """Yield the pieces of a plan in the order of the table."""
    size = max(1, min(LARGEST, plan.seeds // 4))
    for env in range(len(plan.envs)):
        for t, track in enumerate(plan.tracks):
            for a, agent in enumerate(plan.agents):
                for first in range(0, plan.seeds, size):
                    seeds = range(first, min(first + size, plan.seeds))
                    yield Chunk(env, track, agent, seeds, f"{env}-{t}-{a}-{first:06}.parquet")


def do_chunk(plan: Plan, entrant: Entrant, chunk: Chunk, folder: Path) -> None:
    """Run the searches of a piece, and write its part whole or not at all.

    Raises:
        NasGymError: An agent failed, or the part can't be written.
    """
    import pyarrow.parquet as pq

    env_plan, noise = plan.envs[chunk.env], plan.tracks[chunk.track]
    started, cpu = time.perf_counter(), time.process_time()
    # A new agent for every seed: what somebody's agent has learned in one search must not help it in the next.
    runs = [search_once(plan, env_plan, noise, entrant.make(), seed) for seed in chunk.seeds]
    spent = {_SECONDS: time.perf_counter() - started, _CPU: time.process_time() - cpu}
    table = as_table(env_plan.id, chunk.track, chunk.agent, chunk.seeds, runs)
    table = table.replace_schema_metadata({name: repr(value) for name, value in spent.items()})
    unfinished = folder / f".{chunk.file}.{os.getpid()}"
    try:
        pq.write_table(table, unfinished, **WRITING)
        unfinished.replace(folder / chunk.file)
    except OSError as error:
        raise RunError(f"a part of the results can't be written in {str(folder)!r}: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def as_table(env_id: str, track: str, agent: str, seeds: Sequence[int], runs: Sequence[Searched]) -> "pa.Table":
    """Return searches as a table with one row for every evaluation; see `schema`."""
    import pyarrow as pa

    lengths = [len(run.keys) for run in runs]
    n = sum(lengths)
    actions = [decided for run in runs for decided in run.actions]
    offsets = np.concatenate([[0], np.cumsum([len(decided) for decided in actions])]).astype(np.int32)
    flat = np.array([action for decided in actions for action in decided], dtype=np.int16)
    columns = {
        "env": _named(env_id, n),
        "track": _named(track, n),
        "agent": _named(agent, n),
        "seed": pa.array(np.repeat(np.asarray(seeds, dtype=np.uint32), lengths)),
        "evaluation": pa.array(np.concatenate([np.arange(1, k + 1, dtype=np.int32) for k in lengths])),
        "actions": pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)),
        "key": pa.array([key for run in runs for key in run.keys], pa.string()),
        "reward": pa.array(np.concatenate([run.rewards for run in runs])),
        "score": pa.array(np.concatenate([run.scores for run in runs])),
        "unique": pa.array(np.concatenate([run.unique_so_far for run in runs])),
        "cost_seconds": pa.array(np.concatenate([run.cost_so_far for run in runs])),
    }
    return pa.table(columns, schema=schema())


def schema() -> "pa.Schema":
    """Return the columns of the results.

    ``evaluation`` counts from 1 in every search; ``unique`` and ``cost_seconds`` are totals up to the row.
    """
    import pyarrow as pa

    named = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        {
            "env": named,
            "track": named,
            "agent": named,
            "seed": pa.uint32(),
            "evaluation": pa.int32(),
            "actions": pa.list_(pa.int16()),
            "key": pa.string(),
            "reward": pa.float64(),
            "score": pa.float64(),
            "unique": pa.int32(),
            "cost_seconds": pa.float64(),
        }
    )


def read_part(path: Path) -> "tuple[pa.Table, float, float]":
    """Return a part, and the wall-clock and processor seconds it took.

    Raises:
        RunError: It is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
        found = table.schema.metadata or {}
        seconds, cpu = float(found[_SECONDS]), float(found[_CPU])
        return table.replace_schema_metadata(None).cast(schema()), seconds, cpu
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"the part {str(path)!r} is damaged ({reason}); delete it, and the same command makes it again"
        ) from None


def _named(name: str, n: int) -> "pa.DictionaryArray":
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([name]))
