"""The examples of docs/benchmark.md run as they are printed."""

import re
from pathlib import Path

import pytest

from nas_gym_agents.benchmark import Results

PAGE = Path(__file__).parents[2] / "docs" / "benchmark.md"


@pytest.mark.slow
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    a2c, mine = Results.read("results/a2c"), Results.read("results/mine")
    assert {len(run.rewards) for run in a2c.searches["nas_gym/Table-v0", "noise-free", "my-a2c"]} == {40}
    for track in mine.plan.tracks:
        assert {run.unique[-1] for run in mine.searches["nas_gym/Table-v0", track, "my-search"]} == {40}
    assert (tmp_path / "results" / "mine" / "report.html").is_file()
