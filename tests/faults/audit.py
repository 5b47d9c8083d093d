"""The rules that a search keeps under faults, checked on what it leaves behind."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from comparing import committed, differences, events

import nas_gym
from nas_gym.evaluation import Evaluation, Fidelity
from nas_gym.history import Episode
from nas_gym.store import ResultStore

FULL = str(Fidelity())


@dataclass
class Row:
    """What one kind of fault came to, over one or several searches.

    Attributes:
        fault: What was done.
        searches: Finished searches under the fault.
        injected: How often the fault struck.
        retried: Trainings that were begun again because their worker was lost.
        statuses: Final statuses in the stores, by number of networks.
        lost: Results of the history that are not in the store as the history tells them, and committed ones that went.
        doubled: Episodes, rows or committed trainings that are there twice.
        unequal: Searches whose history, decisions, events, weights or result differ from the undisturbed search's.
        broken: Rules that were broken, in words.
        notes: Other counts, such as kills by what the search was doing.
    """

    fault: str
    searches: int = 0
    injected: int = 0
    retried: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    unequal: int = 0
    broken: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Whether no rule was broken."""
        return not (self.lost or self.doubled or self.unequal or self.broken)

    def finished(self, run: Path, reference: Path | None = None) -> None:
        """Check a search that has ended, against the undisturbed one if there is one."""
        self.searches += 1
        store = stored(run)
        self.statuses.update(evaluation.status for evaluation in store.values())
        self._compare_with_store(run, store)
        self._compare_with_events(run)
        if reference is not None:
            found = differences(run, reference)
            self.unequal += bool(found)
            self.broken += [f"{run.name}: {difference}" for difference in found]

    def _compare_with_store(self, run: Path, store: Mapping[str, Evaluation]) -> None:
        loaded = nas_gym.load(run)
        numbers = [episode.number for episode in loaded.history]
        if loaded.content["state"] != "finished" or len(numbers) < loaded.settings["evaluations"]:
            self.broken.append(f"{run.name} stopped after {len(numbers)} episodes")
        self.doubled += len(numbers) - len(set(numbers))
        self.lost += (max(numbers, default=-1) + 1) - len(set(numbers))
        self.lost += sum(_missing(episode, store) for episode in loaded.history)
        if left := set(store) - {episode.key for episode in loaded.history} and not loaded.settings["store"]:
            self.broken.append(f"{run.name}: {left} results belong to no episode")
        for evaluation in store.values():
            if not evaluation.ok and not evaluation.reason:
                self.broken.append(f"{run.name}: a failure ({evaluation.status}) has no reason")

    def _compare_with_events(self, run: Path) -> None:
        """TensorBoard counts failed episodes; by kind they are those of the history, which are the store's."""
        counted = Counter(e.status for e in nas_gym.load(run).history if e.status != "ok")
        shown = {tag.removeprefix("nas/failures/"): values for tag, values in events(run).items() if "failures/" in tag}
        wanted = {"all": counted.total(), **counted}
        last = {kind: int(values[-1][1]) for kind, values in shown.items()}
        if last != wanted:
            self.broken.append(f"{run.name}: TensorBoard counts the failures {last}, the history {wanted}")


def stored(run: Path) -> dict[str, Evaluation]:
    """Return the full evaluations of a run's store by key, with nothing else in it allowed."""
    content = nas_gym.load(run)
    store = ResultStore(content.settings["store"] or run / "results.sqlite")
    try:
        rows = [evaluation for namespace, _, evaluation in store if namespace == content.content["namespace"]]
    finally:
        store.close()
    found = {evaluation.key: evaluation for evaluation in rows if (evaluation.fidelity, evaluation.repeat) == (FULL, 0)}
    assert len(found) == len(rows), "a search of full evaluations stores nothing else, and nothing twice"
    return found


def _missing(episode: Episode, store: Mapping[str, Evaluation]) -> bool:
    """Return whether an episode's evaluation is not in the store as the history tells it."""
    if episode.key is None:
        return False
    evaluation = store.get(episode.key)
    return evaluation is None or (evaluation.status, evaluation.accuracy) != (episode.status, episode.accuracy)


def committed_keys(run: Path) -> set[str]:
    """Return the keys of all committed evaluations, of a run whose process may have been killed."""
    return {question[1] for question in committed(run)}
