"""What the event files say of runs, episodes and decisions, asked through TensorBoard's own interface of data.

It is the same for both of TensorBoard's loaders. The list of episodes and the heat map are put together from blocks,
and what was made of a block is kept until it grows.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from nas_gym.run_directory import REBUILD
from nas_gym.tensorboard import PLUGIN, heat
from nas_gym.tensorboard.expanding import credit_of, expanded, row_of, rows_of
from nas_gym.tensorboard.payload import PayloadError, unpack
from nas_gym.tensorboard.records import (
    CHECKS,
    CREDIT,
    EPISODES,
    HEADER,
    HEAT,
    INDEX,
    PER_CHUNK,
    PER_TAG,
    ROW,
    VIEWS,
    WORDS,
    block,
)

EVERYTHING = 1_000_000  # records of a tag: more than any has
REMEMBERED = 4_096  # blocks, each a few kB
SINGLE = {HEADER: "header", CHECKS: "checks", WORDS: "words", VIEWS: "credit_views"}
_BLOCK = re.compile(f"({'|'.join(map(re.escape, (EPISODES, INDEX, HEAT, CREDIT)))})(\\d{{6,}})")


class UnknownError(LookupError):
    """There is no such run or episode; the message says so."""


class Memory:
    """Keeps what was made of blocks until they grow; the least recently used are forgotten first."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._kept: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any, stamp: Any) -> Any:
        """Return what is kept under a key with this stamp; None if there is nothing."""
        with self._lock:
            known, value = self._kept.get(key, (None, None))
            if known != stamp:
                return None
            self._kept.move_to_end(key)
            return value

    def put(self, key: Any, stamp: Any, value: Any) -> None:
        """Keep a value, which is not None."""
        with self._lock:
            self._kept[key] = stamp, value
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


