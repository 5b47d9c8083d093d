"""How well each view of credit agrees with the exact one, network by network; a part of `compare_credit`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.credit import waterfall
from nas_gym.explain.credit_replacement import counterfactuals, table_lookup
from nas_gym.explain.credit_shapley import coalition_means, shapley_values
from nas_gym.explain.prefixes import Truth, decisions_of, slots_of
from nas_gym.explain.regret import Reachable, reachable
from nas_gym.explain.surrogate import BACKGROUND, Surrogate, distinct, fit_surrogate, shapley_of_surrogate
from nas_gym.spaces import Prefix
from nas_gym.testing import random_walk

Vector = NDArray[np.float64]
LEAST_SLOTS = 3  # of a network, for a rank correlation


@dataclass(frozen=True, eq=False)
class Exact:
    """What a table says, computed once for all seeds.

    Attributes:
        truth: The table.
        coalition_values: v of every row and coalition, float64 (n, 2**slots).
        shapley: Exact credit, float64 (n, slots).
        reach: What can be reached, by the reward.
    """

    truth: Truth
    coalition_values: Vector
    shapley: Vector
    reach: Reachable

    @classmethod
    def of(cls, truth: Truth) -> "Exact":
        """Return it for a table."""
        values = coalition_means(truth.decisions, truth.rewards)
        return cls(truth, values, shapley_values(values), reachable(truth.prefixes, truth.rewards))

    def credit(self, prefix: Prefix) -> Vector:
        """Return the exact credit of the decisions of a network, in their order."""
        return self.shapley[self.truth.rows[prefix], list(slots_of(self.truth.space, prefix))]

    def reward(self, prefix: Prefix) -> float:
        """Return the reward of a network."""
        return float(self.truth.rewards[self.truth.rows[prefix]])


Credits = dict[Prefix, Vector]  # of the decisions in their order; NaN where a view can't tell


def table_views(exact: Exact, networks: Sequence[Prefix]) -> dict[str, Credits]:
    """Return the views that need nothing but the table."""
    found = counterfactuals(exact.truth.space, networks, table_lookup(exact.truth))
    expected: Credits = {}
    for prefix in networks:
        along = exact.reach.expected_along(prefix)
        expected[prefix] = waterfall(along[:-1], float(along[-1])).credits
    return {
        "waterfall, perfect critic": expected,
        "replacement, mean": {p: np.array([_plain(one.mean) for one in of]) for p, of in found.items()},
        "replacement, best": {p: np.array([_plain(one.best) for one in of]) for p, of in found.items()},
    }


def critic_view(exact: Exact, networks: Sequence[Prefix], values: Mapping[Prefix, float]) -> Credits:
    """Return the waterfall of a critic, given its values of all prefixes along the way."""
    return {
        prefix: waterfall([values[prefix[:t]] for t in range(len(prefix))], exact.reward(prefix)).credits
        for prefix in networks
    }


def fitted(exact: Exact, archive: Mapping[Prefix, float], seed: int) -> Surrogate:
    """Return the surrogate of a run's networks and their rewards."""
    rows, rewards = distinct(decisions_of(exact.truth.space, archive), np.array(list(archive.values())))
    return fit_surrogate(rows, rewards, seed=seed)


def surrogate_view(exact: Exact, model: Surrogate, networks: Sequence[Prefix], seed: int) -> Credits:
    """Return the Shapley values in a surrogate, against random legal walks."""
    space, generator = exact.truth.space, np.random.default_rng(seed)
    walks = decisions_of(space, [random_walk(space, generator) for _ in range(BACKGROUND)])
    _, values = shapley_of_surrogate(model, decisions_of(space, networks), walks)
    return {p: row[list(slots_of(space, p))] for p, row in zip(networks, values, strict=True)}


def agreement(exact: Exact, credits: Credits) -> dict[str, float]:
    """Return how a view agrees with the exact credit over the decisions of a network, as means over networks.

    Returns:
        ``spearman``: the rank correlation over a network's decisions; ``top``: how often the decision that is credited
        most is the same; ``chance``: how often it would be by chance; ``error``: the mean absolute difference, in units
        of the reward; ``networks``: with at least three decisions that the view can tell of.
    """
    found: dict[str, list[float]] = {"spearman": [], "top": [], "chance": [], "error": []}
    for prefix, credit in credits.items():
        wanted = exact.credit(prefix)
        known = ~np.isnan(credit)
        if known.sum() < LEAST_SLOTS:
            continue
        mine, theirs = credit[known], wanted[known]
        found["spearman"].append(spearman(mine, theirs))
        found["top"].append(float(np.argmax(mine) == np.argmax(theirs)))
        found["chance"].append(1.0 / len(mine))
        found["error"].append(float(np.abs(mine - theirs).mean()))
    return {name: float(np.mean(values)) for name, values in found.items()} | {"networks": float(len(found["top"]))}


def spearman(first: Vector, second: Vector) -> float:
    """Return Spearman's rank correlation; 0 where one side is constant and so orders nothing."""
    from scipy.stats import rankdata

    a, b = rankdata(first), rankdata(second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _plain(value: Any) -> float:
    return float("nan") if value is None else float(value)
