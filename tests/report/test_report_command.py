"""`nas-gym report`: what it prints, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nas_gym.cli import app

pytestmark = pytest.mark.usefixtures("sketched")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_it_prints_where_the_report_is(copied: Callable[[str], Path]) -> None:
    run = copied("random")
    result = call(run)
    assert result.exit_code == 0
    assert result.stdout.split() == [str(run / "report.html"), str(run / "report.md")]
    assert (run / "report.html").is_file()


def test_it_prints_one_object_for_programs(made: Callable[[str], Path], tmp_path: Path) -> None:
    result = call(made("random"), "--out", tmp_path / "new", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["html"] == str(tmp_path / "new" / "report.html")
    assert all(Path(path).is_file() for path in (told["html"], told["markdown"], *told["pictures"]))
    assert len(told["sections"]) == 11
    assert told["sections"]["The answer"] is True
    assert told["sections"]["What each decision earned"] is False


def test_a_mistake_is_a_sentence(made: Callable[[str], Path], tmp_path: Path) -> None:
    missing = call(tmp_path / "nothing")
    assert missing.exit_code == 2
    assert "no run directory" in missing.stderr
    (tmp_path / "file").touch()
    refused = call(made("random"), "--out", tmp_path / "file")
    assert refused.exit_code == 2
    assert "can't be written" in refused.stderr
    for result in (missing, refused):
        assert "Traceback" not in result.output
        assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
