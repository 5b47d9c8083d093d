"""The evaluator that trains in worker processes of this machine, several candidates at once."""

import itertools
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from pebble import ProcessExpired, ProcessPool

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError, NasGymError
from nas_gym.evaluation import worker
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, Status
from nas_gym.evaluation.outcome import failed, sentence, tell
from nas_gym.evaluation.stored import limited
from nas_gym.evaluation.worker import Answer, Factory

_TICK_SECONDS = 0.1
_RETRIES = 2
_PASSED_OVER = 64  # larger jobs for each worker that may overtake one


@dataclass(eq=False)
class _Job:
    """One question, and where its answer goes."""

    candidate: Candidate
    fidelity: Fidelity
    repeat: int
    answer: Future[Evaluation] = field(default_factory=Future)
    number: int = 0
    lost: int = 0

    def failed(self, status: Status, reason: str, seconds: float = 0.0) -> Evaluation:
        return failed(self.candidate, self.fidelity, self.repeat, status, reason, seconds)


@dataclass(eq=False)
class _Slot:
    """A place for one worker: a pool of one process, so that what happens to it touches no other."""

    device: str | None
    pool: ProcessPool | None = None
    job: _Job | None = None
    task: "Future[Answer] | None" = None
    started: float | None = None  # time.monotonic() when the worker took the job: clocks on the wall jump
    broken: bool = False


