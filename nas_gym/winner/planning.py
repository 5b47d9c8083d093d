"""The plan of a retraining: who the winner is, how large it is made, how long it is trained. Made once, then kept."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas_gym.architecture import Architecture, Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.process import has_bfloat16
from nas_gym.evaluation.stored import StoredEvaluator
from nas_gym.evaluation.training import tensors_of
from nas_gym.run import Run
from nas_gym.run_directory import RESULTS
from nas_gym.store import ResultStore
from nas_gym.winner.data import FinalData
from nas_gym.winner.long_recipe import LongRecipe, long_recipe
from nas_gym.winner.naming import Contender, contenders, lead
from nas_gym.winner.request import WIDEST, Request
from nas_gym.winner.scaling import scaled, widths
from nas_gym.winner.schedule import Schedule, choose
from nas_gym.winner.searched import Searched
from nas_gym.winner.training import Job, TooLargeError, seconds_per_epoch

LEAST_LEFT = 0.25  # of the time, that the naming must leave to the training


class NamingTookLongError(ConfigurationError):
    """Naming the winner has taken the time of its training; what it trained is kept."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a retraining does from here on.

    Attributes:
        candidate: What is trained: the winner, scaled as the schedule says.
        recipe: How.
        content: All that is told of it, JSON-ready; a plan is made of it again.
    """

    candidate: Candidate
    recipe: LongRecipe
    content: dict[str, Any]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Plan":
        """Return the plan of this content."""
        return cls(Candidate.from_json(content["candidate"]), LongRecipe.from_json(content["recipe"]), content)


def make_plan(
    run: Run,
    search: Searched,
    data: FinalData,
    request: Request,
    *,
    since: float | None = None,
    named: Callable[[int, int], None] | None = None,
) -> Plan:
    """Name the winner, choose how it is trained, and return both.

    Args:
        run: The run.
        search: What trained its networks.
        data: What the winner is trained on.
        request: What is asked for.
        since: When the time that is asked for began, on `time.perf_counter`; None: now.
        named: Called after every training of a contender with the number of those done and of all.

    Raises:
        NamingTookLongError: Naming has left too little time for the training. Its trainings are kept, so that the same
            call has the time.
        NasGymError: There is no winner, or it can't be trained as asked.
    """
    started = time.perf_counter()
    for ranked in run.best(1):  # a mistake in the recipe is told before anything is trained
        _recipe(ranked.candidate, search, data, request, epochs=1)
    order = _order(run, search, request, named)
    winner = order[0].ranked
    naming_seconds = time.perf_counter() - started
    spent = time.perf_counter() - (started if since is None else since)
    left = None if request.minutes is None else request.minutes * 60 - spent
    _check_left(request, left, naming_seconds)
    schedule = _schedule(winner.candidate, search, data, request, left)
    candidate = _scaled(winner.candidate, schedule.width, request.depth)
    recipe = _recipe(winner.candidate, search, data, request, schedule.epochs)
    ahead = lead(order)
    searched = winner.candidate.trained
    content = {
        "key": winner.candidate.key,
        "actions": list(winner.actions),
        "choices": dict(winner.choices),
        "searched_candidate": winner.candidate.to_json(),
        "candidate": candidate.to_json(),
        "naming": {
            "trainings_of_each": request.repeats,
            "contenders": [one.to_json() for one in order],
            "lead": None if ahead is None else {"accuracy": ahead[0], "standard_error": ahead[1]},
            "seconds": round(naming_seconds, 1),
        },
        "scaling": {
            "width": schedule.width,
            "depth": request.depth,
            "searched": {"parameters": searched.parameters, "macs": searched.macs},
            "trained": {"parameters": candidate.trained.parameters, "macs": candidate.trained.macs},
        },
        "schedule": schedule.to_json(),
        "recipe": recipe.to_json(),
        "data": data.facts,
    }
    return Plan(candidate, recipe, content)


def _check_left(request: Request, left: float | None, naming_seconds: float) -> None:
    """Refuse to train for the little that the naming has left, if that is what has taken the time."""
    if left is None or request.epochs is not None or request.minutes is None:
        return
    least = LEAST_LEFT * request.minutes * 60
    if left < least <= left + naming_seconds:
        raise NamingTookLongError(
            f"naming the winner took {naming_seconds / 60:.1f} of {request.minutes:g} minutes, too little is left to "
            "train it; its trainings are kept, so that the same command has its time now; or give more --minutes, or "
            "--top 1 --repeats 1"
        )


def _order(run: Run, search: Searched, request: Request, named: Callable[[int, int], None] | None) -> list[Contender]:
    """Return the contenders, the winner first; trainings that the run's store holds are not repeated."""
    store = ResultStore(run.settings.get("store") or run.path / RESULTS)
    try:
        evaluator = StoredEvaluator(search.trainer, store, namespace=search.space)
        evaluator.namespace = search.namespace  # these networks were trained within its memory limit, if it had one
        try:
            return contenders(evaluator, run.best(request.top), request.repeats, run.score, named)
        finally:
            evaluator.flush()
    finally:
        store.close()


def _scaled(winner: Candidate, width: float, depth: int) -> Candidate:
    if width == 1 and depth == 1:
        return winner
    larger: Architecture = scaled(winner.trained, width=width, depth=depth)
    return Candidate(larger, winner.hyperparameters)


def _recipe(winner: Candidate, search: Searched, data: FinalData, request: Request, epochs: int) -> LongRecipe:
    return long_recipe(
        search.trainer.recipe,
        data.dataset.input_shape,
        n_images=len(data.dataset.train),
        epochs=epochs,
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        bfloat16=has_bfloat16(search.trainer.device),
        hyperparameters=winner.hyperparameters,
        changes=request.recipe,
    )


def _schedule(
    winner: Candidate, search: Searched, data: FinalData, request: Request, seconds: float | None
) -> Schedule:
    """Return epochs and width; where a time decides, by measuring how fast the winner trains here."""
    tensors: list[Any] = []

    def measure(width: float) -> float:
        if not tensors:
            tensors.extend(tensors_of(data.dataset, name, search.trainer.device) for name in ("train", "validation"))
        recipe = _recipe(winner, search, data, request, epochs=1)
        try:
            return seconds_per_epoch(Job(_scaled(winner, width, request.depth), recipe, tensors[0], tensors[1], ""))
        except TooLargeError:
            if width == tried[0]:
                raise
            return math.inf  # no time is enough: a narrower one is chosen

    tried = widths(WIDEST) if request.width == "auto" else [float(request.width)]
    return choose(
        seconds=None if seconds is None else max(1.0, seconds) / request.seeds,
        epochs=request.epochs,
        widths=tried,
        n_images=len(data.dataset.train),
        macs=lambda width: _scaled(winner, width, request.depth).trained.macs,
        measure=measure,
    )
