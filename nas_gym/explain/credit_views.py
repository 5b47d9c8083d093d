"""The views of a run's credit, made one by one; each may be impossible, and then says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain import credit as names
from nas_gym.explain.credit import (
    TRUSTED_VARIANCE,
    VIEWS,
    WINDOW,
    explained_variance,
    recent_explained_variance,
    trusted,
    waterfall,
)
from nas_gym.explain.credit_file import Quality, Row, View
from nas_gym.explain.credit_replacement import Lookup, counterfactuals, table_lookup
from nas_gym.explain.credit_rows import counterfactual_rows, critic_rows, decisions_of_episodes, slot_rows, step_rows
from nas_gym.explain.credit_shapley import shapley_of_table
from nas_gym.explain.prefixes import Truth, decisions_of, truth_of
from nas_gym.explain.regret import reachable
from nas_gym.explain.surrogate import (
    BACKGROUND,
    TRUSTED_RANK_CORRELATION,
    Surrogate,
    distinct,
    fit_surrogate,
    rank_correlation,
    shapley_of_surrogate,
)
from nas_gym.objective import Accuracy, Objective
from nas_gym.testing import random_walk

if TYPE_CHECKING:
    from nas_gym.evaluation.tabular import TabularEvaluator
    from nas_gym.history import Episode
    from nas_gym.run import Run
    from nas_gym.spaces.space import SearchSpace

NOISE_DRAWS = 64

Built = Iterator[tuple[list[Row], View]]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the decisions of a run were about, made again from its settings.

    Attributes:
        space: Of the run; None: not known, and so no replacements, and no background for a surrogate.
        objective: Of the run.
        table: The evaluator of a run whose rewards came from a table; None: no exact views.
        reason: Why the space is not known.
    """

    space: SearchSpace | None = None
    objective: Objective = field(default_factory=Accuracy)
    table: TabularEvaluator | None = None
    reason: str = "the search space of the run is not known here"


@dataclass(frozen=True, kw_only=True)
class Replacing:
    """How the rewards of replaced decisions become known, where no table tells them.

    Attributes:
        lookup: Tells them.
        how: In words, such as ``"one training of 1 epoch each"``.
        episodes: Whose decisions are replaced: numbers of episodes; trainings are dear.
    """

    lookup: Lookup
    how: str
    episodes: tuple[int, ...]


