"""The archive of a search: every network it evaluated, as a table of decisions and rewards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.spaces.space import Slot

if TYPE_CHECKING:
    from nas_gym.run import Ranked, Run
    from nas_gym.tables.benchmark import BenchmarkTable

UNDECIDED = -1
NOT_DECIDED = "not decided"


@dataclass(frozen=True, eq=False)
class Archive:
    """The distinct networks of a search that were evaluated, in the order of their first episodes.

    Attributes:
        slots: What can be decided.
        decisions: Action of every slot, int16 (n, slots); -1 where a slot is not decided, which is a choice of its own
            for everything that is computed from an archive.
        rewards: What the objective makes of the mean over a network's trainings, float64 (n,).
        keys: Of the networks.
        episodes: Number of the first episode of each, int64 (n,).
        objective: Name of the objective.
        failed: Distinct networks of which no training succeeded; they are left out.
        illegal: Episodes that an illegal action ended; they are left out.
        less_trained: Networks whose reward comes from a cheaper training than that of the best (successive halving).

    Raises:
        ConfigurationError: The arrays do not fit each other, or a decision is no choice of its slot.
    """

    slots: tuple[Slot, ...]
    decisions: NDArray[np.int16]
    rewards: NDArray[np.float64]
    keys: tuple[str, ...]
    episodes: NDArray[np.int64]
    objective: str = "accuracy"
    failed: int = 0
    illegal: int = 0
    less_trained: int = 0

    def __post_init__(self) -> None:
        n = len(self.keys)
        if self.decisions.shape != (n, len(self.slots)) or self.rewards.shape != (n,) or self.episodes.shape != (n,):
            raise ConfigurationError(
                f"an archive of {n} networks and {len(self.slots)} slots got decisions of {self.decisions.shape}, "
                f"rewards of {self.rewards.shape} and episodes of {self.episodes.shape}"
            )
        most = np.array([len(slot.choices) for slot in self.slots])
        if n and ((self.decisions < UNDECIDED) | (self.decisions >= most)).any():
            raise ConfigurationError("a row of an archive decides something that is no choice of its slot")
        if not np.isfinite(self.rewards).all():
            raise ConfigurationError("the rewards of an archive are finite numbers; leave failures out")

    def __len__(self) -> int:
        """Return the number of networks."""
        return len(self.keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slots."""
        return tuple(slot.name for slot in self.slots)

    @property
    def varied(self) -> bool:
        """Whether there are two different rewards at least."""
        return len(self) > 1 and bool(np.ptp(self.rewards) > 0)

    @property
    def best(self) -> int:
        """The row of the highest reward; the first of several."""
        return int(np.argmax(self.rewards))

    @property
    def median(self) -> int:
        """The row whose reward is the median of all (the lower one of two); the first of several."""
        middle = np.sort(self.rewards)[(len(self) - 1) // 2]
        return int(np.argmax(self.rewards == middle))

    def told(self, value: float, sign: str = "") -> str:
        """Return a reward as text: with four digits of the largest one.

        Args:
            value: A reward, or a difference of two.
            sign: ``"+"`` for a difference.
        """
        largest = float(np.abs(self.rewards).max(initial=0.0)) or 1.0
        return f"{value:{sign}.{max(0, 3 - int(np.floor(np.log10(largest))))}f}"

    def choice(self, slot: int, action: int) -> str:
        """Return the name of a choice."""
        return NOT_DECIDED if action == UNDECIDED else self.slots[slot].choices[action]

    def to_json(self) -> dict[str, Any]:
        """Return the archive as JSON-ready data."""
        return {
            "slots": [{"name": slot.name, "choices": list(slot.choices)} for slot in self.slots],
            "decisions": self.decisions.tolist(),
            "rewards": self.rewards.tolist(),
            "keys": list(self.keys),
            "episodes": self.episodes.tolist(),
            "objective": self.objective,
            "failed": self.failed,
            "illegal": self.illegal,
            "less_trained": self.less_trained,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Archive":
        """Return the archive that `to_json` wrote."""
        slots = tuple(Slot(slot["name"], tuple(slot["choices"])) for slot in data["slots"])
        return cls(
            slots,
            np.array(data["decisions"], dtype=np.int16).reshape(-1, len(slots)),
            np.array(data["rewards"], dtype=np.float64),
            tuple(data["keys"]),
            np.array(data["episodes"], dtype=np.int64),
            str(data["objective"]),
            int(data["failed"]),
            int(data["illegal"]),
            int(data["less_trained"]),
        )


def archive(run: "Run") -> Archive:
    """Return the archive of a run, finished or not.

    Of decisions that lead to one network, those of the first episode that made it are taken. A network that was trained
    several times, at the end of the search too, has the mean.

    Raises:
        RunError: The run's results can't be read.
    """
    history = run.history
    ranked = sorted(run.best(len(history)), key=lambda one: one.episode)
    slots = tuple(Slot(slot["name"], tuple(slot["choices"])) for slot in run.content["slots"])
    first = {episode.number: episode for episode in history}
    known = {one.candidate.key for one in ranked}
    best = {one.evaluation.fidelity for one in run.best(1)}
    return Archive(
        slots,
        rows_of([(one.actions, first[one.episode].slots) for one in ranked], len(slots)),
        np.array([run.score(one.evaluation) for one in ranked], dtype=np.float64),
        tuple(one.candidate.key for one in ranked),
        np.array([one.episode for one in ranked], dtype=np.int64),
        _objective(run, ranked),
        failed=len({episode.key for episode in history if episode.key is not None} - known),
        illegal=sum(episode.key is None for episode in history),
        less_trained=sum(one.evaluation.fidelity not in best for one in ranked),
    )


def _objective(run: "Run", ranked: "Sequence[Ranked]") -> str:
    named = str(run.settings.get("env_args", {}).get("objective", "accuracy"))
    by_proxy = any(one.evaluation.accuracy is None for one in ranked)
    return "proxy" if by_proxy and named == "accuracy" else named


def rows_of(taken: Sequence[tuple[Sequence[int], Sequence[int]]], n_slots: int) -> NDArray[np.int16]:
    """Return decisions by slot, int16 (n, n_slots), of pairs of actions and the slots they filled."""
    rows = np.full((len(taken), n_slots), UNDECIDED, dtype=np.int16)
    for row, (actions, filled) in zip(rows, taken, strict=True):
        row[list(filled)] = actions
    return rows


def archive_of_table(table: "BenchmarkTable", fidelity: str | None = None) -> Archive:
    """Return a whole table as an archive: the mean accuracy of every row at a fidelity (None: the table's default)."""
    return Archive(
        table.slots,
        table.decisions,
        table.mean_accuracy(fidelity).astype(np.float64),
        table.keys,
        np.arange(len(table), dtype=np.int64),
    )
