"""`nas-gym retrain`: from a finished search to a winner that was trained for long and tested once."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import torch

from nas_gym.errors import RunError
from nas_gym.evaluation.loop import Tensors
from nas_gym.evaluation.process import device_name
from nas_gym.evaluation.training import tensors_of
from nas_gym.explain.record import write_atomically
from nas_gym.run import Run
from nas_gym.run_directory import RunDirectory, hardware, versions
from nas_gym.weights import read_module, write_module
from nas_gym.winner import figures
from nas_gym.winner.board import Board
from nas_gym.winner.data import FinalData, final_data
from nas_gym.winner.evaluation import evaluation_report, predict, spread
from nas_gym.winner.folder import WinnerFolder
from nas_gym.winner.planning import Plan, make_plan
from nas_gym.winner.request import Request
from nas_gym.winner.result import SCHEMA, WINNER_FILE
from nas_gym.winner.searched import Searched, searched
from nas_gym.winner.training import CHECKPOINTS, CURVE, Job, Row, Step, train

WEIGHTS_FILE = "weights.pt"
REPORT_FILE = "report.json"
NUMBERS = (
    *("test_accuracy", "macro_f1", "plain_accuracy", "plain_macro_f1"),
    *("calibration_error", "brier", "negative_log_likelihood"),
)
_OF_TRAINING = ("training_loss", "training_minutes")


class Watch(Protocol):
    """Whoever shows how a retraining goes on; see `nas_gym.progress`."""

    def named(self, done: int, total: int) -> None:
        """Take note of trainings of contenders: done, and all."""

    def planned(self, plan: dict[str, Any], kept: bool) -> None:
        """Take note of the plan; whether it was made by an earlier call."""

    def stepped(self, seed: int, seeds: int, step: Step) -> None:
        """Take note of a step of a long training."""

    def epoch(self, seed: int, seeds: int, rows: Sequence[Row], total: int) -> None:
        """Take note of the finished epochs of a long training, of so many."""


def retrain(path: Path, request: Request, watch: Watch | None = None) -> dict[str, Any]:
    """Name the winner of a run, train it for long, test it, and return what ``winner.json`` holds.

    The same call goes on where an earlier one was stopped or killed, to the same weights; what is done already is only
    returned.

    Args:
        path: The run directory.
        request: What is asked for.
        watch: Told how it goes on.

    Raises:
        NasGymError: The run can't be used, has no winner, or the request does not fit it.
    """
    owned = RunDirectory.open(path)
    with closing(owned):
        try:
            return _retrain(Run(path), request, watch)
        except OSError as error:
            raise RunError(
                f"the retraining in {str(path)!r} had to stop ({error.strerror or error}); "
                "see to the disk, then give the same command again"
            ) from error


def _retrain(run: Run, request: Request, watch: Watch | None) -> dict[str, Any]:
    since, folder = time.perf_counter(), WinnerFolder(run.path)
    folder.finish()
    done = folder.done(request)
    if done is not None:
        return done
    search = searched(run)
    if run.content["namespace"] != search.namespace:
        raise RunError(
            f"the data or the training recipe of {str(run.path)!r} have changed since it was searched "
            f"({run.content['namespace']!r}, now {search.namespace!r}); restore them"
        )
    root = run.settings.get("env_args", {}).get("data_root")
    data = final_data(search.trainer.dataset, request.also, data_root=root)
    plan = _planned(run, search, data, request, folder, watch, since)
    rows = _trained(plan, search, data, request, folder.place(request), watch)
    return _tested(run, plan, search, data, request, folder, rows)


def _planned(
    run: Run,
    search: Searched,
    data: FinalData,
    request: Request,
    folder: WinnerFolder,
    watch: Watch | None,
    since: float,
) -> Plan:
    """Return the plan that was made, else make it and keep it."""
    kept = folder.plan(request)
    if kept is not None and kept["data"]["fingerprint"] != data.facts["fingerprint"]:
        raise RunError(
            f"the images are not those that this retraining of {str(run.path)!r} began with; restore them, or remove "
            f"{str(folder.place(request))!r} to begin anew"
        )
    if kept is not None:
        plan = Plan.from_json(kept)
    else:
        plan = make_plan(run, search, data, request, since=since, named=watch.named if watch else None)
        folder.keep_plan(request, plan.content)
    if watch is not None:
        watch.planned(plan.content, kept is not None)
    return plan


def _trained(
    plan: Plan, search: Searched, data: FinalData, request: Request, place: Path, watch: Watch | None
) -> list[list[Row]]:
    """Train the winner with every seed, as far as that is not done; return the rows of all epochs, by seed."""
    device = search.trainer.device
    tensors: list[Tensors] = []
    found = []
    for seed in range(request.seeds):
        mine = place / f"seed-{seed}"
        if not (mine / WEIGHTS_FILE).exists():
            if not tensors:
                tensors = [tensors_of(data.dataset, name, device) for name in ("train", "validation")]
            _train(plan, tensors, data, seed, request, place, watch)
        lines = (mine / CURVE).read_text(encoding="utf-8").splitlines()
        found.append([json.loads(line) for line in lines])
    return found


def _train(
    plan: Plan,
    tensors: Sequence[Tensors],
    data: FinalData,
    seed: int,
    request: Request,
    place: Path,
    watch: Watch | None,
) -> None:
    whole, watched = tensors
    job = Job(plan.candidate, plan.recipe, whole, watched, data.facts["fingerprint"], seed)
    mine = place / f"seed-{seed}"
    board = Board(place / "tensorboard" / mine.name)

    def stepped(step: Step) -> None:
        if watch is not None:
            watch.stepped(seed, request.seeds, step)

    def finished(rows: list[Row]) -> None:
        board.rows(rows)
        if watch is not None:
            watch.epoch(seed, request.seeds, rows, plan.recipe.recipe.epochs)

    try:
        module, rows = train(job, mine, stepped=stepped, finished=finished)
    finally:
        board.close()
    write_module(mine / WEIGHTS_FILE, plan.candidate, module, training={"seed": seed, "rows": rows})
    shutil.rmtree(mine / CHECKPOINTS, ignore_errors=True)


def _tested(
    run: Run,
    plan: Plan,
    search: Searched,
    data: FinalData,
    request: Request,
    folder: WinnerFolder,
    curves: list[list[Row]],
) -> dict[str, Any]:
    """Measure all seeds on the test images, once; write figures, reports and ``winner.json``, and put them in place."""
    started, place, names = time.perf_counter(), folder.place(request), data.dataset.class_names
    touched = folder.touch(request, _digest(data), len(data.dataset.test))
    test = tensors_of(data.dataset, "test", search.trainer.device)
    reports = []
    for seed, rows in enumerate(curves):
        mine = place / f"seed-{seed}"
        module = read_module(mine / WEIGHTS_FILE).to(test.targets.device)
        if plan.recipe.recipe.channels_last:
            module = module.to(memory_format=torch.channels_last)
        report = evaluation_report(predict(module, test, plan.recipe), names)
        reports.append({"seed": seed, **report, **_of_training(rows)})
        write_atomically(mine / REPORT_FILE, json.dumps(reports[-1], indent=1, ensure_ascii=False))
    _draw(place, reports, curves, names)
    minutes = (plan.content["naming"]["seconds"] + sum(row["seconds"] for rows in curves for row in rows)) / 60 + (
        time.perf_counter() - started
    ) / 60
    content = _content(run, plan, search, data, request, reports, touched, round(minutes, 2))
    write_atomically(place / WINNER_FILE, json.dumps(content, indent=1, ensure_ascii=False))
    folder.publish(request)
    return content


def _of_training(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what a report says of the training."""
    last = rows[-1]
    return {
        "epochs": len(rows),
        "training_loss": last["training_loss"],
        "training_minutes": round(sum(row["seconds"] for row in rows) / 60, 2),
    }


