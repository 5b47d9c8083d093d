"""`nas-gym tune`: from a finished search to a recipe that suits its winner."""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError, NasGymError, RunError
from nas_gym.explain.record import write_atomically
from nas_gym.optuna_package import journal, optuna_package, quiet
from nas_gym.run import Run
from nas_gym.run_directory import RunDirectory, hardware, versions
from nas_gym.winner.result import WINNER, WINNER_FILE, read_winner_file
from nas_gym.winner.searched import searched
from nas_gym.winner.tuning.confirming import Finalist, confirm, finalists
from nas_gym.winner.tuning.importance import Importance
from nas_gym.winner.tuning.request import LEAST_EPOCHS, LEAST_TRIALS, TuningRequest
from nas_gym.winner.tuning.result import BEST_FILE, SCHEMA, TUNING, read_tuning
from nas_gym.winner.tuning.space import Space, Values
from nas_gym.winner.tuning.trainer import Trainer
from nas_gym.winner.tuning.trials import Train, Trial
from nas_gym.winner.tuning.two_stages import Found, search
from nas_gym.winner.tuning.workers import workers

_NEXT_TO_NOTHING = 1e-9  # learning rate
PLAN_FILE, JOURNAL, CONFIRMATION = "plan.json", "journal.log", "confirmation.json"


class Watch(Protocol):
    """Whoever shows how a tuning goes on."""

    def planned(self, plan: dict[str, Any], kept: bool) -> None:
        """Take note of the plan; whether it was made by an earlier call."""

    def tried(self, stage: str, trials: Sequence[Trial], spent: int) -> None:
        """Take note of the trials of a stage that have ended, and of the epochs that it has spent."""

    def narrowed(self, found: Sequence[Importance], space: Space) -> None:
        """Take note of what matters, and of the space of the second stage."""

    def confirmed(self, done: int, total: int) -> None:
        """Take note of trainings with new seeds."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a tuning knows when its trials are over.

    Attributes:
        plan: What ``plan.json`` holds.
        space: Of the first stage.
        untuned: Values of the recipe without tuning.
        found: The trials.
        confirmed: Recipes after their new trainings, the one without tuning first; empty: there were none.
    """

    plan: dict[str, Any]
    space: Space
    untuned: Values
    found: Found
    confirmed: list[Finalist]

    @property
    def chosen(self) -> Values:
        """The tuned recipe: the best mean of the confirmed ones, else the best trial."""
        if not self.confirmed:
            return self.found.best[0].values
        return max(self.confirmed, key=lambda one: one.mean).values


def tune(
    path: Path, request: TuningRequest, *, n_workers: int = 1, fresh: bool = False, watch: Watch | None = None
) -> dict[str, Any]:
    """Tune the recipe of a run's winner and return what ``RUN/tuning/best.json`` holds.

    Only training and validation images are used. The same call goes on where an earlier one was stopped or killed;
    what is done already is only returned.

    Args:
        path: The run directory.
        request: What is asked for.
        n_workers: Trainings at once; more than one are in processes of their own, on the CPU only.
        fresh: Whether an earlier tuning of the run is removed.
        watch: Told how it goes on.

    Raises:
        NasGymError: The run can't be used, has no winner, or holds a tuning that was asked for otherwise.
    """
    if n_workers < 1:
        raise ConfigurationError(f"workers is a whole number, at least 1, got {n_workers}")
    optuna_package()
    owned = RunDirectory.open(path)
    with closing(owned):
        try:
            if fresh:
                shutil.rmtree(path / TUNING, ignore_errors=True)
            return _tune(Run(path), request, n_workers, watch)
        except OSError as error:
            raise RunError(
                f"the tuning in {str(path)!r} had to stop ({error.strerror or error}); "
                "see to the disk, then give the same command again"
            ) from error


