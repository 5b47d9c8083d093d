"""What a search is doing right now, told through a file that survives its death; and death at a chosen place."""

import mmap
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PHASES = (
    *("starting", "sampling", "training", "committing", "writing weights", "replaying", "recording"),
    *("learning", "saving the policy", "swapping in", "finishing"),
)


@dataclass(frozen=True)
class Trap:
    """A place at which a search is killed.

    Attributes:
        phase: One of `PHASES`, not the first.
        entrance: Which entrance into it, from 1.
        delay: Seconds after that; 0: at once.
        leaving: Whether the end of the phase is meant, not its beginning.
    """

    phase: str
    entrance: int = 1
    delay: float = 0.0
    leaving: bool = False


class Phases:
    """Follows a search of this process by wrapping what it calls; for processes that live for one search.

    Args:
        file: The phase's number goes here, one byte.
        trap: Where this process is killed; None: nowhere.
    """

    def __init__(self, file: Path, trap: Trap | None = None) -> None:
        file.write_bytes(b"\0")
        with file.open("r+b") as opened:
            self._byte = mmap.mmap(opened.fileno(), 1)
        self._trap = trap
        self._passed: Counter[tuple[str, bool]] = Counter()

    def watch(self) -> None:
        """Wrap a search's parts."""
        from injection import Faulty
        from sb3_contrib import MaskablePPO

        from nas_gym.run_directory import RunDirectory
        from nas_gym.store import ResultStore
        from nas_gym.weights import BestWeights
        from nas_gym_agents import runner
        from nas_gym_agents.sb3_search import SearchCallback

        for owner, name, phase in (
            (Faulty, "submit", "training"),
            (ResultStore, "put", "committing"),
            (BestWeights, "__call__", "writing weights"),
            (runner._Search, "_episode", "recording"),
            (MaskablePPO, "train", "learning"),
            (SearchCallback, "save", "saving the policy"),
            (RunDirectory, "swap_in", "swapping in"),
            (runner._Search, "_finish", "finishing"),
        ):
            setattr(owner, name, self._within(getattr(owner, name), phase))
        begin, swap_in = runner._Search.run, runner._Search._swap_in

        def run(search: Any) -> Any:
            self._enter("replaying" if search._replayed else "sampling")
            return begin(search)

        def caught_up(search: Any) -> None:
            swap_in(search)
            self._byte[0] = PHASES.index("sampling")

        runner._Search.run, runner._Search._swap_in = run, caught_up  # type: ignore[method-assign]

    def _within(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            before = self._byte[0]
            self._enter(phase)
            try:
                return function(*arguments, **named)
            finally:
                self._pass(phase, leaving=True)
                self._byte[0] = before

        return watched

    def _enter(self, phase: str) -> None:
        self._byte[0] = PHASES.index(phase)
        self._pass(phase, leaving=False)

    def _pass(self, phase: str, *, leaving: bool) -> None:
        self._passed[phase, leaving] += 1
        trap = self._trap
        if trap is None or (trap.phase, trap.leaving) != (phase, leaving):
            return
        if self._passed[phase, leaving] == trap.entrance:
            if trap.delay:
                threading.Thread(target=_die, args=(trap.delay,), daemon=True).start()
            else:
                _die(0.0)


def read_phase(file: Path) -> str:
    """Return the phase in which a process is, or in which it died."""
    said = file.read_bytes() if file.exists() else b""  # empty: made, and not yet written
    return PHASES[said[0] if said else 0]


def _die(delay: float) -> None:
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)
