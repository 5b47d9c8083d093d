"""The whole command on a run: what is written, what is not touched, what goes on, and who takes the recipe."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nas_gym.cli import app
from nas_gym.data.dataset import Dataset
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.run import Run
from nas_gym.winner.tuning import tuning
from nas_gym.winner.tuning.request import TuningRequest
from nas_gym.winner.tuning.result import read_tuning, tuned_recipe
from nas_gym.winner.tuning.space import Value
from nas_gym.winner.tuning.trainer import Trainer
from nas_gym.winner.tuning.trials import Report
from nas_gym.winner.tuning.tuning import tune
from nas_gym.winner.tuning.workers import workers

REQUEST = TuningRequest(trials=10, epochs=2, top=1, repeats=2)
OPTIONS = ["--trials", "10", "--epochs", "2", "--top", "1", "--repeats", "2"]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="session")
def tuned_run(searched_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search, tuned where every use of a test image fails; not to be changed."""
    path = Path(shutil.copytree(searched_run, tmp_path_factory.mktemp("tuned") / "run"))
    normalised = Dataset.normalised

    def guarded(self: Dataset, name: Any, *args: Any, **kwargs: Any) -> Any:
        assert name != "test", "a test image was touched"
        return normalised(self, name, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "normalised", guarded)
        tune(path, REQUEST)
    return path


def test_what_is_written(tuned_run: Path) -> None:
    place = tuned_run / "tuning"
    content = json.loads((place / "best.json").read_text())
    names = {"best.json", "importance.json", "tuning.md", "plan.json", "journal.log", "confirmation.json"}
    names |= {"history.png", "importances.png", "slice.png", "parallel.png"}
    assert {file.name for file in place.iterdir()} == names
    assert all(file.stat().st_size > 5000 for file in place.glob("*.png"))
    assert content["key"] == Run(tuned_run).best(1)[0].candidate.key
    assert content["epochs"] == 2 and content["budget_epochs"] == 20
    assert 18 < content["trials"]["epochs"] <= 20
    recipes = content["validation"]["recipes"]
    assert recipes[0]["recipe"] == content["untuned"] and len(recipes) == 2
    best = max(recipes, key=lambda one: sum(one["accuracies"]))
    assert content["recipe"] == best["recipe"] and content["improved"] == (best is not recipes[0])
    assert content["validation"]["tuned"]["mean"] == pytest.approx(sum(best["accuracies"]) / 2)
    assert set(content["recipe"]) == set(content["space"]["broad"]["free"]) >= {"learning_rate", "flip", "cutout"}
    page = (place / "tuning.md").read_text()
    for one in content["importances"]:
        assert f"| {one['name']} | {one['share']:.0%} | {one['chance']:.3f} |" in page
    assert all(f"]({file.name})" in page for file in place.glob("*.png"))


def test_the_journal_is_one_of_optuna(tuned_run: Path, tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file = shutil.copy(tuned_run / "tuning" / "journal.log", tmp_path)
    content = read_tuning(tuned_run)
    assert content is not None
    for name in ("broad", "narrow"):
        study = optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(file))))
        own = [trial for trial in study.trials if "trial" not in trial.user_attrs]
        assert len(own) == content["trials"][name]


def test_a_trial_has_the_accuracy_of_a_training_with_its_values(tuned_run: Path) -> None:
    content = read_tuning(tuned_run)
    assert content is not None
    trainer, _ = tuning._trainer(Run(tuned_run), REQUEST, 1)
    best, curve = content["best_trial"], []

    def note(epoch: int, accuracy: float) -> bool:
        curve.append(accuracy)
        return True

    assert trainer(best["values"], 0, note) is None
    assert curve == best["curve"] and best["accuracy"] == curve[-1]
    recipe = trainer.recipe(best["values"]).recipe
    assert {name: getattr(recipe, name) for name in best["values"]} == best["values"]


def test_the_same_command_only_reports_and_another_is_refused(tuned_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "__call__", lambda *_: pytest.fail("trained again"))
    assert tune(tuned_run, REQUEST) == read_tuning(tuned_run)
    with pytest.raises(RunError, match=r"trials 10 there, 12 asked.*--fresh"):
        tune(tuned_run, TuningRequest(trials=12, epochs=2, top=1, repeats=2))


