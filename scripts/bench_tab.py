"""What TensorBoard's tab *NAS decisions* costs on a run of many episodes: to write, to list, to open one.

    python scripts/bench_tab.py [--json] [--episodes N]

The run is made up: 7 decisions an episode, attributions of all actions (`tests/tensorboard/made_up.py`). Its records
are written as a search writes them, in blocks; beside them the straightforward alternative, all episodes under one
tag, is written to a run of its own and read by the same interface of TensorBoard. Both of TensorBoard's loaders read
the same files. Routes are asked through the plugin's own application, answers in JSON, compressed, without a network.
Times are wall-clock medians and, in brackets, CPU of this process, where a busy machine matters less.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "tensorboard")]

from made_up import Search, episodes  # noqa: E402

from nas_gym.tensorboard import PLUGIN  # noqa: E402
from nas_gym.tensorboard.expanding import expanded, row_of  # noqa: E402
from nas_gym.tensorboard.payload import pack, unpack  # noqa: E402
from nas_gym.tensorboard.records import Outcome, Record, episode_record  # noqa: E402
from nas_gym_agents.tensorboard_later import append  # noqa: E402

TARGET = 0.2  # seconds until an episode is open
DIFFERENT = 500  # episodes that are made up; the others repeat their numbers
ONE_TAG = "nas/all"
LOADERS = {"fast": "true", "slow": "false"}
RUN, ALTERNATIVE = "blocks/tensorboard", "one_tag"


@dataclass(frozen=True)
class Timed:
    """Seconds of several calls."""

    wall: list[float]
    cpu: list[float]

    def to_json(self) -> dict[str, float]:
        """Return medians, and the slowest."""
        return {"wall": statistics.median(self.wall), "cpu": statistics.median(self.cpu), "slowest": max(self.wall)}


def timed(call: Callable[[int], Any], times: int = 1) -> tuple[Timed, Any]:
    wall, cpu, answer = [], [], None
    for i in range(times):
        before = time.perf_counter(), time.process_time()
        answer = call(i)
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return Timed(wall, cpu), answer


class Repeating(Search):
    """A made-up search whose episodes repeat, so that they are made quickly."""

    def _new(self, count: int) -> Any:
        made = list(episodes(DIFFERENT))
        return [
            [replace(d, episode=number, global_step=7 * number + d.step, policy_version=number // 20) for d in own]
            for number in range(count)
            for own in [made[number % DIFFERENT]]
        ]


def write(folder: Path, count: int) -> dict[str, Any]:
    search = Repeating(folder / "blocks")
    taken, _ = timed(lambda _: (search.play(count), search.writer.close()))
    sizes = [len(pack("episode", episode_record(own, Outcome(), []).content)) for own in search.written[:DIFFERENT]]
    kinds = [replace_tag(episode_record(own, Outcome(status="ok"), [])) for own in search.written]
    append(folder / ALTERNATIVE, kinds)
    return {"cpu_per_episode": taken.cpu[0] / count, "bytes_per_episode": statistics.fmean(sizes)}


def replace_tag(record: Record) -> Record:
    return replace(record, tag=ONE_TAG)


@contextmanager
def loaded(folder: Path, fast: str, count: int) -> Iterator[tuple[Any, float]]:
    """Yield TensorBoard's data provider once it has read everything, and the seconds that took."""
    from tensorboard import program
    from tensorboard.context import RequestContext

    from nas_gym.tensorboard.loader import DecisionsLoader

    board = program.TensorBoard(plugins=[*core(), DecisionsLoader])
    board.configure(argv=["bench", "--logdir", str(folder), "--load_fast", fast, "--reload_interval", "5"])
    started = time.perf_counter()
    provider, _ = board._make_data_provider()
    context = RequestContext()

    def last(run: str, tag: str) -> int:
        tags = provider.list_tensors(context, experiment_id="", plugin_name=PLUGIN).get(run, {})
        return max((series.max_step for name, series in tags.items() if name.startswith(tag)), default=-1)

    while min(last(RUN, "nas/episodes/"), last(ALTERNATIVE, ONE_TAG)) < count - 1:
        time.sleep(0.1)
    yield provider, time.perf_counter() - started
    handle = getattr(board._ingester, "_stdin_handle", None)
    if handle is not None:
        handle.close()  # which ends the data server


