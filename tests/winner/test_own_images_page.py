"""The commands of docs/your-own-images.md run on images made here, with smaller budgets than they are printed with."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from nas_gym.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "your-own-images.md"
INSTALLING = ("python3 -m venv", "pip install")
SMALLER = {"--evaluations 24": "--evaluations 8 --confirm 0", "--minutes 2": "--epochs 40"}


def commands() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def test_there_are_fewer_than_ten_commands_up_to_the_first_prediction() -> None:
    found = commands()
    first = next(place for place, line in enumerate(found) if line.startswith("nas-gym predict"))
    assert first + 1 < 10
    assert [line.split()[1] for line in found if line.startswith("nas-gym")] == [
        *("search", "show", "retrain", "export", "predict")
    ]


def draw(generator: np.random.Generator, kind: str) -> Image.Image:
    """Return a picture of a round or a striped thing in some place, size and colour."""
    width, height = (int(side) for side in generator.integers(40, 70, 2))
    image = Image.fromarray(generator.integers(0, 60, (height, width, 3)).astype(np.uint8))
    side = int(generator.integers(18, 30))
    left, top = (int(generator.integers(0, free - side)) for free in (width, height))
    colour = tuple(map(int, generator.integers(120, 256, 3)))
    pen = ImageDraw.Draw(image)
    if kind == "plate":
        pen.ellipse((left, top, left + side, top + side), fill=colour)
    else:
        for stripe in range(0, side, 8):
            pen.rectangle((left + stripe, top, left + stripe + 2, top + side), fill=colour)
    return image


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for kind in ("cup", "plate"):
        (tmp_path / "my_images" / kind).mkdir(parents=True)
        for number in range(60):
            draw(generator, kind).save(tmp_path / "my_images" / kind / f"{number:04}.jpg")
    (tmp_path / "new_images").mkdir()
    for number in range(10):
        kind = ("cup", "plate")[number % 2]
        draw(generator, kind).save(tmp_path / "new_images" / f"{kind}-{number}.png")
    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    outputs = {}
    for line in commands():
        assert not line.startswith("nas-gym search") or "--evaluations 24" in line
        if line.startswith(INSTALLING):  # the environment of this test is one
            continue
        for printed, smaller in SMALLER.items():
            line = line.replace(printed, smaller)
        program, *words = shlex.split(line)
        if program == "nas-gym" and words[0] not in known:
            continue
        called = [sys.executable, *(["-m", "nas_gym"] if program == "nas-gym" else []), *words]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(called, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
        assert done.returncode == 0, (line, done.stderr)
        outputs[f"{program} {words[0]}"] = done.stdout
    written = {file.name for file in (tmp_path / "runs" / "mine" / "export").iterdir()}
    assert written == {"model.onnx", "model.pt2", "predict.py", "network.png", "model_card.md"}
    card = (tmp_path / "runs" / "mine" / "export" / "model_card.md").read_text(encoding="utf-8")
    assert "`cup`, `plate`" in card and "my own photographs" in card
    assert "trained for long after it" in card and "nas-gym retrain RUN" in card
    told = outputs["nas-gym predict"]
    rows = [line.split()[:2] for line in told.splitlines()[2:]]
    assert len(rows) == 10 and "[resized from" in told
    right = sum(Path(file).name.startswith(named) for file, named in rows)
    assert right >= 8, told
    assert outputs["python runs/mine/export/predict.py"] == told, "the same code"
    assert json.loads((tmp_path / "runs" / "mine" / "run.json").read_text())["state"] == "finished"