def _draw(
    place: Path, reports: Sequence[dict[str, Any]], curves: Sequence[Sequence[Row]], names: Sequence[str]
) -> None:
    """Draw the first seed's pictures into files, and every seed's into its TensorBoard events."""
    figures.curves_figure(curves).savefig(place / "curves.png", dpi=110)
    for report, rows in zip(reports, curves, strict=True):
        drawn = {
            "confusion": figures.confusion_figure(report["confusion_matrix"], names),
            "calibration": figures.calibration_figure(report["calibration"]),
            "classes": figures.classes_figure(report["classification_report"], names),
        }
        if report["seed"] == 0:
            for name, figure in drawn.items():
                figure.savefig(place / f"{name}.png", dpi=110)
        board = Board(place / "tensorboard" / f"seed-{report['seed']}")
        board.rows(rows)
        board.end(report, drawn)


def _content(
    run: Run,
    plan: Plan,
    search: Searched,
    data: FinalData,
    request: Request,
    reports: Sequence[dict[str, Any]],
    touched: int,
    minutes: float,
) -> dict[str, Any]:
    first, named = reports[0], plan.content["naming"]["contenders"][0]
    by_search = ((run.result or {}).get("best") or {}).get("test_accuracy") is not None
    return {
        "schema": SCHEMA,
        "request": request.to_json(),
        "search": {
            **{name: run.settings.get(name) for name in ("env", "env_args", "agent", "seed")},
            "state": run.content["state"],
        },
        **plan.content,
        "class_names": list(data.dataset.class_names),
        "input_shape": list(data.dataset.input_shape),
        "mean": list(data.dataset.mean),
        "std": list(data.dataset.std),
        "seeds": [report["seed"] for report in reports],
        "weights": [f"seed-{report['seed']}/{WEIGHTS_FILE}" for report in reports],
        "metrics": {
            "validation_accuracy": named["validation_accuracy"],
            "validation_standard_error": named["validation_standard_error"],
            "test_images": first["test_images"],
            "test_standard_error": first["test_standard_error"],
            **{name: first[name] for name in NUMBERS},
        },
        "classification_report": first["classification_report"],
        "confusion_matrix": first["confusion_matrix"],
        "per_seed": [{name: r[name] for name in ("seed", *NUMBERS, *_OF_TRAINING)} for r in reports],
        "over_seeds": spread(reports, NUMBERS),
        "test_touches": {"by_the_search": int(by_search), "by_retrainings": touched},
        "minutes": minutes,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "hardware": {
            **hardware(),
            "device": device_name(search.trainer.device),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        },
        "versions": versions(),
    }


def _digest(data: FinalData) -> str:
    """Return a digest of the test images."""
    inputs = data.dataset.test.inputs.contiguous().numpy()
    return hashlib.blake2b(inputs.reshape(-1).data, digest_size=8).hexdigest()
