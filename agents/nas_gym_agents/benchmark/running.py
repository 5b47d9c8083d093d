"""Running a plan: over worker processes, resumable, to the same table whatever their number."""

import json
import multiprocessing
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas_gym.errors import ConfigurationError, RunError
from nas_gym.evaluation.worker import follow_parent
from nas_gym.explain.record import write_atomically
from nas_gym.run_directory import hardware, versions
from nas_gym_agents.benchmark.chunks import WRITING, Chunk, chunks, do_chunk, read_part
from nas_gym_agents.benchmark.entrants import Entrant, Factory, check_picklable, entrants
from nas_gym_agents.benchmark.facts import environment_facts
from nas_gym_agents.benchmark.plan import Plan
from nas_gym_agents.benchmark.results import PARTS, PLAN_FILE, RESULTS, SCHEMA, Results, read_plan_file

LOCK = ".lock"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
Watch = Callable[[int, int], None]  # pieces done, pieces in all


def benchmark(
    plan: Plan,
    out: str | Path,
    *,
    agents: Mapping[str, Factory] | None = None,
    workers: int = 1,
    watch: Watch | None = None,
) -> Results:
    """Run a plan and return its results; finished pieces of a run that was stopped are not done again.

    Args:
        plan: What to run.
        out: The results directory: new, empty, or of the same plan.
        agents: The caller's own agents by name, beside those of the plan: a class, or a function of nothing, that makes
            something with ``search(env, *, seed)``; or a function of an environment and a seed that searches. With
            several workers they must be defined at the top of a module.
        workers: Processes; 1: this one. The table does not depend on it.
        watch: Called after every piece.

    Raises:
        NasGymError: The plan or the place can't be used (nothing was written), or an agent failed.
    """
    if workers < 1:
        raise ConfigurationError(f"workers is a whole number of at least 1, got {workers}")
    plan = plan.with_agents(tuple(agents)) if agents else plan
    taking_part = {entrant.name: entrant for entrant in entrants(plan.agents, agents)}
    if workers > 1:
        for entrant in taking_part.values():
            check_picklable(entrant)
    settled = {
        "schema": SCHEMA,
        "plan": plan.to_json(),
        "agents": {name: entrant.to_json() for name, entrant in taking_part.items()},
        "environments": {env.id: environment_facts(plan, env) for env in plan.envs},
    }
    folder = Path(out)
    _check_place(folder, settled)
    with _locked(folder):
        _check_place(folder, settled)
        if not (folder / PLAN_FILE).exists():
            started = {"state": "running", "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            _write(folder, {**settled, **started, "versions": versions(), "hardware": _hardware(), "workers": workers})
        if not (folder / RESULTS).exists():
            (folder / PARTS).mkdir(exist_ok=True)
            with _one_thread():
                _do(plan, taking_part, folder / PARTS, workers, watch)
            _merge(plan, folder)
    return Results.read(folder)


def _do(plan: Plan, taking_part: Mapping[str, Entrant], folder: Path, workers: int, watch: Watch | None) -> None:
    """Do the pieces that have no part yet."""
    pieces = list(chunks(plan))
    left = [chunk for chunk in pieces if not (folder / chunk.file).exists()]
    before = len(pieces) - len(left)
    if watch is not None:
        watch(before, len(pieces))
    alone = workers == 1 or len(left) < 2
    finished = (_here if alone else _in_processes)(plan, taking_part, left, folder, workers)
    for done, _ in enumerate(finished, start=before + 1):
        if watch is not None:
            watch(done, len(pieces))


def _here(
    plan: Plan, taking_part: Mapping[str, Entrant], left: list[Chunk], folder: Path, workers: int
) -> Iterator[None]:
    """Yield as often as a piece is done, in this process."""
    for chunk in left:
        do_chunk(plan, taking_part[chunk.agent], chunk, folder)
        yield None


def _in_processes(
    plan: Plan, taking_part: Mapping[str, Entrant], left: list[Chunk], folder: Path, workers: int
) -> Iterator[None]:
    """Yield as often as a piece is done. Workers are fresh interpreters, which load a table once each."""
    context = multiprocessing.get_context("spawn")
    waiting, others = iter(left), set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(workers, len(left)), mp_context=context, initializer=_begin) as pool:
        running: set[Future[None]] = set()

        def add() -> None:
            chunk = next(waiting, None)
            if chunk is not None:
                running.add(pool.submit(do_chunk, plan, taking_part[chunk.agent], chunk, folder))

        try:
            for _ in range(2 * workers):  # few are handed out ahead, so that an interrupt ends soon
                add()
            while running:
                done, running_still = wait(running, return_when=FIRST_COMPLETED)
                running.clear()
                running.update(running_still)
                for future in done:
                    future.result()
                    add()
                    yield None
        except BrokenProcessPool:
            raise RunError("a worker process died, of too little memory perhaps; the same command goes on") from None
        except BaseException:  # an interrupt ends now, not after the pieces that are under way
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def _begin() -> None:
    """Start a worker: Ctrl-C is the parent's to handle, and torch has one thread."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow_parent()
    import torch

    torch.set_num_threads(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that start inside, and torch here, have one thread each."""
    import torch

    before, threads = {name: os.environ.get(name) for name in THREADS}, torch.get_num_threads()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _merge(plan: Plan, folder: Path) -> None:
    """Put the parts together in the order of the plan, and note what the agents took."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [(chunk, *read_part(folder / PARTS / chunk.file)) for chunk in chunks(plan)]
    seconds: dict[str, dict[str, float]] = {}
    for chunk, table, wall, cpu in parts:
        taken = seconds.setdefault(chunk.agent, {"seconds": 0.0, "cpu_seconds": 0.0, "evaluations": 0})
        taken["seconds"] += wall
        taken["cpu_seconds"] += cpu
        taken["evaluations"] += table.num_rows
    whole = pa.concat_tables([table for _, table, _, _ in parts]).unify_dictionaries()
    unfinished = folder / f".{RESULTS}.unfinished"
    try:
        pq.write_table(whole, unfinished, **WRITING)
        content = read_plan_file(folder)
        _write(folder, content | {"state": "finished", "took": seconds})
        unfinished.replace(folder / RESULTS)
    except OSError as error:
        raise RunError(f"the results can't be written in {str(folder)!r}: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    shutil.rmtree(folder / PARTS, ignore_errors=True)


def _check_place(folder: Path, settled: Mapping[str, Any]) -> None:
    """Refuse a place that holds something else; nothing is written."""
    if (folder / PLAN_FILE).exists():
        known = read_plan_file(folder)
        parts = [name for name in settled if known.get(name) != json.loads(json.dumps(settled[name]))]
        if parts:
            raise RunError(
                f"{str(folder)!r} holds results of another plan ({_difference(known, settled, parts[-1])}); "
                "name another --out"
            )
        return
    mine = (LOCK, f"{PLAN_FILE}.tmp")  # the second: left by a kill during the very first write
    if folder.exists() and (not folder.is_dir() or any(child.name not in mine for child in folder.iterdir())):
        raise RunError(f"{str(folder)!r} exists and is neither empty nor a results directory; name another --out")


def _difference(known: Mapping[str, Any], settled: Mapping[str, Any], part: str) -> str:
    there, asked = known.get("plan", {}), settled["plan"]
    names = [name for name in asked if there.get(name) != json.loads(json.dumps(asked[name]))]
    if names:
        name = names[0]
        told = (", ".join(value) if isinstance(value, dict) else value for value in (there.get(name), asked[name]))
        return "{}: {} there, {} asked".format(name, *told)
    return f"its {part} have changed since"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise RunError(f"another process is working in {str(folder)!r}; wait for it or name another --out") from None
    except OSError as error:
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise RunError(f"the results directory {str(folder)!r} can't be used: {error.strerror or error}") from None


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    write_atomically(folder / PLAN_FILE, json.dumps(content, indent=1, ensure_ascii=False))


def _hardware() -> dict[str, Any]:
    return {**hardware(), "processor": _processor()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or "unknown"
