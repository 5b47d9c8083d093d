"""Successive halving as an evaluator: everybody trains a little, the best so far go on."""

import threading
from bisect import bisect_left, insort
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from math import floor, inf
from numbers import Integral

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator, Fidelity, capacity_of

_ROUNDING = 1e-9  # so that 0.29 of 100 are 29


@dataclass(eq=False)
class _Climber:
    """A candidate, its evaluations at the rungs it has left behind, and the answer that somebody waits for."""

    candidate: Candidate
    answer: Future[Evaluation]
    results: list[Evaluation] = field(default_factory=list)


class _Ladder:
    """Candidates that compete: on every rung in order of submission, of which the first ``decided`` are decided."""

    def __init__(self, fidelity: Fidelity, repeat: int, n_rungs: int) -> None:
        self.fidelity = fidelity
        self.repeat = repeat
        self.rungs: list[list[_Climber]] = [[] for _ in range(n_rungs)]
        self.decided = [0] * n_rungs
        self.accuracies: list[list[float]] = [[] for _ in range(n_rungs)]  # of the decided, in ascending order
        self.climbers: dict[str, _Climber] = {}


class SuccessiveHalving:
    """Trains every candidate for a few epochs and goes on with those that are among the best so far.

    Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", arXiv
    1810.05934, algorithm 2), with every decision taken once, when a candidate's turn comes: it goes on to the next
    stop if it is among the best ``fraction`` (at least 1) of all that reached this stop, itself and those submitted
    before it. Turns are those of submission, so how many are trained at once changes no answer.

    An answer is the evaluation at the highest stop that the candidate reached; its fidelity says which (``"stop=3"``),
    and its seconds are the sums over all its stops. A failure ends the climb and is the answer. What was asked before
    gets the answer it got and does not compete twice. Candidates compete within one fidelity and repeat.

    It wraps a `StoredEvaluator`, never the other way round: its answers depend on what it was asked before. With
    ``TrainingEvaluator(checkpoints=…)`` a promoted candidate goes on where it stopped.

    Args:
        evaluator: Asked for `Fidelity.stop`.
        stops: Epochs after which is decided, ascending; nobody trains beyond the last.
        fraction: Share that goes on, in (0, 1].

    Attributes:
        evaluator: May be replaced.

    Raises:
        ConfigurationError: Stops or fraction are out of range.
    """

    def __init__(self, evaluator: Evaluator, stops: Sequence[int] = (1, 3, 9), fraction: float = 1 / 3) -> None:
        ascending = list(stops) == sorted(set(stops))
        if not stops or not ascending or not all(isinstance(s, Integral) and int(s) >= 1 for s in stops):
            raise ConfigurationError(f"stops are whole numbers of epochs in ascending order, from 1, got {stops!r}")
        if not 0 < fraction <= 1:
            raise ConfigurationError(f"the fraction that goes on lies in (0, 1], got {fraction!r}")
        self.evaluator = evaluator
        self.stops = tuple(int(stop) for stop in stops)
        self.fraction = float(fraction)
        self._ladders: dict[tuple[Fidelity, int], _Ladder] = {}
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """Stops, fraction and the wrapped evaluator's identity."""
        stops = ",".join(map(str, self.stops))
        return f"halving/1 stops={stops} fraction={self.fraction!r} {self.evaluator.identity}"

    @property
    def capacity(self) -> int:
        """That of the wrapped evaluator."""
        return capacity_of(self.evaluator)

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return futures, in order; all new candidates are submitted for the first stop at once.

        Raises:
            ConfigurationError: The fidelity has a stop of its own.
        """
        fidelity, repeat = fidelity or FULL, int(repeat)
        if fidelity.stop is not None:
            raise ConfigurationError(
                f"successive halving stops after {self.stops} epochs, got {fidelity}; leave it out"
            )
        new: list[list[_Climber]] = [[] for _ in self.stops]
        with self._lock:
            ladder = self._ladders.setdefault((fidelity, repeat), _Ladder(fidelity, repeat, len(self.stops)))
            answers = [self._entered(ladder, candidate, new) for candidate in candidates]
        self._ask_all(ladder, new)
        return answers

    def _entered(self, ladder: _Ladder, candidate: Candidate, new: list[list[_Climber]]) -> Future[Evaluation]:
        """Return a candidate's answer; who is new, or has no answer for an error, is put last on its rung."""
        climber = ladder.climbers.get(candidate.key)
        if climber is None or (climber.answer.done() and climber.answer.exception() is not None):
            climber = climber or _Climber(candidate, Future())
            climber.answer = Future()
            climber.answer.set_running_or_notify_cancel()  # nobody can cancel what others are compared with
            ladder.climbers[candidate.key] = climber
            rung = len(climber.results)
            ladder.rungs[rung].append(climber)
            new[rung].append(climber)
        return climber.answer

    def _ask_all(self, ladder: _Ladder, climbers: list[list[_Climber]]) -> None:
        """Ask for climbers by rung; one that can't be asked for has no answer, and the others need not wait for it."""
        for rung, group in enumerate(climbers):
            try:
                if group:
                    self._ask(ladder, rung, group)
            except BaseException as error:
                rest = [(rung + i, climber) for i, later in enumerate(climbers[rung:]) for climber in later]
                self._withdraw(ladder, rest, error)
                if isinstance(error, Exception):
                    self._advance(ladder)
                raise

    def _ask(self, ladder: _Ladder, rung: int, group: list[_Climber]) -> None:
        """Ask for a rung; whoever is under way is taken off the group."""
        how = replace(ladder.fidelity, stop=self.stops[rung])
        asked = self.evaluator.submit([c.candidate for c in group], fidelity=how, repeat=ladder.repeat)
        for future in asked:
            climber = group.pop(0)
            future.add_done_callback(partial(self._arrived, ladder, rung, climber))

    def _arrived(self, ladder: _Ladder, rung: int, climber: _Climber, done: Future[Evaluation]) -> None:
        try:
            evaluation = done.result()
        except BaseException as error:
            self._withdraw(ladder, [(rung, climber)], error)
        else:
            with self._lock:
                climber.results.append(evaluation)
        self._advance(ladder)

    def _advance(self, ladder: _Ladder) -> None:
        """Take the decisions that can be taken now, give the answers, and ask for those who go on."""
        with self._lock:
            risen, over = self._decide(ladder)
        for climber in over:
            climber.answer.set_result(_summed(climber.results))
        self._promote(ladder, risen)

    def _promote(self, ladder: _Ladder, risen: list[tuple[int, _Climber]]) -> None:
        while risen:
            rung, climber = risen.pop(0)
            group = [climber]
            try:
                self._ask(ladder, rung, group)
            except Exception as error:
                self._withdraw(ladder, [(rung, left) for left in group], error)
                self._advance(ladder)
            except BaseException as error:  # such as Ctrl-C in a training of this thread
                self._withdraw(ladder, [*((rung, left) for left in group), *risen], error)
                raise

    def _decide(self, ladder: _Ladder) -> tuple[list[tuple[int, _Climber]], list[_Climber]]:
        """Return who goes on, with the rung it comes to, and who has its answer."""
        risen, over = [], []
        for rung, seen in enumerate(ladder.rungs):
            while ladder.decided[rung] < len(seen) and len(seen[ladder.decided[rung]].results) > rung:
                climber = seen[ladder.decided[rung]]
                ladder.decided[rung] += 1
                best = self._is_among_the_best(ladder.accuracies[rung], climber.results[rung])
                if best and climber.results[rung].ok and rung + 1 < len(self.stops):
                    ladder.rungs[rung + 1].append(climber)
                    risen.append((rung + 1, climber))
                else:
                    over.append(climber)
        return risen, over

    def _is_among_the_best(self, accuracies: list[float], evaluation: Evaluation) -> bool:
        """Return whether it is among the best of those before and itself, and add it; ties go to who came first."""
        accuracy = -inf if evaluation.accuracy is None else evaluation.accuracy
        ahead = len(accuracies) - bisect_left(accuracies, accuracy)
        insort(accuracies, accuracy)
        return ahead < max(1, floor(self.fraction * len(accuracies) + _ROUNDING))

    def _withdraw(self, ladder: _Ladder, climbers: list[tuple[int, _Climber]], error: BaseException) -> None:
        """Take climbers off their rungs, where they are undecided, and let whoever waits know why."""
        with self._lock:
            for rung, climber in climbers:
                ladder.rungs[rung].remove(climber)
        for _, climber in climbers:
            climber.answer.set_exception(error)


def _summed(results: list[Evaluation]) -> Evaluation:
    """Return the last evaluation with the seconds of all."""
    train, cost = sum(r.train_seconds for r in results), sum(r.cost_seconds for r in results)
    return replace(results[-1], train_seconds=train, cost_seconds=cost)
