"""A model of rewards fitted to a run's networks, how well it predicts others, and its Shapley values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError

if TYPE_CHECKING:
    from sklearn.ensemble import GradientBoostingRegressor

Vector = NDArray[np.float64]
LEAST_NETWORKS = 30
"""Distinct networks below which no surrogate is fitted."""
TRUSTED_RANK_CORRELATION = 0.5
"""Held-out rank correlation below which a surrogate's credit is shown as untrusted."""

FOLDS = 5
BACKGROUND = 128
_AT_ONCE = 256  # rows whose values are computed in one call
_SHRINK = 2.0  # networks' worth of the overall mean, in the mean reward of a choice
_TREES = {"n_estimators": 200, "max_depth": 4, "learning_rate": 0.05, "subsample": 0.7}


@dataclass(frozen=True)
class Encoding:
    """One number per slot: the mean reward of the networks with the slot's choice, drawn towards that of all of them.

    One column per slot, so that a player of the game is exactly a slot: values of one-hot columns summed over a slot
    would not be the slot's Shapley value. A choice that no network has, or an open slot, gets the mean of all.

    Attributes:
        mean: Of all rewards.
        of_choices: Per slot, from the action (-1 for an open slot) to its number.
    """

    mean: float
    of_choices: tuple[Mapping[int, float], ...]

    def __call__(self, decisions: NDArray[np.integer]) -> Vector:
        """Return the columns, float64 (n, slots)."""
        columns = [
            [of.get(action, self.mean) for action in column]
            for of, column in zip(self.of_choices, decisions.T.tolist(), strict=True)
        ]
        return np.array(columns, dtype=np.float64).T.reshape(decisions.shape)


def encoding(decisions: NDArray[np.integer], rewards: Vector) -> Encoding:
    """Return the encoding that networks and their rewards give: (sum + 2 · mean) / (count + 2) of each choice."""
    mean = float(rewards.mean())
    of_choices = []
    for column in decisions.T:
        choices, places, counts = np.unique(column, return_inverse=True, return_counts=True)
        sums = np.bincount(places, weights=rewards)
        means = (sums + _SHRINK * mean) / (counts + _SHRINK)
        of_choices.append(dict(zip(choices.tolist(), means.tolist(), strict=True)))
    return Encoding(mean, tuple(of_choices))


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A model of rewards, and how well it predicts networks it has not seen.

    Attributes:
        encode: From decisions to the model's columns.
        model: Gradient-boosted trees.
        n: Distinct networks it was fitted to.
        folds: Of the cross-validation.
        rank_correlation: Spearman's, of held-out predictions with the rewards; None where one of them is constant.
        error: Root mean squared error of the held-out predictions, in units of the reward.
        spread: Standard deviation of the rewards: the error of predicting their mean.
    """

    encode: Encoding
    model: GradientBoostingRegressor
    n: int
    folds: int
    rank_correlation: float | None
    error: float
    spread: float

    @property
    def trusted(self) -> bool:
        """Whether the held-out rank correlation is at least `TRUSTED_RANK_CORRELATION`."""
        return self.rank_correlation is not None and self.rank_correlation >= TRUSTED_RANK_CORRELATION

    def predict(self, decisions: NDArray[np.integer]) -> Vector:
        """Return the rewards it expects, float64 (n,)."""
        return np.asarray(self.model.predict(self.encode(decisions)), dtype=np.float64)


def fit_surrogate(decisions: NDArray[np.integer], rewards: Vector, *, seed: int = 0, folds: int = FOLDS) -> Surrogate:
    """Return gradient-boosted trees (Friedman 2001, Annals of Statistics 29) fitted to distinct networks.

    The networks of a run are no uniform sample: a controller has seen more of what it likes. The held-out numbers speak
    of such networks, too.

    Args:
        decisions: Action per slot, -1 where open, integers (n, slots). Rows that decide the same must have been made
            one (`distinct`), or the held-out networks would not be unseen.
        rewards: Float64 (n,).
        seed: Of the trees and the folds.
        folds: Of the cross-validation.

    Raises:
        ConfigurationError: There are fewer than `LEAST_NETWORKS`, or all rewards are equal.
    """
    n = len(rewards)
    if n < LEAST_NETWORKS:
        raise ConfigurationError(f"a surrogate needs {LEAST_NETWORKS} distinct networks or more, the run has {n}")
    if np.ptp(rewards) == 0:
        raise ConfigurationError("a surrogate needs rewards that differ, and all of this run are equal")
    held_out = np.empty(n)
    fold = np.random.default_rng(seed).permutation(n) % folds
    for number in range(folds):
        inside = fold != number
        encode = encoding(decisions[inside], rewards[inside])
        model = _fitted(encode(decisions[inside]), rewards[inside], seed)
        held_out[~inside] = model.predict(encode(decisions[~inside]))
    encode = encoding(decisions, rewards)
    return Surrogate(
        encode=encode,
        model=_fitted(encode(decisions), rewards, seed),
        n=n,
        folds=folds,
        rank_correlation=rank_correlation(held_out, rewards),
        error=float(np.sqrt(((held_out - rewards) ** 2).mean())),
        spread=float(rewards.std()),
    )


def distinct(decisions: NDArray[np.integer], rewards: Vector) -> tuple[NDArray[np.integer], Vector]:
    """Return the distinct rows of decisions, and the mean reward of each."""
    rows, places = np.unique(decisions, axis=0, return_inverse=True)
    places = places.reshape(-1)
    return rows, np.bincount(places, weights=rewards) / np.bincount(places)


def shapley_of_surrogate(
    surrogate: Surrogate, decisions: NDArray[np.integer], background: NDArray[np.integer]
) -> tuple[float, Vector]:
    """Return the base value and the Shapley values of the decisions in the surrogate.

    Exact for its trees: interventional TreeSHAP (Lundberg et al. 2020, arXiv 1905.04610), where absent slots are taken
    from the rows of the background. Such mixtures need not be legal networks; the trees answer all the same.

    Args:
        surrogate: The model.
        decisions: Integers (n, slots).
        background: Decisions of networks that stand for "not decided", for example random legal walks: integers
            (m, slots). All of them are used.

    Returns:
        The mean prediction over the background, and float64 (n, slots): their sum is the prediction of each row.
    """
    import shap

    columns = surrogate.encode(background)
    masker = shap.maskers.Independent(columns, max_samples=len(columns))  # by itself it would draw 100 of them
    explainer: Any = shap.TreeExplainer(surrogate.model, data=masker, feature_perturbation="interventional")
    rows = surrogate.encode(decisions)
    # In pieces: a call of more than ten seconds draws a bar of progress onto the standard error stream.
    pieces = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
    values = [np.asarray(explainer.shap_values(piece, check_additivity=False)) for piece in pieces]
    return float(np.ravel(explainer.expected_value)[0]), np.concatenate([np.empty((0, rows.shape[1])), *values])


def _fitted(columns: Vector, rewards: Vector, seed: int) -> GradientBoostingRegressor:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(**_TREES, random_state=seed).fit(columns, rewards)


def rank_correlation(first: Vector, second: Vector) -> float | None:
    """Return Spearman's rank correlation of two samples, (n,) each; None where one of them is constant."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)
