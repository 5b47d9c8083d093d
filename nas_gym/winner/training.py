"""The long training of a winner, epoch by epoch: it can be killed at any instant and goes on from its last epoch."""

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.errors import RunError
from nas_gym.evaluation.averaging import Averages
from nas_gym.evaluation.checkpoints import Checkpoints
from nas_gym.evaluation.failures import failure_of
from nas_gym.evaluation.loop import DivergedError, Tensors, Training
from nas_gym.evaluation.optimizer import one_cycle
from nas_gym.evaluation.process import TURN, prepared
from nas_gym.explain.record import write_atomically
from nas_gym.randomness import derived_seed
from nas_gym.winner.long_recipe import LongRecipe
from nas_gym.winner.schedule import timed

CURVE = "curve.jsonl"
CHECKPOINTS = "checkpoints"
DIVERGED = "diverged"  # file with the number of attempts that diverged
SLOWER = 3.0  # by which the learning rate is divided after each of them
MOST_DIVERGED = 4  # then it is given up
_FAR_ABOVE_GUESSING = 3.0  # times ln(classes): a loss that no training comes back from

Row = dict[str, float]


class TooLargeError(RunError):
    """A training does not fit into the memory."""


@dataclass(frozen=True, eq=False)
class Job:
    """One long training.

    Attributes:
        candidate: Its `trained` architecture is what is trained.
        recipe: How.
        train: All images.
        watched: A few of them, on which the progress is measured.
        fingerprint: Of the data.
        seed: Seeds weights, order, augmentation and dropout, together with the candidate's key and nothing else.
    """

    candidate: Candidate
    recipe: LongRecipe
    train: Tensors
    watched: Tensors
    fingerprint: str
    seed: int = 0

    @property
    def question(self) -> str:
        """Everything that decides the weights, as text: the name of its checkpoints."""
        device = self.train.targets.device.type
        facts = {"candidate": self.candidate.to_json(), "recipe": self.recipe.to_json(), "seed": self.seed}
        return json.dumps(["retrain/1", facts, self.fingerprint, device, torch.__version__], sort_keys=True)


@dataclass(frozen=True)
class Step:
    """Where a training stands, after every step.

    Attributes:
        done: Steps so far, those before a kill included.
        total: Of the whole training.
        rows: The finished epochs.
    """

    done: int
    total: int
    rows: list[Row]


