"""A model of an archive: from decisions to reward, with one column per slot, and how far it can be trusted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.archive import Archive

Floats = NDArray[np.float64]

FOLDS = 5
SHUFFLES = 10
FEWEST_NETWORKS = 10  # below, there is no model at all
FEWEST_RELIABLE = 30
LEAST_RANK_CORRELATION = 0.3
TREES, DEPTH, RATE, SHARE = 200, 4, 0.05, 0.7


@dataclass(frozen=True)
class Trust:
    """How well a model orders and predicts networks it was not fitted to (cross-validation).

    Attributes:
        n: Networks.
        rank_correlation: Spearman's, of held-out predictions and rewards, in [-1, 1].
        error: Root mean squared error of held-out predictions, in units of the reward.
        deviation: Standard deviation of the rewards: the error of always saying the mean.
    """

    n: int
    rank_correlation: float
    error: float
    deviation: float

    @property
    def reliable(self) -> bool:
        """Whether what follows from the model may be told without a warning."""
        return self.n >= FEWEST_RELIABLE and self.rank_correlation >= LEAST_RANK_CORRELATION

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return asdict(self) | {"reliable": self.reliable}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Trust":
        """Return what `to_json` wrote."""
        return cls(int(data["n"]), data["rank_correlation"], data["error"], data["deviation"])


class ArchiveModel:
    """Gradient boosted trees (Friedman 2001, Annals of Statistics 29) on one number per slot.

    The number of a choice is the mean reward of its networks, drawn towards the mean of all as if by one network more:
    of categories in this order, a tree finds the best split by its thresholds (Fisher 1958, JASA 53). A choice that was
    never seen has the mean of all.

    Args:
        sizes: Number of choices of every slot.
        seed: Of the subsamples of rows.
    """

    def __init__(self, sizes: tuple[int, ...], seed: int) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        self._sizes = sizes
        self.trees = GradientBoostingRegressor(
            n_estimators=TREES, max_depth=DEPTH, learning_rate=RATE, subsample=SHARE, random_state=seed
        )
        self._numbers: list[Floats] = []

    def fit(self, decisions: NDArray[np.int16], rewards: Floats) -> "ArchiveModel":
        """Fit the model to decisions, int16 (n, slots), and rewards, float64 (n,)."""
        mean = rewards.mean()
        self._numbers = []
        for slot, size in enumerate(self._sizes):
            codes = decisions[:, slot] + 1
            sums = np.bincount(codes, weights=rewards, minlength=size + 1)
            self._numbers.append((sums + mean) / (np.bincount(codes, minlength=size + 1) + 1))
        self.trees.fit(self.columns(decisions), rewards)
        return self

    def columns(self, decisions: NDArray[np.int16]) -> Floats:
        """Return the numbers of decisions, float64 (n, slots)."""
        return np.stack([numbers[decisions[:, i] + 1] for i, numbers in enumerate(self._numbers)], axis=1)

    def predict(self, decisions: NDArray[np.int16]) -> Floats:
        """Return the predicted rewards of decisions, float64 (n,)."""
        return np.asarray(self.trees.predict(self.columns(decisions)), dtype=np.float64)

    def attributions(self, decisions: NDArray[np.int16]) -> tuple[Floats, float]:
        """Return the Shapley values of every slot, float64 (n, slots), and what they start from.

        TreeSHAP along the paths of the trees (Lundberg et al. 2020, Nature Machine Intelligence 2, algorithm 2); the
        prediction of a row is the start plus the sum of its values.
        """
        import shap

        explainer = shap.TreeExplainer(self.trees, feature_perturbation="tree_path_dependent")
        values = np.asarray(explainer.shap_values(self.columns(decisions)), dtype=np.float64)
        return values, float(np.ravel(explainer.expected_value)[0])


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model of an archive, with the models of its folds.

    Attributes:
        model: Fitted to everything.
        trust: From the folds.
        folds: Each a model, the rows it was not fitted to.
    """

    model: ArchiveModel
    trust: Trust
    folds: tuple[tuple[ArchiveModel, NDArray[np.intp]], ...]

    def predict(self, decisions: NDArray[np.int16]) -> Floats:
        """Return the predicted rewards of decisions, float64 (n,)."""
        return self.model.predict(decisions)


def fit(archive: Archive, seed: int = 0) -> Fitted | None:
    """Return a model of an archive, or None where there are too few networks, or all have one reward."""
    from scipy.stats import spearmanr
    from sklearn.model_selection import KFold

    if len(archive) < FEWEST_NETWORKS or not archive.varied or not np.ptp(archive.decisions, axis=0).any():
        return None
    sizes = tuple(len(slot.choices) for slot in archive.slots)
    held_out = np.empty(len(archive))
    folds = []
    for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(archive.decisions):
        model = ArchiveModel(sizes, seed).fit(archive.decisions[train], archive.rewards[train])
        held_out[test] = model.predict(archive.decisions[test])
        folds.append((model, test))
    correlation = float(spearmanr(held_out, archive.rewards)[0]) if np.ptp(held_out) > 0 else 0.0
    error = float(np.sqrt(np.mean((held_out - archive.rewards) ** 2)))
    trust = Trust(len(archive), correlation, error, float(archive.rewards.std()))
    return Fitted(ArchiveModel(sizes, seed).fit(archive.decisions, archive.rewards), trust, tuple(folds))


def permutation_importance(archive: Archive, fitted: Fitted, seed: int = 0) -> tuple[tuple[float, float], ...]:
    """Return by how much the held-out error rises when a slot's choices are shuffled among networks.

    Breiman 2001 ("Random Forests", Machine Learning 45, section 10), by scikit-learn, on the networks that each fold's
    model was not fitted to. Shuffling makes lists of choices that a space with masks does not have.

    Returns:
        For every slot the mean rise of the mean squared error, as a share of the variance of the rewards, and its
        standard deviation over folds and shuffles.
    """
    from sklearn.inspection import permutation_importance as permuted

    variance = float(archive.rewards.var())

    def score(model: ArchiveModel, decisions: NDArray[np.int16], rewards: Floats) -> float:
        return -float(np.mean((model.predict(decisions) - rewards) ** 2)) / variance

    rises = []
    for model, test in fitted.folds:
        decisions, rewards = archive.decisions[test], archive.rewards[test]
        rises.append(
            permuted(model, decisions, rewards, scoring=score, n_repeats=SHUFFLES, random_state=seed)["importances"]
        )
    every = np.concatenate(rises, axis=1)  # (slots, folds * shuffles)
    return tuple(zip(every.mean(axis=1).tolist(), every.std(axis=1, ddof=1).tolist(), strict=True))
