"""What can still be reached after every decision, by dynamic programming, and what was lost for good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.spaces.space import Prefix

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reachable:
    """Of every prefix of a space, complete or not, what can come of it.

    Attributes:
        best: The best score of its completions.
        expected: The mean score if every later decision is drawn uniformly from the legal ones: the value that a
            perfect critic of the uniform policy gives.
    """

    best: Mapping[Prefix, float]
    expected: Mapping[Prefix, float]

    def best_along(self, prefix: Prefix) -> Vector:
        """Return the best score that can be reached before every decision and after the last: float64 (T + 1,)."""
        return _along(self.best, prefix)

    def expected_along(self, prefix: Prefix) -> Vector:
        """Return the same of the expected score."""
        return _along(self.expected, prefix)

    def regret(self, prefix: Prefix) -> Vector:
        """Return what every decision lost for good, float64 (T,), at least 0.

        The best score that could be reached before it minus that after it; over an episode they sum to the best score
        of the space minus the episode's own.

        Args:
            prefix: A legal one, complete or not.

        Raises:
            ConfigurationError: The prefix is none of the space.
        """
        best = self.best_along(prefix)
        return best[:-1] - best[1:]


def _along(values: Mapping[Prefix, float], prefix: Prefix) -> Vector:
    try:
        return np.array([values[prefix[:end]] for end in range(len(prefix) + 1)])
    except KeyError as error:
        raise ConfigurationError(f"no complete prefix of this space begins with {error.args[0]}") from None


def reachable(prefixes: Sequence[Prefix], scores: Vector) -> Reachable:
    """Return what can be reached from every prefix, by dynamic programming from the complete ones backwards.

    Bellman's optimality equation without intermediate rewards: best(p) = max over legal actions a of best(p + a), and
    with the mean in place of the maximum the value of the uniform policy (Sutton and Barto 2018, equations 3.19, 3.14).

    Args:
        prefixes: All complete prefixes of a space, each once (`nas_gym.explain.prefixes.complete_prefixes`).
        scores: Of each, float64 (n,).

    Raises:
        ConfigurationError: There are none, or not as many scores.
    """
    if not prefixes or len(prefixes) != len(scores):
        raise ConfigurationError(f"a score per prefix is needed, got {len(prefixes)} prefixes and {len(scores)} scores")
    best: dict[Prefix, float] = dict(zip(prefixes, scores.tolist(), strict=True))
    expected = dict(best)
    longest = max(map(len, prefixes))
    levels: list[list[Prefix]] = [[] for _ in range(longest + 1)]
    for prefix in prefixes:
        levels[len(prefix)].append(prefix)
    for length in range(longest, 0, -1):
        following: dict[Prefix, list[Prefix]] = {}
        for prefix in levels[length]:
            following.setdefault(prefix[:-1], []).append(prefix)
        for shorter, longer in following.items():
            best[shorter] = max([best[one] for one in longer])
            expected[shorter] = sum([expected[one] for one in longer]) / len(longer)
        levels[length - 1] += following
    return Reachable(best, expected)
