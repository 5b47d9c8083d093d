"""What taught a policy the decisions of a network: plain data, and its files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.explain.record import write_atomically

if TYPE_CHECKING:
    import pandas as pd

TABLE = "influence.parquet"
CHECKS = "influence.json"
EVALUATION, UNKNOWN, ENTROPY, VALUE, MOMENTUM, UNEXPLAINED = SOURCES = (
    "evaluation",
    "unknown",  # samples that no episode is known of
    "entropy",
    "value",
    "momentum",
    "unexplained",
)


@dataclass(frozen=True)
class Share:
    """What one source did to a log-probability.

    Attributes:
        source: One of `SOURCES`.
        nats: Its share of the change.
        evaluation: Number of the episode, where the source is its reward; else -1.
        key: Of the network that episode made; None if it made none.
        without: Change that retraining without this evaluation's advantages takes away, in nats; None: not tried.
    """

    source: str
    nats: float
    evaluation: int = -1
    key: str | None = None
    without: float | None = None


@dataclass(frozen=True)
class Teacher:
    """A network whose rewards moved a log-probability; or an episode that made none.

    Attributes:
        first: Number of its first episode.
        episodes: How many there were.
        nats: What their rewards did.
        made: Whether there is a network.
    """

    first: int
    episodes: int
    nats: float
    made: bool


@dataclass(frozen=True)
class Taught:
    """One decision, and what moved its log-probability since the policy was untaught.

    ``logp == untaught + sum(share.nats for share in shares)`` up to rounding.

    Attributes:
        episode: Of the decision.
        step: Its place in the episode, from 0.
        slot: Name of what was decided.
        choice: Name of what was chosen.
        version: Version of the policy whose log-probability it is.
        untaught: Log-probability before the first update.
        logp: Log-probability at that version.
        shares: Of everything that moved it.
    """

    episode: int
    step: int
    slot: str
    choice: str
    version: int
    untaught: float
    logp: float
    shares: tuple[Share, ...] = field(repr=False)

    @property
    def teachers(self) -> list[Teacher]:
        """Networks whose rewards moved it, the strongest towards it first; their episodes count together."""
        found: dict[str | int, Teacher] = {}
        for share in self.shares:
            if share.source == EVALUATION:
                made = share.key is not None
                name = share.key if share.key is not None else share.evaluation
                one = found.get(name, Teacher(share.evaluation, 0, 0.0, made))
                found[name] = replace(one, episodes=one.episodes + 1, nats=one.nats + share.nats)
        return sorted(found.values(), key=lambda one: (-one.nats, one.first))

    def of(self, source: str) -> float:
        """Return the share of a source, of all evaluations together."""
        return sum(share.nats for share in self.shares if share.source == source)


@dataclass(frozen=True)
class Influence:
    """What taught a policy some decisions, and how far that can be relied on.

    Attributes:
        decisions: The decisions that were free, in order.
        checks: See `nas_gym_agents.influence.checks`; JSON-ready.
        began_with: The run whose policy the search began with (a warm start): what taught that is not traced. Empty: a
            fresh policy.
    """

    decisions: tuple[Taught, ...]
    checks: Mapping[str, Any]
    began_with: str = ""

    @property
    def first_policy(self) -> str:
        """What the policy before the first update is called."""
        return f"policy taken over from {self.began_with}" if self.began_with else "untaught policy"

    def frame(self) -> "pd.DataFrame":
        """Return one row per decision and source, the columns of ``influence.parquet``."""
        import pandas as pd

        rows = [
            {"episode": one.episode, "step": one.step, "policy_version": one.version, **asdict(share)}
            for one in self.decisions
            for share in one.shares
        ]
        names = ("episode", "step", "policy_version", "source", "evaluation", "key", "nats", "without")
        types = {"source": str, "nats": float, "without": float}
        return pd.DataFrame(rows, columns=names).astype(
            {name: types.get(name, "int64") for name in names if name != "key"}
        )

    def write(self, folder: Path) -> None:
        """Write the table and the checks into a folder, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{TABLE}.tmp"
        self.frame().to_parquet(unfinished, index=False)
        unfinished.replace(folder / TABLE)
        decisions = [{k: v for k, v in asdict(one).items() if k != "shares"} for one in self.decisions]
        content = {"decisions": decisions, "checks": dict(self.checks), "began_with": self.began_with}
        write_atomically(folder / CHECKS, json.dumps(content, ensure_ascii=False, indent=1))
