"""`nas-gym compress`: from a winner to smaller and faster forms of it, measured and compared."""

import json
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from nas_gym.architecture import Candidate
from nas_gym.errors import RunError
from nas_gym.explain.record import write_atomically
from nas_gym.run_directory import RunDirectory, hardware, versions
from nas_gym.winner.compression.making import Maker
from nas_gym.winner.compression.material import Material, material
from nas_gym.winner.compression.measuring import chosen, measured, pareto
from nas_gym.winner.compression.plan import Plan, Step, make_plan
from nas_gym.winner.compression.pruning import require_pruning
from nas_gym.winner.compression.request import Request, digest
from nas_gym.winner.compression.showing import write_shown
from nas_gym.winner.export import check_formats

COMPRESSED = "compressed"  # folder of a run
RESULT_FILE = "compressed.json"
PLAN_FILE = "plan.json"
SCHEMA = 1
_UNFINISHED = "unfinished"
_ENDINGS = (".onnx", ".pt", ".png", ".md", ".csv")


class Watch(Protocol):
    """Whoever shows how a compression goes on."""

    def probing(self, done: int, total: int) -> None:
        """Take note of groups of layers that were probed."""

    def planned(self, plan: Plan, costs: dict[str, float]) -> None:
        """Take note of the plan, and of what each training costs, in one unit; 0 where it is done."""

    def training(self, name: str, done: int, total: int) -> None:
        """Take note of the steps of a training."""

    def made(self, notes: list[dict[str, Any]]) -> None:
        """Take note of finished forms of one network."""

    def measuring(self, done: int, total: int) -> None:
        """Take note of parts of the measurement."""


def compress(path: Path, request: Request, watch: Watch | None = None) -> dict[str, Any]:
    """Make the variants of a run's winner, measure them, and return what ``compressed.json`` holds.

    The same call goes on where an earlier one was stopped or killed; what is done already is only returned.

    Args:
        path: The run directory.
        request: What is asked for.
        watch: Told how it goes on.

    Raises:
        NasGymError: The run has no winner, an extra is not installed, or the request does not fit.
    """
    since = time.perf_counter()
    owned = RunDirectory.open(path)
    with closing(owned):
        check_formats(["onnx"])
        if request.ratios:
            require_pruning()
        try:
            return _compress(material(path), path / COMPRESSED, request, since, watch)
        except OSError as error:
            raise RunError(
                f"the compression of {str(path)!r} had to stop ({error.strerror or error}); "
                "see to the disk, then give the same command again"
            ) from error


def _compress(what: Material, folder: Path, request: Request, since: float, watch: Watch | None) -> dict[str, Any]:
    question = digest("compress/1", request.to_json(), what.digest, what.dataset.fingerprint)
    done = _result(folder)
    place = folder / _UNFINISHED / question
    if done is not None and done["question"] == question:
        shutil.rmtree(place, ignore_errors=True)
        return done
    place.mkdir(parents=True, exist_ok=True)
    if not (place / RESULT_FILE).exists():
        plan = _planned(what, place, request, since, watch)
        maker, notes = Maker(place, plan, what, request), []
        if watch is not None:
            watch.planned(plan, _costs(plan, maker, what))
        for step in plan.steps:
            trained = None if watch is None else lambda done, total, name=step.name: watch.training(name, done, total)
            notes += maker.made(step, trained)
            if watch is not None:
                watch.made(notes[-2:] if request.quantise else notes[-1:])
        _measure(notes, place, plan, what, request, question, since, watch)
    _publish(place, folder)
    found = _result(folder)
    assert found is not None, "it was just put there"
    return found


def _planned(what: Material, place: Path, request: Request, since: float, watch: Watch | None) -> Plan:
    file = place / PLAN_FILE
    if file.exists():
        try:
            return Plan.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{str(file)!r} is damaged ({error!r}); remove it, then give the command again") from None
    plan = make_plan(what, request, since, None if watch is None else watch.probing)
    write_atomically(file, json.dumps(plan.to_json(), indent=1, ensure_ascii=False))
    return plan


def _costs(plan: Plan, maker: Maker, what: Material) -> dict[str, float]:
    """Return what each training costs: epochs × MACs of three passes of the network and one of its teacher."""
    teacher = what.network.architecture.macs

    def macs(step: Step) -> float:
        if step.candidate is not None:
            return Candidate.from_json(step.candidate).trained.macs
        return teacher * (1 - step.ratio) ** 2

    return {s.name: 0.0 if maker.is_done(s) else s.epochs * (3 * macs(s) + teacher) for s in plan.steps}


def _measure(
    notes: list[dict[str, Any]],
    place: Path,
    plan: Plan,
    what: Material,
    request: Request,
    question: str,
    since: float,
    watch: Watch | None,
) -> None:
    """Measure all variants, and write tables, figure and ``compressed.json`` into the place."""
    good = [note for note in notes if "refused" not in note]
    rows = measured(good, place, what, request, None if watch is None else watch.measuring)
    content = {
        "schema": SCHEMA,
        "question": question,
        "request": request.to_json(),
        "winner": {"key": what.winner.candidate.key, "retrained": what.winner.retrained, "weights": what.digest},
        "dataset": what.dataset.name,
        "classes": len(what.dataset.class_names),
        "plan": plan.to_json(),
        "variants": rows,
        "refused": [{"name": note["name"], "why": note["refused"]} for note in notes if "refused" in note],
        "chosen": chosen(rows, request.points),
        "pareto": {
            "size_bytes": pareto(rows, lambda row: row["size_bytes"]),
            "latency_1": pareto(rows, lambda row: row["latency"]["1"]["median_ms"]),
        },
        "minutes": round((time.perf_counter() - since) / 60, 2),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "hardware": hardware(),
        "versions": {**versions(), **_runtimes()},
    }
    write_shown(content, place)
    write_atomically(place / RESULT_FILE, json.dumps(content, indent=1, ensure_ascii=False))


def _publish(place: Path, folder: Path) -> None:
    """Put a finished compression in place of the one before; after a kill in between it is done again."""
    (folder / RESULT_FILE).unlink(missing_ok=True)
    for old in folder.iterdir():
        if old.suffix in _ENDINGS:
            old.unlink()
    for new in sorted(place.iterdir()):
        if new.suffix in _ENDINGS:
            shutil.copy2(new, folder / new.name)
    write_atomically(folder / RESULT_FILE, (place / RESULT_FILE).read_text(encoding="utf-8"))
    shutil.rmtree(place)


def _result(folder: Path) -> dict[str, Any] | None:
    file = folder / RESULT_FILE
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error!r}); remove it, then give the command again") from None


def _runtimes() -> dict[str, str]:
    import onnxruntime

    return {"onnxruntime": str(onnxruntime.__version__)}
