"""How much of a search's time explaining may take, and which decisions are explained when it is short."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError

Explain = Literal["all", "budget", "none"]
EXPLAIN: tuple[Explain, ...] = get_args(Explain)
SHARE = 0.05
GRACE_SECONDS = 2.0  # a search of seconds is explained whole
_FIRST_GUESS = 1e-3  # seconds of a decision, before one was measured
_FORGET = 0.5  # weight of the latest rollout in the seconds of a decision


def check_explain(explain: str) -> Explain:
    """Return the mode.

    Raises:
        ConfigurationError: There is no such mode.
    """
    for mode in EXPLAIN:
        if explain == mode:
            return mode
    raise ConfigurationError(f"explain is one of {', '.join(EXPLAIN)}, got {explain!r}")


@dataclass
class ExplanationBudget:
    """Keeps the seconds of attributions under a share of the seconds of the search; checks of them are not counted.

    While there is time, every decision is explained. When it is short, whole episodes are: the one with the best reward
    of the rollout, the latest one, then as many others as fit, drawn at random, so that averages can be weighted by
    the inverse of the probabilities.

    Attributes:
        explain: ``"all"``: there is always time; ``"none"``: never; ``"budget"``: up to ``share``.
        share: Of the search's seconds, in (0, 1].
        clock: The search's seconds so far; None: wall-clock seconds since this object was made.
        seed: Of the draws.
        seconds: Processor seconds that explaining has taken so far; the caller adds to it (`took`). Other work on the
            machine does not count, so that a short search is explained whole on a busy one, too.

    Raises:
        ConfigurationError: There is no such mode, or the share is out of range.
    """

    explain: Explain = "budget"
    share: float = SHARE
    clock: Callable[[], float] | None = None
    seed: int = 0
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        check_explain(self.explain)
        if not 0 < self.share <= 1:
            raise ConfigurationError(f"the share of the time for explaining lies in (0, 1], got {self.share}")
        started = time.perf_counter()
        self._clock = self.clock or (lambda: time.perf_counter() - started)
        self._generator = np.random.default_rng(self.seed)
        self._each = _FIRST_GUESS

    def chances(self, episodes: NDArray[np.int64], rewards: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return with which probability every decision of a rollout was chosen, and 0 for those that were not.

        Args:
            episodes: Which decisions belong together, (n,), in the order of time.
            rewards: Of their episodes, (n,); NaN where an episode has not ended.
        """
        if self.explain == "none":
            return np.zeros(len(episodes))
        fits = len(episodes) if self.explain == "all" else self._affordable()
        if fits >= len(episodes):
            return np.ones(len(episodes))
        return self._drawn(episodes, rewards, fits)

    def took(self, seconds: float, explained: int) -> None:
        """Note what explaining so many decisions took."""
        self.seconds += seconds
        if explained:
            self._each += _FORGET * (seconds / explained - self._each)

    def _affordable(self) -> int:
        allowed = max(GRACE_SECONDS, self.share * self._clock()) - self.seconds
        return max(0, int(allowed / self._each))

    def _drawn(self, episodes: NDArray[np.int64], rewards: NDArray[np.floating], fits: int) -> NDArray[np.float64]:
        names, sizes = np.unique(episodes, return_counts=True)
        chances = np.zeros(len(episodes))
        first = [] if np.isnan(rewards).all() else [int(episodes[np.nanargmax(rewards)])]
        for name in dict.fromkeys([*first, int(episodes[-1])]):
            size = int(sizes[names == name][0])
            if size <= fits:
                chances[episodes == name] = 1.0
                fits -= size
        rest = np.array([name for name in names if not chances[episodes == name].any()])
        if len(rest):
            n = min(len(rest), int(fits / sizes[np.isin(names, rest)].mean()))
            for name in self._generator.choice(rest, n, replace=False):
                chances[episodes == name] = n / len(rest)
        return chances
