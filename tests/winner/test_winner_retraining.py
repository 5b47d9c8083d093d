"""From a search to a winner: what is written, what is touched, what is not done twice."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from os import environ, pathsep
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import classification_report

import nas_gym
from nas_gym.data import load_dataset
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.winner import load_winner, planning, retraining
from nas_gym.winner.exporting import export_run
from nas_gym.winner.intervals import macro_f1_interval
from nas_gym.winner.request import Request
from nas_gym.winner.retraining import retrain
from nas_gym.winner.training import TooLargeError
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

REQUEST = Request(top=2, repeats=2, epochs=3)


@pytest.fixture(scope="module")
def reference(searched_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search, retrained without an interruption; not to be changed."""
    path = Path(shutil.copytree(searched_run, tmp_path_factory.mktemp("reference") / "run"))
    retrain(path, REQUEST)
    return path


def states(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for place in range(len(load_winner(path).weights)):
        found |= {f"{place} {name}": value for name, value in load_winner(path).module(place).state_dict().items()}
    return found


def assert_same_winner(path: Path, other: Path) -> None:
    one, two = states(path), states(other)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert load_winner(path).metrics == load_winner(other).metrics
    assert not list((path / "winner").glob("unfinished/*"))


def test_the_winner_says_everything_about_itself(reference: Path) -> None:
    content = json.loads((reference / "winner" / "winner.json").read_text())
    wanted = {"schema", "key", "actions", "choices", "candidate", "class_names", "input_shape", "mean", "std", "recipe"}
    wanted |= {"seeds", "metrics", "per_seed", "over_seeds", "minutes", "hardware", "versions", "data", "test_touches"}
    assert set(content) >= wanted
    run = nas_gym.load(reference)
    keys = [one["key"] for one in content["naming"]["contenders"]]
    assert sorted(keys) == sorted(ranked.candidate.key for ranked in run.best(2))
    best = content["naming"]["contenders"][0]
    assert best["validation_accuracy"] == content["metrics"]["validation_accuracy"] == np.mean(best["accuracies"])
    assert content["key"] == best["key"]
    assert content["data"]["training_images"] == 200 and content["data"]["test_images"] == 359
    names = {"confusion.png", "calibration.png", "classes.png", "curves.png", "seed-0", "tensorboard", "winner.json"}
    assert {file.name for file in (reference / "winner").iterdir()} >= names
    assert all(file.stat().st_size > 1000 for file in (reference / "winner").glob("*.png"))


def test_its_module_and_its_numbers_belong_together(reference: Path) -> None:
    winner = load_winner(reference)
    test = load_dataset("digits", first_per_class=20).test
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (winner.mean, winner.std))
    inputs = test.inputs.float() / 255 if test.inputs.dtype == torch.uint8 else test.inputs
    with torch.no_grad():
        answers = winner.module()((inputs - mean) / std).argmax(1)
    assert winner.retrained and winner.class_names == tuple("0123456789")
    assert winner.metrics["test_accuracy"] == pytest.approx(float((answers == test.targets).float().mean()))
    report = json.loads((reference / "winner" / "seed-0" / "report.json").read_text())
    assert report["classification_report"] == classification_report(
        test.targets.numpy(), answers.numpy(), output_dict=True, zero_division=0.0
    )


