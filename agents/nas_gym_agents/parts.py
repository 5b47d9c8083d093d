"""What a search is made of: budget, agent, environment, evaluators, workers."""

from typing import TYPE_CHECKING, Any

from nas_gym.data import Dataset
from nas_gym.evaluation import Evaluator, StoredEvaluator, SuccessiveHalving, TabularEvaluator
from nas_gym.store import ResultStore
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.warm_start import read_warm_start
from nas_gym_agents.workers import Workers
from nas_gym_envs import ArchitectureEnv, Budget

if TYPE_CHECKING:
    from nas_gym.evaluation.training import TrainingEvaluator


class Parts:
    """What a search is made of, made before anything is written."""

    def __init__(self, settings: SearchSettings, workers: Workers) -> None:
        self.settings, self.workers = settings, workers
        self.budget: Budget = settings.make_budget()
        self.agent = settings.make_agent()
        self.env: ArchitectureEnv = settings.make_env()
        self.warm_start = (
            None
            if settings.warm_start is None
            else read_warm_start(settings.warm_start, self.agent, self.env.space.slots)
        )
        # What decides which trainings to ask for (repeats, halving) goes around the store, what trains inside it.
        self._around: list[Any] = []
        self.evaluator: Evaluator = self.env.evaluator
        while hasattr(self.evaluator, "evaluator"):
            if not isinstance(self.evaluator, StoredEvaluator):
                self._around.append(self.evaluator)
            self.evaluator = self.evaluator.evaluator
        self.shared = ResultStore(settings.store) if settings.store else None
        try:
            # A table answers at once: workers would only take its answers from one process to another.
            self.pool = None if isinstance(self.evaluator, TabularEvaluator) else workers.pool(self.evaluator)
            self.namespace = f"{self.env.space.name} {(self.pool or self.evaluator).identity}"
        except BaseException:
            self.close()
            raise

    @property
    def trainer(self) -> "TrainingEvaluator | None":
        """What trains; None where nothing is trained."""
        from nas_gym.evaluation.training import TrainingEvaluator

        return self.evaluator if isinstance(self.evaluator, TrainingEvaluator) else None

    @property
    def data(self) -> dict[str, Any]:
        """What is known of the data, JSON-ready: names and sizes; empty where the evaluator has none."""
        if isinstance(self.evaluator, TabularEvaluator):
            table = self.evaluator.table
            known = {
                name: value for name, value in table.facts.items() if isinstance(value, str) and name != "identity"
            }
            trained_on = table.facts.get("data")
            known |= {"data": trained_on["name"]} if isinstance(trained_on, dict) and "name" in trained_on else {}
            return {"table": table.name, "rows": len(table), "facts": known}
        dataset = getattr(self.evaluator, "dataset", None)
        if not isinstance(dataset, Dataset):
            return {}
        parts = {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")}
        return {
            "name": dataset.name,
            "input_shape": list(dataset.input_shape),
            "classes": dataset.n_classes,
            "fingerprint": dataset.fingerprint,
            **parts,
        }

    @property
    def stops(self) -> tuple[int, ...]:
        """Epochs after which trainings stop and the best go on; empty: they don't stop."""
        return next((one.stops for one in self._around if isinstance(one, SuccessiveHalving)), ())

    def connect(self, stored: StoredEvaluator) -> None:
        """Have the environment ask a store, which asks who trains."""
        for wrapper in self._around[-1:]:
            wrapper.evaluator = stored
        self.env.evaluator = self._around[0] if self._around else stored
        self.env.budget = self.budget
        self.env.late_rewards = self.env.capacity > 1

    def close(self) -> None:
        """Stop the workers and give the store back."""
        pool = getattr(self, "pool", None)
        if pool is not None:
            pool.close()
        if self.shared is not None:
            self.shared.close()
