"""Which hyper-parameters matter: PED-ANOVA over the trials of the broad stage, beside what chance would say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.winner.tuning.optuna_package import quiet
from nas_gym.winner.tuning.space import Space
from nas_gym.winner.tuning.trials import Trial

if TYPE_CHECKING:
    import optuna
    from optuna.importance import BaseImportanceEvaluator

BEST_SHARE = 0.1
FEWEST_BEST = 5  # what PED-ANOVA's documentation asks for
SHUFFLES = 200
CHANCE = 0.2  # above this share of shuffles with the same importance, a hyper-parameter counts as not important
ALWAYS = 2  # so many are kept, whatever chance says


@dataclass(frozen=True)
class Importance:
    """How much a hyper-parameter matters.

    Attributes:
        name: Its name.
        share: Its importance as a share of all, in [0, 1].
        chance: Share of the shuffles in which it was at least as important, in (0, 1]: small means that it matters.
        important: Whether it is searched on.
    """

    name: str
    share: float
    chance: float
    important: bool


def elite(trials: Sequence[Trial]) -> list[Trial]:
    """Return the best tenth of the trials, at least five (or all complete ones), the best first."""
    order = sorted((trial for trial in trials if not trial.pruned), key=lambda trial: (-trial.score, trial.number))
    return order[: max(1, _n_best(len(trials)))]


def importances(space: Space, trials: Sequence[Trial], *, seed: int = 0, shuffles: int = SHUFFLES) -> list[Importance]:
    """Return the importance of every free hyper-parameter, the most important first.

    PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255; Optuna's ``PedAnovaImportanceEvaluator``) compares where the best
    trials lie with where all of them lie: the Pearson divergence of two kernel densities, hyper-parameter by
    hyper-parameter. It needs to know which trials are the best, and nothing else of the others: pruned and failed ones
    are among these, where fANOVA (Hutter et al. 2014, PMLR 32) would need an accuracy that they never reached. Best is
    the best tenth, at least five.

    The same is computed with the scores shuffled among the trials: what then comes out is chance. A hyper-parameter is
    important if at most a fifth of the shuffles says as much of it; the two most important ones always are.

    Args:
        space: What was searched.
        trials: Of the stage.
        seed: Of the shuffles.
        shuffles: How many.
    """
    scores = np.array([trial.score for trial in trials])
    generator = np.random.default_rng(seed)
    with quiet():
        study, evaluator = ranked_study(space, trials), evaluator_for(len(trials))
        found = _divergences(study, evaluator, scores)
        at_least = dict.fromkeys(found, 0)
        for _ in range(shuffles):
            chance = _divergences(study, evaluator, generator.permutation(scores))
            for name in found:
                at_least[name] += chance[name] >= found[name]
    total = sum(found.values()) or 1.0
    order = sorted(found, key=lambda name: (-found[name], name))
    # Phipson and Smyth 2010 (arXiv 1603.05766): the trials as they are count as one of the shuffles.
    shares = {name: (1 + at_least[name]) / (1 + shuffles) for name in order}
    return [
        Importance(name, found[name] / total, shares[name], place < ALWAYS or shares[name] <= CHANCE)
        for place, name in enumerate(order)
    ]


def ranked_study(space: Space, trials: Sequence[Trial]) -> "optuna.study.Study":
    """Return a study in memory in which every trial is complete, with its `Trial.score`: what importances are told of.

    Args:
        space: Of the hyper-parameters that its trials have.
        trials: With values of them.
    """
    import optuna

    study = optuna.create_study(direction="maximize")
    for trial in trials:
        params = {name: trial.values[name] for name in space.free}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=space.distributions(), value=trial.score)
        )
    return study


def evaluator_for(n: int) -> "BaseImportanceEvaluator":
    """Return PED-ANOVA for so many trials."""
    from optuna.importance import PedAnovaImportanceEvaluator

    return PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(1, _n_best(n)) / max(1, n)))


def _n_best(n: int) -> int:
    return max(FEWEST_BEST, math.ceil(BEST_SHARE * n))


def _divergences(
    study: "optuna.study.Study", evaluator: "BaseImportanceEvaluator", scores: NDArray[np.float64]
) -> Mapping[str, float]:
    return evaluator.evaluate(study, target=lambda trial: -float(scores[trial.number]))
