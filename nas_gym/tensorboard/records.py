"""What is written for the tab: records with the tag and the step they are kept under.

TensorBoard keeps a sample of a long series, and reads a whole series to give one value of it. So what comes often is
spread over *blocks*: tags with at most `PER_TAG` values each, which are kept whole unless a smaller sample is asked
for, and are read one at a time. Steps grow strictly within a tag.

| tag | step | what |
| --- | --- | --- |
| ``nas/header`` | versions of it, from 0 | names of slots, choices and groups; facts of the run |
| ``nas/episodes/%06d`` | episode | its decisions; 10 episodes each |
| ``nas/index/%06d`` | hundreds of episodes | reward, length, … of 100 episodes at once, for the list |
| ``nas/heat/%06d`` | rollouts | mean absolute attributions of a rollout, by step and slot |
| ``nas/checks`` | any that grows | checks of the run |
| ``nas/words`` | any that grows | the account of the best episode |
| ``nas/credit_views`` | any that grows | what the views of credit mean |
| ``nas/credit/%06d`` | hundreds of episodes | what the decisions of 100 episodes earned, by view |
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.explain.record import FORCED, UNEXPLAINED, Decision, Header
from nas_gym.tensorboard.payload import halves, single, singles

if TYPE_CHECKING:
    import pandas as pd

PER_TAG = 10
PER_CHUNK = 100  # episodes that one record of the index, or of credits, speaks of
KEY_LENGTH = 12  # of the 32 digits: enough to tell networks apart

HEADER = "nas/header"
CHECKS = "nas/checks"
WORDS = "nas/words"
VIEWS = "nas/credit_views"
EPISODES, INDEX, HEAT, CREDIT = "nas/episodes/", "nas/index/", "nas/heat/", "nas/credit/"


@dataclass(frozen=True)
class Record:
    """One value of the tab: where it is kept, and what it says (JSON-ready)."""

    tag: str
    step: int
    kind: str
    content: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an episode ended; None where that is not known.

    Attributes:
        status: As in the history, such as ``"ok"``; empty where it is not known.
        accuracy: Validation accuracy, in [0, 1].
        parameters: Of the network.
        macs: Multiply-accumulates of the network.
    """

    status: str = ""
    accuracy: float | None = None
    parameters: int | None = None
    macs: int | None = None


def block(prefix: str, step: int) -> str:
    """Return the tag that holds a step of a series in blocks."""
    return f"{prefix}{step // PER_TAG:06d}"


def header_record(step: int, header: Header, kinds: Sequence[Sequence[str]], facts: Mapping[str, Any]) -> Record:
    """Return what all records of a run share.

    Args:
        step: One more than the last header's.
        header: Of the decision log.
        kinds: What sort of operation every choice is, by slot; colours follow from it.
        facts: Of the run: environment, agent, seed, space.
    """
    content = {"header": header.to_json(), "kinds": [list(names) for names in kinds], "facts": plain(facts)}
    return Record(HEADER, step, "header", content)


def episode_record(decisions: Sequence[Decision], outcome: Outcome, outline: Sequence[str]) -> Record:
    """Return the record of an episode: a column per field of `Decision`, with a value per decision.

    What is zero by its meaning is left out: probabilities and attributions of illegal actions, and attributions that
    groups at their baseline have.

    Args:
        decisions: Of one episode, in order; not empty.
        outcome: How it ended.
        outline: What the network was after each decision (`ChainSpace.outline`), or nothing.
    """
    first = decisions[0]
    content: dict[str, Any] = {
        "episode": first.episode,
        "reward": single(first.reward),
        "key": first.key,
        "status": outcome.status,
        "accuracy": single(outcome.accuracy),
        "parameters": outcome.parameters,
        "macs": outcome.macs,
        "env_index": first.env_index,
        "policy_version": first.policy_version,
        "global_step": first.global_step,
        "n_actions": len(first.legal),
        "outline": list(outline),
    }
    for name in ("step", "slot", "action", "runner_up", "flags", "n_players", "explainer", "baseline", "credit_kind"):
        content[name] = [getattr(d, name) for d in decisions]
    for name in _SINGLES:
        content[name] = [single(getattr(d, name)) for d in decisions]
    content["observation"] = [d.observation.tolist() for d in decisions]
    content["legal"] = [np.packbits(d.legal).tobytes().hex() for d in decisions]
    for name in ("phi", "phi_std_err", "value_phi"):
        values = [getattr(d, name) for d in decisions]
        content[name] = [None if one is None else singles(one) for one in values]
    content["probabilities"] = [_legal(d, d.probabilities, halves) for d in decisions]
    content["phi0_actions"] = [_legal(d, d.phi0_actions, singles) for d in decisions]
    content["phi_actions"] = [_phi_actions(d) for d in decisions]
    return Record(block(EPISODES, first.episode), first.episode, "episode", content)


_SINGLES = (
    *("logp", "log_uniform", "phi0", "entropy", "value", "value0", "advantage"),
    *("residual", "logp_error", "sampling_probability", "reward_credit"),
)


def _legal(decision: Decision, values: NDArray[np.floating] | None, rounded: Any) -> list[float | None] | None:
    return None if values is None else rounded(values[decision.legal])


