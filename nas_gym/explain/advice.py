"""Advice for the next search: which choices to drop or to fix, each with its evidence, and nothing without."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.archive import Archive
from nas_gym.explain.motifs import top_of

FEWEST_NETWORKS = 30
FEWEST_WITH = 8
LEVEL = 0.05  # of the chance that noise alone gives any advice
BLOCK = 25  # networks in a row that count as contemporaries
DROP, FIX = "drop", "fix"


@dataclass(frozen=True)
class Item:
    """One piece of advice.

    Attributes:
        kind: ``"drop"`` (leave the choice out) or ``"fix"`` (leave all others of its slot out).
        slot: Index of the slot.
        action: The choice.
        words: Slot and choice.
        n: Networks that have it.
        mean: Of their rewards.
        low: Lower end of the 95 % interval of the mean (Student's t).
        high: Upper end.
        best: Highest of their rewards.
        n_top: How many of them are in the best tenth.
        p: One-sided, against contemporaries (van Elteren), before the correction for the number of tests.
    """

    kind: str
    slot: int
    action: int
    words: str
    n: int
    mean: float
    low: float
    high: float
    best: float
    n_top: int
    p: float


@dataclass(frozen=True)
class Advice:
    """What the archive of a search says about the choices of the next.

    Attributes:
        items: The advice.
        tests: How many hypotheses were tested; each had to pass at 5 % over this number.
        median: Reward of all networks; 0 where nothing was tested.
        top: Networks in the best tenth.
        n: Networks.
        note: Why there is none, where nothing could be tested.
    """

    items: tuple[Item, ...] = ()
    tests: int = 0
    median: float = 0.0
    top: int = 0
    n: int = 0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the advice as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Advice":
        """Return the advice that `to_json` wrote."""
        return cls(**{**data, "items": tuple(Item(**item) for item in data["items"])})

    def keeps(self, decisions: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Return which architectures are left in the space that follows the advice: bool (n,).

        Args:
            decisions: Action of every slot, int16 (n, slots); -1 where a slot is not decided, which no advice forbids.
        """
        kept = np.ones(len(decisions), dtype=bool)
        for item in self.items:
            column = decisions[:, item.slot]
            has = column == item.action
            kept &= (has | (column < 0)) if item.kind == FIX else ~has
        return kept


def advise(archive: Archive) -> Advice:
    """Return the advice that the archive of a search supports.

    *Drop* a choice that at least 8 networks have if none of them is in the best tenth, the 95 % interval of their mean
    lies below the median of all, and they rank below their contemporaries. *Fix* one that the whole best tenth has, at
    least 8 networks lack, whose interval lies above the median, and whose networks rank above their contemporaries.

    The comparison with contemporaries, networks of the same 25 in a row, keeps a choice of the early search from
    looking bad because everything else was bad then: van Elteren 1960, the stratified rank sum test. Its p must be
    below 5 % over the number of tests (Bonferroni), so that noise gives any advice at all in 5 % of searches at most.
    """
    top = top_of(archive)
    if len(archive) < FEWEST_NETWORKS or top is None:
        return Advice(n=len(archive), note=f"advice needs {FEWEST_NETWORKS} networks whose best tenth stands apart")
    median = float(np.median(archive.rewards))
    candidates = list(_candidates(archive))
    tests = 2 * len(candidates)
    ranks = _ranks(archive.rewards)
    items = []
    for slot, action, has in candidates:
        z = _z(has, ranks)
        for kind, p in ((DROP, _tail(-z)), (FIX, _tail(z))):
            if p <= LEVEL / tests:
                item = _item(kind, slot, action, has, top, archive, p)
                if _supported(item, median, int(top.sum())):
                    items.append(item)
    return Advice(_without_repetition(items), tests, median, int(top.sum()), len(archive))


def _candidates(archive: Archive) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    for slot in range(len(archive.slots)):
        for action in range(len(archive.slots[slot].choices)):
            has = np.asarray(archive.decisions[:, slot] == action)
            if FEWEST_WITH <= has.sum() <= len(archive) - FEWEST_WITH:
                yield slot, action, has


def _item(
    kind: str,
    slot: int,
    action: int,
    has: NDArray[np.bool_],
    top: NDArray[np.bool_],
    archive: Archive,
    p: float,
) -> Item:
    from scipy.stats import t

    rewards = archive.rewards[has]
    n, mean = len(rewards), float(rewards.mean())
    half = float(t.ppf(0.975, n - 1) * rewards.std(ddof=1) / np.sqrt(n))
    words = f"{archive.names[slot]} = {archive.choice(slot, action)}"
    best, n_top = float(rewards.max()), int((has & top).sum())
    return Item(kind, slot, action, words, n, mean, mean - half, mean + half, best, n_top, p)


def _supported(item: Item, median: float, top: int) -> bool:
    if item.kind == DROP:
        return item.n_top == 0 and item.high < median
    return item.n_top == top and item.low > median


def _without_repetition(items: list[Item]) -> tuple[Item, ...]:
    """Leave out what a fixed choice of the same slot drops anyway."""
    fixed = {item.slot for item in items if item.kind == FIX}
    return tuple(item for item in items if item.kind == FIX or item.slot not in fixed)


def _ranks(rewards: NDArray[np.float64]) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return, per block of contemporaries, its rows and their ranks over one more than its size: in (0, 1)."""
    from scipy.stats import rankdata

    blocks = np.array_split(np.arange(len(rewards)), max(1, len(rewards) // BLOCK))
    return [(rows, rankdata(rewards[rows]) / (len(rows) + 1)) for rows in blocks]


def _z(has: NDArray[np.bool_], ranks: list[tuple[NDArray[np.intp], NDArray[np.float64]]]) -> float:
    """Return van Elteren's statistic: how far the ranks of some networks lie from those of their contemporaries.

    In every block the ranks of the networks are a draw without replacement: its sum has the mean m r and the variance
    m (1 - m / N) s², with m of N networks, their mean rank r and the variance of all ranks s².
    """
    surplus = variance = 0.0
    for rows, within in ranks:
        mine, n = within[has[rows]], len(rows)
        if 0 < len(mine) < n:
            surplus += float(mine.sum() - len(mine) * within.mean())
            variance += len(mine) * (1 - len(mine) / n) * float(within.var(ddof=1))
    return surplus / np.sqrt(variance) if variance > 0 else 0.0


def _tail(z: float) -> float:
    from scipy.stats import norm

    return float(norm.sf(z))
