"""A broad stage, what matters in it, a narrow stage: the search itself, of whatever can be trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_gym.errors import RunError
from nas_gym.winner.tuning.importance import SHUFFLES, Importance, elite, importances
from nas_gym.winner.tuning.narrowing import narrowed
from nas_gym.winner.tuning.space import Space, Values
from nas_gym.winner.tuning.trials import Stage, Train, Trial, run_stage

if TYPE_CHECKING:
    import optuna

BROAD, NARROW = "broad", "narrow"
Watch = Callable[[str, list[Trial], int], None]


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        broad: Trials of the first stage.
        narrow: Trials of the second.
        importances: By the first stage, the most important first.
        space: Of the second stage.
    """

    broad: list[Trial]
    narrow: list[Trial]
    importances: list[Importance]
    space: Space

    @property
    def best(self) -> list[Trial]:
        """All complete trials, the best first; of equal ones the earlier."""
        return [trial for trial in sorted([*self.broad, *self.narrow], key=lambda t: -t.score) if not trial.pruned]


def search(
    space: Space,
    first: Values,
    trains: Sequence[Train],
    *,
    budget: int,
    epochs: int,
    broad_share: float = 0.5,
    seed: int = 0,
    shuffles: int = SHUFFLES,
    storage: "optuna.storages.BaseStorage | None" = None,
    watch: Watch | None = None,
    narrowing: Callable[[list[Importance], Space], None] | None = None,
) -> Found:
    """Search a space, then what matters of it.

    Args:
        space: All hyper-parameters.
        first: Values of the first trial: how it is done without tuning.
        trains: One for every trial at a time.
        budget: Epochs of all trials together.
        epochs: Of one training.
        broad_share: Of the budget, for the first stage.
        seed: Of everything that is drawn.
        shuffles: Of scores, which tell what importance chance gives.
        storage: Where the studies are; None: in memory. What it holds is not repeated.
        watch: Called after every epoch with the stage, its trials that have ended and its epochs so far.
        narrowing: Called between the stages with the importances and the space of the second stage.

    Raises:
        RunError: No training of the first stage came to its end.
    """

    def of(name: str) -> Callable[[list[Trial], int], None] | None:
        return None if watch is None else lambda trials, spent: watch(name, trials, spent)

    share = round(budget * broad_share)
    one = Stage(name=BROAD, space=space, budget=share, epochs=epochs, seed=seed, first=(space.clipped(first),))
    broad = run_stage(one, trains, storage, of(BROAD))
    best = elite(broad)
    if not best:
        raise RunError(f"none of {len(broad)} trainings came to its end{_reason(broad)}; nothing can be tuned by that")
    found = importances(space, broad, seed=seed, shuffles=shuffles)
    small = narrowed(space, [one.name for one in found if one.important], [trial.values for trial in best])
    if narrowing is not None:
        narrowing(found, small)
    if not small.free:
        return Found(broad, [], found, small)
    spent = sum(len(trial.curve) for trial in broad)
    known = tuple(trial for trial in broad if all(trial.values[name] in domain for name, domain in small.free.items()))
    two = Stage(name=NARROW, space=small, budget=budget - spent, epochs=epochs, seed=seed, known=known)
    return Found(broad, run_stage(two, trains, storage, of(NARROW)), found, small)


def _reason(trials: Sequence[Trial]) -> str:
    reasons = [trial.reason for trial in trials if trial.reason]
    return f" ({reasons[0]})" if reasons else ""
