"""One stage of a search for hyper-parameters: trials in a study of Optuna, until a number of epochs is spent."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

from nas_gym.randomness import derived_seed
from nas_gym.winner.tuning.optuna_package import quiet
from nas_gym.winner.tuning.space import Space, Value, Values

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Report = Callable[[int, float], bool]
Sampler = Literal["tpe", "random"]
STARTUP = 10  # trials at random before the sampler learns
STEADY = 5  # complete trials before any is pruned
OTHER = "trial"  # user attribute: the trial of the stage before that this one stands for
REASON = "reason"  # user attribute: why a training failed


class Train(Protocol):
    """What is tuned: a training with given hyper-parameters."""

    def __call__(self, values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        """Train, telling ``report`` the validation accuracy after epoch 1, 2, …, and stop once it answers False.

        Args:
            values: Hyper-parameters.
            seed: Of the training.
            report: Takes epoch and accuracy.

        Returns:
            Why the training failed; None if it did not.
        """


@dataclass(frozen=True)
class Trial:
    """One trial that has ended.

    Attributes:
        number: In its study, in the order in which trials began.
        values: Of all hyper-parameters, the fixed ones included.
        curve: Validation accuracy after every epoch; 0 for the epoch in which a training failed.
        pruned: Whether it was stopped before its last epoch, or failed.
        reason: Why it failed; None: it did not.
    """

    number: int
    values: Values
    curve: tuple[float, ...]
    pruned: bool
    reason: str | None = None

    @property
    def score(self) -> float:
        """The accuracy after the last epoch; of a pruned trial one less, so that it comes after all complete ones."""
        return self.curve[-1] - 1 if self.pruned else self.curve[-1]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage does.

    Attributes:
        name: Of the study.
        space: What is searched.
        budget: Epochs of all its trials together; none begins that could go beyond it.
        epochs: Of one training.
        seed: Of the sampler. Every trial is drawn by a sampler of its own, which is seeded by this and by the number of
            trials that have ended: with one worker the trials do not depend on where the stage was interrupted.
        first: Values of trials that come before all drawn ones.
        known: Trials of another stage that count as if they were of this one, and cost nothing.
        sampler: Optuna's: the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24) over all
            hyper-parameters together, or random search.
    """

    name: str
    space: Space
    budget: int
    epochs: int
    seed: int
    first: tuple[Values, ...] = ()
    known: tuple[Trial, ...] = ()
    sampler: Sampler = "tpe"


def run_stage(
    stage: Stage,
    trains: Sequence[Train],
    storage: "optuna.storages.BaseStorage | None" = None,
    watch: Callable[[list[Trial], int], None] | None = None,
) -> list[Trial]:
    """Return the trials of a stage, in order; those that the storage holds are not repeated.

    A trial is pruned after an epoch if its best accuracy so far is below the median of what the complete trials had by
    then (Optuna's ``MedianPruner``; the idea is that of Golovin et al. 2017, "Google Vizier", section 3.5.2, doi
    10.1145/3097983.3098043), but neither in the first quarter of its epochs nor before five trials are complete. Trials
    that a kill interrupted begin again.

    Args:
        stage: What to do.
        trains: One for every trial at a time: a single one is called from this thread, more from threads of their own.
        storage: Where the study is; None: in memory.
        watch: Called after every epoch with the trials that have ended and the epochs that were spent so far.
    """
    with quiet():
        return _Running(stage, len(trains), storage, watch).run(trains)


