"""Time and memory to load a benchmark table after ``import nas_gym``, each time in a fresh process.

    python scripts/bench_table.py TABLE [--repeats N] [--json]

TABLE is a name or path, such as nasbench201-cifar10 once it is imported. What is measured begins after
``import nas_gym`` and ends when `load_benchmark` returns: it includes the import of pyarrow and of `nas_gym.tables`.
Memory is what the process's resident set grew by. On a busy machine processor time says more than seconds.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from typing import Any

TARGETS = {"seconds": 0.2, "megabytes": 100.0}
MEASURED = """
import sys, time
import nas_gym

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

before, begun, worked = resident(), time.perf_counter(), time.process_time()
from nas_gym.tables import load_benchmark
imported = time.perf_counter()
table = load_benchmark(sys.argv[1])
ended, worked, after = time.perf_counter(), time.process_time() - worked, resident()
import json, os
page = os.sysconf("SC_PAGE_SIZE")
print(json.dumps({"rows": len(table), "seconds": ended - begun, "of_it_reading": ended - imported,
                  "cpu_seconds": worked, "megabytes": (after - before) * page / 1e6,
                  "pandas": "pandas" in sys.modules}))
"""


def measure(table: str, repeats: int) -> dict[str, Any]:
    """Return medians over fresh processes, and all measurements."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", MEASURED, table], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"could not load {table!r}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        runs.append(json.loads(done.stdout))
    names = ("seconds", "of_it_reading", "cpu_seconds", "megabytes")
    medians = {name: round(statistics.median(run[name] for run in runs), 4) for name in names}
    return {
        "table": table,
        "rows": runs[0]["rows"],
        **medians,
        "targets": TARGETS,
        "pandas": runs[0]["pandas"],
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="nasbench201-cifar10")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    measured = measure(arguments.table, arguments.repeats)
    measured |= {
        "load_average": os.getloadavg()[0],
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("numpy", "pyarrow", "gymnasium")}
        | {"python": platform.python_version()},
    }
    print(
        f"{measured['table']}: {measured['rows']:,} rows in {measured['seconds']:.3f} s (of it "
        f"{measured['of_it_reading']:.3f} s after the imports; {measured['cpu_seconds']:.3f} s of processor time) and "
        f"{measured['megabytes']:.0f} MB; medians of {arguments.repeats} fresh processes"
    )
    if arguments.json:
        print(json.dumps(measured))


if __name__ == "__main__":
    main()