def _tune(run: Run, request: TuningRequest, n_workers: int, watch: Watch | None) -> dict[str, Any]:
    from nas_gym.winner.tuning.writing import write

    trainer, facts = _trainer(run, request, n_workers)
    place = run.path / TUNING
    plan, kept = _plan(place, trainer, facts, request, n_workers)
    done = read_tuning(run.path)
    if done is not None:
        return done
    if watch is not None:
        watch.planned(plan, kept)
    untuned = trainer.untuned()
    with workers(trainer, n_workers) as trains:
        found = _searched(place, trainer, untuned, plan, trains, watch)
        confirmed = _confirmed(place, untuned, found, request, trains, watch)
    tuned = Tuned(plan, trainer.space, untuned, found, confirmed)
    content = _content(tuned)
    with quiet():
        write(place, tuned, content)
    write_atomically(place / BEST_FILE, json.dumps(content, indent=1))
    return content


def _trainer(run: Run, request: TuningRequest, n_workers: int) -> tuple[Trainer, dict[str, Any]]:
    """Return who trains the winner of a run, and what decides the trainings."""
    from nas_gym.evaluation.training import tensors_of

    search_, (candidate, key) = searched(run), _winner(run)
    if run.content["namespace"] != search_.namespace:
        raise RunError(
            f"the data or the training recipe of {str(run.path)!r} have changed since it was searched; restore them"
        )
    evaluator, data = search_.trainer, search_.trainer.dataset
    if n_workers > 1 and evaluator.device.type != "cpu":
        raise ConfigurationError(
            f"several workers train on a CPU only, this run trains on {evaluator.device}; use --workers 1"
        )
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    trainer = Trainer(
        candidate=candidate,
        searched=evaluator.recipe,
        input_shape=data.input_shape,
        train=tensors_of(data, "train", evaluator.device),
        validation=tensors_of(data, "validation", evaluator.device),
        epochs=request.epochs or max(LEAST_EPOCHS, evaluator.recipe.epochs),
        processors=max(1, processors // n_workers),
    )
    return trainer, {"key": key, "candidate": candidate.to_json(), "data": data.name, "fingerprint": data.fingerprint}


def _winner(run: Run) -> tuple[Candidate, str]:
    """Return what is tuned, as it was retrained if it was, and the key of the network that was searched."""
    if (run.path / WINNER / WINNER_FILE).exists():
        content = read_winner_file(run.path / WINNER)
        return Candidate.from_json(content["candidate"]), str(content["key"])
    best = run.best(1)
    if not best:
        raise RunError(f"{str(run.path)!r} holds no evaluated network; search first")
    return best[0].candidate, best[0].candidate.key


def _plan(
    place: Path, trainer: Trainer, facts: dict[str, Any], request: TuningRequest, n_workers: int
) -> tuple[dict[str, Any], bool]:
    """Return the plan, and whether it is an earlier call's."""
    file = place / PLAN_FILE
    wanted = {**request.to_json(), **_deciding(facts)}
    if file.exists():
        try:
            plan = dict(json.loads(file.read_text(encoding="utf-8")))
            known = {**plan["request"], **_deciding(plan)}
        except (OSError, ValueError, KeyError, TypeError, NasGymError) as error:
            raise RunError(f"{str(file)!r} is damaged ({error!r}); begin anew with --fresh") from None
        differs = [name for name in wanted if known.get(name) != wanted[name]]
        if differs:
            told = ", ".join(f"{name} {known.get(name)} there, {wanted[name]} asked" for name in differs)
            raise RunError(
                f"{str(place)!r} holds another tuning ({told}); ask for the same, or begin anew with --fresh"
            )
        return plan, True
    place.mkdir(parents=True, exist_ok=True)
    seconds = None if request.minutes is None else _seconds_per_epoch(trainer)
    plan = {
        "schema": SCHEMA,
        "request": request.to_json(),
        **facts,
        "epochs": trainer.epochs,
        "budget_epochs": _budget(request, trainer.epochs, seconds, n_workers),
        "seconds_per_epoch": seconds,
        "validation_images": len(trainer.validation),
    }
    write_atomically(file, json.dumps(plan, indent=1))
    return plan, False


def _deciding(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what decides the trainings; the network is told by its key, which scaling changes and ``key`` forgets."""
    network = Candidate.from_json(facts["candidate"]).key
    return {**{name: facts[name] for name in ("key", "data", "fingerprint")}, "network": network}


def _budget(request: TuningRequest, epochs: int, seconds: float | None, n_workers: int) -> int:
    """Return the epochs of both stages."""
    if request.minutes is None or seconds is None:
        return request.trials * epochs
    again = (request.top + 1) * request.repeats if request.top else 0
    fit = int(request.minutes * 60 * n_workers / seconds) - again * epochs
    if fit < LEAST_TRIALS * epochs:
        least = (LEAST_TRIALS + again) * epochs * seconds / 60 / n_workers
        raise ConfigurationError(
            f"{request.minutes:g} minutes are not enough for {LEAST_TRIALS} trials of {epochs} epochs and {again} "
            f"trainings to confirm them; give --minutes {least * 1.05:.1f} or fewer --epochs"
        )
    return fit


def _seconds_per_epoch(trainer: Trainer) -> float:
    """Return how long an epoch takes here: the second of a training without tuning that learns next to nothing.

    With its own learning rate it may diverge, which the trials are there to mend.

    Raises:
        RunError: Not even this can be trained.
    """
    times: list[float] = []

    def report(epoch: int, accuracy: float) -> bool:
        times.append(time.perf_counter())
        return epoch < 2

    times.append(time.perf_counter())
    reason = trainer({**trainer.untuned(), "learning_rate": _NEXT_TO_NOTHING}, 0, report)
    if len(times) < 2:
        raise RunError(f"the recipe without tuning can't be trained here ({reason}); tune with --trials, or retrain")
    return times[-1] - times[-2]


def _searched(
    place: Path, trainer: Trainer, untuned: Values, plan: dict[str, Any], trains: Sequence[Train], watch: Watch | None
) -> Found:
    with quiet():
        storage = journal(place / JOURNAL)
    return search(
        trainer.space,
        untuned,
        trains,
        budget=plan["budget_epochs"],
        epochs=plan["epochs"],
        broad_share=plan["request"]["broad"],
        seed=plan["request"]["seed"],
        storage=storage,
        watch=None if watch is None else watch.tried,
        narrowing=None if watch is None else watch.narrowed,
    )


def _confirmed(
    place: Path,
    untuned: Values,
    found: Found,
    request: TuningRequest,
    trains: Sequence[Train],
    watch: Watch | None,
) -> list[Finalist]:
    if request.top == 0:
        return []
    others = [values for values in finalists(found.best, request.top + 1) if values != untuned][: request.top]
    told = None if watch is None else watch.confirmed
    return confirm([untuned, *others], request.repeats, trains, place / CONFIRMATION, told)


def _content(tuned: Tuned) -> dict[str, Any]:
    found, best = tuned.found, tuned.found.best[0]
    both = [*found.broad, *found.narrow]
    return {
        **tuned.plan,
        "recipe": tuned.chosen,
        "untuned": tuned.untuned,
        "improved": tuned.chosen != tuned.untuned,
        "validation": _validation(tuned),
        "best_trial": {"stage": "broad" if best in found.broad else "narrow", "accuracy": best.score, **asdict(best)},
        "trials": {
            "broad": len(found.broad),
            "narrow": len(found.narrow),
            "pruned": sum(one.pruned and one.reason is None for one in both),
            "failed": sum(one.reason is not None for one in both),
            "epochs": sum(len(one.curve) for one in both),
        },
        "importances": [asdict(one) for one in found.importances],
        "space": {"broad": tuned.space.to_json(), "narrow": found.space.to_json()},
        "versions": {**versions(), "optuna": optuna_package().__version__},
        "hardware": hardware(),
    }


def _validation(tuned: Tuned) -> dict[str, Any] | None:
    """Return what the new trainings say; None: there were none."""
    if not tuned.confirmed:
        return None
    before, chosen = tuned.confirmed[0], max(tuned.confirmed, key=lambda one: one.mean)
    gain = chosen.better_than(before)
    return {
        "trainings_of_each": len(before.accuracies),
        "tuned": {"mean": chosen.mean, "standard_error": chosen.standard_error},
        "untuned": {"mean": before.mean, "standard_error": before.standard_error},
        "gain": asdict(gain),
        "recipes": [{"recipe": one.values, "accuracies": list(one.accuracies)} for one in tuned.confirmed],
    }
