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

_FREE = {"leave_out", "workers"}  # of a request: which steps there are, and how many processes take them

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

    The same call goes on where an earlier one was stopped or killed: steps that are done are not taken again (only the
    report is written anew after another step), and the one that was under way goes on by itself. A call with other
    ``workers`` or another ``leave_out`` goes on as well: neither changes what a step that is done has come to. The
    time of a step is fixed when it begins, as its share of what is left.

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
        known = steps.get(name, {})
        if known.get("state") == "done":
            pass
        elif name in request.leave_out:
            steps[name] = {**known, "state": "left out", "why": "as asked"}
        else:
            step = {"state": "begun", "minutes": known.get("minutes") or _minutes(name, request, steps)}
            steps[name] = step
            if name != "report":
                steps.pop("report", None)  # one that was written does not tell of this step
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
    known, wanted = read_finish(path), request.to_json()
    same = known is not None and _decides(known["request"]) == _decides(wanted)
    return {"schema": SCHEMA, "request": wanted, "steps": known["steps"] if known is not None and same else {}}


def _decides(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a request decides what the steps come to."""
    return {name: value for name, value in request.items() if name not in _FREE}


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
            note = STEPS[name](path, request, step["minutes"], watch)
    except NasGymError as error:
        if name in NEEDED:
            raise
        step |= {"state": "left out", "why": str(error)}
    else:
        step |= {"state": "done", "note": note} if note else {"state": "done"}
    step["seconds"] = round(time.perf_counter() - since, 1)


def _tune(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.tuning.request import TuningRequest
    from nas_gym.winner.tuning.tuning import tune

    tune(path, TuningRequest(minutes=minutes, seed=request.seed), n_workers=request.workers, watch=watch)


def _retrain(path: Path, request: FinishRequest, minutes: float, watch: Any) -> str | None:
    """Retrain with what was tuned, also where tuning is left out by now but done; note if for another network."""
    from nas_gym.winner.request import Request
    from nas_gym.winner.retraining import retrain
    from nas_gym.winner.tuning.result import read_tuning
    from nas_gym.winner.tuning.words import other_network_in_words

    step = (read_finish(path) or {"steps": {}})["steps"].get("tune", {})
    unused = "tune" in request.leave_out and step.get("state") != "done"
    tuning = None if unused else read_tuning(path)
    recipe = {} if tuning is None else dict(tuning["recipe"])
    content = retrain(path, Request(minutes=minutes, also=request.also, width=request.width, recipe=recipe), watch)
    return None if tuning is None else other_network_in_words(tuning, content, path)


def _retrain_with_time(path: Path, request: FinishRequest, minutes: float, watch: Any) -> str | None:
    """Retrain; once more where naming the winner has taken the time: what it trained is kept."""
    from nas_gym.winner.planning import NamingTookLongError

    try:
        return _retrain(path, request, minutes, watch)
    except NamingTookLongError:
        return _retrain(path, request, minutes, watch)


def _inspect(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.inspection.folder import Settings
    from nas_gym.winner.inspection.inspecting import inspect_run

    inspect_run(path, Settings(seed=request.seed), watch)


def _compress(path: Path, request: FinishRequest, minutes: float, watch: Any) -> str | None:
    """Compress the winner; without torch-pruning there are still students and int8 forms, and the note says why."""
    from nas_gym.winner.compression.compressing import compress
    from nas_gym.winner.compression.pruning import require_pruning
    from nas_gym.winner.compression.request import DEFAULT_RATIOS, Request

    ratios: tuple[float, ...] = DEFAULT_RATIOS
    note = ""
    try:
        require_pruning()
    except ConfigurationError as error:
        ratios, note = (), f"nothing was pruned: {error}"
    compress(path, Request(ratios=ratios, minutes=minutes, seed=request.seed), watch)
    return note or None


def _export(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.winner.exporting import export_run

    export_run(path)


def _report(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
    from nas_gym.report import write_report
    from nas_gym.run import Run

    write_report(Run(path))


STEPS: dict[str, Callable[[Path, FinishRequest, float, Any], str | None]] = {
    "tune": _tune,
    "retrain": _retrain_with_time,
    "inspect": _inspect,
    "compress": _compress,
    "export": _export,
    "report": _report,
}
