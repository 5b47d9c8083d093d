"""What is told of a search when its budget is spent: its best network, pictures, what can be explained of it."""

from typing import TYPE_CHECKING, Any

from nas_gym.architecture import Candidate
from nas_gym.evaluation import TabularEvaluator
from nas_gym.run import Ranked, Run
from nas_gym.run_directory import FIGURES
from nas_gym.store import ResultStore
from nas_gym.weights import BestWeights, read_module
from nas_gym_agents.explanations import explain
from nas_gym_agents.parts import Parts
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_agents.tensorboard import TensorBoardWriter

if TYPE_CHECKING:
    from torch import nn

    from nas_gym.evaluation.training import TrainingEvaluator

NETWORK_PICTURE = "network.png"
EXPLANATION_PICTURE = "explained.png"


class Ending:
    """The end of a search.

    Args:
        run: Its run, whose history is complete.
        parts: What searched.
        store: Its results.
        weights: Of its best networks.
        board: Its events, still open.
    """

    def __init__(
        self, run: Run, parts: Parts, store: ResultStore, weights: BestWeights, board: TensorBoardWriter
    ) -> None:
        self._run, self._parts, self._store, self._weights, self._board = run, parts, store, weights, board

    def best(self) -> dict[str, Any] | None:
        """Return what is known of the best network, JSON-ready, and draw it; None if no network was evaluated."""
        best = next(iter(self._run.best(1)), None)
        if best is None:
            return None
        told = {
            "actions": list(best.actions),
            "key": best.candidate.key,
            "validation_accuracy": best.accuracy,
            "validation_standard_error": best.standard_error,
            "trainings": best.n,
            **self._test(best.candidate),
            "parameters": best.evaluation.parameters,
            "macs": best.evaluation.macs,
            "latency_ms": best.evaluation.latency_ms,
            "latency_iqr_ms": best.evaluation.latency_iqr_ms,
            "choices": dict(best.choices),
            "hyperparameters": dict(best.candidate.hyperparameters),
        }
        self._draw(best)
        return told

    def explain(self, recorder: DecisionRecorder) -> dict[str, Any]:
        """Explain the run as far as that takes no training, and tell the tab."""
        found = explain(self._run, recorder.checks)
        self._board.checks([check.to_json() for check in found.checks])
        if found.credit is not None:
            views = {view["name"]: view for view in found.credit.facts()["views"]}
            self._board.credit(found.credit.frame(), views)
        return found.to_json()

    def _draw(self, best: Ranked) -> None:
        """Draw the end into TensorBoard, and the network and its explanation into pictures."""
        from nas_gym.drawing import decision_figure
        from nas_gym_agents.account_figure import account_figure

        run = self._run
        decisions, header = run.decisions, run.header
        self._board.finish(best, decisions, header, run.explanation())
        folder = run.path / FIGURES
        folder.mkdir(exist_ok=True)
        decision_figure(self._parts.env.space, best.actions, best.evaluation).savefig(folder / NETWORK_PICTURE)
        mine = decisions[decisions["episode"] == best.episode]
        if mine["phi"].notna().any():
            title = "What moved the controller at each decision of the best network"
            account_figure(mine, header.for_figures(), title).savefig(folder / EXPLANATION_PICTURE, dpi=110)

    def _test(self, candidate: Candidate) -> dict[str, Any]:
        """Return the accuracy on the test split, touched here and nowhere else, and its standard error.

        It is that of the network's first training, whose weights are kept; of a table it is the score, which has a name
        then. Both are None without a training evaluator, or where a network of a shared store can't be trained here.
        """
        from nas_gym import standard_error

        evaluator = self._parts.evaluator
        if isinstance(evaluator, TabularEvaluator):
            scored = {"test_accuracy": evaluator.score(candidate), "score": evaluator.table.default_score}
            return scored | {"test_standard_error": None}
        trainer, tested, error = self._parts.trainer, None, None
        if trainer is not None and (module := self._trained(trainer, candidate)) is not None:
            tested = trainer.test_accuracy(module)
            error = standard_error.of_share(tested, len(trainer.dataset.test))
        return {"test_accuracy": tested, "test_standard_error": error}

    def _trained(self, trainer: "TrainingEvaluator", candidate: Candidate) -> "nn.Module | None":
        """Return the network after its first training, whose weights are kept from now on; None if that fails here."""
        file = self._weights.find(candidate.key)
        if file is not None:
            module: nn.Module = read_module(file)
            return module
        # Trained by another search that shares the store, or not among the best by one training alone.
        try:
            module, _ = trainer.train(candidate)
        except Exception:  # what another machine could train, this one may not: too little memory, too slow
            return None
        evaluation = self._store.get(self._parts.namespace, candidate.key, "full", 0)
        if evaluation is not None:
            self._weights.write(candidate, evaluation, module)
        return module
