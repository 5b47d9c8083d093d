"""What a model-based search has evaluated, and what its model imagines of the rest."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas_gym.spaces import Prefix
from nas_gym_agents.decision_process import DecisionProcess, decisions_of
from nas_gym_agents.network_features import FeatureTable
from nas_gym_agents.reward_model import GaussianProcess, Kernel, Posterior, Vector, fitted, normal_scores
from nas_gym_agents.reward_prior import RewardPrior

MOST_FITTED = 1000  # evaluations the model is fitted on: the best half and the latest half of so many
TRUST = 0.5  # what a prior's ranking is taken to be worth before anything was evaluated …
TRUSTED = 5  # … and for how many evaluations that counts
TURNS = (0, 1, -1)  # of the exponent of the spread


@dataclass(frozen=True)
class Fit:
    """A model and what it was fitted on.

    Attributes:
        process: The Gaussian process; its targets are normal scores.
        numbers: Of the candidates, in the feature table.
        prior: From another search; None: a constant mean.
        weight: What the prior's mean is multiplied by.
    """

    process: GaussianProcess
    numbers: list[int]
    prior: RewardPrior | None = None
    weight: float = 0.0

    def prior_mean(self, prefixes: Sequence[Prefix]) -> Vector | float:
        """Return what candidates were expected to get before anything was evaluated, in normal scores."""
        return 0.0 if self.prior is None else self.weight * self.prior(prefixes)


class Archive:
    """What was evaluated, and the features of all candidates that anybody asked for.

    Args:
        process: The decisions.
        prior: From another search; None: none.
    """

    def __init__(self, process: DecisionProcess, prior: RewardPrior | None = None) -> None:
        self._process, self._prior = process, prior
        self.features = FeatureTable(networks=process.networks)
        self.rewards: dict[Hashable, float] = {}  # the mean, by identity, in order
        self._counts: dict[Hashable, int] = {}
        self._prefixes: dict[Hashable, Prefix] = {}
        self._numbers: dict[Hashable, int] = {}

    @property
    def kernel(self) -> Kernel:
        """The kernel to begin with: all parts alike."""
        n = self.features.n_parts
        return Kernel(weights=tuple([1 / n] * n))

    def identity(self, prefix: Prefix) -> Hashable:
        """Return what is equal for complete prefixes of the same candidate."""
        return self._process.identity(prefix)

    def add(self, prefix: Prefix, reward: float) -> None:
        """Note an evaluation; rewards of the same candidate are averaged."""
        if self._process.state(prefix) is not None:
            return  # cut short by something illegal: no candidate
        identity = self._process.identity(prefix)
        count = self._counts.get(identity, 0)
        self.rewards[identity] = (self.rewards.get(identity, 0.0) * count + reward) / (count + 1)
        self._counts[identity] = count + 1
        self._prefixes.setdefault(identity, prefix)
        self.number(identity, prefix)

    def number(self, identity: Hashable, prefix: Prefix) -> int:
        """Return the number of a candidate in the feature table."""
        number = self._numbers.get(identity)
        if number is None:
            decisions, graph = decisions_of(self._process, prefix), self._process.graph(prefix)
            number = self._numbers[identity] = self.features.add(decisions, graph)
        return number

    def fit(self, start: Kernel) -> Fit:
        """Return the model of all evaluations, or of `MOST_FITTED` of them."""
        identities = list(self.rewards)
        scores = normal_scores(np.array([self.rewards[identity] for identity in identities]))
        kept = np.arange(len(identities))
        if len(kept) > MOST_FITTED:
            latest, best = kept[-MOST_FITTED // 2 :], np.argsort(-scores, kind="stable")[: MOST_FITTED // 2]
            kept = np.union1d(latest, best)
        numbers, targets, weight = [self._numbers[identities[i]] for i in kept], scores[kept], 0.0
        if self._prior is not None:
            expected = self._prior([self._prefixes[identities[i]] for i in kept])
            weight = trust(expected, targets)
            targets = targets - weight * expected
        process = fitted(start, self.features.similarities(numbers, numbers), targets)
        return Fit(process, numbers, self._prior, weight)

    def best(self, n: int) -> list[Prefix]:
        """Return the prefixes of the best evaluations."""
        order = sorted(self.rewards, key=lambda identity: -self.rewards[identity])
        return [self._prefixes[identity] for identity in order[:n]]


def trust(expected: Vector, scores: Vector) -> float:
    """Return how far a prior is believed, in [0, 1]: Spearman's correlation with what was evaluated, 0 if negative.

    Pulled to `TRUST` as if `TRUSTED` evaluations had shown that.
    """
    n = len(scores)
    varies = n > 1 and float(np.ptp(expected)) > 0 and float(np.ptp(scores)) > 0
    ranked = max(0.0, float(spearmanr(expected, scores).statistic)) if varies else 0.0
    return (n * ranked + TRUSTED * TRUST) / (n + TRUSTED)


class Imagination:
    """Judges complete prefixes by a model, and remembers what it was asked.

    Args:
        archive: What was evaluated.
        fit: The model.
        optimism: Standard deviations that are added to the mean.
        known: What is taken from the mean of candidates that were evaluated.
    """

    def __init__(self, archive: Archive, fit: Fit, *, optimism: float, known: float) -> None:
        self._archive, self._fit, self._optimism, self._known = archive, fit, optimism, known
        self._identities: dict[Prefix, Hashable] = {}
        self._values: dict[Hashable, float] = {}
        self._new: dict[Hashable, Prefix] = {}

    def __call__(self, prefixes: Sequence[Prefix]) -> NDArray[np.float64]:
        """Return the imagined rewards: upper confidence bounds; of known candidates the mean, lowered."""
        fresh: dict[Hashable, Prefix] = {}
        for prefix in prefixes:
            if prefix not in self._identities:
                self._identities[prefix] = self._archive.identity(prefix)
            if self._identities[prefix] not in self._values:
                fresh[self._identities[prefix]] = prefix
        if fresh:
            posterior = self._posterior(fresh)
            values = posterior.mean + self._optimism * posterior.deviation
            for identity, value, mean in zip(fresh, values.tolist(), posterior.mean.tolist(), strict=True):
                known = identity in self._archive.rewards
                self._values[identity] = mean - self._known if known else value
                if not known:
                    self._new[identity] = fresh[identity]
        return np.array([self._values[self._identities[prefix]] for prefix in prefixes])

    def _posterior(self, candidates: dict[Hashable, Prefix]) -> Posterior:
        numbers = [self._archive.number(identity, prefix) for identity, prefix in candidates.items()]
        posterior = self._fit.process.posterior(self._archive.features.similarities(numbers, self._fit.numbers))
        return replace(posterior, mean=posterior.mean + self._fit.prior_mean(list(candidates.values())))

    def proposals(self, n: int, spread: float = 1.0) -> list[Prefix]:
        """Return the new candidates with the highest bounds, each chosen as if the ones before were evaluated.

        Args:
            n: Most of them.
            spread: The optimism is multiplied by 1, this, and one over this in turn.
        """
        if not self._new:
            return []
        posterior, features = self._posterior(self._new), self._archive.features
        numbers = [self._archive.number(identity, prefix) for identity, prefix in self._new.items()]
        prefixes, chosen = list(self._new.values()), list[Prefix]()
        open_ = np.ones(len(prefixes), dtype=bool)
        while open_.any() and len(chosen) < n:
            optimism = self._optimism * spread ** TURNS[len(chosen) % len(TURNS)]
            bounds = np.where(open_, posterior.mean + optimism * posterior.deviation, -np.inf)
            place = int(np.argmax(bounds))
            chosen.append(prefixes[place])
            open_[place] = False
            covariances = self._fit.process.kernel(features.similarities(numbers, [numbers[place]]))[:, 0]
            posterior = posterior.believed(place, covariances)
        return chosen
