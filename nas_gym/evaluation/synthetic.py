"""Evaluators without training: for tests, benchmarks of agents, and studies with a known answer."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, resolved, trained_architecture
from nas_gym.randomness import derived_seed


class SyntheticEvaluator:
    """Answers with a function of the candidate.

    Args:
        function: From a candidate to an accuracy in [0, 1].
        name: Identifies the function in a store.
    """

    def __init__(self, function: Callable[[Candidate], float], *, name: str = "synthetic") -> None:
        self._function = function
        self._name = name

    @property
    def identity(self) -> str:
        """The function's name."""
        return f"synthetic/1 {self._name}"

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Answer at once; one second of cost each."""
        return [resolved(self._answer(candidate, fidelity or FULL, int(repeat))) for candidate in candidates]

    def _answer(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Evaluation:
        accuracy = float(self._function(candidate))
        architecture = trained_architecture(candidate)
        return Evaluation(
            key=candidate.key,
            fidelity=str(fidelity),
            repeat=repeat,
            accuracy=accuracy,
            loss=1.0 - accuracy,
            curve=(accuracy,),
            parameters=architecture.parameters,
            macs=architecture.macs,
            cost_seconds=1.0,
        )


class ConstantEvaluator(SyntheticEvaluator):
    """Answers with the same accuracy for every candidate: what remains is the environment's own time."""

    def __init__(self, accuracy: float = 0.5) -> None:
        super().__init__(_Always(accuracy), name=f"constant {accuracy!r}")


class HashEvaluator(SyntheticEvaluator):
    """Answers with a number in [0, 1) drawn from the key: deterministic, without any structure to learn."""

    def __init__(self) -> None:
        super().__init__(_hashed, name="hash")


class PlantedEvaluator(SyntheticEvaluator):
    """Rewards likeness to a planted candidate, whose accuracy is exactly 1 and the best there is.

    Likeness is the length of the longest common subsequence of the two lists of operations (kinds and settings),
    times two, over the sum of their lengths; the square makes the last steps worth most.

    Args:
        target: The candidate to find.
    """

    def __init__(self, target: Candidate) -> None:
        wanted = tuple(operation.label for operation in target.architecture.canonical_operations)
        super().__init__(_Likeness(wanted), name=f"planted {target.key}")


# Not closures: an evaluator must be picklable to be handed over to worker processes.


@dataclass(frozen=True)
class _Always:
    accuracy: float

    def __call__(self, candidate: Candidate) -> float:
        return self.accuracy


@dataclass(frozen=True)
class _Likeness:
    wanted: tuple[str, ...]

    def __call__(self, candidate: Candidate) -> float:
        labels = [operation.label for operation in candidate.architecture.canonical_operations]
        share = 2 * _common(labels, self.wanted) / (len(labels) + len(self.wanted))
        return share**2


def _hashed(candidate: Candidate) -> float:
    return derived_seed(candidate.key) / 2**63


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for one in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            diagonal, row[place] = row[place], diagonal + 1 if one == other else max(row[place], row[place - 1])
    return row[-1]
