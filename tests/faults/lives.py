"""Lives of searches: a process that has imported everything forks a child for each, and each can be killed.

A life is a real process that runs `nas_gym_agents.runner`; what is spared are the seconds of imports.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from phases import Phases, Trap, read_phase

ROOT = Path(__file__).parents[2]
ROOTS = [ROOT, ROOT / "envs", ROOT / "agents", ROOT / "tests", ROOT / "tests" / "faults"]
MARK = "FAULTS_LIFE"  # in the environment of a life and of all that it starts
PATIENCE_SECONDS = 5.0  # until no training is left of a killed search
# A worker that is still importing notices only then; on a busy machine that takes a while.
START_SECONDS = 60.0

Settings = dict[str, Any]


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which a search finds this package and the faulty environment."""
    path = os.pathsep.join(str(root) for root in ROOTS)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


class Life:
    """One process of a search.

    Args:
        pid: Of the process.
        mark: In its environment, and in that of the processes it starts.
        run: The run directory.
    """

    def __init__(self, pid: int, mark: str, run: Path) -> None:
        self.pid, self.mark, self.run = pid, mark, run
        self.phase_file, self.log = run.with_suffix(".phase"), run.with_suffix(".log")

    @property
    def phase(self) -> str:
        """What it is doing, or was doing when it died."""
        return read_phase(self.phase_file)

    def kill(self) -> None:
        """Send SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def survivors(self, training: set[int]) -> list[int]:
        """Return the processes that outlive a killed search: workers that train, and after a longer time any.

        Args:
            training: Processes that have begun a training.
        """
        killed = time.monotonic()
        while alive := marked(self.mark):
            seconds = time.monotonic() - killed
            late = alive if seconds > START_SECONDS else sorted(training & set(alive))
            if seconds > PATIENCE_SECONDS and late:
                return late
            time.sleep(0.1)
        return []


def marked(mark: str) -> list[int]:
    """Return the processes of a life, by the mark in their environment; Linux only."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # gone, or not ours
            if folder.name.isdecimal() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


class Nursery:
    """Starts lives by forking; use it as a context manager. Several lives may be there at once."""

    def __init__(self) -> None:
        self._lives = 0
        self._process: Any = None

    def __enter__(self) -> "Nursery":
        """Start the process that forks."""
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.communicate()

    def begin(
        self,
        run: Path,
        settings: Settings,
        *,
        workers: Settings | None = None,
        trap: Trap | None = None,
        **conditions: Any,
    ) -> Life:
        """Start or resume a search in a process of its own.

        Args:
            run: The run directory.
            settings: Of `SearchSettings`.
            workers: Of `Workers`.
            trap: Where it is killed.
            **conditions: Of `conditions.under`.
        """
        self._lives += 1
        life = Life(0, f"{os.getpid()}-{self._lives}", run)
        order = {"run": str(run), "settings": settings, "workers": workers, "mark": life.mark, "conditions": conditions}
        life.pid = self._ask({**order, "trap": None if trap is None else asdict(trap)})
        return life

    def run(self, run: Path, settings: Settings, **how: Any) -> tuple[int, str]:
        """Start or resume a search, and return its exit code and the last line it printed."""
        life = self.begin(run, settings, **how)
        code = self.wait(life)
        lines = life.log.read_text().strip().splitlines() if life.log.exists() else []
        return code, lines[-1] if lines else ""

    def wait(self, life: Life) -> int:
        """Return the exit code of a life: 0 done, 2 an error with a sentence, -9 killed."""
        return self._ask({"wait": life.pid})

    def _ask(self, order: Settings) -> int:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that forks has died")
        return int(answer)


def main() -> None:
    """Fork as standard input says."""
    import gymnasium  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch
    import torch.utils.tensorboard

    import nas_gym_agents.genetic
    import nas_gym_agents.maskable_ppo
    import nas_gym_agents.runner  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            os._exit(_live(order))
        print(pid, flush=True)


def _live(order: Settings) -> int:
    """Search, and return the exit code."""
    from conditions import under

    from nas_gym.errors import NasGymError
    from nas_gym_agents import runner
    from nas_gym_agents.settings import SearchSettings
    from nas_gym_agents.workers import Workers

    run = Path(order["run"])
    os.environ[MARK] = order["mark"]
    log = os.open(run.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for standard in (1, 2):
        os.dup2(log, standard)
    if order["workers"] is not None:
        start_workers_quickly()
    runner._Search._draw = lambda *_: None  # type: ignore[method-assign]  # pictures take longer than the search
    Phases(run.with_suffix(".phase"), order["trap"] and Trap(**order["trap"])).watch()
    workers = order["workers"] and Workers(**order["workers"])
    try:
        with under(**order["conditions"]):
            if (run / "run.json").exists():
                runner.resume(run, workers=workers)
            else:
                runner.search(SearchSettings(**order["settings"]), run, workers=workers)
    except NasGymError as error:
        print(f"error: {error}", flush=True)
        return 2
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start_workers_quickly() -> None:
    """Have worker processes forked by a server that has imported torch, in place of three seconds for each."""
    import multiprocessing
    from types import SimpleNamespace

    from nas_gym.evaluation import processes

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "gymnasium"])
    processes.multiprocessing = SimpleNamespace(get_context=lambda method: context)  # type: ignore[assignment]


if __name__ == "__main__":
    main()
