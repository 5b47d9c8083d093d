"""A search in a run directory: wiring, resuming, finishing."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError
from nas_gym.evaluation import FULL, Evaluation, StoredEvaluator
from nas_gym.evaluation.checkpoints import Checkpoints
from nas_gym.explain.record import DecisionLog
from nas_gym.history import Episode, HistoryFile, read_history
from nas_gym.run import Run
from nas_gym.run_directory import (
    CHECKPOINTS,
    DECISIONS,
    DERIVED,
    HISTORY,
    POLICY,
    REBUILD,
    RESULTS,
    TENSORBOARD,
    WEIGHTS,
    RunDirectory,
    read_run_file,
)
from nas_gym.store import ResultStore
from nas_gym.weights import BestWeights
from nas_gym_agents import wandb_writer
from nas_gym_agents.confirmation import Confirmation, confirm
from nas_gym_agents.ending import Ending
from nas_gym_agents.parts import Parts
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.tensorboard import TensorBoardWriter
from nas_gym_agents.wandb_writer import Wandb, check_wandb
from nas_gym_agents.watched import Watched
from nas_gym_agents.workers import RAY, Workers, hang_limit


@dataclass
class Tally:
    """Where a search stands.

    Attributes:
        episodes: Finished episodes.
        evaluations: Evaluated episodes, repeats included.
        unique: Distinct candidates.
        from_store: Evaluations that this search, replayed or not, had no need to train: repeats. With a store that
            searches share: all that this process did not train, a replay included.
        failures: Failed episodes by status.
        best: Highest validation accuracy so far; None before the first.
        share: Share of the budget that is spent, in [0, 1].
        seconds: Wall-clock seconds of this process.
    """

    episodes: int = 0
    evaluations: int = 0
    unique: int = 0
    from_store: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    best: float | None = None
    share: float = 0.0
    seconds: float = 0.0


Watch = Callable[[Tally], None]


def search(
    settings: SearchSettings,
    path: Path,
    *,
    workers: Workers | None = None,
    watch: Watch | None = None,
    begun: Callable[[str], None] | None = None,
    wandb: Wandb | None = None,
) -> dict[str, Any]:
    """Run a search in a directory and return its summary (``search --json``).

    A run of the same settings that is there already is resumed, or, if it has ended, only reported.

    Args:
        settings: What to search, and how.
        path: The run directory: new, empty, or a run of the same settings.
        workers: Where the trainings happen; None: in this process.
        watch: Called after every episode.
        begun: Called once the settings are found good and the directory is made, with advice or an empty text.
        wandb: What to tell Weights & Biases; None: nothing, unless the run that is there was told of already.

    Raises:
        NasGymError: A setting or the place can't be used; nothing was written.
    """
    RunDirectory.check(path, settings.to_json())
    if wandb is not None:
        check_wandb(wandb.project)
    parts = Parts(settings, workers or Workers())
    facts = {
        "slots": [{"name": slot.name, "choices": list(slot.choices)} for slot in parts.env.space.slots],
        "namespace": parts.namespace,
        "fidelity": str(getattr(parts.evaluator, "fidelity", FULL)),
        "stops": list(parts.stops),
        "workers": parts.workers.to_json(),
        "data": parts.data,
    }
    if parts.warm_start is not None:
        facts["warm_start"] = parts.warm_start.to_json()
    try:
        run = RunDirectory.create(path, settings.to_json(), facts)
    except BaseException:
        parts.close()
        raise
    if begun is not None:
        begun(parts.workers.advice(parts.evaluator))
    if wandb is not None and wandb_writer.FACT not in run.content:
        run.content[wandb_writer.FACT] = wandb_writer.new_fact(wandb.project, run.content["settings_hash"])
    return _in(run, parts, watch, retry_failed=False, tell=wandb.tell if wandb is not None else None)


def resume(
    path: Path,
    *,
    workers: Workers | None = None,
    watch: Watch | None = None,
    retry_failed: bool = False,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Go on with a search that was stopped or killed, and return its summary.

    The agent replays against the stored results, so that no committed training is repeated, and goes on from there: the
    history equals that of an uninterrupted search. A search that has ended is only reported.

    Args:
        path: The run directory.
        workers: Where the trainings happen; None: where they did before.
        watch: Called after every episode, replayed ones included.
        retry_failed: Whether failed trainings are tried again; the history may then change.
        tell: Is given what is to be said of Weights & Biases, where the run was told of there.

    Raises:
        NasGymError: The directory is no run, is in use, or no longer fits its data or settings.
    """
    run = RunDirectory.open(path)
    try:
        before = Workers.from_json(run.content.get("workers", {}))
        parts = Parts(SearchSettings.from_json(run.content["settings"]), workers or before)
    except BaseException:
        run.close()
        raise
    return _in(run, parts, watch, retry_failed=retry_failed, tell=tell)


