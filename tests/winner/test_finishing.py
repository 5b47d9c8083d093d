"""`nas-gym finish`: all steps in order, what is left out and why, and going on after a stop."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

import nas_gym
from nas_gym.cli import app
from nas_gym.errors import ConfigurationError, ExportError, RunError
from nas_gym.report.finished import finished, sentences
from nas_gym.report.material import Material
from nas_gym.winner import finishing
from nas_gym.winner.finishing import WEIGHTS, FinishRequest, finish, read_finish
from nas_gym.winner.planning import NamingTookLongError

Taken = list[tuple[str, float]]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """Steps are noted, with their time, in place of being taken."""
    order: Taken = []

    def note(name: str) -> Callable[..., None]:
        return lambda path, request, minutes, watch: order.append((name, minutes))

    for name in WEIGHTS:
        monkeypatch.setitem(finishing.STEPS, name, note(name))
    return order


def stopped_once(monkeypatch: pytest.MonkeyPatch, name: str) -> list[float]:
    """Have a step stopped by Ctrl-C the first time it is taken; the list will hold the minutes it was given."""
    times: list[float] = []

    def stop(path: Path, request: FinishRequest, minutes: float, watch: Any) -> None:
        times.append(minutes)
        if len(times) == 1:
            raise KeyboardInterrupt

    monkeypatch.setitem(finishing.STEPS, name, stop)
    return times


def test_all_steps_are_taken_in_order_within_the_time(tmp_path: Path, taken: Taken) -> None:
    content = finish(tmp_path, FinishRequest(minutes=30))
    assert [name for name, _ in taken] == list(WEIGHTS)
    assert dict(taken)["tune"] == pytest.approx(30 * WEIGHTS["tune"])
    assert sum(minutes for _, minutes in taken) > 30, "what a step does not use is left to the next ones"
    assert {step["state"] for step in content["steps"].values()} == {"done"}
    assert read_finish(tmp_path) == content


def test_a_step_that_took_too_long_leaves_the_others_half_of_their_time(
    tmp_path: Path, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(60.0 * minute for minute in range(0, 1000, 25))
    monkeypatch.setattr(finishing.time, "perf_counter", lambda: next(clock))
    finish(tmp_path, FinishRequest(minutes=30))
    for name in ("retrain", "compress"):
        assert dict(taken)[name] == pytest.approx(30 * WEIGHTS[name] / 2)


def test_where_naming_took_the_time_the_retraining_is_begun_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def slow(times: int) -> Callable[..., None]:
        def retrain(path: Path, request: Any, watch: Any) -> None:
            tries.append(request.minutes)
            if len(tries) <= times:
                raise NamingTookLongError("it took long")

        return retrain

    monkeypatch.setattr("nas_gym.winner.retraining.retrain", slow(1))
    finishing.STEPS["retrain"](tmp_path, FinishRequest(), 7.0, None)
    assert tries == [7.0, 7.0]
    monkeypatch.setattr("nas_gym.winner.retraining.retrain", slow(9))
    with pytest.raises(NamingTookLongError):
        finishing.STEPS["retrain"](tmp_path, FinishRequest(), 7.0, None)
    assert len(tries) == 4


def test_what_is_left_out_leaves_its_time_to_the_others(tmp_path: Path, taken: Taken) -> None:
    content = finish(tmp_path, FinishRequest(minutes=30, leave_out=("tune", "compress")))
    assert [name for name, _ in taken] == ["retrain", "inspect", "export", "report"]
    ahead = sum(WEIGHTS[name] for name, _ in taken)
    assert dict(taken)["retrain"] == pytest.approx(30 * WEIGHTS["retrain"] / ahead, rel=0.01)
    assert content["steps"]["tune"] == {"state": "left out", "why": "as asked"}


def test_a_step_that_can_not_be_taken_is_told_and_the_next_one_is_taken(
    tmp_path: Path, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ExportError("the extra is missing")

    monkeypatch.setitem(finishing.STEPS, "compress", refuse)
    content = finish(tmp_path, FinishRequest())
    assert content["steps"]["compress"]["why"] == "the extra is missing"
    assert [name for name, _ in taken] == ["tune", "retrain", "inspect", "export", "report"]
    monkeypatch.setitem(finishing.STEPS, "retrain", refuse)
    with pytest.raises(ExportError):
        finish(tmp_path, FinishRequest(minutes=10))


@pytest.mark.parametrize("key", ["the winner's", "another", None])
def test_the_retraining_takes_the_tuned_recipe_and_notes_whose_it_is(
    key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas_gym.winner import retraining

    step, asked = finishing.STEPS["retrain"], []

    def retrain(path: Path, request: Any, watch: Any) -> dict[str, Any]:
        asked.append(dict(request.recipe))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"key": "the winner's"}

    for name in WEIGHTS:
        monkeypatch.setitem(finishing.STEPS, name, lambda *_: None)
    monkeypatch.setitem(finishing.STEPS, "retrain", step)
    monkeypatch.setattr(retraining, "retrain", retrain)
    (tmp_path / "tuning").mkdir()
    tuning = {"schema": 1, "recipe": {"learning_rate": 0.2}} | ({"key": key} if key else {})
    (tmp_path / "tuning/best.json").write_text(json.dumps(tuning))
    finish(tmp_path, FinishRequest(leave_out=("tune",)))
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path, FinishRequest(minutes=7))
    noted = finish(tmp_path, FinishRequest(minutes=7, leave_out=("tune",)))["steps"]["retrain"].get("note", "")
    assert asked == [{}, tuning["recipe"], tuning["recipe"]], "what was tuned stays part of a retraining under way"
    assert (f"nas-gym tune {tmp_path} --fresh" in noted) == (key == "another") and (noted == "") != (key == "another")


def test_without_torch_pruning_the_rest_is_compressed_and_the_step_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    from nas_gym.winner.compression import compressing

    compress, asked = finishing.STEPS["compress"], []
    for name in WEIGHTS:
        monkeypatch.setitem(finishing.STEPS, name, lambda *_: None)
    monkeypatch.setitem(finishing.STEPS, "compress", compress)
    monkeypatch.setattr(compressing, "compress", lambda path, request, watch: asked.append(request))
    for missing in (True, False):
        with monkeypatch.context() as patch:
            if missing:
                patch.setitem(sys.modules, "torch_pruning", None)
            else:
                patch.setitem(sys.modules, "torch_pruning", ModuleType("torch_pruning"))
            step = finish(tmp_path, FinishRequest(minutes=30 + missing))["steps"]["compress"]
        assert step["state"] == "done" and ("note" in step) is missing
        assert (asked[-1].ratios == ()) is missing and asked[-1].students and asked[-1].quantise
        if missing:
            assert "nothing was pruned" in step["note"] and 'pip install "nas-gym[compress]"' in step["note"]


def test_the_same_call_goes_on_with_the_step_that_was_stopped(
    tmp_path: Path, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = stopped_once(monkeypatch, "inspect")
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path, FinishRequest())
    assert [name for name, _ in taken] == ["tune", "retrain"]
    finish(tmp_path, FinishRequest())
    assert [name for name, _ in taken] == ["tune", "retrain", "compress", "export", "report"]
    assert times[0] == times[1], "a step is asked for as it was, so that it can go on"
    finish(tmp_path, FinishRequest())
    assert len(taken) == 5, "what is done is not done again"
    finish(tmp_path, FinishRequest(minutes=7))
    assert len(taken) == 10, "another request begins anew"


def test_other_workers_or_other_steps_go_on_with_what_is_done(tmp_path: Path, taken: Taken) -> None:
    finish(tmp_path, FinishRequest(workers=4, leave_out=("inspect",)))
    del taken[:]
    content = finish(tmp_path, FinishRequest(workers=1, leave_out=("inspect", "compress")))
    assert taken == [] and content["steps"]["compress"]["state"] == "done", "what is done stays done"
    assert read_finish(tmp_path) == content and content["request"]["workers"] == 1
    content = finish(tmp_path, FinishRequest())
    assert [name for name, _ in taken] == ["inspect", "report"], "and the report tells of what came late"
    assert {step["state"] for step in content["steps"].values()} == {"done"}


def test_a_step_that_is_left_out_for_a_while_goes_on_with_its_time(
    tmp_path: Path, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = stopped_once(monkeypatch, "compress")
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path, FinishRequest())
    file = tmp_path / finishing.FINISH_FILE
    file.write_text(file.read_text().replace(str(times[0]), "1.25"))  # as if the steps before it had taken some time
    finish(tmp_path, FinishRequest(leave_out=("compress",)))
    finish(tmp_path, FinishRequest())
    assert times[1:] == [1.25]


@pytest.mark.parametrize(
    "wrong",
    [{"minutes": 0}, {"minutes": float("nan")}, {"leave_out": ("retrain",)}, {"leave_out": ("search",)}],
    ids=["no time", "no number", "what is needed", "no step"],
)
def test_requests_that_can_not_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        FinishRequest(**wrong)


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["finish", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "no run directory" in " ".join(result.stderr.split())
    with pytest.raises(RunError):
        finish(tmp_path / "none", FinishRequest())


@pytest.mark.slow
def test_a_search_of_digits_is_finished(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it for real, as small as it can be (tuning by trials, not by time); the report tells of every part."""
    for needed in ("onnxruntime", "optuna", "torch_pruning"):
        pytest.importorskip(needed)
    from nas_gym.winner.tuning.request import LEAST_TRIALS, TuningRequest
    from nas_gym.winner.tuning.tuning import tune

    few = TuningRequest(trials=LEAST_TRIALS, epochs=2, top=1, repeats=2)
    monkeypatch.setitem(finishing.STEPS, "tune", lambda path, request, minutes, watch: tune(path, few, watch=watch))
    result = CliRunner().invoke(app, ["finish", str(run_path), "--minutes", "0.4"])
    assert result.exit_code == 0, result.stderr
    content = read_finish(run_path)
    assert content is not None
    assert {name: step["state"] for name, step in content["steps"].items()} == dict.fromkeys(WEIGHTS, "done"), content
    page = (run_path / "report.html").read_text(encoding="utf-8")
    for heading in ("How it was trained", "How good it is", "What it looks at", "How small it can be", "How to use it"):
        assert heading in page
    material = Material(nas_gym.load(run_path))
    assert finished(material).told
    said = " ".join(sentences(material))
    winner = json.loads((run_path / "winner/winner.json").read_text())
    assert f"macro F1 {winner['metrics']['macro_f1']:.4f}" in said
    printed = " ".join(result.stdout.split())
    for sentence in sentences(material):
        assert " ".join(sentence.replace("**", "").replace("`", "").split()) in printed
    assert "left out" not in result.stdout
    shown = json.loads(CliRunner().invoke(app, ["finish", str(run_path), "--minutes", "0.4", "--json"]).stdout)
    assert shown == content


def test_a_damaged_part_is_told_as_such(run_path: Path) -> None:
    (run_path / "compressed").mkdir()
    (run_path / "compressed/compressed.json").write_text('{"variants": []}')
    with pytest.raises(RunError, match="compress again"):
        finished(Material(nas_gym.load(run_path)))
    (run_path / "compressed/compressed.json").write_text('{"schema": 1, "variants": []}')
    with pytest.raises(RunError, match="make it again"):
        finished(Material(nas_gym.load(run_path)))


@pytest.mark.slow
def test_what_is_of_another_network_is_told_as_such(compressed_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(compressed_run, tmp_path / "run"))
    assert "another network" not in " ".join(sentences(Material(nas_gym.load(run))))
    file = run / "winner/winner.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"key": "of the network before it was scaled"}))
    assert "another network" not in " ".join(sentences(Material(nas_gym.load(run))))
    with (run / "winner/seed-0/weights.pt").open("ab") as weights:
        weights.write(b"trained again")
    assert "nas-gym compress" in " ".join(sentences(Material(nas_gym.load(run))))
