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
