#!/usr/bin/env bash
# Builds the wheel, installs it into a fresh environment outside the checkout, and searches from there.
# The heavy dependencies are borrowed from the environment of $PYTHON, whose own nas-gym stays out of reach:
# a path line in a .pth file adds its packages, but not what its editable install adds.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --quiet --wheel --no-isolation --outdir "$work/dist" "$root"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps "$work"/dist/*.whl
borrowed=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$borrowed" > "$site/borrowed.pth"

cd "$work"
"$work/venv/bin/python" - <<'PY'
import pathlib
import sys

import nas_gym
import nas_gym_agents
import nas_gym_envs

for package in (nas_gym, nas_gym_envs, nas_gym_agents):
    place = pathlib.Path(package.__file__).resolve()
    assert pathlib.Path(sys.prefix).resolve() in place.parents, f"{place} is not the installed wheel"
PY
"$work/venv/bin/python" - <<'PY'
from importlib.metadata import entry_points
from pathlib import Path

loaders = [entry.load() for entry in entry_points(group="tensorboard_plugins") if entry.name == "nas_decisions"]
assert len(loaders) == 1, f"TensorBoard would find {len(loaders)} tabs of nas-gym"
import nas_gym.tensorboard

static = {path.name for path in (Path(nas_gym.tensorboard.__file__).parent / "static").iterdir()}
assert {"index.js", "style.css"} <= static, f"the wheel lacks pages of the tab: {sorted(static)}"
PY
"$work/venv/bin/nas-gym" search --evaluations 12 --agent-arg n_steps=24 --env-arg epochs=2 --run-dir run --json > search.json
"$work/venv/bin/python" - <<'PY'
import json

lines = open("search.json").read().splitlines()
summary = json.loads(lines[-1])
assert summary["evaluations"] == 12, summary
assert 0 < summary["best"]["test_accuracy"] <= 1, summary
print("wheel: a search of 12 evaluations ran from the installed package; best validation accuracy",
      summary["best"]["validation_accuracy"])
PY

# The plain command, as another program starts it: the tab is there by its entry point alone.
"$work/venv/bin/python" - <<'PY'
import json
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
board = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", "run", "--port", str(port)])
try:
    end = time.monotonic() + 120
    while True:
        try:
            with urlopen(f"http://localhost:{port}/data/plugins_listing") as answer:
                listed = json.load(answer)
            with urlopen(f"http://localhost:{port}/data/plugin/nas_decisions/runs") as answer:
                runs = json.load(answer)["runs"]
            if runs and runs[0]["episodes"] >= 12:
                break
        except URLError as error:
            assert board.poll() is None and time.monotonic() < end, f"TensorBoard does not serve the tab: {error}"
        assert time.monotonic() < end, f"the tab shows no episodes: {runs}"
        time.sleep(0.5)
    assert listed["nas_decisions"]["tab_name"] == "NAS decisions", listed
finally:
    board.terminate()
    board.wait()
print("wheel: plain tensorboard shows the tab with", runs[0]["episodes"], "episodes")
PY