def core() -> list[Any]:
    from tensorboard.plugins.core.core_plugin import CorePluginLoader

    return [CorePluginLoader]


def measure_blocks(provider: Any, count: int) -> dict[str, Any]:
    from tensorboard.backend.experiment_id import ExperimentIdMiddleware
    from tensorboard.plugins.base_plugin import TBContext
    from werkzeug.test import Client

    from nas_gym.tensorboard.plugin import DecisionsPlugin

    apps = DecisionsPlugin(TBContext(data_provider=provider)).get_plugin_apps()
    chosen = random.Random(0).sample(range(count), 50)

    def ask(route: str, query: str) -> Any:
        answer = Client(ExperimentIdMiddleware(apps[route])).get(
            query_string=query, headers={"Accept-Encoding": "gzip"}
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer

    first, answer = timed(lambda _: ask("/episodes", f"run={RUN}"))
    import gzip

    listed = json.loads(gzip.decompress(answer.get_data()))["columns"]["episode"]
    again, _ = timed(lambda _: ask("/episodes", f"run={RUN}"), 5)
    update, _ = timed(lambda _: ask("/episodes", f"run={RUN}&after={count - 2}"), 20)
    opened, _ = timed(lambda i: ask("/episode", f"run={RUN}&episode={chosen[i]}"), len(chosen))
    runs, _ = timed(lambda _: ask("/runs", ""), 20)
    heat, _ = timed(lambda _: ask("/heat", f"run={RUN}"))
    times = {"list": first, "list_again": again, "look_for_new": update, "open": opened, "runs": runs, "heat": heat}
    return {"missing": count - len(set(listed)), **{name: taken.to_json() for name, taken in times.items()}}


def measure_one_tag(provider: Any, count: int) -> dict[str, Any]:
    """The alternative: a series can't be read in part, so that every question reads all of it."""
    from tensorboard.context import RequestContext
    from tensorboard.data.provider import RunTagFilter

    def read() -> Any:
        return provider.read_tensors(
            RequestContext(),
            experiment_id="",
            plugin_name=PLUGIN,
            downsample=10 * count,
            run_tag_filter=RunTagFilter(runs=[ALTERNATIVE], tags=[ONE_TAG]),
        )[ALTERNATIVE][ONE_TAG]

    def open_one(i: int) -> Any:
        datum = next(datum for datum in read() if datum.step == i)
        return json.dumps(expanded(unpack(datum.numpy.item(), "episode")))

    listed, rows = timed(lambda _: [row_of(unpack(datum.numpy.item(), "episode")) for datum in read()])
    opened, _ = timed(open_one, 3)
    return {"missing": count - len(rows), "list": listed.to_json(), "open": opened.to_json()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    told: dict[str, Any] = {
        "episodes": asked.episodes,
        "target_seconds": TARGET,
        "cpu": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("tensorboard", "numpy", "protobuf")},
    }
    with tempfile.TemporaryDirectory() as place:
        told["writing"] = write(Path(place), asked.episodes)
        for name, fast in LOADERS.items():
            with loaded(Path(place), fast, asked.episodes) as (provider, seconds):
                found = {"blocks": measure_blocks(provider, asked.episodes)}
                found["one_tag"] = measure_one_tag(provider, asked.episodes)
            told[name] = {"loading_seconds": seconds, **found}
    print(json.dumps(told) if asked.json else shown(told))


def shown(told: dict[str, Any]) -> str:
    writing = told["writing"]
    lines = [
        f"{told['episodes']:,} episodes; {writing['bytes_per_episode']:.0f} bytes and "
        f"{1e3 * writing['cpu_per_episode']:.2f} ms of CPU each to write; load of the machine {told['load']:.1f}"
    ]
    for loader in LOADERS:
        found = told[loader]
        lines.append(f"{loader} loader, {found['loading_seconds']:.1f} s to load both runs")
        for layout in ("blocks", "one_tag"):
            times = {n: t for n, t in found[layout].items() if n != "missing"}
            words = ", ".join(f"{n} {1e3 * t['wall']:.0f} ms ({1e3 * t['cpu']:.0f})" for n, t in times.items())
            lines.append(f"  {layout}: {found[layout]['missing']} missing; {words}")
    worst = max(told[loader]["blocks"]["open"]["wall"] for loader in LOADERS)
    lines.append(f"target: an episode open in {TARGET} s; reached: {worst:.3f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