def train(
    job: Job,
    folder: Path,
    *,
    stepped: Callable[[Step], None] | None = None,
    finished: Callable[[list[Row]], None] | None = None,
) -> tuple[nn.Module, list[Row]]:
    """Return the trained module, on the device and in evaluation mode, and a row for every epoch.

    After every epoch a checkpoint is written, whole or not at all; the same call goes on from the last one, on one kind
    of CPU to the same weights bit for bit. The rows are in ``curve.jsonl`` too: ``epoch``, ``learning_rate`` of its
    last step, ``training_loss`` (of augmented images and smoothed labels, in nats), ``accuracy`` and ``loss`` of the
    averaged weights on the watched training images, ``seconds``.

    A training that diverges (its loss is not finite, or after the second epoch above three times that of guessing)
    begins anew with a third of the learning rate, up to four times: what a search trained for a few steps, or with
    narrower layers, need not bear its learning rate for long. `restarts` tells how often.

    Args:
        job: What to train.
        folder: For checkpoints and curve; made if it is not there.
        stepped: Called after every step.
        finished: Called with all rows at the start and after every epoch, once they are safe.

    Raises:
        RunError: The training diverged, however small its learning rate was made, or does not fit into the memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        tried = _slower(job, restarts(folder))
        try:
            return _attempt(tried, folder, stepped, finished)
        except Exception as error:
            diverged = restarts(folder) + 1
            if not isinstance(error, DivergedError) or diverged > MOST_DIVERGED:
                raise _told(error, tried) from None
            write_atomically(folder / DIVERGED, str(diverged))


def restarts(folder: Path) -> int:
    """Return how often the training in a folder diverged and began anew with a smaller learning rate."""
    file = folder / DIVERGED
    return int(file.read_text(encoding="utf-8")) if file.exists() else 0


def _slower(job: Job, times: int) -> Job:
    recipe = job.recipe.recipe
    slower = replace(recipe, learning_rate=recipe.learning_rate / SLOWER**times)
    return replace(job, recipe=replace(job.recipe, recipe=slower))


def _attempt(
    job: Job,
    folder: Path,
    stepped: Callable[[Step], None] | None,
    finished: Callable[[list[Row]], None] | None,
) -> tuple[nn.Module, list[Row]]:
    recipe = job.recipe.recipe
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    with TURN, prepared(_seed(job), recipe.threads or 1, tf32=recipe.tf32):
        under_way = _UnderWay(job, stepped)
        saved = checkpoints.latest(job.question, recipe.epochs)
        if saved is not None and not under_way.restored(saved):
            under_way = _UnderWay(job, stepped)
        _note(folder, under_way.rows, finished)
        while len(under_way.rows) < recipe.epochs:
            under_way.epoch()
            checkpoints.write(job.question, len(under_way.rows), under_way.state())
            _note(folder, under_way.rows, finished)
        return under_way.end(), under_way.rows


def seconds_per_epoch(job: Job) -> float:
    """Return how long an epoch takes here and now, by a few steps of a training that is thrown away.

    That it diverges is seen at the end of an epoch, whose steps have been timed then.

    Raises:
        TooLargeError: The training does not fit into the memory.
    """
    try:
        return _seconds_per_epoch(job)
    except Exception as error:
        raise _told(error, job) from None


def _seconds_per_epoch(job: Job) -> float:
    recipe = job.recipe.recipe
    with TURN, prepared(0, recipe.threads or 1, tf32=recipe.tf32):

        def run(stepped: Callable[[int, int], None]) -> None:
            short = replace(job, recipe=replace(job.recipe, recipe=replace(recipe, epochs=1)))
            under_way = _UnderWay(short, lambda step: stepped(step.done, step.total))
            with suppress(DivergedError):
                under_way.training.run(1)

        return timed(run) * max(1, len(job.train) // recipe.batch_size)


class _UnderWay:
    """A training that has begun."""

    def __init__(self, job: Job, stepped: Callable[[Step], None] | None) -> None:
        recipe, seed = job.recipe.recipe, _seed(job)
        self.rows: list[Row] = []
        self.module = build(job.candidate.trained, seed=seed).to(job.train.targets.device)
        if recipe.channels_last:
            self.module = self.module.to(memory_format=torch.channels_last)
        self.averages = Averages(self.module, job.recipe.average_decay)
        self.training = Training(
            self.module,
            job.train,
            job.watched,
            recipe,
            torch.Generator().manual_seed(seed),
            averages=self.averages,
            stepped=None if stepped is None else lambda done, total: stepped(Step(done, total, self.rows)),
        )
        self._recipe = recipe
        self._classes = max(2, job.candidate.trained.shapes[-1][0])
        self._steps = max(1, len(job.train) // recipe.batch_size)

    def epoch(self) -> None:
        """Train for one more epoch."""
        started, number = time.perf_counter(), len(self.rows) + 1
        recipe = self._recipe
        self.training.run(number)
        far = _FAR_ABOVE_GUESSING * math.log(self._classes)
        if number > 1 and self.training.training_loss > far:
            raise DivergedError(f"the training loss was {self.training.training_loss:.3g} nats in epoch {number}")
        last = one_cycle(number * self._steps - 1, recipe.epochs * self._steps, recipe.learning_rate, recipe.warmup)
        self.rows.append(
            {
                "epoch": number,
                "learning_rate": last,
                "training_loss": self.training.training_loss,
                "accuracy": self.training.curve[-1],
                "loss": self.training.loss,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )

    def state(self) -> dict[str, Any]:
        """Return all that the rest depends on."""
        return {"training": self.training.state(), "rows": self.rows}

    def restored(self, state: dict[str, Any]) -> bool:
        """Go on from a state; return whether it is one of this training. If not, this object must not be used."""
        try:
            self.training.restore(state["training"])
            self.rows.extend(dict(row) for row in state["rows"])
        except Exception:  # a state that does not fit counts as none
            return False
        return True

    def end(self) -> nn.Module:
        """Return the module with its averaged weights; the training can't go on."""
        self.averages.take()
        self.training.release()
        return self.module.eval()


def _told(error: Exception, job: Job) -> Exception:
    """Return the error that a training ends with: a sentence where the user can do something about it."""
    recipe = job.recipe.recipe
    status, reason = failure_of(error, job.train.targets.device.type)
    if status == "diverged":
        rate = f"learning_rate={recipe.learning_rate / SLOWER:.3g}"
        return RunError(f"{reason}; retrain with a smaller learning rate, such as --recipe-arg {rate}")
    if status == "out_of_memory":
        size = f"batch_size={max(2, recipe.batch_size // 2)}"
        return TooLargeError(f"{reason}; retrain with a smaller --width or with --recipe-arg {size}")
    return error


def _seed(job: Job) -> int:
    return derived_seed("retrain/1", job.candidate.key, job.seed)


def _note(folder: Path, rows: list[Row], finished: Callable[[list[Row]], None] | None) -> None:
    write_atomically(folder / CURVE, "".join(json.dumps(row) + "\n" for row in rows))
    if finished is not None:
        finished(rows)
