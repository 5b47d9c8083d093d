"""Evaluations that were made before: a table answers at once, and tells what a training would have cost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import Evaluation, Fidelity, resolved
from nas_gym.randomness import derived_seed

if TYPE_CHECKING:
    from nas_gym.tables.benchmark import BenchmarkTable

MEAN = "mean"


class TabularEvaluator:
    """Answers from a table: an accuracy at a fidelity as reward, simulated seconds as cost.

    Evaluations and futures are made once and shared: the answer for a key, a fidelity and a repeat never changes.

    Args:
        table: The table.
        fidelity: What a search sees, as text; None: the table's default.
        trainings: ``"mean"``: the mean of the recorded trainings, whatever the repeat; a whole number: that training
            alone; ``"each"``: repeat ``r`` is training ``r``, and there are no more repeats than trainings.
        noise: Standard deviation of Gaussian noise on the accuracy, in [0, 1) of accuracy (0.003: 0.3 points): one
            draw a row that stays the same, as if every network had been trained once.
        noise_seed: Seeds these draws.
        device: Whose latency is told; None: none.

    Raises:
        ConfigurationError: The table has no such fidelity, training or device, or the noise is out of range.
    """

    pure = True  # for callers: an evaluation may be kept, for a key always has the same

    def __init__(
        self,
        table: BenchmarkTable,
        fidelity: str | Fidelity | None = None,
        *,
        trainings: int | str = MEAN,
        noise: float = 0.0,
        noise_seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.table = table
        self.fidelity = self._known(table.default_fidelity if fidelity is None else str(fidelity))
        self.trainings = trainings
        if trainings not in (MEAN, "each"):
            self._training(self.fidelity, trainings)
        if not 0 <= noise < 1:
            raise ConfigurationError(f"noise is a standard deviation in [0, 1), such as 0.003, got {noise!r}")
        if device is not None and device not in table.latencies:
            known = ", ".join(table.latencies) or "none"
            raise ConfigurationError(f"the table {table.name!r} has no latency of {device!r}; known devices: {known}")
        self.noise, self.noise_seed, self.device = float(noise), int(noise_seed), device
        self._answers: dict[tuple[str, int], dict[str, Future[Evaluation]]] = {}
        self._noise: NDArray[np.float64] | None = None

    @property
    def identity(self) -> str:
        """Table, trainings and noise."""
        noise = f" noise={self.noise!r} seed={self.noise_seed}" if self.noise else ""
        return f"tabular/1 {self.table.name} {self.fidelity} {self.trainings}{noise} {self.device or ''}".strip()

    @property
    def simulates_cost(self) -> bool:
        """Whether the table tells what a query at this fidelity costs."""
        return self.fidelity in self.table.costs

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Answer at once; see `nas_gym.evaluation.Evaluator`.

        Raises:
            ConfigurationError: The table has no such fidelity, repeat or candidate.
        """
        asked = self.fidelity if fidelity is None else str(fidelity)
        answers = self._answers.get((asked, repeat))
        if answers is None:
            answers = self._answers[self._known(asked), repeat] = {}
        found = []
        for candidate in candidates:
            answer = answers.get(candidate.key)
            if answer is None:
                answer = answers[candidate.key] = resolved(self._evaluation(candidate.key, asked, repeat))
            found.append(answer)
        return found

    def answer(self, key: str) -> Evaluation:
        """Return the answer for a key of the table, as a search is first told it.

        Raises:
            ConfigurationError: The table has no such row.
        """
        return self._evaluation(key, self.fidelity, 0)

    def score(self, candidate: Candidate, name: str | None = None) -> float:
        """Return how an answer is scored, an accuracy in [0, 1] that no search sees.

        Args:
            candidate: The answer.
            name: Of the score; None: the table's default.

        Raises:
            ConfigurationError: The table has no such score or candidate.
        """
        scores, asked = self.table.scores, self.table.default_score if name is None else name
        if asked not in scores:
            raise ConfigurationError(
                f"the table {self.table.name!r} has no score {asked!r}; known: {', '.join(scores)}"
            )
        return float(scores[asked][self._row(candidate.key)])

    def _known(self, fidelity: str) -> str:
        if fidelity not in self.table.accuracies:
            known = ", ".join(self.table.accuracies)
            raise ConfigurationError(f"the table {self.table.name!r} has no fidelity {fidelity!r}; known are {known}")
        return fidelity

    def _training(self, fidelity: str, training: int | str) -> int:
        n = self.table.accuracies[fidelity].shape[1]
        if not isinstance(training, int) or not 0 <= training < n:
            raise ConfigurationError(
                f"the table {self.table.name!r} has {n} trainings a row, numbered from 0, or 'mean' or 'each'; "
                f"got {training!r}"
            )
        return training

    def _row(self, key: str) -> int:
        row = self.table.rows.get(key)
        if row is None:
            raise ConfigurationError(f"the table {self.table.name!r} has no row {key!r}; is it of another space?")
        return row

    def _evaluation(self, key: str, fidelity: str, repeat: int) -> Evaluation:
        table, row = self.table, self._row(key)
        trainings = table.accuracies[fidelity][row].astype(np.float64)
        error = None
        if self.trainings == MEAN:
            accuracy = float(trainings.mean())
            if len(trainings) > 1:
                error = float(trainings.std(ddof=1) / len(trainings) ** 0.5)
        else:
            chosen = repeat if self.trainings == "each" else self.trainings
            accuracy = float(trainings[self._training(fidelity, chosen)])
        if self.noise:
            accuracy = min(max(accuracy + float(self._draws()[row]), 0.0), 1.0)
        return Evaluation(
            key=key,
            fidelity=fidelity,
            repeat=repeat,
            accuracy=accuracy,
            standard_error=error,
            curve=(accuracy,),
            parameters=0 if table.parameters is None else int(table.parameters[row]),
            macs=0 if table.macs is None else int(table.macs[row]),
            latency_ms=None if self.device is None else float(table.latencies[self.device][row]),
            cost_seconds=float(table.costs[fidelity][row]) if fidelity in table.costs else 0.0,
        )

    def _draws(self) -> NDArray[np.float64]:
        if self._noise is None:
            generator = np.random.default_rng(derived_seed(f"table noise {self.noise_seed}"))
            self._noise = generator.normal(0.0, self.noise, len(self.table))
        return self._noise
