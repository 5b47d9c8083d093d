"""The budget: it belongs to the environment, so that every agent spends the same."""

from numbers import Real

from nas_gym.errors import BudgetError
from nas_gym.evaluation import Evaluation

IDLE_EPISODES = 10_000
UNITS = ("evaluations", "unique", "epochs", "cost_seconds", "simulated_seconds")
_KNOWN_AFTERWARDS = {"epochs", "cost_seconds", "simulated_seconds"}


class Budget:
    """What a search may spend; the first unit that runs out ends it.

    An episode is charged when its candidate has been evaluated, repeats included. An agent that keeps choosing illegal
    actions, or (under a budget of unique candidates alone) known ones, would search for ever; so a
    number of episodes in a row without any charge ends the search too.

    Args:
        evaluations: Complete candidates, an agent's repeats included. One that is trained several times for its
            reward (`nas_gym.evaluation.Repeated`) is one evaluation.
        unique: Distinct keys, counted at their first appearance in this search, whoever trained them.
        epochs: Training epochs of first appearances, those of all trainings of one reward.
        cost_seconds: Seconds of first appearances, as stored: trainings' seconds, or simulated ones from a table.
        simulated_seconds: Seconds of every evaluation, repeats included, as a table tells them. The search goes on
            while their sum is below the limit, so that the last evaluation may overshoot it: the protocol of NATS-Bench
            (Dong et al. 2021, arXiv 2009.00437; ``simulate_train_eval`` and the authors' search scripts).
        idle_episodes: Episodes in a row that may pass without anything being charged.

    Raises:
        BudgetError: A unit is not positive, or none is given.
    """

    def __init__(
        self,
        *,
        evaluations: int | None = None,
        unique: int | None = None,
        epochs: int | None = None,
        cost_seconds: float | None = None,
        simulated_seconds: float | None = None,
        idle_episodes: int = IDLE_EPISODES,
    ) -> None:
        self.limits: dict[str, float] = {
            name: value
            for name, value in (
                ("evaluations", evaluations),
                ("unique", unique),
                ("epochs", epochs),
                ("cost_seconds", cost_seconds),
                ("simulated_seconds", simulated_seconds),
            )
            if value is not None
        }
        if not self.limits:
            raise BudgetError(f"a budget needs a limit on {', '.join(UNITS[:-1])} or {UNITS[-1]}; none was given")
        for name, value in {**self.limits, "idle_episodes": idle_episodes}.items():
            if not isinstance(value, Real) or not value > 0:
                raise BudgetError(f"a budget's {name} must be a positive number, got {value!r}")
        self.idle_episodes = idle_episodes
        self.spent: dict[str, float] = dict.fromkeys(UNITS, 0)
        self._seen: set[str] = set()
        self._idle = 0

    @property
    def foreseeable(self) -> bool:
        """Whether what an evaluation is charged is known before it is there: no limit is on epochs or seconds."""
        return not _KNOWN_AFTERWARDS & set(self.limits)

    def charge(self, evaluation: Evaluation, *, trainings: int = 1) -> None:
        """Charge one evaluated episode.

        Args:
            evaluation: Of its candidate.
            trainings: How many the evaluation is made of (`nas_gym.evaluation.repeated.trainings_of`), each as long as
                its curve.
        """
        before = [self.spent[name] for name in self.limits]
        self._charge_cost(evaluation, trainings, first=self._charge_candidate(evaluation.key))
        self._note_change(before)

    def charge_ahead(self, key: str) -> bool:
        """Charge one episode whose evaluation comes later; return whether it is the first of its key.

        Only for a budget that is `foreseeable`; `charge_rest` charges the rest.
        """
        before = [self.spent[name] for name in self.limits]
        first = self._charge_candidate(key)
        self._note_change(before)
        return first

    def charge_rest(self, evaluation: Evaluation, *, first: bool, trainings: int = 1) -> None:
        """Charge what was not known at `charge_ahead`."""
        self._charge_cost(evaluation, trainings, first=first)

    def _charge_candidate(self, key: str) -> bool:
        first = key not in self._seen
        self._seen.add(key)
        self.spent["evaluations"] += 1
        self.spent["unique"] += first
        return first

    def _charge_cost(self, evaluation: Evaluation, trainings: int, *, first: bool) -> None:
        self.spent["simulated_seconds"] += evaluation.cost_seconds
        if first:
            self.spent["epochs"] += trainings * len(evaluation.curve)
            self.spent["cost_seconds"] += evaluation.cost_seconds

    def _note_change(self, before: list[float]) -> None:
        changed = before != [self.spent[name] for name in self.limits]
        self._idle = 0 if changed else self._idle + 1

    def pass_idle(self) -> None:
        """Count an episode that ended without an evaluation."""
        self._idle += 1

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self._idle >= self.idle_episodes or any(self.spent[name] >= limit for name, limit in self.limits.items())
