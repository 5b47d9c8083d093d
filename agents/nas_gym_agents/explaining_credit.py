"""The credit of a run directory: its space and table are made again from its settings, its trainings on request."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError, NasGymError
from nas_gym.evaluation import Evaluation, Evaluator, Fidelity, StoredEvaluator, TabularEvaluator
from nas_gym.evaluation.evaluation import FULL
from nas_gym.evaluation.stored import Store, limited
from nas_gym.explain.credit_file import CreditTable
from nas_gym.explain.credit_replacement import Lookup, Measured, evaluated_lookup, lookups_of
from nas_gym.explain.credit_run import MOST_EPISODES, credit_of_run
from nas_gym.explain.credit_views import Ground, Replacing
from nas_gym.explain.record import write_atomically
from nas_gym.objective import VectorObjective
from nas_gym.run import Run
from nas_gym.run_directory import EXPLANATIONS, RESULTS, memory_limit_of
from nas_gym.spaces import Prefix
from nas_gym.store import ResultStore
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.workers import Workers
from nas_gym_envs import ArchitectureEnv

TRAININGS = "trainings.sqlite"  # of replaced decisions; the run's own results stay as the search left them
ASKED = "trainings.json"  # what was trained there at last


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """Which networks are trained for counterfactual credit, and how.

    Attributes:
        best: Decisions of how many of the best networks are replaced.
        fidelity: Of the trainings, such as ``"epochs=1"``; None: that of the search.
        repeats: Trainings of each network.
    """

    best: int = 1
    fidelity: str | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        for name in ("best", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is a whole number, at least 1, got {getattr(self, name)!r}")
        if self.fidelity is not None:
            Fidelity.from_text(self.fidelity)

    @property
    def how(self) -> str:
        """In words."""
        times = "one training" if self.repeats == 1 else f"{self.repeats} trainings"
        return f"{times} of each network at {self.fidelity or 'the fidelity of the search'}"


def ground_of(run: Run) -> Ground:
    """Return what a run's decisions were about; where that can't be made again here, the reason."""
    env = _env(run)
    if isinstance(env, str):
        return Ground(reason=env)
    evaluator = _trainer(env)
    table = evaluator if isinstance(evaluator, TabularEvaluator) else None
    assert not isinstance(env.objective, VectorObjective), "the settings refuse rewards that are vectors"
    return Ground(space=env.space, objective=env.objective, table=table)


def planned_trainings(run: Run, trainings: Trainings) -> int:
    """Return how many trainings a counterfactual view takes at most, those that are on record already included.

    Raises:
        ConfigurationError: The run's space can't be made again here.
    """
    space = _made(run).space
    prefixes = lookups_of(space, [one.actions for one in run.best(trainings.best)])
    return trainings.repeats * len({space.candidate(prefix).key for prefix in prefixes})


def explain_credit(
    run: Run,
    *,
    trainings: Trainings | None = None,
    workers: Workers | None = None,
    most: int = MOST_EPISODES,
    seed: int = 0,
) -> CreditTable:
    """Return what the decisions of a run earned, and write it into its folder of explanations.

    Args:
        run: The run.
        trainings: Which networks are trained for counterfactual credit; None: none, and the view is there only where a
            table tells the rewards, or by the trainings that an earlier call made. They are kept, so that no training
            is repeated.
        workers: Where they are trained; None: here.
        most: As in `nas_gym.explain.credit_run.credit_of_run`.
        seed: As there.

    Raises:
        NasGymError: The run is damaged, or trainings are asked for and its data or its space are not here.
    """
    folder = run.path / EXPLANATIONS
    kept = _kept(folder) if trainings is None else None
    with ExitStack() as stack:
        replacing = None
        if trainings is not None:
            replacing = _replacing(run, trainings, workers or Workers(), folder, stack)
        elif kept is not None and not isinstance(_env(run), str):
            replacing = _replacing(run, kept, None, folder, stack)
        credit = credit_of_run(run, ground_of(run), replacing=replacing, most=most, seed=seed)
    if trainings is not None:
        write_atomically(folder / ASKED, json.dumps(asdict(trainings)))
    credit.write(folder)
    return credit


def _kept(folder: Path) -> Trainings | None:
    """Return what an earlier call trained; None if nothing, or if that is not on record."""
    try:
        return Trainings(**json.loads((folder / ASKED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, NasGymError):
        return None


def _replacing(run: Run, trainings: Trainings, workers: Workers | None, folder: Path, stack: ExitStack) -> Replacing:
    """Return how replaced decisions are told; without workers nothing is trained: only what is on record is known."""
    env = _made(run)
    trainer: Evaluator = _trainer(env)
    pool = None
    if workers is not None and not isinstance(trainer, TabularEvaluator):
        pool = replace(workers, memory_limit_mb=memory_limit_of(run.content)).pool(trainer)
    if pool is not None:
        stack.callback(pool.close)
    folder.mkdir(parents=True, exist_ok=True)
    searched, new = ResultStore(run.settings.get("store") or run.path / RESULTS), ResultStore(folder / TRAININGS)
    for store in (searched, new):
        stack.callback(store.close)
    layered = _Layered(searched, new)
    stored = StoredEvaluator(pool or trainer, layered, namespace=env.space.name)
    stored.namespace = run.content["namespace"]  # of the trainings on record, which may have had a memory limit
    stack.callback(stored.flush)
    text = trainings.fidelity or str(run.settings.get("env_args", {}).get("fidelity") or "")
    fidelity = Fidelity.from_text(text) if text else None
    assert not isinstance(env.objective, VectorObjective), "the settings refuse rewards that are vectors"
    lookup = evaluated_lookup(env.space, stored, env.objective, fidelity=fidelity, repeats=trainings.repeats)
    if workers is None:

        def on_record(prefix: Prefix) -> bool:
            key, told = env.space.candidate(prefix).key, str(fidelity or FULL)
            answers = [layered.get(stored.namespace, key, told, repeat) for repeat in range(trainings.repeats)]
            return None not in answers

        lookup = _only(on_record, lookup)
    return Replacing(lookup=lookup, how=trainings.how, episodes=tuple(one.episode for one in run.best(trainings.best)))


def _only(known: Callable[[Prefix], bool], lookup: Lookup) -> Lookup:
    """Return a lookup that asks another one for what is known, and answers None for the rest."""

    def told(prefixes: Sequence[Prefix]) -> list[Measured | None]:
        asked = [prefix for prefix in prefixes if known(prefix)]
        found = dict(zip(asked, lookup(asked), strict=True))
        return [found.get(prefix) for prefix in prefixes]

    return told


@dataclass(frozen=True)
class _Layered:
    """A store that reads what one has and what another has, and writes into the other only."""

    below: Store
    above: Store

    def get(self, namespace: str, key: str, fidelity: str, repeat: int) -> Evaluation | None:
        found = self.above.get(namespace, key, fidelity, repeat)
        return found if found is not None else self.below.get(namespace, key, fidelity, repeat)

    def put(self, namespace: str, candidate: Candidate, evaluation: Evaluation) -> None:
        self.above.put(namespace, candidate, evaluation)

    def __iter__(self) -> Iterator[tuple[str, Candidate, Evaluation]]:
        return iter(self.above)

    def __len__(self) -> int:
        return len(self.above)


def _made(run: Run) -> ArchitectureEnv:
    env = _env(run)
    if isinstance(env, str):
        raise ConfigurationError(env)
    return env


def _env(run: Run) -> ArchitectureEnv | str:
    """Return the environment of a run's settings, or in a sentence why there is none that fits the run."""
    try:
        env = SearchSettings.from_json(run.settings).make_env()
    except NasGymError as error:
        return f"the environment of the run can't be made here: {error}"
    trainer = _trainer(env)
    limit = None if isinstance(trainer, TabularEvaluator) else memory_limit_of(run.content)
    namespace = f"{env.space.name} {limited(trainer.identity, limit)}"
    if namespace != run.content["namespace"]:
        return (
            f"the run was made with another space, table, data or recipe ({run.content['namespace']!r}, "
            f"here {namespace!r})"
        )
    return env


def _trainer(env: ArchitectureEnv) -> Evaluator:
    """Return who evaluates in the end, inside all wrappers."""
    evaluator: Any = env.evaluator
    while hasattr(evaluator, "evaluator"):
        evaluator = evaluator.evaluator
    found: Evaluator = evaluator
    return found