def _phi_actions(decision: Decision) -> dict[str, Any] | None:
    if decision.phi_actions is None:
        return None
    values = np.asarray(decision.phi_actions, dtype=np.float16)[:, decision.legal]
    groups = np.flatnonzero(values.any(axis=1))
    return {"groups": groups.tolist(), "values": [halves(values[group]) for group in groups]}


def index_row(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the list of episodes says of one, from the content of its record."""
    row = {name: content[name] for name in ("episode", "reward", "policy_version", "status")}
    return row | {"length": len(content["step"]), "key": (content["key"] or "")[:KEY_LENGTH]}


ROW = ("episode", "reward", "policy_version", "status", "length", "key")


def index_record(rows: Sequence[Mapping[str, Any]]) -> Record:
    """Return the rows of up to `PER_CHUNK` episodes; they share the hundreds of their numbers."""
    chunk = int(rows[0]["episode"]) // PER_CHUNK
    return Record(block(INDEX, chunk), chunk, "index", {name: [row[name] for row in rows] for name in ROW})


def heat_record(number: int, decisions: Sequence[Decision]) -> Record | None:
    """Return the mean absolute attributions of a rollout; None if none of its free decisions is explained.

    Means are over free, explained decisions, by the step and the slot they fill. Where only some decisions were
    explained, each stands for as many as its chance says, so that the means are those of all (Horvitz and Thompson
    1952, A Generalization of Sampling Without Replacement from a Finite Universe).

    Args:
        number: Of the rollout, from 0.
        decisions: Of the rollout.
    """
    kept = [d for d in decisions if d.phi is not None and d.phi0 is not None and not d.flags & (FORCED | UNEXPLAINED)]
    if not kept:
        return None
    places: dict[tuple[int, int], list[Decision]] = {}
    for d in kept:
        places.setdefault((d.step, d.slot), []).append(d)
    rows = [_means(step, slot, there) for (step, slot), there in sorted(places.items())]
    content = {
        "policy_version": kept[0].policy_version,
        "global_step": max(d.global_step for d in decisions),
        "n_decisions": len(decisions),
        "rows": rows,
    }
    return Record(block(HEAT, number), number, "heat", content)


def _means(step: int, slot: int, decisions: Sequence[Decision]) -> dict[str, Any]:
    weights = np.array([1.0 / (d.sampling_probability or 1.0) for d in decisions])
    shares = weights / weights.sum()
    phi = np.abs(np.array([d.phi for d in decisions], dtype=np.float64))
    prior = np.abs([(d.phi0 or 0.0) - d.log_uniform for d in decisions])
    entropy = np.array([d.entropy or 0.0 for d in decisions])
    return {
        "step": step,
        "slot": slot,
        "n": len(decisions),
        "weight": single(float(weights.sum())),
        "prior": single(float(shares @ prior)),
        "entropy": single(float(shares @ entropy)),
        "phi": halves(shares @ phi),
    }


def checks_record(step: int, checks: Sequence[Mapping[str, Any]]) -> Record:
    """Return the checks of a run.

    Args:
        step: More than that of the last ones.
        checks: Each with ``name``, ``value``, ``limit``, ``passed`` (None: can't be told) and ``sentence``.
    """
    return Record(CHECKS, step, "checks", {"checks": [plain(check) for check in checks]})


def words_record(step: int, episode: int, paragraphs: Sequence[str]) -> Record:
    """Return the account in words of the best episode."""
    return Record(WORDS, step, "words", {"episode": episode, "paragraphs": list(paragraphs)})


def credit_records(step: int, credits_: "pd.DataFrame", views: Mapping[str, Any]) -> Iterator[Record]:
    """Yield what decisions earned, by view, and what the views mean.

    Args:
        step: Of the meanings; more than that of the last ones.
        credits_: Columns ``episode``, ``step``, ``slot``, ``view``, ``credit``, ``low``, ``high``, and perhaps
            ``trusted``, where that differs between episodes.
        views: For each view what it means: ``meaning``, ``trusted``, ``trust`` (why, or why not), and more.
    """
    yield Record(VIEWS, step, "credit_views", {"views": plain(views)})
    rows = credits_.sort_values(["episode", "view", "step"], kind="stable")
    for chunk, inside in rows.groupby(rows["episode"] // PER_CHUNK):
        episodes: dict[str, dict[str, Any]] = {}
        for (episode, view), own in inside.groupby(["episode", "view"]):
            columns: dict[str, Any] = {name: own[name].astype(int).tolist() for name in ("step", "slot")}
            columns |= {name: singles(own[name]) for name in ("credit", "low", "high")}
            if "trusted" in own:
                columns["trusted"] = bool(own["trusted"].all())
            episodes.setdefault(str(episode), {})[str(view)] = columns
        yield Record(block(CREDIT, int(chunk)), int(chunk), "credit", {"episodes": episodes})


def plain(value: Any) -> Any:
    """Return a value as JSON takes it: NumPy's numbers as Python's, null for what is not finite, else texts."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


@dataclass
class Index:
    """Gathers rows of the index until their hundred is full."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> Record | None:
        """Take a row; return the record of a hundred once it is full, or once a row of another one comes."""
        full = None
        if self.rows and self.rows[0]["episode"] // PER_CHUNK != row["episode"] // PER_CHUNK:
            full, self.rows = index_record(self.rows), []
        self.rows.append(row)
        if len(self.rows) == PER_CHUNK and full is None:
            full, self.rows = index_record(self.rows), []
        return full
