"""Real searches under faults, and whether they keep the rules of docs/reliability.md.

    python scripts/fault_injection.py [--kills 200] [--seed 0] [--only drivers] [--json]

Workers are killed, hang, stop and run out of memory; losses are not numbers; modules raise; databases are full, cut
short, locked and shared; disks are full; clocks jump; drivers are killed at random instants and at chosen places. One
row per kind of fault: searches that went to their end, faults that struck, trainings that were begun again because
their worker was lost, the final statuses of the networks, results that were lost, results or trainings that are there
twice, and searches that are not what they would have been. Exit code 1 if a rule was broken. Linux only.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "faults")]

import torch  # noqa: E402
from audit import Row  # noqa: E402
from database_faults import Database  # noqa: E402
from driver_kills import WORKERS, Campaign, command_line_kills  # noqa: E402
from lives import Nursery  # noqa: E402
from worker_faults import SCENARIOS  # noqa: E402

PARTS = ("workers", "databases", "drivers")
# How the kills of drivers are spread; the command line's cost seconds of imports each.
SHARES = {
    "driver killed, random search": 0.36,
    "driver killed, genetic": 0.12,
    "driver killed, PPO": 0.25,
    "driver killed, real trainings": 0.12,
    "driver killed, two workers": 0.075,
    "command line killed": 0.05,
    "command line killed, two workers": 0.025,
}
PACKAGES = ("torch", "stable-baselines3", "sb3-contrib", "sqlalchemy", "pebble", "gymnasium")
Part = Callable[[], Row]


def parts(nursery: Nursery, folder: Path, kills: int, seed: int, only: list[str]) -> Iterator[Part]:
    """Yield what is to be run, one row each."""
    if "workers" in only:
        for scenario in SCENARIOS:
            yield lambda scenario=scenario: scenario.run(nursery, folder)  # type: ignore[misc]
    if "databases" in only:
        database = Database(nursery, folder)
        yield from (database.full, database.disk_full, database.truncated, database.torn_log, database.emptied)
        yield from (database.locked, database.locked_for_good, database.shared)
    if "drivers" in only:
        for title, share in SHARES.items():
            yield lambda title=title, share=share: drivers(  # type: ignore[misc]
                title, nursery, folder, max(1, round(share * kills)), random.Random(f"{seed} {title}")
            )


def drivers(title: str, nursery: Nursery, folder: Path, kills: int, chance: random.Random) -> Row:
    """Kill drivers of one kind so many times."""
    row = Row(title)
    if title.startswith("command line"):
        command_line_kills(row, folder, kills, chance, workers="workers" in title)
        return row
    kinds = {"genetic": "genetic", "PPO": "maskable-ppo", "real trainings": "trainings"}
    kind = next((kind for words, kind in kinds.items() if words in title), "random")
    Campaign(nursery, folder, kind, WORKERS if "workers" in title else None).kill(row, kills, chance)
    return row


HEADER = ("fault", "searches", "injected", "retried", "final statuses", "lost", "doubled", "unequal")


def shown(row: Row) -> tuple[str, ...]:
    """Return a row as cells."""
    statuses = ", ".join(f"{status} {count}" for status, count in sorted(row.statuses.items()))
    counts = (row.searches, row.injected, row.retried, statuses, row.lost, row.doubled, row.unequal)
    return (row.fault, *map(str, counts))


def as_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON-ready data."""
    return {**asdict(row), "statuses": dict(row.statuses), "notes": dict(row.notes), "good": row.good}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="how often drivers are killed in all (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants and places (default 0)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some kinds of fault")
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object, last")
    args = parser.parse_args()
    if sys.platform != "linux":
        parser.error("the suite reads /proc and needs Linux")
    torch.set_num_threads(1)
    started, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as temporary, Nursery() as nursery:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for part in parts(nursery, folder, args.kills, args.seed, args.only):
            rows.append(part())
            print(f"{time.monotonic() - started:6.0f} s  {'; '.join(rows[-1].broken) or 'good'}", file=sys.stderr)
            print(f"          {rows[-1].fault} {dict(rows[-1].notes) or ''}", file=sys.stderr, flush=True)
    report(rows, args, time.monotonic() - started)
    if not all(row.good for row in rows):
        sys.exit(1)


def report(rows: list[Row], args: argparse.Namespace, seconds: float) -> None:
    """Print the table, or one JSON object."""
    facts = {
        "command": f"python scripts/fault_injection.py --kills {args.kills} --seed {args.seed}",
        "processors": os.cpu_count(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seconds": round(seconds),
    }
    if args.json:
        print(json.dumps({**facts, "rows": [as_json(row) for row in rows]}))
        return
    print("| " + " | ".join(HEADER) + " |")
    print("| --- " + "| ---: " * 3 + "| --- " + "| ---: " * 3 + "|")
    for row in rows:
        print("| " + " | ".join(shown(row)) + " |")
    kills = [row for row in rows if "killed" in row.fault and not row.fault.startswith("worker")]
    phases = sum((row.notes for row in kills), start=type(rows[0].notes)())
    print(f"\n{sum(row.injected for row in kills)} drivers killed, while: ", end="")
    print(", ".join(f"{phase} {count}" for phase, count in phases.most_common()))
    print(json.dumps(facts))
    for row in rows:
        for broken in row.broken:
            print(f"BROKEN: {row.fault}: {broken}")


if __name__ == "__main__":
    main()
