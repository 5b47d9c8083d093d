"""Trainings in processes of their own; what is drawn, noted and pruned stays with the one that asks."""

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from nas_gym.errors import RunError
from nas_gym.winner.tuning.space import Value
from nas_gym.winner.tuning.trials import Report, Train


class Worker:
    """A process that trains when it is called, as the function does that it was made of.

    Args:
        train: Can be pickled.

    Raises:
        RunError: When called: the process has ended.
    """

    def __init__(self, train: Train) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, train), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        """Train in the process; see `nas_gym.winner.tuning.trials.Train`."""
        try:
            self._pipe.send((dict(values), seed))
            while True:
                kind, content = self._pipe.recv()
                if kind == "epoch":
                    self._pipe.send(report(*content))
                elif kind == "done":
                    return None if content is None else str(content)
                else:
                    raise RunError(f"a training failed in a worker process ({content})")
        except (EOFError, OSError):
            raise RunError(
                f"a worker process ended in the middle of a training (exit code {self._exit_code()}), perhaps for "
                "want of memory; give the same command with fewer --workers: it goes on"
            ) from None

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.join()

    def _exit_code(self) -> int | None:
        self._process.join(5)
        return self._process.exitcode


@contextmanager
def workers(train: Train, n: int) -> Iterator[Sequence[Train]]:
    """Yield n that train at once: the function itself if n is 1, else processes, which end with the block."""
    if n == 1:
        yield [train]
        return
    made: list[Worker] = []
    try:
        for _ in range(n):
            worker = Worker(train)
            made.append(worker)
        yield made
    finally:
        for worker in made:
            worker.kill()


def _serve(pipe: Connection, train: Train) -> None:
    """Answer calls until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides

    def report(epoch: int, accuracy: float) -> bool:
        pipe.send(("epoch", (epoch, accuracy)))
        return bool(pipe.recv())

    try:
        while True:
            values, seed = pipe.recv()
            pipe.send(_answer(train, values, seed, report))
    except (EOFError, OSError):
        return


def _answer(train: Train, values: Mapping[str, Value], seed: int, report: Report) -> tuple[str, Any]:
    try:
        return "done", train(values, seed, report)
    except (EOFError, OSError):
        raise
    except Exception as error:
        return "error", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
