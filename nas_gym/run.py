"""Reading a run: best candidates, history, decisions, the trained module."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas_gym.architecture import Candidate
from nas_gym.costs import COSTS
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.evaluation.evaluation import Evaluation, Fidelity
from nas_gym.explain.record import Header, read_decisions, read_header
from nas_gym.explain.words import account
from nas_gym.history import Episode, read_history
from nas_gym.objective import Objective, VectorObjective, accuracy, named_objective
from nas_gym.pareto import front
from nas_gym.ranking import Answers, Plan, order
from nas_gym.run_directory import CHECKS, DECISIONS, EXPLANATIONS, HISTORY, RESULTS, WEIGHTS, read_run_file
from nas_gym.store import ResultStore
from nas_gym.weights import BestWeights, read_module

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from nas_gym.winner import Winner


@dataclass(frozen=True)
class Ranked:
    """One of the best candidates of a run.

    Attributes:
        actions: Decisions of the first episode that made it.
        candidate: Architecture and hyper-parameters.
        evaluation: Its evaluation; the mean, where it was trained several times.
        episode: Number of that episode.
        choices: The decisions in words, as pairs of slot and choice.
        n: Trainings that the evaluation is made of.
    """

    actions: tuple[int, ...]
    candidate: Candidate
    evaluation: Evaluation
    episode: int
    choices: tuple[tuple[str, str], ...]
    n: int = 1

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy in [0, 1], the mean over the trainings; None where a proxy stands in for it."""
        return self.evaluation.accuracy

    @property
    def standard_error(self) -> float | None:
        """Of the accuracy; None where it is not known."""
        return self.evaluation.standard_error


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
        """Return the k best distinct candidates: by the objective of the search, then fewer parameters.

        The objective is the validation accuracy unless the search had another one. Candidates that were evaluated again
        at its end (`nas_gym_agents.confirmation`) come first, in the order of their means over all their trainings.
        """
        first: dict[str, Episode] = {}
        for episode in self.history:
            if episode.key is not None and episode.status == "ok":
                first.setdefault(episode.key, episode)
        answers = self._answers(set(first))
        for key, known in answers.items():
            known.told = first[key].accuracy
        return [
            Ranked(e.actions, answers[key].candidate, evaluation, e.number, self.named(e.actions, e.slots), n)
            for key, evaluation, n in order(answers, self._plan, self.score)[: max(0, k)]
            for e in (first[key],)
        ]

    def pareto(self, cost: str = "macs") -> list[Ranked]:
        """Return the candidates that no other one beats in both accuracy and a cost, the cheapest first.

        Args:
            cost: One of `nas_gym.costs.COSTS`.

        Raises:
            ConfigurationError: There is no such cost.
            RunError: No network of the run tells it.
        """
        if cost not in COSTS:
            raise ConfigurationError(f"a Pareto front is drawn over one of {', '.join(COSTS)}, got {cost!r}")
        ranked = [one for one in self.best(len(self.history)) if one.accuracy is not None]
        known = [one for one in ranked if getattr(one.evaluation, cost) is not None]
        if ranked and not known:
            hint = "; search with --env-arg latency=true" if cost == "latency_ms" else ""
            raise RunError(f"no network of {str(self.path)!r} tells its {cost}{hint}")
        points = [(one.accuracy or 0.0, -float(getattr(one.evaluation, cost))) for one in known]
        kept = front(np.array(points).reshape(-1, 2))
        best = [one for one, on_front in zip(known, kept, strict=True) if on_front]
        return sorted(best, key=lambda one: (getattr(one.evaluation, cost), one.candidate.key))

    def module(self, place: int = 0) -> "nn.Module":
        """Return the trained torch module of the best candidate (or of the next ones), in evaluation mode.

        It takes normalised inputs, (n, channels, height, width).

        Raises:
            RunError: There is no such candidate, or its weights were not kept.
        """
        best = self.best(place + 1)
        if len(best) <= place:
            raise self._no_network(place, len(best))
        file = BestWeights(self.path / WEIGHTS).find(best[place].candidate.key)
        if file is None and " tabular/" in self.content["namespace"]:
            raise RunError(
                f"{str(self.path)!r} took its numbers from a table and trained nothing, so that there are no weights; "
                "nas_gym.builder.build(run.best()[0].candidate.trained) makes the network, untrained"
            )
        if file is None:
            raise RunError(
                f"the weights of network {place + 1} are not in {str(self.path / WEIGHTS)!r}: only those of the best "
                "networks that were trained in this run are kept"
            )
        module: nn.Module = read_module(file)
        return module

    def winner(self) -> "Winner":
        """Return the network that the run ends with: retrained if it was (`nas-gym retrain`), else the best one.

        Raises:
            RunError: There is none, or what is needed to use it is damaged or gone (`nas_gym.winner.load_winner`).
        """
        from nas_gym.winner import load_winner

        return load_winner(self.path)

    def explanation(self, place: int = 0) -> list[str]:
        """Return what moved the controller at each decision of the best candidate (or of the next ones), in words.

        Raises:
            RunError: Fewer candidates were evaluated.
        """
        best = self.best(place + 1)
        if not best:
            return ["No network has been evaluated yet."]
        if len(best) <= place:
            raise self._no_network(place, len(best))
        decisions = self.decisions
        return account(decisions[decisions["episode"] == best[place].episode], self.header)

    @property
    def checks(self) -> list[dict[str, Any]] | None:
        """The checks of its explanations as JSON-ready data; None where none were made, or their file is damaged.

        Each has ``name``, ``value``, ``limit``, ``passed`` (None: without a verdict) and ``sentence``.
        """
        try:
            content = json.loads((self.path / EXPLANATIONS / CHECKS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(content, list) and all(isinstance(one, dict) and "sentence" in one for one in content)
        return content if whole else None

    def _no_network(self, place: int, n: int) -> RunError:
        return RunError(f"{str(self.path)!r} holds {n} evaluated networks, number {place + 1} was asked for")

    def named(self, actions: tuple[int, ...], slots: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
        """Return decisions as pairs of slot and choice."""
        known = self.content["slots"]
        return tuple((known[s]["name"], known[s]["choices"][a]) for a, s in zip(actions, slots, strict=True))

    def evaluations(self) -> list[Evaluation]:
        """Return all evaluations of the run's candidates that its store holds: failures, repeats, confirmations too."""
        answers = self._answers({episode.key for episode in self.history if episode.key is not None})
        return [evaluation for one in answers.values() for evaluation in one.evaluations.values()]

    def score(self, evaluation: Evaluation) -> float:
        """Return what the run's objective makes of an evaluation; its proxy, where that stands in for the accuracy."""
        if evaluation.accuracy is None and evaluation.proxy is not None:
            return evaluation.proxy
        return float(self._objective(evaluation))

    @property
    def _plan(self) -> Plan:
        settings = self.settings
        repeats = settings.get("env_args", {}).get("repeats", 1)
        confirm, again = settings.get("confirm", 0), settings.get("confirm_repeats", 0)
        fidelity = settings.get("env_args", {}).get("fidelity") or self.content.get("fidelity", "full")
        searched = "" if fidelity in ("full", None) else str(Fidelity.from_text(str(fidelity)))
        return Plan(repeats if isinstance(repeats, int) else 1, confirm, again, searched, self._stops)

    @property
    def _stops(self) -> tuple[int, ...]:
        """Where successive halving stopped trainings; empty without it."""
        stops = self.content.get("stops", self.settings.get("env_args", {}).get("stops"))
        return (stops,) if isinstance(stops, int) else tuple(stops or ())

    @cached_property
    def _objective(self) -> Objective | VectorObjective:
        name = self.settings.get("env_args", {}).get("objective", "accuracy")
        try:
            return named_objective(name)
        except (ConfigurationError, AttributeError):  # of somebody else's environment
            return accuracy()

    def _answers(self, keys: set[str]) -> dict[str, Answers]:
        place = self.settings.get("store") or self.path / RESULTS
        if place == self.path / RESULTS and not self.path.joinpath(RESULTS).is_file():
            if keys:
                raise RunError(f"the results of {str(self.path)!r} are gone: there is no {RESULTS}; start a new run")
            return {}
        found: dict[str, Answers] = {}
        store = ResultStore(place)
        try:
            for namespace, candidate, evaluation in store:
                if namespace == self.content["namespace"] and evaluation.key in keys:
                    found.setdefault(evaluation.key, Answers(candidate)).add(evaluation)
        finally:
            store.close()
        return found