@dataclass(frozen=True)
class Reading:
    """Answers one request.

    Attributes:
        provider: TensorBoard's data provider.
        context: Of the request.
        experiment: Its id.
        memory: Shared by requests.
    """

    provider: Any
    context: Any
    experiment: str
    memory: Memory

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs with decisions: name, number of episodes, and a stamp that changes whenever a run does."""
        found = []
        for name, tags in sorted(self._listed(None).items()):
            if REBUILD in name.split("/"):  # what a resumed search writes again, before it takes the place of the old
                continue
            last = max((series.max_step for tag, series in tags.items() if tag.startswith(EPISODES)), default=-1)
            stamp = max(series.max_wall_time for series in tags.values())
            found.append({"run": name, "episodes": last + 1, "stamp": f"{stamp}/{len(tags)}/{last}"})
        return found

    def run(self, name: str) -> dict[str, Any]:
        """Return what is known of a run as a whole: header, checks, words, and what the views of credit mean.

        Raises:
            UnknownError: There is no such run.
        """
        tags = self._tags(name)
        told: dict[str, Any] = {"run": name}
        unreadable = sum(tag not in SINGLE and not _BLOCK.fullmatch(tag) for tag in tags)
        for tag, kind in SINGLE.items():
            values = self._made(name, tags, [tag], partial(_single, kind=kind)).get(tag, [])
            unreadable += sum(value is None for _, value in values)
            told[kind] = next((value for _, value in reversed(values) if value is not None), None)
        return told | {"unreadable": unreadable}

    def episodes(self, name: str, after: int = -1) -> dict[str, Any]:
        """Return the list of episodes, or its end: a column per field of `ROW`, in order.

        Args:
            name: Of the run.
            after: Only episodes with a higher number.

        Raises:
            UnknownError: There is no such run.
        """
        tags = self._tags(name)
        rows: dict[int, dict[str, Any]] = {}
        chunks, unreadable = set(), 0
        wanted = [t for t in tags if t.startswith(INDEX) and _number(t) >= (after + 1) // (PER_CHUNK * PER_TAG)]
        for values in self._made(name, tags, wanted, lambda data: rows_of(unpack(data, "index"))).values():
            for step, found in values:
                unreadable += found is None
                if found is not None:
                    chunks.add(step)
                    rows |= {row["episode"]: row for row in found}
        blocks = [t for t in tags if t.startswith(EPISODES) and _number(t) >= (after + 1) // PER_TAG]
        left = [tag for tag in blocks if _number(tag) * PER_TAG // PER_CHUNK not in chunks]
        for values in self._made(name, tags, left, lambda data: row_of(unpack(data, "episode"))).values():
            unreadable += sum(row is None for _, row in values)
            rows |= {row["episode"]: row for _, row in values if row is not None}
        kept = [rows[number] for number in sorted(rows) if number > after]
        return {"columns": {field: [row[field] for row in kept] for field in ROW}, "unreadable": unreadable}

    def episode(self, name: str, number: int) -> dict[str, Any]:
        """Return an episode with its decisions (`expanded`), and what they earned by every view.

        Raises:
            UnknownError: There is no such run or episode, or its record can't be read.
        """
        tags = self._tags(name)
        tag = block(EPISODES, number)
        found = [data for step, data in self._read(name, [tag]).get(tag, []) if step == number] if tag in tags else []
        if not found:
            raise UnknownError(
                f"there is no episode {number} in {name!r}, or TensorBoard's sampling left it out "
                f"(start it without --samples_per_plugin {PLUGIN}=…)"
            )
        try:
            episode = expanded(unpack(found[-1], "episode"))
        except PayloadError as error:
            raise UnknownError(f"the record of episode {number} in {name!r} could not be read: {error}") from None
        return episode | {"credit": self._credit(name, tags, number)}

    def _credit(self, name: str, tags: Mapping[str, Any], number: int) -> dict[str, Any]:
        tag, chunk = block(CREDIT, number // PER_CHUNK), number // PER_CHUNK
        found = [data for step, data in self._read(name, [tag]).get(tag, []) if step == chunk] if tag in tags else []
        try:
            return credit_of(unpack(found[-1], "credit"), number) if found else {}
        except PayloadError:
            return {}

    def heat(self, name: str) -> dict[str, Any]:
        """Return mean absolute attributions over the training (`heat.moments`).

        Raises:
            UnknownError: There is no such run.
        """
        tags = self._tags(name)
        wanted = sorted(tag for tag in tags if tag.startswith(HEAT))
        stamp = tuple(_stamp(tags[tag]) for tag in wanted)
        kept: dict[str, Any] | None = self.memory.get((self.experiment, name, HEAT), stamp)
        if kept is None:
            made = self._made(name, tags, wanted, lambda data: heat.checked(unpack(data, "heat")))
            values = [value for tag in wanted for _, value in made[tag]]
            kept = {
                "moments": heat.moments([value for value in values if value is not None]),
                "unreadable": sum(value is None for value in values),
            }
            self.memory.put((self.experiment, name, HEAT), stamp, kept)
        return kept

    # TensorBoard's data

    def _listed(self, run: str | None) -> Mapping[str, Mapping[str, Any]]:
        wanted: dict[str, Any] = {} if run is None else {"run_tag_filter": _filter([run], None)}
        found: Mapping[str, Mapping[str, Any]] = self.provider.list_tensors(
            self.context, experiment_id=self.experiment, plugin_name=PLUGIN, **wanted
        )
        return found

    def _tags(self, run: str) -> Mapping[str, Any]:
        tags = self._listed(run).get(run)
        if not tags:
            raise UnknownError(f"there is no run {run!r} with decisions")
        return tags

    def _read(self, run: str, tags: Iterable[str]) -> dict[str, list[tuple[int, Any]]]:
        """Return what tags hold, by step; of several values of one step only the one written last."""
        found = self.provider.read_tensors(
            self.context,
            experiment_id=self.experiment,
            plugin_name=PLUGIN,
            downsample=EVERYTHING,
            run_tag_filter=_filter([run], list(tags)),
        ).get(run, {})
        return {tag: _latest(series) for tag, series in found.items()}

    def _made(
        self, run: str, tags: Mapping[str, Any], wanted: Iterable[str], make: Callable[[Any], Any]
    ) -> dict[str, list[tuple[int, Any]]]:
        """Return what ``make`` made of the records of tags, None where it could not."""
        keys = {tag: ((self.experiment, run, tag), _stamp(tags[tag])) for tag in wanted if tag in tags}
        made = {tag: self.memory.get(*key) for tag, key in keys.items()}
        missing = [tag for tag, values in made.items() if values is None]
        for tag, values in (self._read(run, missing) if missing else {}).items():
            made[tag] = [(step, _tried(make, data)) for step, data in values]
            self.memory.put(*keys[tag], made[tag])
        return {tag: values or [] for tag, values in made.items()}


def _single(data: Any, kind: str) -> dict[str, Any]:
    content = unpack(data, kind)
    good: dict[str, Callable[[], bool]] = {
        "header": lambda: (
            isinstance(content["header"]["slots"], list) and isinstance(content["header"]["choices"], list)
        ),
        "checks": lambda: all(isinstance(check["sentence"], str) for check in content["checks"]),
        "words": lambda: isinstance(content["episode"], int) and isinstance(content["paragraphs"], list),
        "credit_views": lambda: all(isinstance(view, dict) for view in content["views"].values()),
    }
    try:
        if good[kind]():
            return content
    except (KeyError, TypeError, AttributeError):
        pass
    raise PayloadError(f"{kind} has no meaning")


def _tried(make: Callable[[Any], Any], data: Any) -> Any:
    try:
        return make(data)
    except (PayloadError, KeyError):
        return None


def _latest(series: Iterable[Any]) -> list[tuple[int, Any]]:
    latest: dict[int, Any] = {}
    for datum in series:
        if datum.step not in latest or datum.wall_time >= latest[datum.step].wall_time:
            latest[datum.step] = datum
    return [(step, _bytes(latest[step].numpy)) for step in sorted(latest)]


def _bytes(array: Any) -> Any:
    try:
        return array.item()
    except (AttributeError, ValueError):
        return None


def _stamp(series: Any) -> tuple[int, float]:
    return series.max_step, series.max_wall_time


def _number(tag: str) -> int:
    found = _BLOCK.fullmatch(tag)
    return int(found[2]) if found else -1


def _filter(runs: list[str] | None, tags: list[str] | None) -> Any:
    from tensorboard.data.provider import RunTagFilter

    return RunTagFilter(runs=runs, tags=tags)
