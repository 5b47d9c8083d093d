"""The writer of the tab *NAS decisions*: every decision of every episode goes into the event file."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nas_gym.drawing import kind_of
from nas_gym.explain.record import ILLEGAL, UNFINISHED, Decision, Header
from nas_gym.spaces import SearchSpace, n_actions
from nas_gym.tensorboard import records
from nas_gym.tensorboard.records import Index, Outcome, Record

if TYPE_CHECKING:
    import pandas as pd
    from tensorboard.compat.proto.summary_pb2 import Summary

    from nas_gym.evaluation import Evaluation
    from nas_gym.history import Episode

FACTS = ("env", "agent", "seed")  # of the settings, shown beside a run's name

Add = Callable[[int, Mapping[str, "Summary.Value"]], None]


class TabWriter:
    """Writes what the tab shows, as it comes; nothing is kept but the end of the list of episodes.

    Args:
        add: Puts values into the event file.
        space: The search space.
        settings: Of the search.
        header: Gives the header of the decision log, which may change while the search runs; None: the space has names.
    """

    def __init__(
        self,
        add: Add,
        space: SearchSpace,
        settings: Mapping[str, bool | int | float | str],
        header: Callable[[], Header] | None = None,
    ) -> None:
        self._add, self._space, self._header = add, space, header
        self._facts = {name: settings[name] for name in FACTS if name in settings}
        self._facts |= {"space": space.name, "space_hash": space_hash(space)}
        self._kinds = [[kind_of(slot.name, choice) for choice in slot.choices] for slot in space.slots]
        self._written: list[Header] = []
        self._outcomes: dict[int, Outcome] = {}
        self._index = Index()
        self._rollouts = self._told = 0

    def episode(self, episode: "Episode", evaluation: "Evaluation | None") -> None:
        """Take how an episode ended; its decisions come later."""
        self._outcomes[episode.number] = Outcome(
            status=episode.status,
            accuracy=episode.accuracy,
            parameters=None if evaluation is None else evaluation.parameters,
            macs=None if evaluation is None else evaluation.macs,
        )

    def decisions(self, decisions: Sequence[Decision]) -> None:
        """Take decisions of episodes that have ended, in order."""
        self._write_header()
        for _, group in groupby(decisions, key=lambda d: d.episode):
            own = list(group)
            outcome = self._outcomes.pop(own[0].episode, Outcome())
            if own[0].flags & UNFINISHED:
                outcome = Outcome(status="unfinished")
            record = records.episode_record(own, outcome, self._outline(own))
            self._write(record)
            full = self._index.add(records.index_row(record.content))
            if full is not None:
                self._write(full)

    def rollout(self, decisions: Sequence[Decision]) -> None:
        """Take all decisions of one rollout."""
        record = records.heat_record(self._rollouts, decisions)
        if record is not None:
            self._write(record)
            self._rollouts += 1

    def words(self, episode: int, paragraphs: Sequence[str]) -> None:
        """Take the account of the best episode."""
        self._write(records.words_record(self._next(), episode, paragraphs))

    def checks(self, checks: Sequence[Mapping[str, Any]]) -> None:
        """Take the checks of the run's attributions."""
        self._write(records.checks_record(self._next(), checks))

    def credit(self, frame: "pd.DataFrame", views: Mapping[str, Any]) -> None:
        """Take what decisions earned, by view."""
        for record in records.credit_records(self._next(), frame, views):
            self._write(record)

    def _next(self) -> int:
        self._told += 1
        return self._told

    def _write_header(self) -> None:
        space = self._space
        if self._header is not None:
            header = self._header()
        else:
            names = tuple(slot.name for slot in space.slots)
            header = Header(names, tuple(slot.choices for slot in space.slots), names, n_actions(space))
        if self._written[-1:] != [header]:
            self._write(records.header_record(len(self._written), header, self._kinds, self._facts))
            self._written.append(header)

    def _outline(self, decisions: Sequence[Decision]) -> list[str]:
        """Return what the network was after each decision, if the space tells."""
        outline: Callable[[tuple[int, ...]], Sequence[str]] | None = getattr(self._space, "outline", None)
        try:
            return [] if outline is None else list(outline(tuple(d.action for d in decisions if not d.flags & ILLEGAL)))
        except ValueError:  # the episode did not start at the empty prefix
            return []

    def _write(self, record: Record) -> None:
        from nas_gym.tensorboard.summary import summary_value

        self._add(record.step, {record.tag: summary_value(record)})


def space_hash(space: SearchSpace) -> str:
    """Return a digest of a space's slots, choices and legal first decisions: runs that share it can be compared."""
    named = [[slot.name, list(slot.choices)] for slot in space.slots]
    text = json.dumps([named, space.legal(()).tolist()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