def test_curves_are_in_tensorboard(reference: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(reference / "winner" / "tensorboard" / "seed-0"))
    board.Reload()
    lines = (reference / "winner" / "seed-0" / "curve.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    events = board.Scalars("winner/training_loss")
    assert [event.step for event in events] == [1, 2, 3]
    np.testing.assert_allclose([event.value for event in events], [row["training_loss"] for row in rows], rtol=1e-6)
    assert {"winner/confusion", "winner/calibration"} <= set(board.Tags()["images"])
    assert board.Scalars("winner/test_accuracy")[0].step == 3


def test_the_same_command_only_reports_and_touches_no_test_image(
    reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("make_plan", "train", "predict"):
        monkeypatch.setattr(retraining, name, lambda *_, **__: pytest.fail("this was done already"))
    content = retrain(reference, REQUEST)
    assert content == json.loads((reference / "winner" / "winner.json").read_text())
    assert content["test_touches"] == {"by_the_search": 1, "by_retrainings": 1}


def test_naming_trains_nothing_that_the_search_has_trained(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_gym.evaluation.training import TrainingEvaluator

    trained: list[tuple[str, int]] = []
    original = TrainingEvaluator.train

    def noted(self: Any, candidate: Any, **options: Any) -> Any:
        trained.append((candidate.key, options["repeat"]))
        return original(self, candidate, **options)

    monkeypatch.setattr(TrainingEvaluator, "train", noted)
    best = [ranked.candidate.key for ranked in nas_gym.load(run_path).best(2)]
    retrain(run_path, REQUEST)
    assert sorted(trained) == sorted((key, 1) for key in best), "repeat 0 is what the search saw"
    trained.clear()
    retrain(run_path, Request(top=2, repeats=2, epochs=1))
    assert trained == []


def test_other_settings_touch_the_test_images_again_and_say_so(run_path: Path) -> None:
    retrain(run_path, Request(top=1, repeats=1, epochs=1))
    content = retrain(run_path, Request(top=1, repeats=1, epochs=1, seeds=2, width=2.0))
    assert content["test_touches"]["by_retrainings"] == 2
    assert content["scaling"]["trained"]["macs"] > content["scaling"]["searched"]["macs"]
    accuracies = [seed["test_accuracy"] for seed in content["per_seed"]]
    assert content["over_seeds"]["test_accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert content["over_seeds"]["test_accuracy"]["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert content["metrics"]["test_accuracy"] == accuracies[0]
    winner = load_winner(run_path)
    assert winner.candidate.trained.macs == content["scaling"]["trained"]["macs"]
    assert len(winner.weights) == 2 and winner.module(1) is not None
    with pytest.raises(RunError, match="2 seeds, number 3"):
        winner.module(2)


def test_more_images_are_trained_and_tested_on(run_path: Path, tmp_path: Path) -> None:
    digits = load_dataset("digits")
    x, y = digits.validation.inputs.numpy(), digits.validation.targets.numpy()
    np.savez(tmp_path / "more.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:150], y_test=y[100:150])
    content = retrain(run_path, Request(top=1, repeats=1, epochs=1, also=(str(tmp_path / "more.npz"),)))
    assert content["data"]["test_images"] == content["metrics"]["test_images"] == 359 + 50
    assert 200 < content["data"]["training_images"] <= 300, "some of these were trained on by the search"


def test_a_time_budget_chooses_the_schedule_and_is_chosen_once(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "seconds_per_epoch", lambda job: 1.0 * job.candidate.trained.macs / 1e6)
    request = Request(top=1, repeats=1, minutes=0.5)
    told: list[Any] = []

    class Stop(BaseException):
        pass

    class Watch:
        def named(self, done: int, total: int) -> None: ...
        def stepped(self, seed: int, seeds: int, step: Any) -> None: ...
        def epoch(self, seed: int, seeds: int, rows: Any, total: int) -> None: ...

        def planned(self, plan: Any, kept: bool) -> None:
            told.append((plan["schedule"], kept))
            raise Stop

    with pytest.raises(Stop):
        retrain(run_path, request, Watch())
    monkeypatch.setattr(planning, "seconds_per_epoch", lambda job: pytest.fail("it is planned already"))
    with pytest.raises(Stop):
        retrain(run_path, request, Watch())
    (schedule, kept), (again, kept_again) = told
    assert (kept, kept_again) == (False, True) and schedule == again
    each = schedule["seconds_per_epoch"]
    assert schedule["epochs"] == min(200, int(30 * 0.93 / each)) or abs(schedule["epochs"] * each - 30 * 0.93) < 2


def test_what_naming_leaves_too_little_time_for_is_not_trained_and_goes_on_with_all_of_it(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "seconds_per_epoch", lambda job: 1.0)
    original, slow = planning.contenders, [40.0]

    def contenders(*arguments: Any) -> Any:
        found = original(*arguments)
        later = time.perf_counter() + slow.pop() if slow else 0.0
        if later:
            monkeypatch.setattr(planning.time, "perf_counter", lambda: later)
        return found

    monkeypatch.setattr(planning, "contenders", contenders)
    request = Request(top=1, repeats=1, minutes=0.75)
    with pytest.raises(planning.NamingTookLongError, match=r"took 0\.7 of 0\.75 minutes.* same command"):
        retrain(run_path, request)
    assert not (run_path / "winner" / "winner.json").exists()
    monkeypatch.setattr(retraining, "_trained", lambda plan, *_: pytest.fail(f"{plan.recipe.recipe.epochs} epochs"))
    with pytest.raises(pytest.fail.Exception, match=r"4[01] epochs"):
        retrain(run_path, request)


@pytest.mark.parametrize("width", [1.0, "auto"])
def test_a_width_that_does_not_fit_into_the_memory_is_too_large(
    width: Any, run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest = nas_gym.load(run_path).best(1)[0].candidate.trained.macs

    def measure(job: Any) -> float:
        if job.candidate.trained.macs > (4 * smallest if width == "auto" else 0):
            raise TooLargeError("the training does not fit into the memory")
        return 1e-4

    monkeypatch.setattr(planning, "seconds_per_epoch", measure)
    monkeypatch.setattr(retraining, "_trained", lambda plan, *_: pytest.fail(str(plan.candidate.trained.macs)))
    request = Request(top=1, repeats=1, minutes=5, width=width)
    with pytest.raises(pytest.fail.Exception if width == "auto" else TooLargeError) as told:
        retrain(run_path, request)
    assert width != "auto" or 2 * smallest < int(str(told.value)) <= 4 * smallest


class Killed(BaseException):
    """What stops a process like a kill does: nothing catches it, nothing is put in order."""


def sketch(place: Path, *_: Any) -> None:
    """Write files of the pictures' names: drawing takes long, and what counts here is putting them into place."""
    for name in ("confusion", "calibration", "classes", "curves"):
        (place / f"{name}.png").write_bytes(b"")


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A countdown: once so many files are put into place, the process is gone."""
    left = [10**9]
    original = Path.replace

    def counted(self: Path, target: Any) -> Any:
        if left[0] <= 0:
            raise Killed
        left[0] -= 1
        return original(self, target)

    monkeypatch.setattr(Path, "replace", counted)
    monkeypatch.setattr(retraining, "_draw", sketch)
    yield left
    left[0] = 10**9


@pytest.mark.parametrize("files", [0, 2, 5, 7, 8, 9, 10, 13])
def test_killed_between_any_two_files_it_goes_on_to_the_same_winner(
    files: int, run_path: Path, reference: Path, killing: list[int]
) -> None:
    killing[0] = files
    with pytest.raises(Killed):
        retrain(run_path, REQUEST)
    killing[0] = 10**9
    content = retrain(run_path, REQUEST)
    assert_same_winner(run_path, reference)
    assert content["test_touches"]["by_retrainings"] == 1


@pytest.mark.slow
def test_killed_at_random_instants_it_goes_on_to_the_same_winner(run_path: Path, tmp_path: Path) -> None:
    request = Request(top=1, repeats=1, epochs=30)
    whole = Path(shutil.copytree(run_path, tmp_path / "whole"))
    retrain(whole, request)
    command = [sys.executable, "-m", "nas_gym", "retrain", str(run_path)]
    command += ["--top", "1", "--repeats", "1", "--epochs", "30"]
    environment = environ | {"PYTHONPATH": pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    curve = run_path / "winner" / "unfinished" / request.digest / "seed-0" / "curve.jsonl"
    chance, kills = np.random.default_rng(0), 0
    for _ in range(2):
        started = curve.read_bytes().count(b"\n") if curve.exists() else 0
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = started + int(chance.integers(1, 8))
        while process.poll() is None and (not curve.exists() or curve.read_bytes().count(b"\n") < wanted):
            time.sleep(0.002)
        time.sleep(float(chance.uniform(0, 0.02)))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    retrain(run_path, request)
    assert_same_winner(run_path, whole)


def test_before_a_retraining_the_winner_is_the_best_network_of_the_search(run_path: Path) -> None:
    run = nas_gym.load(run_path)
    winner = run.winner()
    assert not winner.retrained and winner.candidate.key == run.best(1)[0].candidate.key
    inputs = torch.zeros(2, *winner.input_shape)
    assert torch.equal(winner.module()(inputs), run.module()(inputs))
    assert winner.metrics["validation_accuracy"] == run.best(1)[0].accuracy
    assert run.result is not None
    assert winner.metrics["test_accuracy"] == run.result["best"]["test_accuracy"]
    data = load_dataset("digits", first_per_class=20)
    assert (winner.mean, winner.std, winner.class_names) == (data.mean, data.std, data.class_names)


def test_damaged_winners_are_told(run_path: Path, reference: Path) -> None:
    shutil.copytree(reference / "winner", run_path / "winner")
    weights = run_path / "winner" / "seed-0" / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"weights.pt' can't be read .*; run nas-gym retrain again"):
        load_winner(run_path).module()
    file = run_path / "winner" / "winner.json"
    for text in ("{", "{}", '{"schema": 99}', '{"schema": 1, "candidate": 3}'):
        file.write_text(text)
        with pytest.raises(RunError, match=r"winner.json' is damaged .*; run nas-gym retrain again"):
            load_winner(run_path)


def test_what_trained_nothing_can_not_be_retrained(tmp_path: Path) -> None:
    settings = SearchSettings(agent="random", evaluations=3, env_args={"evaluator": "hash"})
    runner.search(settings, tmp_path / "run")
    with pytest.raises(RunError, match=r"trained no networks .*\(synthetic/1\); this needs a run whose evaluator"):
        retrain(tmp_path / "run", REQUEST)


def test_changed_data_are_refused(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (run_path / "run.json").read_text()
    (run_path / "run.json").write_text(text.replace("training/1 digits:", "training/1 digits:0"))
    with pytest.raises(RunError, match="have changed since it was searched"):
        retrain(run_path, REQUEST)


def test_a_run_in_use_and_what_is_no_run_are_refused(run_path: Path, tmp_path: Path) -> None:
    from nas_gym.run_directory import RunDirectory

    owner = RunDirectory.open(run_path)
    with pytest.raises(RunError, match="another process is working"):
        retrain(run_path, REQUEST)
    owner.close()
    with pytest.raises(RunError, match="is no run directory"):
        retrain(tmp_path / "nothing", REQUEST)


def test_a_mistake_in_the_recipe_is_told_before_anything_is_trained(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "contenders", lambda *_: pytest.fail("trained to name the winner"))
    with pytest.raises(ConfigurationError, match="got lr"):
        retrain(run_path, Request(top=1, repeats=1, epochs=1, recipe={"lr": 1}))


def test_the_card_of_a_retrained_winner_has_an_interval_for_every_number(reference: Path, tmp_path: Path) -> None:
    winner = load_winner(reference)
    report = json.loads((reference / "winner" / "seed-0" / "report.json").read_text())
    assert winner.content["confusion_matrix"] == report["confusion_matrix"]
    interval = macro_f1_interval(report["confusion_matrix"])
    assert interval.value == pytest.approx(winner.metrics["macro_f1"])
    export_run(reference, formats=("torch",), out=tmp_path / "export")
    card = (tmp_path / "export" / "model_card.md").read_text(encoding="utf-8")
    assert f"| macro-F1 | {interval.value:.4f} | {interval.low:.4f} to {interval.high:.4f} |" in card
    assert "not known" not in card