def placed_again(path: Path, workers: str) -> Workers:
    """Return where a run's trainings happened, with another number or kind of workers.

    Raises:
        NasGymError: The directory is no run, or there are no such workers.
    """
    content = read_run_file(path)
    own = content["settings"].get("env_args", {}).get("time_limit_seconds")
    limit = None if workers in ("1", RAY) else hang_limit(own)  # as the search itself has it
    return Workers.from_json({**content.get("workers", {}), "workers": workers, "time_limit_seconds": limit})


def _in(
    run: RunDirectory,
    parts: Parts,
    watch: Watch | None,
    *,
    retry_failed: bool,
    tell: Callable[[str], None] | None,
) -> dict[str, Any]:
    with _stopping(run.path), ExitStack() as stack:
        stack.callback(run.close)
        stack.callback(parts.close)
        if run.content["namespace"] != parts.namespace:
            raise RunError(
                f"{str(run.path)!r} was made with other data or another training recipe "
                f"({run.content['namespace']!r}, now {parts.namespace!r}); restore them or start a new run"
            )
        warm = parts.warm_start
        if warm is not None and run.content.get("warm_start") != warm.to_json():
            raise RunError(
                f"{str(run.path)!r} began with another state of {warm.run!r}, which has changed since; "
                "restore that or start a new run"
            )
        if run.content["result"] is not None and not retry_failed:
            return dict(run.content["result"])
        return _Search(run, parts, watch, stack, retry_failed, tell).run()