def test_stopped_it_goes_on_to_the_same_recipe(
    run_path: Path, tuned_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, calls = Trainer.__call__, []

    def stops(self: Trainer, values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        calls.append(seed)
        if len(calls) in (4, 8, 14):  # in both stages, and between the new trainings
            raise KeyboardInterrupt
        return train(self, values, seed, report)

    monkeypatch.setattr(Trainer, "__call__", stops)
    monkeypatch.setattr("sys.argv", ["nas-gym", "tune", str(run_path), *OPTIONS, "--fresh"])
    for option in (["--fresh"], [], []):
        result = call("tune", run_path, *OPTIONS, *option)
        assert result.exit_code == 130, result.output
        assert f"go on with: nas-gym tune {run_path} {' '.join(OPTIONS)}\n" in result.stderr
    assert read_tuning(run_path) is None
    result = call("tune", run_path, *OPTIONS, "--json")
    assert result.exit_code == 0, result.output
    content, wanted = json.loads(result.stdout), read_tuning(tuned_run)
    assert wanted is not None
    moved = {"best_trial"}  # the numbers of trials count the interrupted ones, too
    assert {n: v for n, v in content.items() if n not in moved} == {n: v for n, v in wanted.items() if n not in moved}
    assert content["best_trial"]["values"] == wanted["best_trial"]["values"]


def test_what_is_told(tuned_run: Path) -> None:
    result = call("tune", tuned_run, *OPTIONS)
    assert result.exit_code == 0, result.output
    content = read_tuning(tuned_run)
    assert content is not None
    for words in (
        "learning_rate",
        "importance",
        "With 2 new seeds",
        "pictures and page",
        f"in {content['trials']['epochs']} epochs",
    ):
        assert words in result.stdout
    assert (f"nas-gym retrain {tuned_run} --tuned" in result.stdout) == content["improved"]


def test_retrain_takes_the_recipe(tuned_run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tuned_run, tmp_path / "run"))
    quick = ["--top", "1", "--repeats", "1", "--epochs", "1"]
    result = call("retrain", path, *quick, "--tuned", "--recipe-arg", "label_smoothing=0.05", "--json")
    assert result.exit_code == 0, result.output
    recipe = json.loads(result.stdout.splitlines()[-1])["recipe"]
    wanted = tuned_recipe(path) | {"label_smoothing": 0.05}
    assert {name: recipe[name] for name in wanted} == wanted
    assert "another network" not in result.stderr
    file = path / "tuning" / "best.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"key": "other"}))
    assert "tuned for another network than the winner" in call("retrain", path, *quick, "--tuned").stderr


def test_workers_train_as_this_process_does(tuned_run: Path) -> None:
    trainer, _ = tuning._trainer(Run(tuned_run), REQUEST, 1)
    told: list[list[float]] = [[], []]
    with workers(trainer, 2) as pair:
        for train, curve in ((pair[0], told[0]), (trainer, told[1])):
            assert train(trainer.untuned(), 3, lambda epoch, accuracy, c=curve: not c.append(accuracy)) is None
        pair[1].kill()  # type: ignore[attr-defined]
        with pytest.raises(RunError, match=r"a worker process ended.*fewer --workers"):
            pair[1](trainer.untuned(), 0, lambda *_: True)
    assert told[0] == told[1] and len(told[0]) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--trials", "3"], "trials is a whole number, at least 10, got 3"),
        (["--minutes", "0"], "minutes is a time above 0"),
        (["--epochs", "0"], "epochs is a whole number"),
        (["--broad", "1"], "broad is a share from 0.1 to 0.9"),
        (["--top", "-1"], "top is a whole number, at least 0"),
        (["--repeats", "1"], "one of at least 2"),
        (["--workers", "0"], "workers is a whole number, at least 1"),
        (["--minutes", "0.0001"], "are not enough for 10 trials"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_mistake_has_a_sentence(options: list[str], sentence: str, run_path: Path) -> None:
    result = call("tune", run_path, *options)
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split()) and "Traceback" not in result.output


def test_without_a_run_a_recipe_or_optuna(tmp_path: Path, run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is no run directory" in call("tune", tmp_path).stderr
    result = call("retrain", run_path, "--tuned")
    assert result.exit_code == 2 and "has no tuned recipe; run nas-gym tune" in " ".join(result.stderr.split())
    (run_path / "tuning").mkdir()
    (run_path / "tuning" / "best.json").write_text("{}")
    assert "is damaged" in call("retrain", run_path, "--tuned").stderr
    monkeypatch.setitem(sys.modules, "optuna", None)
    result = call("tune", run_path)
    assert result.exit_code == 2
    assert result.stderr.strip() == 'error: Optuna is not installed; pip install "nas-gym[optuna]"'


def test_minutes_buy_what_fits(tuned_run: Path) -> None:
    request = TuningRequest(minutes=2, epochs=5, top=1, repeats=2)
    assert tuning._budget(request, 5, 0.5, 1) == 2 * 60 / 0.5 - 4 * 5
    assert tuning._budget(request, 5, 0.5, 2) == 2 * 2 * 60 / 0.5 - 4 * 5
    with pytest.raises(ConfigurationError, match=r"give --minutes 6\.1 or fewer --epochs"):
        tuning._budget(request, 5, 5.0, 1)
