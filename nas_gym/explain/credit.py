"""What a decision earned: the names of the views, and the one that needs nothing but the critic.

What moved a policy (`nas_gym.explain.shapley`) is one question; what its decision earned is another, and has several
answers. Each is a view with a name of its own, and they are never mixed: `VIEWS` says what each of them means.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_gym.errors import ConfigurationError

CRITIC = "critic_waterfall"
EXPECTED = "expected_waterfall"
COUNTERFACTUAL = "counterfactual"
COUNTERFACTUAL_BEST = "counterfactual_best"
TABLE = "shapley_table"
SURROGATE = "shapley_surrogate"
REGRET = "regret"

VIEWS = {
    CRITIC: "By how much the decision raised the reward that the critic expected, in the order of the decisions; the "
    "last one is credited what was left to the reward.",
    EXPECTED: "The same waterfall with exact expectations in place of the critic: the mean reward in the table if "
    "every later decision were drawn uniformly from the legal ones.",
    COUNTERFACTUAL: "The reward minus the mean reward of the networks in which this decision alone is another one.",
    COUNTERFACTUAL_BEST: "The reward minus the best reward of the networks in which this decision alone is another "
    "one.",
    TABLE: "The Shapley value of the decision in the whole table, where decisions that are left out are averaged over.",
    SURROGATE: "The Shapley value of the decision in a model that was fitted to the networks of the run.",
    REGRET: "What the decision lost for good: the best score that could still be reached before it, minus that after.",
}
"""What each view means, in one sentence."""

TRUSTED_VARIANCE = 0.3
"""Explained variance of a critic below which its waterfall is shown as untrusted."""
WINDOW = 32
"""Episodes over which a critic is judged: it learns, so that what it was worth at first says little of it later."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Waterfall:
    """A final reward, split over the decisions of an episode in their order.

    Attributes:
        start: What was expected before the first decision, V(s_0).
        credits: One per decision, float64 (T,); ``start + credits.sum()`` is the reward.
    """

    start: float
    credits: Vector


def waterfall(values: ArrayLike, reward: float) -> Waterfall:
    """Return the steps of a critic's expectation: V(s_{t+1}) - V(s_t), and of the last decision R - V(s_{T-1}).

    With gamma = 1 and one reward at the end, these are the temporal differences of the critic (Sutton and Barto 2018,
    "Reinforcement Learning: An Introduction", equation 6.5). They telescope, so that they sum to R - V(s_0) whatever
    the critic; how they are split is the critic's belief, in this order: a decision takes credit for what it enables.

    Args:
        values: V(s_0) … V(s_{T-1}), what the critic expected before every decision, in units of the reward, (T,).
        reward: R, of the episode.

    Raises:
        ConfigurationError: There are no values.
    """
    expected = np.asarray(values, dtype=np.float64)
    if expected.ndim != 1 or not len(expected):
        raise ConfigurationError(f"a waterfall needs a value per decision, at least one, got shape {expected.shape}")
    return Waterfall(float(expected[0]), np.diff(expected, append=reward))


def credits_of_episode(values: Sequence[float | None], reward: float | None) -> list[float | None]:
    """Return the waterfall of an episode as its decisions are recorded; None for each where there is none.

    Args:
        values: Of the critic before every decision; None where there is no critic.
        reward: Of the episode; None if it did not end.
    """
    known = [value for value in values if value is not None]
    if reward is None or not known or len(known) < len(values):
        return [None] * len(values)
    return [float(credit) for credit in waterfall(known, reward).credits]


def explained_variance(values: ArrayLike, rewards: ArrayLike) -> float | None:
    """Return 1 - Var(R - V) / Var(R), how much of the rewards a critic foresaw; None where all rewards are equal.

    1 is a perfect critic, 0 one that knows no more than the mean, below 0 one that knows less
    (as `stable_baselines3.common.utils.explained_variance`).

    Args:
        values: What was expected, (n,).
        rewards: What came, (n,).
    """
    expected, came = np.asarray(values, dtype=np.float64), np.asarray(rewards, dtype=np.float64)
    spread = float(came.var()) if len(came) else 0.0
    return 1.0 - float((came - expected).var()) / spread if spread > 0 else None


def recent_explained_variance(
    episodes: ArrayLike, values: ArrayLike, rewards: ArrayLike, window: int = WINDOW
) -> dict[int, float | None]:
    """Return for every episode the explained variance over the decisions of the `window` episodes that end with it.

    Args:
        episodes: Number of the episode of every decision, rising, integers (n,).
        values: What was expected, (n,).
        rewards: Final reward of the decision's episode, (n,).
        window: How many episodes; at the start there are fewer.
    """
    numbers, starts = np.unique(np.asarray(episodes, dtype=np.int64), return_index=True)
    expected, came = np.asarray(values, dtype=np.float64), np.asarray(rewards, dtype=np.float64)
    ends = [*starts[1:].tolist(), len(expected)]
    found: dict[int, float | None] = {}
    for place, (number, end) in enumerate(zip(numbers.tolist(), ends, strict=True)):
        inside = slice(int(starts[max(0, place - window + 1)]), end)
        found[number] = explained_variance(expected[inside], came[inside])
    return found


def trusted(variance: float | None) -> bool:
    """Return whether a critic of this explained variance is trusted: `TRUSTED_VARIANCE` or more."""
    return variance is not None and variance >= TRUSTED_VARIANCE