class ProcessEvaluator:
    """Trains in long-lived worker processes, each with an evaluator of its own.

    Workers are spawned, so that CUDA works in them, and end with the process that started them. Answers are those of
    the factory's evaluator, whichever worker gives them. Tensors that a factory carries (`HandedOver`) lie in memory
    that all share. A worker that dies is replaced, and its candidate is tried again (lost infrastructure); a training
    over its time limit is killed, one over its memory limit fails, and both are final.

    Threads may share one object. Use it as a context manager, or `close` it.

    Args:
        factory: Picklable; called without arguments in every worker, and once here if it has no ``identity``.
        workers: Processes; None: as many as processors allow, or as fit on the GPUs.
        threads_per_worker: Threads of a worker; a `Recipe` with `threads` sets them for its trainings itself.
        trainings_per_gpu: Workers that share one GPU; only for evaluators whose device is CUDA.
        time_limit_seconds: A training that takes longer is killed: ``timeout``. Wall-clock, and exempt from
            reproducibility.
        memory_limit_mb: What a training may take beyond what a worker has at its start: ``out_of_memory``. Limits the
            address space on the CPU (Linux only), torch's share of the memory on CUDA.
        leak_limit_mb: A worker whose own memory has grown by more than this is replaced before its next training.
        retries: How often a candidate whose worker died is tried again before it counts as ``crashed``.
        keep: Given to every worker's evaluator (`TrainingEvaluator.keep`); picklable. May be set until the first
            `submit`.

    Attributes:
        lost: Workers that died, of their own or by somebody's hand, with or without a training.
        replaced: Workers that were replaced because they had grown.

    Raises:
        ConfigurationError: A number is out of range, or more is asked than the machine has.
    """

    def __init__(
        self,
        factory: Factory,
        workers: int | None = None,
        threads_per_worker: int = 1,
        trainings_per_gpu: int = 1,
        *,
        time_limit_seconds: float | None = None,
        memory_limit_mb: float | None = None,
        leak_limit_mb: float | None = None,
        retries: int = _RETRIES,
        keep: Any = None,
    ) -> None:
        _check_whole("workers", workers, 1, optional=True)
        _check_whole("threads_per_worker", threads_per_worker, 1)
        _check_whole("trainings_per_gpu", trainings_per_gpu, 1)
        _check_whole("retries", retries, 0)
        limits = {"time_limit_seconds": time_limit_seconds, "memory_limit_mb": memory_limit_mb}
        for name, limit in {**limits, "leak_limit_mb": leak_limit_mb}.items():
            if limit is not None and not 0 < limit < float("inf"):
                raise ConfigurationError(f"{name} must be a positive number, got {limit!r}")
        self._factory = factory
        self._time_limit, self._memory_limit, self._leak_limit = time_limit_seconds, memory_limit_mb, leak_limit_mb
        self._threads, self._retries = threads_per_worker, retries
        self._identity: str | None = getattr(factory, "identity", None)
        self.keep = keep
        self.lost = 0
        self.replaced = 0
        devices = _devices(factory, workers, threads_per_worker, trainings_per_gpu)
        self._slots = [_Slot(device) for device in devices]
        self._waiting: list[_Job] = []
        self._numbers = itertools.count()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._keeper: threading.Thread | None = None
        self._closed = False
        self._trouble: ConfigurationError | None = None  # no worker can be started

    @property
    def identity(self) -> str:
        """That of the evaluator in the workers, and the memory limit."""
        if self._identity is None:
            self._identity = self._factory().identity
        return limited(self._identity, self._memory_limit)

    @property
    def capacity(self) -> int:
        """The number of workers."""
        return len(self._slots)

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return futures that resolve as the workers answer, in whatever order.

        Raises:
            ConfigurationError: The evaluator is closed, its factory can't be pickled, no process can be started, or
                this one is a worker that imports a script without a guard. (A caller's mistake that only the worker
                sees, and workers that can't make the evaluator, are in the future.)
        """
        worker.check_guarded()
        jobs = [_Job(candidate, fidelity or FULL, int(repeat)) for candidate in candidates]
        with self._lock:
            self._check_open()
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep_going, daemon=True, name="worker keeper")
                self._keeper.start()
            for job in jobs:
                job.number = next(self._numbers)
                self._waiting.append(job)
            self._hand_out()
            self._changed.notify_all()  # the keeper sleeps without end while there is nothing to watch
            self._check_open()
        return [job.answer for job in jobs]

    def start(self) -> None:
        """Start the workers now rather than with the first candidates.

        Raises:
            ConfigurationError: As for `submit`.
        """
        worker.check_guarded()
        with self._lock:
            self._check_open()
            try:
                for slot in self._slots:
                    self._pool(slot).active  # noqa: B018  starts it
            except Exception as error:
                self._give_up(error)
            self._check_open()

    def close(self) -> None:
        """Stop all workers at once; what they are at is lost, and candidates that wait are cancelled."""
        self._end()

    def _end(self, trouble: ConfigurationError | None = None) -> None:
        """Close; whoever waits is told of the trouble, if that is why."""
        with self._lock:
            self._closed = True
            jobs = [*self._waiting, *(slot.job for slot in self._slots if slot.job is not None)]
            pools = [slot.pool for slot in self._slots if slot.pool is not None]
            self._waiting.clear()
            for slot in self._slots:
                slot.pool = slot.job = slot.task = None
            self._changed.notify_all()
        for job in jobs:
            if trouble is None:
                job.answer.cancel()
            else:
                tell(job.answer, trouble)
        threads = [threading.Thread(target=_stop, args=(pool,)) for pool in pools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def __enter__(self) -> "ProcessEvaluator":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # Handing out, under the lock

    def _check_open(self) -> None:
        if self._trouble is not None:
            raise ConfigurationError(str(self._trouble))
        if self._closed:
            raise ConfigurationError("these worker processes are closed; make a new ProcessEvaluator")

    def _hand_out(self) -> None:
        for slot in self._slots:
            if not self._waiting or self._trouble is not None:
                return
            if slot.job is None and not slot.broken:
                self._give(slot, self._next())

    def _next(self) -> _Job:
        """Take the next job: a lost one, one that was passed over for long, else the largest.

        Whoever waits for a whole batch waits for its last training; the longest ones must not be begun last (Graham
        1969, "Bounds on Multiprocessing Timing Anomalies": longest processing time first).
        """
        first, last = self._waiting[0], self._waiting[-1]
        if not first.lost and last.number - first.number < _PASSED_OVER * len(self._slots):
            first = max(self._waiting, key=lambda job: job.candidate.architecture.macs)
        self._waiting.remove(first)
        return first

    def _give(self, slot: _Slot, job: _Job) -> None:
        new = slot.pool is None
        try:
            task = self._pool(slot).schedule(worker.answer, (job.candidate, job.fidelity, job.repeat))
        except Exception as error:
            self._waiting.insert(0, job)
            job.lost += new
            # An old pool's worker died while it had nothing to do; a new one's may have lacked memory for a moment.
            if isinstance(error, BrokenProcessPool if new else RuntimeError) and job.lost <= self._retries:
                self._break(slot)
            else:
                self._give_up(error)
            return
        slot.job, slot.task, slot.started = job, task, None
        task.add_done_callback(lambda done: self._done(slot, done))

    def _give_up(self, error: Exception) -> None:
        """Have the keeper close: no worker can be started, and another attempt would end as this one."""
        trouble = (
            f"no worker process can be started ({sentence(error.__cause__ or error)}); see to that, then try again"
        )
        if isinstance(error, pickle.PicklingError | AttributeError | TypeError):
            trouble = f"the factory of worker processes can't be pickled ({error})"
        self._trouble = error if isinstance(error, ConfigurationError) else ConfigurationError(trouble)
        self._changed.notify_all()

    def _pool(self, slot: _Slot) -> ProcessPool:
        if slot.pool is None:
            arguments = (self._factory, self.keep, self._threads, self._memory_limit, slot.device)
            slot.pool = ProcessPool(
                1, initializer=worker.start, initargs=arguments, context=multiprocessing.get_context("spawn")
            )
        return slot.pool

    def _break(self, slot: _Slot, *, died: bool = True) -> None:
        """Have the keeper replace a slot's worker: a pool can't be stopped from its own thread."""
        self.lost += died
        self.replaced += not died
        slot.broken = True
        self._changed.notify_all()

    # Answers, in the threads of the pools

    def _done(self, slot: _Slot, task: "Future[Answer]") -> None:
        with self._lock:
            if slot.task is not task:
                return  # given up: killed, or closed
            job, slot.job, slot.task = slot.job, None, None
            assert job is not None, "a task has a job"
            outcome: Evaluation | BaseException | None
            try:
                told = task.result()
            except (ProcessExpired, BrokenProcessPool) as error:
                self._break(slot)
                outcome = self._lost(job, error)
            except BaseException as error:  # SystemExit too: it would end the pool's thread, which nobody replaces
                # A mistake or a full disk is no failure of the training: it must not be stored as one.
                outcome = error if isinstance(error, NasGymError) else _crash(job, error)
            else:
                outcome = told.evaluation
                if self._leak_limit and told.memory_mb and told.memory_mb > self._leak_limit:
                    self._break(slot, died=False)
            self._hand_out()  # before anybody is told: workers must not wait for what others do with an answer
        if outcome is not None:
            tell(job.answer, outcome)

    def _lost(self, job: _Job, error: BaseException) -> Evaluation | ConfigurationError | None:
        """Put a lost job back to the front, or give it up."""
        job.lost += 1
        if job.lost <= self._retries:
            self._waiting.insert(0, job)
            return None
        code = getattr(error, "exitcode", None)
        if code is None:  # before it took the job, which is not to blame
            return ConfigurationError(
                f"worker processes die while they start ({job.lost} times for one network), for a reason that they may "
                "have printed; what they import must be importable there, and a script must start its search under "
                "if __name__ == '__main__':"
            )
        # Native code may end the process where Python would raise MemoryError.
        hint = "" if self._memory_limit is None else f"; its memory limit was {self._memory_limit:g} MB"
        times = f"the worker process died {job.lost} times"
        return job.failed("crashed", f"{times}, at last with exit code {code}{hint}")

    # The keeper

    def _keep_going(self) -> None:
        """Replace broken workers and kill trainings over their time limit, until closed."""
        while True:
            with self._lock:
                trouble = self._trouble
                if self._closed or trouble is not None:
                    break
                late = self._late() if self._time_limit else []
                broken = [slot for slot in self._slots if slot.broken]
                pools = [slot.pool for slot in broken if slot.pool is not None]
                if not broken:
                    busy = self._time_limit and any(slot.job for slot in self._slots)
                    self._changed.wait(_TICK_SECONDS if busy else None)
                    continue
                for slot in broken:
                    slot.pool = None
            for job, evaluation in late:
                tell(job.answer, evaluation)
            for pool in pools:
                _stop(pool)
            with self._lock:
                for slot in broken:
                    slot.broken = False
                if not self._closed:
                    self._hand_out()
        if trouble is not None:
            self._end(trouble)

    def _late(self) -> list[tuple[_Job, Evaluation]]:
        """Take the jobs that are over their time from their workers, and have these replaced."""
        assert self._time_limit is not None, "there is a limit"
        late = []
        for slot in self._slots:
            if slot.job is None or slot.task is None or slot.broken or not slot.task.running():
                continue
            now = time.monotonic()
            slot.started = slot.started or now
            if now - slot.started > self._time_limit:
                reason = f"the training took longer than {self._time_limit:g} s and was killed"
                late.append((slot.job, slot.job.failed("timeout", reason, self._time_limit)))
                slot.job = slot.task = None
                slot.broken = True
        return late


def _check_whole(name: str, value: Any, least: int, *, optional: bool = False) -> None:
    if not (optional and value is None) and not (type(value) is int and value >= least):
        raise ConfigurationError(f"{name} is a whole number, at least {least}, got {value!r}")


def _devices(factory: Factory, workers: int | None, threads: int, per_gpu: int) -> list[str | None]:
    """Return the device of each worker: None for the evaluator's own.

    Raises:
        ConfigurationError: More workers are asked for than fit on the GPUs.
    """
    device = getattr(getattr(factory, "evaluator", None), "device", None)
    if getattr(device, "type", None) != "cuda":
        if per_gpu > 1:
            raise ConfigurationError(f"{per_gpu} trainings per GPU were asked for, but the device is {device}, no GPU")
        return [None] * (workers or max(1, (os.cpu_count() or 1) // threads))
    import torch  # CUDA only from here

    gpus = torch.cuda.device_count()
    places = [f"cuda:{gpu}" for _ in range(per_gpu) for gpu in range(gpus)]
    if workers is not None and workers > len(places):
        raise ConfigurationError(
            f"{workers} workers don't fit on {gpus} GPUs with {per_gpu} trainings each; raise trainings_per_gpu"
        )
    return list(places[:workers])


def _stop(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _crash(job: _Job, error: BaseException) -> Evaluation:
    return job.failed("crashed", sentence(error))