@dataclass(frozen=True)
class Views:
    """Makes the views of one run; what several need is computed once.

    Attributes:
        run: The run.
        finished: Its episodes with a candidate.
        chosen: Those whose decisions are credited.
        ground: What they were about.
        replacing: Who tells the rewards of replaced decisions in place of the table.
        seed: Of what is drawn.
    """

    run: Run
    finished: list[Episode]
    chosen: list[Episode]
    ground: Ground
    replacing: Replacing | None
    seed: int

    def builders(self) -> dict[tuple[str, ...], Callable[[], Built]]:
        """Return what makes each view, or several at once; each raises ConfigurationError where there can be none."""
        return {
            (names.CRITIC,): self._critic,
            (names.COUNTERFACTUAL, names.COUNTERFACTUAL_BEST): self._counterfactual,
            (names.TABLE,): self._shapley,
            (names.EXPECTED,): self._expected,
            (names.SURROGATE,): self._surrogate,
            (names.REGRET,): self._regret,
        }

    @property
    def _space(self) -> SearchSpace:
        if self.ground.space is None:
            raise ConfigurationError(self.ground.reason)
        return self.ground.space

    @cached_property
    def _truth(self) -> Truth:
        space = self._space
        if self.ground.table is None:
            raise ConfigurationError("the rewards of this run came from no table")
        return truth_of(space, self.ground.table, self.ground.objective)

    @property
    def _rewards_name(self) -> str:
        return f"the reward in the table {self._truth.name} at {self._truth.fidelity}"

    @property
    def _exact(self) -> str:
        return f"exact over the {len(self._truth.prefixes):,} networks of the table {self._truth.name}"

    def _critic(self) -> Built:
        decisions = self.run.decisions
        decisions = decisions[decisions["value"].notna() & decisions["reward"].notna()]
        if decisions.empty:
            raise ConfigurationError("the agent of this run has no critic")
        decisions = decisions.sort_values(["episode", "step"])
        variances = recent_explained_variance(decisions["episode"], decisions["value"], decisions["reward"])
        numbers = {episode.number for episode in self.chosen}
        grouped = dict(iter(decisions[decisions["episode"].isin(numbers)].groupby("episode")))
        rows: list[Row] = []
        for one in self.chosen:
            rows += critic_rows(one, grouped.get(one.number), trusted(variances.get(one.number)))
        last = list(variances.values())[-1]
        told = "unknown, since all rewards are equal" if last is None else f"{last:.2f}"
        view = View(
            name=names.CRITIC,
            meaning=VIEWS[names.CRITIC],
            trusted=trusted(last),
            trust=f"the critic's explained variance over the last {WINDOW} episodes is {told}; {TRUSTED_VARIANCE} or "
            "more is trusted, at every episode by the ones before it",
            sums_to="the reward of the episode; the base is what the critic expected before the first decision",
            quality={
                "explained_variance": explained_variance(decisions["value"], decisions["reward"]),
                "explained_variance_at_the_end": last,
                "share_trusted": float(np.mean([trusted(variance) for variance in variances.values()])),
                "window": WINDOW,
                "n_decisions": len(decisions),
            },
        )
        yield rows, view

    def _counterfactual(self) -> Built:
        if self.replacing is None:
            episodes, lookup, how = self.chosen, table_lookup(self._truth), f"looked up: {self._rewards_name}"
        else:
            wanted = set(self.replacing.episodes)
            episodes = [episode for episode in self.chosen if episode.number in wanted]
            lookup, how = self.replacing.lookup, self.replacing.how
        found = counterfactuals(self._space, [episode.actions for episode in episodes], lookup)
        every = [one for of_prefix in found.values() for one in of_prefix]
        errors = [one.mean_error for one in every if one.mean_error is not None]
        quality: Quality = {
            "how": how,
            "n_episodes": len(episodes),
            "n_networks": len(found),
            "n_alternatives": sum(one.alternatives for one in every),
            "n_left_out": sum(one.left_out for one in every),
            "median_standard_error": float(np.median(errors)) if errors else None,
        }
        trust = f"{how}; a local effect, which sums to nothing"
        for name, best in ((names.COUNTERFACTUAL, False), (names.COUNTERFACTUAL_BEST, True)):
            rows = [row for episode in episodes for row in counterfactual_rows(episode, found, best)]
            yield rows, View(name=name, meaning=VIEWS[name], trusted=True, trust=trust, quality=quality)

    def _shapley(self) -> Built:
        truth = self._truth
        exact = shapley_of_table(truth.decisions, truth.rewards)
        errors = None if truth.errors is None else errors_of_shapley(truth.decisions, truth.errors, self.seed)
        rows: list[Row] = []
        for episode in self.chosen:
            place = truth.rows[episode.actions]
            of_place = None if errors is None else errors[place]
            rows += slot_rows(episode, names.TABLE, exact.values[place], exact.base, of_place)
        quality: Quality = {
            "table": truth.name,
            "n_networks": len(truth.prefixes),
            "base": exact.base,
            "standard_error_of_a_reward": None if truth.errors is None else float(truth.errors.mean()),
        }
        sums_to = f"{self._rewards_name}, the mean of its trainings; the base is the mean of the table"
        yield (
            rows,
            View(
                name=names.TABLE,
                meaning=VIEWS[names.TABLE],
                trusted=True,
                trust=self._exact,
                sums_to=sums_to,
                quality=quality,
            ),
        )

    def _expected(self) -> Built:
        truth = self._truth
        reach = reachable(truth.prefixes, truth.rewards)
        rows: list[Row] = []
        for episode in self.chosen:
            along = reach.expected_along(episode.actions)
            split = waterfall(along[:-1], float(along[-1]))
            rows += step_rows(episode, names.EXPECTED, split.credits, split.start)
        view = View(
            name=names.EXPECTED,
            meaning=VIEWS[names.EXPECTED],
            trusted=True,
            trust=f"{self._exact}, in the order of the decisions",
            sums_to=f"{self._rewards_name}; the base is what random decisions get on average",
            quality={"table": truth.name, "n_networks": len(truth.prefixes), "base": reach.expected[()]},
        )
        yield rows, view

    def _surrogate(self) -> Built:
        n_slots = len(self._space.slots)
        everything = decisions_of_episodes(self.finished, n_slots)
        networks, rewards = distinct(everything, np.array([episode.reward for episode in self.finished]))
        model = fit_surrogate(networks, rewards, seed=self.seed)
        generator = np.random.default_rng(self.seed)
        walks = decisions_of(self._space, [random_walk(self._space, generator) for _ in range(BACKGROUND)])
        mine, places = np.unique(decisions_of_episodes(self.chosen, n_slots), axis=0, return_inverse=True)
        base, values = shapley_of_surrogate(model, mine, walks)
        rows = [
            row
            for episode, place in zip(self.chosen, places.reshape(-1), strict=True)
            for row in slot_rows(episode, names.SURROGATE, values[place], base, trusted=model.trusted)
        ]
        yield rows, self._surrogate_view(model, base)

    def _surrogate_view(self, model: Surrogate, base: float) -> View:
        told = "unknown" if model.rank_correlation is None else f"{model.rank_correlation:.2f}"
        on_table = None
        if self.ground.table is not None:
            on_table = rank_correlation(model.predict(self._truth.decisions), self._truth.rewards)
        quality: Quality = {
            "rank_correlation": model.rank_correlation,
            "error": model.error,
            "spread": model.spread,
            "n_networks": model.n,
            "folds": model.folds,
            "background": f"{BACKGROUND} random legal walks",
            "base": base,
            "rank_correlation_over_the_table": on_table,
        }
        return View(
            name=names.SURROGATE,
            meaning=VIEWS[names.SURROGATE],
            trusted=model.trusted,
            trust=f"its predictions of {model.n} networks, each held out once, have a rank correlation of {told} with "
            f"the rewards ({TRUSTED_RANK_CORRELATION} or more is trusted) and an error of {model.error:.4f}; the "
            f"rewards' standard deviation is {model.spread:.4f}",
            sums_to="the surrogate's prediction; the base is its mean over random legal networks",
            quality=quality,
        )

    def _regret(self) -> Built:
        truth = self._truth
        reach = reachable(truth.prefixes, truth.scores)
        rows: list[Row] = []
        for episode in self.chosen:
            rows += step_rows(episode, names.REGRET, reach.regret(episode.actions), None)
        optimum = reach.best[()]
        view = View(
            name=names.REGRET,
            meaning=VIEWS[names.REGRET],
            trusted=True,
            trust=self._exact,
            of=f"score {truth.score}",
            sums_to=f"the best score {truth.score} of the table, {optimum:.4f}, minus that of the network",
            quality={"table": truth.name, "n_networks": len(truth.prefixes), "optimum": optimum},
        )
        yield rows, view


def errors_of_shapley(
    decisions: NDArray[np.int16], errors: NDArray[np.float64], seed: int, draws: int = NOISE_DRAWS
) -> NDArray[np.float64]:
    """Return the standard errors of the values of `shapley_of_table`, float64 (n, slots), from those of the scores.

    The values are linear in the scores, so that their error is the Shapley value of the noise alone: its spread over
    draws of independent normal noise.

    Args:
        decisions: As there.
        errors: Of the scores, float64 (n,).
        seed: Of the draws.
        draws: How many; the errors are known to about 1 / sqrt(2 draws).
    """
    generator = np.random.default_rng(seed)
    total = np.zeros(decisions.shape)
    for _ in range(draws):
        total += shapley_of_table(decisions, generator.normal(0.0, errors)).values ** 2
    return np.asarray(np.sqrt(total / draws))
