"""The best recipes trained again with new seeds: the best of many trials is partly luck, and this is not."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from nas_gym import standard_error
from nas_gym.errors import RunError
from nas_gym.explain.record import write_atomically
from nas_gym.statistics import CONFIDENCE, Estimate
from nas_gym.winner.tuning.space import Values
from nas_gym.winner.tuning.trials import Train, Trial


@dataclass(frozen=True)
class Finalist:
    """A recipe after its new trainings.

    Attributes:
        values: Its hyper-parameters.
        accuracies: Validation accuracy of every new training, in the order of their seeds; a failed one has 0.
    """

    values: Values
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def standard_error(self) -> float:
        """Of the mean, over seeds."""
        return standard_error.of_mean(self.accuracies)

    def better_than(self, other: "Finalist") -> Estimate:
        """Return by how much the mean is larger, paired by seed, with Student's 95 % interval of paired differences.

        ``mean ± t s / √n`` with n - 1 degrees of freedom (Student 1908, "The Probable Error of a Mean", Biometrika 6,
        pages 1–25). A bootstrap of two or three seeds leaves 0 out as soon as all differences have one sign, which
        happens by chance one time in two or four. Differences that are all equal tell no spread: both ends are the
        value.
        """
        from scipy.stats import t

        differences = [mine - its for mine, its in zip(self.accuracies, other.accuracies, strict=True)]
        value = sum(differences) / len(differences)
        half = float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * standard_error.of_mean(differences)
        return Estimate(value, value - half, value + half)


def finalists(trials: Sequence[Trial], top: int) -> list[Values]:
    """Return the different values of the best trials, at most so many.

    Args:
        trials: Complete ones, the best first.
        top: How many.
    """
    found: list[Values] = []
    for trial in trials:
        if trial.values not in found:
            found.append(trial.values)
    return found[:top]


def confirm(
    recipes: Sequence[Values],
    repeats: int,
    trains: Sequence[Train],
    file: Path,
    watch: Callable[[int, int], None] | None = None,
) -> list[Finalist]:
    """Return the recipes, in their order, after so many trainings of each with seeds that no trial had.

    All recipes have the same seeds, 1, 2, …; the trials had 0. Every accuracy is in the file as soon as it is known,
    and what the file holds is not trained again.

    Args:
        recipes: Hyper-parameters.
        repeats: Trainings of each, at least two.
        trains: One for every training at a time.
        file: Of the accuracies.
        watch: Called with the number of trainings that are done and that of all.

    Raises:
        RunError: The file is damaged.
    """
    known, lock = _read(file), Lock()
    todo = [(place, seed) for seed in range(1, repeats + 1) for place in range(len(recipes))]
    todo = [pair for pair in todo if _name(recipes[pair[0]], pair[1]) not in known]

    def work(train: Train) -> None:
        while True:
            with lock:
                if not todo:
                    return
                place, seed = todo.pop(0)
            accuracy = _trained(train, recipes[place], seed)
            with lock:
                known[_name(recipes[place], seed)] = accuracy
                write_atomically(file, json.dumps(known, indent=1))
                if watch is not None:
                    watch(len(known), len(recipes) * repeats)

    if len(trains) == 1:
        work(trains[0])
    else:
        _at_once(work, trains)
    seeds = range(1, repeats + 1)
    return [Finalist(values, tuple(known[_name(values, seed)] for seed in seeds)) for values in recipes]


def _at_once(work: Callable[[Train], None], trains: Sequence[Train]) -> None:
    with ThreadPoolExecutor(len(trains)) as pool:
        futures = [pool.submit(work, train) for train in trains]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            for train in trains:
                getattr(train, "kill", lambda: None)()
            raise


def _trained(train: Train, values: Values, seed: int) -> float:
    curve: list[float] = []
    reason = train(values, seed, partial(_note, curve))
    return curve[-1] if reason is None else 0.0


def _note(curve: list[float], epoch: int, accuracy: float) -> bool:
    curve.append(accuracy)
    return True


def _name(values: Values, seed: int) -> str:
    return json.dumps([values, seed], sort_keys=True)


def _read(file: Path) -> dict[str, float]:
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return {str(name): float(accuracy) for name, accuracy in content.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error}); remove it: only its trainings are repeated") from None
