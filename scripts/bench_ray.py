"""Trainings per second of `RayEvaluator` beside `ProcessEvaluator`, with the same number of workers.

    python scripts/bench_ray.py [--json]

Each training sleeps for a second, so that what is measured is the way there and back, not the processors. Ray runs as
its own local cluster, whose head trains nothing, with one node. Workers are warm: both have answered once before.
The subjects take turns.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nas_gym
from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.evaluation import Evaluation, Evaluator, Fidelity, HashEvaluator, evaluate

MOST_SLOWER = 0.10
OURS, THEIRS = "RayEvaluator", "ProcessEvaluator"


@dataclass(frozen=True)
class Sleeping:
    """A factory, and its evaluator: `HashEvaluator` that takes its time.

    Attributes:
        seconds: Of one training.
    """

    seconds: float

    @property
    def identity(self) -> str:
        """The seconds."""
        return f"sleeping {self.seconds}"

    def __call__(self) -> Evaluator:
        """Return itself."""
        return self

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Sleep and answer, one after the other."""
        answers = []
        for candidate in candidates:
            time.sleep(self.seconds)
            answers += HashEvaluator().submit([candidate], fidelity=fidelity, repeat=repeat)
        return answers


def candidates(n: int) -> list[Candidate]:
    """Return as many different candidates."""
    flatten = Operation("flatten")
    networks = [(flatten, Operation("linear", (("units", size + 2),), (0,))) for size in range(n)]
    return [Candidate(Architecture((1, 8, 8), operations)) for operations in networks]


def started(stack: ExitStack, factory: Sleeping, workers: int) -> dict[str, Evaluator]:
    """Return the warm subjects, which end with the stack."""
    from ray.cluster_utils import Cluster

    from nas_gym.evaluation import ProcessEvaluator
    from nas_gym.evaluation.rays import RayEvaluator

    store = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False} | store)
    stack.callback(cluster.shutdown)
    cluster.add_node(num_cpus=workers, **store)
    cluster.wait_for_nodes()
    subjects: dict[str, Evaluator] = {
        OURS: stack.enter_context(RayEvaluator(factory, address=cluster.address)),
        THEIRS: stack.enter_context(ProcessEvaluator(factory, workers=workers)),
    }
    for subject in subjects.values():
        evaluate(subject, candidates(2 * workers))
    return subjects


def report(n: int, workers: int, seconds: float, repetitions: int) -> dict[str, Any]:
    """Measure everything and return it as JSON-ready data."""
    took: dict[str, list[float]] = {OURS: [], THEIRS: []}
    with ExitStack() as stack:
        subjects = started(stack, Sleeping(seconds), workers)
        for _ in range(repetitions):
            for name, subject in subjects.items():
                begun = time.perf_counter()
                evaluate(subject, candidates(n))
                took[name].append(time.perf_counter() - begun)
    slower = statistics.median(ours / theirs for ours, theirs in zip(took[OURS], took[THEIRS], strict=True)) - 1
    return {
        "seconds": {
            name: {"median": round(statistics.median(t), 3), "least": round(min(t), 3), "most": round(max(t), 3)}
            for name, t in took.items()
        },
        "ideal_seconds": seconds * -(-n // workers),
        "slower_than_processes": round(slower, 4),
        "target_at_most": MOST_SLOWER,
        "target_met": slower <= MOST_SLOWER,
        "trainings": n,
        "seconds_per_training": seconds,
        "workers": workers,
        "repetitions": repetitions,
        "hardware": {"cores": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine()},
        "versions": {"python": platform.python_version(), "nas-gym": nas_gym.__version__}
        | {name: version(name) for name in ("ray", "pebble")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=16, help="of one turn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one training")
    parser.add_argument("--repetitions", type=int, default=3, help="how often the subjects take turns")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray's workers import, this file included.
    folders = [str(Path(__file__).parent), str(Path(nas_gym.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    measured = report(arguments.trainings, arguments.workers, arguments.seconds, arguments.repetitions)
    for name, row in measured["seconds"].items():
        print(f"{name:20}" + "".join(f"{key:>8} {value:7.2f} s" for key, value in row.items()))
    print(
        f"{measured['trainings']} trainings of {arguments.seconds:g} s on {arguments.workers} workers, ideally "
        f"{measured['ideal_seconds']:g} s, {arguments.repetitions} turns each: Ray is "
        f"{measured['slower_than_processes']:+.1%} slower; target at most {MOST_SLOWER:.0%}: "
        f"{'met' if measured['target_met'] else 'missed'}"
    )
    if arguments.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