@contextmanager
def _stopping(path: Path) -> Iterator[None]:
    """Turn a disk that can't be written, whatever was to be written, into a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the search in {str(path)!r} had to stop ({error.strerror or error}); what was evaluated is kept: "
            "see to the disk, then go on with nas-gym resume"
        ) from error


class _Search:
    """One process's share of a search: from the start, or from a replay, to the end."""

    def __init__(
        self,
        run: RunDirectory,
        parts: Parts,
        watch: Watch | None,
        stack: ExitStack,
        retry_failed: bool,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._run, self._parts, self._watch = run, parts, watch
        self._started = time.monotonic()
        self._tally = Tally()
        self._seen: set[str] = set()
        settings, env = parts.settings, parts.env
        self._store = ResultStore(run.path / RESULTS) if parts.shared is None else parts.shared
        stack.callback(self._store.close)
        trainer: Any = parts.pool or parts.evaluator
        self._evaluator = StoredEvaluator(trainer, self._store, namespace=env.space.name, retry_failed=retry_failed)
        stack.callback(self._evaluator.flush)  # before the store is closed
        parts.connect(self._evaluator)
        self._weights = BestWeights(run.path / WEIGHTS, max(settings.keep_weights, settings.confirm))
        if hasattr(trainer, "keep"):
            trainer.keep = self._weights
        if parts.stops and self._parts.trainer is not None and self._parts.trainer.checkpoints is None:
            self._parts.trainer.checkpoints = Checkpoints(run.path / CHECKPOINTS)
        run.finish_swap()
        begun = any((run.path / name).exists() for name in DERIVED)
        self._replayed = max(1, _count(run.path / HISTORY)) if begun else 0
        self._ask_crashed_again()
        self._replayed_seconds = 0.0
        self._place = place = run.place_for_rebuilding() if self._replayed else run.path
        self._history = HistoryFile(place / HISTORY)
        self._log = DecisionLog(place / DECISIONS)
        self._board = TensorBoardWriter(
            place / TENSORBOARD, space=env.space, settings=_flat(settings), header=lambda: self._log.header
        )
        stack.callback(self._close)
        self._wandb = wandb_writer.of_run(run.path, run.content, tell)
        self._also()
        run.update(state="running", result=None, workers=parts.workers.to_json())

    def run(self) -> dict[str, Any]:
        settings, agent = self._parts.settings, self._parts.agent
        recorder = DecisionRecorder(
            log=self._log,
            explain=settings.explain,
            share=settings.explain_share,
            clock=self._search_seconds,
            reader=self._board,
        )
        more: dict[str, Any] = {"policy_file": lambda: self._place / POLICY} if hasattr(agent, "load") else {}
        if self._parts.warm_start is not None:
            more["warm_start"] = self._parts.warm_start
        env = Watched(self._parts.env, self._episode)
        try:
            found = agent.search(env, seed=settings.seed, recorder=recorder, **more)
            self._swap_in()
            confirmation = self._confirm()
        except KeyboardInterrupt:
            self._run.update(state="interrupted")
            raise
        return self._finish(found.updates, confirmation, recorder)

    def _search_seconds(self) -> float:
        """Return the seconds of this process and, since a replay is faster, those of the trainings that it replayed."""
        return time.monotonic() - self._started + self._replayed_seconds

    def _confirm(self) -> Confirmation | None:
        """Train the best networks again; None where nothing is trained, or nothing is asked for."""
        settings = self._parts.settings
        if self._parts.trainer is None or not settings.confirm or not settings.confirm_repeats:
            return None
        best = [ranked.candidate for ranked in Run(self._run.path).best(settings.confirm)]
        repeats = settings.env_args.get("repeats", 1)
        return confirm(self._evaluator, best, settings.confirm_repeats, first=repeats) if best else None

    def _episode(
        self,
        actions: tuple[int, ...],
        slots: tuple[int, ...],
        reward: float,
        info: dict[str, Any],
        evaluation: Evaluation | None,
    ) -> None:
        failure = info.get("failure", {})
        episode = Episode(
            number=self._tally.episodes,
            actions=actions,
            slots=slots,
            key=evaluation.key if evaluation else None,
            status=evaluation.status if evaluation else str(failure.get("kind", "unknown")),
            reward=reward,
            accuracy=evaluation.accuracy if evaluation else None,
        )
        self._history.append(episode)
        if self._replayed and evaluation is not None and evaluation.key not in self._seen:
            self._replayed_seconds += evaluation.train_seconds / getattr(self._parts.pool, "capacity", 1)
        self._count(episode, evaluation)
        self._board.episode(episode, evaluation, from_store=self._tally.from_store)
        if self._replayed and self._tally.episodes >= self._replayed:
            self._swap_in()
        if self._watch is not None:
            self._watch(self._tally)

    def _count(self, episode: Episode, evaluation: Evaluation | None) -> None:
        tally, budget = self._tally, self._parts.budget
        tally.episodes += 1
        if episode.status != "ok":
            tally.failures[episode.status] += 1
        if evaluation is not None:
            self._seen.add(evaluation.key)
            tally.evaluations += 1
        if episode.accuracy is not None:
            tally.best = max(tally.best or 0.0, episode.accuracy)
        tally.unique = len(self._seen)
        # What the run's own store answers to a replay was trained by this search, so that only repeats count.
        tally.from_store = (
            self._evaluator.from_store if self._parts.shared is not None else tally.evaluations - tally.unique
        )
        # What waits for its reward is spent already, but not done.
        done = {**budget.spent, "evaluations": tally.evaluations, "unique": tally.unique}
        tally.share = min(1.0, max(done[name] / limit for name, limit in budget.limits.items()))
        tally.seconds = time.monotonic() - self._started

    def _swap_in(self) -> None:
        """Put what was rebuilt into place: the replay has caught up with the killed search."""
        if not self._replayed:
            return
        self._replayed = 0
        self._ask_crashed_again()
        self._history.close()
        self._board.close()
        self._run.swap_in()
        self._place = self._run.path
        self._history = HistoryFile(self._run.path / HISTORY)
        self._log.folder = self._run.path / DECISIONS
        self._board.reopen(self._run.path / TENSORBOARD)
        self._also()

    def _ask_crashed_again(self) -> None:
        """Have crashes of other searches that share the store asked for again; in a replay they are this one's own."""
        self._evaluator.retry_crashed = self._parts.shared is not None and not self._replayed

    def _also(self) -> None:
        """Have Weights & Biases told of what TensorBoard is told, unless it is a replay: that it was told before."""
        if self._wandb is not None and not self._replayed:
            self._board.also = self._wandb.scalars

    def _close(self) -> None:
        self._history.close()
        self._board.close()
        if self._wandb is not None:
            self._wandb.close()
        if self._replayed:  # stopped before the replay caught up: the old files stay
            shutil.rmtree(self._run.path / REBUILD, ignore_errors=True)

    def _finish(self, updates: int, confirmation: Confirmation | None, recorder: DecisionRecorder) -> dict[str, Any]:
        run, settings, tally = Run(self._run.path), self._parts.settings, self._tally
        ending = Ending(run, self._parts, self._store, self._weights, self._board)
        summary: dict[str, Any] = {
            "best": ending.best(),
            "evaluations": tally.evaluations,
            "unique": tally.unique,
            "from_store": tally.from_store,
            "failures": dict(tally.failures),
            "updates": updates,
            "confirmation": confirmation.to_json() if confirmation else None,
            "env": settings.env,
            "agent": settings.agent,
            "seed": settings.seed,
            "run_dir": str(self._run.path),
        }
        if settings.explain != "none":
            summary["explanations"] = ending.explain(recorder)
        self._board.close()
        summary["seconds"] = round(time.monotonic() - self._started, 3)
        summary["explaining_seconds"] = round(recorder.seconds, 3)
        self._run.update(state="finished", result=summary)
        if self._wandb is not None:
            self._wandb.finish(summary)
        return summary


def _count(history: Path) -> int:
    """Return how many episodes a killed search has left; damage counts as none, since all is rebuilt."""
    try:
        return len(read_history(history))
    except RunError:
        return 0


def _flat(settings: SearchSettings) -> dict[str, bool | int | float | str]:
    """Return the settings as HParams takes them."""
    data = settings.to_json()
    nested = {f"{n}.{k}": v for n in ("env_args", "agent_args") for k, v in data.pop(n).items()}
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in {**data, **nested}.items()
        if value is not None
    }
