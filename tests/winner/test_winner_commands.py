"""``nas-gym retrain`` as it is typed: one object, exit codes, a sentence for every mistake."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nas_gym.cli import app
from nas_gym.winner import retraining

QUICK = ["--top", "1", "--repeats", "1", "--epochs", "1"]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_it_ends_with_one_object_or_with_a_table(run_path: Path) -> None:
    result = call("retrain", run_path, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout.splitlines()[-1])
    assert content == json.loads((run_path / "winner" / "winner.json").read_text())
    assert "It is trained for 1 epoch as it was searched" in result.stderr
    again = call("retrain", run_path, *QUICK)
    assert again.exit_code == 0
    for words in ("macro avg", "Test accuracy", "macro F1", "The winner among 1", str(run_path / "winner")):
        assert words in again.stdout
    assert "no longer an unbiased number" not in again.stdout
    other = call("retrain", run_path, *QUICK, "--width", "2")
    assert "2 times as wide" in other.stderr and "retraining number 2" in other.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--width", "wide"], "--width is auto or a number such as 2.0, got 'wide'"),
        (["--width", "auto", "--epochs", "2"], "add --minutes"),
        (["--minutes", "-1"], "minutes is a time above 0"),
        (["--top", "0"], "top is a whole number"),
        (["--depth", "99999"], "a depth from 1 to 99"),
        (["--recipe-arg", "lr=1"], "a setting of the recipe is one of"),
        (["--recipe-arg", "learning_rate"], "--recipe-arg takes NAME=VALUE"),
        (["--also", "nowhere.npz"], "there is no such file or folder"),
    ],
)
def test_every_mistake_has_a_sentence(options: list[str], sentence: str, run_path: Path) -> None:
    result = call("retrain", run_path, *([] if "--epochs" in options or "--minutes" in options else QUICK), *options)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_what_is_no_run_is_a_mistake(tmp_path: Path) -> None:
    result = call("retrain", tmp_path)
    assert result.exit_code == 2 and "is no run directory" in result.stderr


def test_interrupted_it_says_how_to_go_on(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retraining, "train", interrupt)
    monkeypatch.setattr("sys.argv", ["nas-gym", "retrain", str(run_path), *QUICK])
    result = call("retrain", run_path, *QUICK)
    assert result.exit_code == 130
    assert f"go on with: nas-gym retrain {run_path} --top 1 --repeats 1 --epochs 1" in result.stderr
