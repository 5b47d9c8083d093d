"""`nas-gym finish`: from a finished search to a network that is trained, understood, compressed and exported."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nas_gym.errors import ConfigurationError, NasGymError, RunError
from nas_gym.explain.record import write_atomically

SCHEMA = 1
FINISH_FILE = "finish.json"
WEIGHTS = {"tune": 0.25, "retrain": 0.45, "inspect": 0.03, "compress": 0.22, "export": 0.03, "report": 0.02}
"""The steps in order, and how the time is shared among those that are still ahead."""
NEEDED = {"retrain"}
"""Without these there is nothing to finish. What another step can't do is told, and the next one is taken."""

Telling = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True, kw_only=True)
class FinishRequest:
    """What is asked for.

    Attributes:
        minutes: Wall-clock time of all steps together.
        leave_out: Steps that are not taken.
        also: More images for the long training, as `nas_gym.winner.request.Request` takes them.
        width: Factor of the winner's channels in the long training, or ``"auto"``.
        workers: Trainings at once while tuning.
        seed: Of what is drawn.

    Raises:
        ConfigurationError: A value is out of range.
    """

    minutes: float = 30.0
    leave_out: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    width: float | Literal["auto"] = 1.0
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.minutes < 1e6:
            raise ConfigurationError(f"minutes is a time above 0, got {self.minutes:g}")
        optional = [name for name in WEIGHTS if name not in NEEDED]
        wrong = [name for name in self.leave_out if name not in optional]
        if wrong:
            raise ConfigurationError(f"steps that can be left out are {', '.join(optional)}, got {', '.join(wrong)}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-ready data."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def finish(path: Path, request: FinishRequest, tell: Telling | None = None) -> dict[str, Any]:
    """Take every step that is not taken yet, and return what ``finish.json`` holds.

    The same call goes on where an earlier one was stopped or killed: steps that are done are not taken again, and the
    one that was under way goes on by itself. The time of a step is fixed when it begins, as its share of what is left.

    Args:
        path: The run directory.
        request: What is asked for.
        tell: From the name of a step to a context whose value is told how that step goes on.

    Raises:
        NasGymError: The run can't be used, or its winner can't be trained. Another step that can't be taken is told
            under ``steps``, with the reason.
    """
    if not path.is_dir():
        raise RunError(f"{str(path)!r} is no run directory: name the folder that nas-gym search has written")
    content = _begun(path, request)
    steps: dict[str, dict[str, Any]] = content["steps"]
    for name in WEIGHTS:
        if name in request.leave_out:
            steps[name] = {"state": "left out", "why": "as asked"}
        elif steps.get(name, {}).get("state") != "done":
            step = {"state": "begun", "minutes": steps.get(name, {}).get("minutes") or _minutes(name, request, steps)}
            steps[name] = step
            _write(path, content)
            _take(name, path, request, step, tell or (lambda _: nullcontext(None)))
            _write(path, content)
    return content


def read_finish(run: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what ``RUN/finish.json`` holds; None where there is none, or none that can be read."""
    file = Path(run) / FINISH_FILE
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return content if content["schema"] == SCHEMA and isinstance(content["steps"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _begun(path: Path, request: FinishRequest) -> dict[str, Any]:
    known = read_finish(path)
    if known is not None and known["request"] == request.to_json():
        return known
    return {"schema": SCHEMA, "request": request.to_json(), "steps": {}}


def _minutes(name: str, request: FinishRequest, steps: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the time of a step: its share of what the steps before it have left.

    Where these took longer than they should have, it is still half of what the step would have had.
    """
    names = list(WEIGHTS)
    asked = [other for other in names if other not in request.leave_out]
    ahead = [other for other in asked if names.index(other) >= names.index(name)]
    spent = sum(step.get("seconds", 0.0) for step in steps.values()) / 60
    left = (request.minutes - spent) * WEIGHTS[name] / sum(WEIGHTS[other] for other in ahead)
    least = request.minutes * WEIGHTS[name] / sum(WEIGHTS[other] for other in asked) / 2
    return float(round(max(left, least), 3))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path / FINISH_FILE, json.dumps(content, indent=1, ensure_ascii=False))


def _take(name: str, path: Path, request: FinishRequest, step: dict[str, Any], tell: Telling) -> None:
    """Take a step and note in ``step`` what came of it."""
    since = time.perf_counter()
    try:
        with tell(name) as watch:
            STEPS[name](path, request, step["minutes"], watch)
    except NasGymError as error:
        if name in NEEDED:
            raise
        step |= {"state": "left out", "why": str(error)}
    else:
        step["state"] = "done"
    step["seconds"] = round(time.perf_counter() - since, 1)


def _tune(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.tuning.request import TuningRequest
    from nas_gym.winner.tuning.tuning import tune

    tune(path, TuningRequest(minutes=minutes, seed=request.seed), n_workers=request.workers, watch=watch)


def _retrain(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.request import Request
    from nas_gym.winner.retraining import retrain
    from nas_gym.winner.tuning.result import read_tuning, tuned_recipe

    tuned = {} if "tune" in request.leave_out or read_tuning(path) is None else tuned_recipe(path)
    retrain(path, Request(minutes=minutes, also=request.also, width=request.width, recipe=tuned), watch)


def _inspect(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.inspection.folder import Settings
    from nas_gym.winner.inspection.inspecting import inspect_run

    inspect_run(path, Settings(seed=request.seed), watch)


def _compress(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.compression.compressing import compress
    from nas_gym.winner.compression.request import Request

    compress(path, Request(minutes=minutes, seed=request.seed), watch)


def _export(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.exporting import export_run

    export_run(path)


def _report(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.report import write_report
    from nas_gym.run import Run

    write_report(Run(path))


STEPS: dict[str, Callable[[Path, FinishRequest, float, Any], None]] = {
    "tune": _tune,
    "retrain": _retrain,
    "inspect": _inspect,
    "compress": _compress,
    "export": _export,
    "report": _report,
}