class _Running:
    """A stage under way."""

    def __init__(self, stage: Stage, n: int, storage: Any, watch: Callable[[list[Trial], int], None] | None) -> None:
        self._stage, self._n, self._watch = stage, n, watch
        self._lock, self._stop = Lock(), Event()
        self._study = _study(stage, storage)
        self._ended = trials_of(self._study, stage.space)
        self._spent = sum(len(trial.curve) for trial in self._ended)
        self._at_work = 0  # trials

    def run(self, trains: Sequence[Train]) -> list[Trial]:
        if len(trains) == 1:
            self._work(trains[0])
        else:
            with ThreadPoolExecutor(len(trains)) as pool:
                futures = [pool.submit(self._work, train) for train in trains]
                try:
                    for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                        future.result()
                except BaseException:
                    self._stop.set()
                    for train in trains:  # a process that is waited for would be waited for to the end
                        getattr(train, "kill", lambda: None)()
                    raise
        return trials_of(self._study, self._stage.space)

    def _work(self, train: Train) -> None:
        while (trial := self._next()) is not None:
            curve: list[float] = []
            values = self._stage.space.complete(trial.params)
            reason = train(values, 0, partial(self._told, trial, curve))
            if self._stop.is_set():
                return
            self._end(trial, curve, reason)

    def _next(self) -> "optuna.trial.Trial | None":
        with self._lock:
            needed = self._spent + (self._at_work + 1) * self._stage.epochs
            if self._stop.is_set() or needed > self._stage.budget:
                return None
            self._at_work += 1
            self._study.sampler = _sampler(self._stage, len(self._ended), self._n)
            trial: optuna.trial.Trial = self._study.ask(self._stage.space.distributions())
            return trial

    def _told(self, trial: "optuna.trial.Trial", curve: list[float], epoch: int, accuracy: float) -> bool:
        with self._lock:
            curve.append(accuracy)
            trial.report(accuracy, epoch)
            self._look(extra=len(curve))
            return not self._stop.is_set() and (epoch == self._stage.epochs or not trial.should_prune())

    def _end(self, trial: "optuna.trial.Trial", curve: list[float], reason: str | None) -> None:
        import optuna

        with self._lock:
            if reason is not None:
                curve.append(0.0)
                trial.report(0.0, len(curve))
                trial.set_user_attr(REASON, reason)
            if len(curve) == self._stage.epochs and reason is None:
                self._study.tell(trial, curve[-1])
            else:
                self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            self._at_work -= 1
            self._spent += len(curve)
            self._ended = trials_of(self._study, self._stage.space)
            self._look()

    def _look(self, extra: int = 0) -> None:
        if self._watch is not None:
            self._watch(self._ended, self._spent + extra)


def trials_of(study: "optuna.study.Study", space: Space) -> list[Trial]:
    """Return the trials of a study that have ended, in order, without those that stand for another stage's."""
    from optuna.trial import TrialState

    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_trial(one, space) for one in ended if OTHER not in one.user_attrs]


def _trial(one: "FrozenTrial", space: Space) -> Trial:
    from optuna.trial import TrialState

    curve = tuple(float(one.intermediate_values[epoch]) for epoch in sorted(one.intermediate_values))
    pruned = one.state == TrialState.PRUNED
    return Trial(one.number, space.complete(one.params), curve, pruned, one.user_attrs.get(REASON))


def _study(stage: Stage, storage: Any) -> "optuna.study.Study":
    """Return the study of a stage, made or made ready to go on."""
    import optuna
    from optuna.trial import TrialState

    pruner = optuna.pruners.MedianPruner(n_startup_trials=STEADY, n_warmup_steps=1 + stage.epochs // 4)
    study: optuna.study.Study = optuna.create_study(
        study_name=stage.name, direction="maximize", storage=storage, pruner=pruner, load_if_exists=True
    )
    there = study.get_trials(deepcopy=False)
    noted = {one.user_attrs[OTHER] for one in there if OTHER in one.user_attrs}
    for trial in stage.known:
        if trial.number not in noted:
            study.add_trial(_known(trial, stage.space))
    for one in there:
        if one.state == TrialState.RUNNING:
            study.tell(one.number, state=TrialState.FAIL)
            study.enqueue_trial(one.params)
    if all(one.state == TrialState.FAIL or OTHER in one.user_attrs for one in there):
        for values in stage.first:
            study.enqueue_trial(values)
    return study


def _known(trial: Trial, space: Space) -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.PRUNED if trial.pruned else TrialState.COMPLETE,
        value=None if trial.pruned else trial.curve[-1],
        params={name: trial.values[name] for name in space.free},
        distributions=space.distributions(),
        intermediate_values=dict(enumerate(trial.curve, 1)),
        user_attrs={OTHER: trial.number},
    )


def _sampler(stage: Stage, ended: int, n: int) -> "optuna.samplers.BaseSampler":
    import optuna

    seed = derived_seed("tune/1", stage.name, stage.seed, ended) % 2**32
    if stage.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=n > 1, warn_independent_sampling=False
    )
