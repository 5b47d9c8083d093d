"""What is explained after the search, told to the tab *NAS decisions*: added to the run's events."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.explain.record import Decision, Header
from nas_gym.tensorboard import PLUGIN
from nas_gym.tensorboard.payload import PayloadError, unpack
from nas_gym.tensorboard.records import (
    EPISODES,
    HEADER,
    Outcome,
    Record,
    checks_record,
    credit_records,
    episode_record,
    header_record,
    heat_record,
    words_record,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class _Told:
    """What the search itself told of its episodes, and its header's other facts."""

    episodes: dict[int, tuple[Outcome, list[str]]] = field(default_factory=dict)
    kinds: list[list[str]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def tell_decisions(folder: Path, decisions: Sequence[Decision], header: Header) -> None:
    """Add the decisions of a run again, once more of them are explained.

    Args:
        folder: ``RUN/tensorboard``.
        decisions: All of the run.
        header: Of the log.
    """
    append(folder, _again(_read(folder), decisions, header))


def _again(told: _Told, decisions: Sequence[Decision], header: Header) -> Iterator[Record]:
    yield header_record(int(time.time()), header, told.kinds, told.facts)
    in_order = sorted(decisions, key=lambda d: (d.episode, d.step))
    for number, own in groupby(in_order, key=lambda d: d.episode):
        outcome, outline = told.episodes.get(number, (Outcome(), []))
        yield episode_record(list(own), outcome, outline)
    yield from _heat(decisions)


def tell_checks(folder: Path, checks: Sequence[Mapping[str, Any]]) -> None:
    """Add the checks of a run; the tab shows the last ones (`checks_record`)."""
    append(folder, [checks_record(int(time.time()), checks)])


def tell_credit(folder: Path, credits_: "pd.DataFrame", views: Mapping[str, Any]) -> None:
    """Add what decisions earned (`credit_records`), of all episodes that are to have credit from now on."""
    append(folder, credit_records(int(time.time()), credits_, views))


def tell_words(folder: Path, episode: int, paragraphs: Sequence[str]) -> None:
    """Add the account of the best episode, which has reasons now."""
    append(folder, [words_record(int(time.time()), episode, paragraphs)])


def append(folder: Path, records: Iterable[Record]) -> None:
    """Add records to a folder of events, in a file of their own, in blocks that are whole.

    A value that takes an earlier one's step takes its place: so whoever writes a block again writes all of it. Seconds
    are higher steps than those that a search counts.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    from nas_gym.tensorboard.summary import summary_value

    writer = EventFileWriter(str(folder), filename_suffix=".explained")
    try:
        for record in records:
            summary = Summary(value=[summary_value(record)])
            writer.add_event(Event(step=record.step, wall_time=time.time(), summary=summary))
    finally:
        writer.close()


def _heat(decisions: Sequence[Decision]) -> Iterator[Record]:
    by_version = sorted(decisions, key=lambda d: d.policy_version)
    number = 0
    for _, own in groupby(by_version, key=lambda d: d.policy_version):
        record = heat_record(number, list(own))
        if record is not None:
            yield record
            number += 1


def _read(folder: Path) -> _Told:
    """Return what the events say already; what can't be read is left out."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    told = _Told()
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.tag == HEADER or value.tag.startswith(EPISODES):
                    _take(value, told)
    return told


def _take(value: Any, told: _Told) -> None:
    if value.metadata.plugin_data.plugin_name not in ("", PLUGIN) or len(value.tensor.string_val) != 1:
        return
    try:
        if value.tag == HEADER:
            header = unpack(value.tensor.string_val[0], "header")
            told.kinds, told.facts = header["kinds"], header["facts"]
        else:
            own = unpack(value.tensor.string_val[0], "episode")
            facts = {name: own[name] for name in ("status", "accuracy", "parameters", "macs")}
            told.episodes[own["episode"]] = Outcome(**facts), own["outline"]
    except (PayloadError, KeyError):
        return
