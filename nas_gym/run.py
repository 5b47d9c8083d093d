"""Reading a run: best candidates, history, decisions, the trained module."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.architecture import Candidate
from nas_gym.errors import RunError
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.explain.record import Header, read_decisions, read_header
from nas_gym.explain.words import account
from nas_gym.history import Episode, read_history
from nas_gym.run_directory import DECISIONS, HISTORY, RESULTS, WEIGHTS, read_run_file
from nas_gym.store import ResultStore
from nas_gym.weights import BestWeights, rank, read_module

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclass(frozen=True)
class Ranked:
    """One of the best candidates of a run.

    Attributes:
        actions: Decisions of the first episode that made it.
        candidate: Architecture and hyper-parameters.
        evaluation: Its evaluation.
        episode: Number of that episode.
        choices: The decisions in words, as pairs of slot and choice.
    """

    actions: tuple[int, ...]
    candidate: Candidate
    evaluation: Evaluation
    episode: int
    choices: tuple[tuple[str, str], ...]


class Run:
    """A run directory, read-only; `nas_gym.load` makes one. A running search can be read too.

    Args:
        path: The run directory.

    Raises:
        RunError: It is no run, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.content = read_run_file(self.path)

    @property
    def settings(self) -> dict[str, Any]:
        """What decided the search."""
        return dict(self.content["settings"])

    @property
    def result(self) -> dict[str, Any] | None:
        """The summary a finished search wrote; None before."""
        result: dict[str, Any] | None = self.content["result"]
        return result

    @cached_property
    def history(self) -> list[Episode]:
        """All episodes, in order."""
        return read_history(self.path / HISTORY)

    @cached_property
    def decisions(self) -> "pd.DataFrame":
        """All decisions with their attributions, one row each (`nas_gym.explain.Decision`)."""
        return read_decisions(self.path / DECISIONS)

    @property
    def header(self) -> Header:
        """Names of slots, choices and groups of the decisions."""
        return read_header(self.path / DECISIONS)

    def best(self, k: int = 1) -> list[Ranked]:
        """Return the k best distinct candidates: by validation accuracy, then fewer parameters."""
        first: dict[str, Episode] = {}
        for episode in self.history:
            if episode.key is not None and episode.accuracy is not None:
                first.setdefault(episode.key, episode)
        answers = self._answers(set(first))
        ordered = sorted(answers, key=lambda key: rank(answers[key][1].accuracy or 0, answers[key][1].parameters, key))
        return [
            Ranked(e.actions, *answers[e.key or ""], e.number, self.named(e.actions, e.slots))
            for e in (first[key] for key in ordered[: max(0, k)])
        ]

    def module(self, place: int = 0) -> "nn.Module":
        """Return the trained torch module of the best candidate (or of the next ones), in evaluation mode.

        It takes normalised inputs, (n, channels, height, width).

        Raises:
            RunError: There is no such candidate, or its weights were not kept.
        """
        best = self.best(place + 1)
        if len(best) <= place:
            raise RunError(f"{str(self.path)!r} holds {len(best)} evaluated networks, number {place + 1} was asked for")
        file = BestWeights(self.path / WEIGHTS).find(best[place].candidate.key)
        if file is None:
            raise RunError(
                f"the weights of network {place + 1} are not in {str(self.path / WEIGHTS)!r}: only those of the best "
                "networks that were trained in this run are kept"
            )
        module: nn.Module = read_module(file)
        return module

    def explanation(self, place: int = 0) -> list[str]:
        """Return what moved the controller at each decision of the best candidate (or of the next ones), in words."""
        best = self.best(place + 1)
        if len(best) <= place:
            return ["No network has been evaluated yet."]
        decisions = self.decisions
        return account(decisions[decisions["episode"] == best[place].episode], self.header)

    def named(self, actions: tuple[int, ...], slots: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
        """Return decisions as pairs of slot and choice."""
        known = self.content["slots"]
        return tuple((known[s]["name"], known[s]["choices"][a]) for a, s in zip(actions, slots, strict=True))

    def _answers(self, keys: set[str]) -> dict[str, tuple[Candidate, Evaluation]]:
        place = self.settings.get("store") or self.path / RESULTS
        if place == self.path / RESULTS and not self.path.joinpath(RESULTS).is_file():
            if keys:
                raise RunError(f"the results of {str(self.path)!r} are gone: there is no {RESULTS}; start a new run")
            return {}
        store = ResultStore(place)
        try:
            return {
                evaluation.key: (candidate, evaluation)
                for namespace, candidate, evaluation in store
                if namespace == self.content["namespace"]
                and evaluation.key in keys
                and evaluation.fidelity == "full"
                and not evaluation.repeat
                and evaluation.ok
            }
        finally:
            store.close()
