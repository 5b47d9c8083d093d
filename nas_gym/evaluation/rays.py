"""The evaluator that trains on a Ray cluster: Ray schedules, this bridges its tasks to futures."""

import math
import queue
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import ray_cluster, ray_worker
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator, Fidelity
from nas_gym.evaluation.outcome import failed, sentence, tell
from nas_gym.evaluation.ray_worker import Question

Factory = Callable[[], Evaluator]


@dataclass(eq=False)
class _Job:
    """One question, and where its answer goes."""

    question: Question
    answer: Future[Evaluation] = field(default_factory=Future)
    lost: int = 0
    told: Any = None  # Ray's references of the evaluation and of the weights
    weights: Any = None

    def failed(self, reason: str) -> Evaluation:
        question = self.question
        return failed(question.candidate, question.fidelity, question.repeat, "crashed", reason)


class RayEvaluator:
    """Trains in tasks on an existing Ray cluster, on as many candidates at once as it holds.

    The factory, with the data it carries, goes into Ray's object store once, and every worker process makes one
    evaluator of it. Answers are those of the factory's evaluator, whichever node gives them. A task whose worker, node
    or object is lost is tried again, by us and not by Ray, so that it can be counted. Tasks that no node can take any
    more wait until the cluster has one again.

    nas-gym must be installed on all nodes. Threads may share one object. Use it as a context manager, or `close` it.

    Args:
        factory: Picklable; called without arguments in every worker process, and once here if it has no ``identity``.
        address: Of the cluster, as ``ray.init`` takes it; ``"auto"`` finds that of this machine or of RAY_ADDRESS. In
            a program that is connected to Ray already, that connection is used, and left open.
        cpus_per_training: What a task asks for: at most 1 or a whole number. It is also the number of threads that
            libraries take by default; a `Recipe` with `threads` sets them for its trainings itself.
        gpus_per_training: The same of GPUs; a fraction shares one.
        capacity: How many candidates at once; None: as many as the cluster's nodes hold now.
        retries: How often a lost task is tried again before its candidate counts as ``crashed``.
        keep: Called here with candidate, evaluation and trained module (on the CPU, in evaluation mode) of every
            successful training in full and without repeat, before its evaluation is returned. May be set later.

    Attributes:
        lost: Tasks whose worker, node or object was lost.

    Raises:
        ConfigurationError: A number is out of range, Ray is not installed, there is no cluster at the address, or
            none of its nodes holds one training.
    """

    def __init__(
        self,
        factory: Factory,
        *,
        address: str = "auto",
        cpus_per_training: float = 1,
        gpus_per_training: float = 0.0,
        capacity: int | None = None,
        retries: int = 2,
        keep: Any = None,
    ) -> None:
        _check_numbers(cpus_per_training, gpus_per_training, capacity, retries)
        _check_device(factory, gpus_per_training)
        self._ray = ray_cluster.imported()
        self._factory = factory
        self._identity: str | None = getattr(factory, "identity", None)
        self.keep = keep
        self.lost = 0
        self._retries = retries
        self._connected = not self._ray.is_initialized()
        if self._connected:
            ray_cluster.connect(self._ray, address)
        try:
            held = ray_cluster.held(self._ray, cpus_per_training, gpus_per_training)
            self.capacity = held if capacity is None else capacity
            self._number = uuid.uuid4().hex
            self._stored = [ray_cluster.stored(self._ray, factory)]
        except BaseException:
            self._disconnect()
            raise
        # A worker stays after a task with a GPU too (Ray would end it): its evaluator holds the data.
        remote = self._ray.remote(num_returns=2, max_retries=0, max_calls=0)(ray_worker.answer)
        self._task = remote.options(num_cpus=cpus_per_training, num_gpus=gpus_per_training, name="training")
        self._cuda = gpus_per_training > 0
        self._jobs: set[_Job] = set()
        self._ready: queue.SimpleQueue[tuple[_Job, Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def identity(self) -> str:
        """That of the evaluator in the workers."""
        if self._identity is None:
            self._identity = self._factory().identity
        return self._identity

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return futures that resolve as the tasks end, in whatever order.

        Raises:
            ConfigurationError: The evaluator is closed. (A caller's mistake that only the worker sees, and a node that
                can't make the evaluator, are in the future.)
        """
        weights = self.keep is not None
        jobs = [_Job(Question(candidate, fidelity or FULL, int(repeat), weights)) for candidate in candidates]
        with self._lock:
            if self._closed:
                raise ConfigurationError("this connection to Ray is closed; make a new RayEvaluator")
            if self._thread is None:
                # Ray's own thread must not wait for Ray, which fetching weights does.
                self._thread = threading.Thread(target=self._receive, daemon=True, name="answers from Ray")
                self._thread.start()
            for job in jobs:
                self._start(job)
        return [job.answer for job in jobs]

    def close(self) -> None:
        """Stop all tasks at once; what they are at is lost, and whoever waits for it is told that it is cancelled."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            jobs = list(self._jobs)
            self._jobs.clear()
            self._ready.put(None)
        for job in jobs:
            with suppress(Exception):  # the cluster may be gone
                self._ray.cancel(job.told, force=True)
            job.answer.cancel()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._stored.clear()
        self._disconnect()

    def __enter__(self) -> "RayEvaluator":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _disconnect(self) -> None:
        if self._connected:
            self._ray.shutdown()

    def _start(self, job: _Job) -> None:
        self._jobs.add(job)
        job.told, job.weights = self._task.remote(self._number, self._stored, self._cuda, job.question)
        job.told.future().add_done_callback(lambda done: self._ready.put((job, done)))

    def _receive(self) -> None:
        """Pass answers on, until closed."""
        while (ready := self._ready.get()) is not None:
            job, done = ready
            try:
                outcome = self._outcome(job, done)
            except Exception as error:  # of `keep`: whoever asked must know
                outcome = error
            if outcome is None:
                continue
            with self._lock:
                self._jobs.discard(job)
            job.told = job.weights = None  # Ray may forget them
            tell(job.answer, outcome)

    def _outcome(self, job: _Job, done: Future[Any]) -> Evaluation | Exception | None:
        """Return what to tell; None: nothing yet, the task was lost and is tried again."""
        exceptions = self._ray.exceptions
        try:
            told, weights = done.result(), None
            if self.keep is not None and isinstance(told, Evaluation) and told.ok:
                weights = self._ray.get(job.weights)
        except exceptions.TaskCancelledError:
            return None if self._closed else job.failed("somebody cancelled the training's Ray task")
        except exceptions.RayTaskError as error:  # before our code began, which raises nothing
            reason = sentence(error.cause or error)
            return ConfigurationError(
                f"a Ray worker can't run trainings ({reason}); all nodes need the same nas-gym, Python and packages"
            )
        except exceptions.RayError as error:
            return self._lost(job, error)
        if weights is not None:
            self.keep(job.question.candidate, told, ray_worker.loaded(job.question.candidate, weights))
        return job.failed(told) if isinstance(told, str) else told

    def _lost(self, job: _Job, error: Exception) -> Evaluation | None:
        """Start a lost task once more, or give it up."""
        with self._lock:
            if self._closed:
                return None
            self.lost += 1
            job.lost += 1
            if job.lost <= self._retries:
                self._start(job)
                return None
        return job.failed(f"its Ray task was lost {job.lost} times, at last by {type(error).__name__}")


def _check_numbers(cpus: float, gpus: float, capacity: int | None, retries: int) -> None:
    for name, share in (("cpus_per_training", cpus), ("gpus_per_training", gpus)):
        if not (0 <= share <= 1 or (share < math.inf and share == int(share) > 0)):
            raise ConfigurationError(f"{name} is a share of at most 1 or a whole number, as Ray has it, got {share!r}")
    if not cpus and not gpus:
        raise ConfigurationError("a training needs a share of a CPU or of a GPU, got 0 of both")
    for name, value, least in (("capacity", capacity, 1), ("retries", retries, 0)):
        if value is not None and not (type(value) is int and value >= least):
            raise ConfigurationError(f"{name} is a whole number, at least {least}, got {value!r}")


def _check_device(factory: Factory, gpus: float) -> None:
    """Refuse GPUs for an evaluator that would not use them, and the other way round; one may not tell its device."""
    device = getattr(getattr(factory, "evaluator", None), "device", None)
    kind = getattr(device, "type", None)
    if kind == "cuda" and not gpus:
        raise ConfigurationError(
            "the evaluator trains on CUDA, but its Ray tasks ask for no GPU; set gpus_per_training, such as 0.25 or 1"
        )
    if gpus and kind not in ("cuda", None):
        raise ConfigurationError(
            f"{gpus} GPUs per training were asked of Ray, but the evaluator trains on {device}; choose the device cuda"
        )
