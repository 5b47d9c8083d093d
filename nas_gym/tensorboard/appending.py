"""What is known of a run only later is added to its events: by `nas-gym explain`, for instance."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.tensorboard.records import Record, checks_record, credit_records

if TYPE_CHECKING:
    import pandas as pd


def append_checks(folder: Path, checks: Sequence[Mapping[str, Any]]) -> None:
    """Add the checks of a run to its events; the tab shows the last ones.

    Args:
        folder: ``RUN/tensorboard``.
        checks: See `checks_record`.
    """
    _append(folder, [checks_record(int(time.time()), checks)])


def append_credit(folder: Path, credits_: "pd.DataFrame", views: Mapping[str, Any]) -> None:
    """Add what the decisions of a run earned to its events; the tab shows the last of every hundred episodes.

    Args:
        folder: ``RUN/tensorboard``.
        credits_: See `credit_records`; all episodes that are to have credit from now on.
        views: What they mean.
    """
    _append(folder, credit_records(int(time.time()), credits_, views))


def _append(folder: Path, records: Iterable[Record]) -> None:
    """Write a file of its own; seconds are higher steps than a search counts."""
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
