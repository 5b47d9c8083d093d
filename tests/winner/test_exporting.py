"""nas-gym export on runs: what it writes, what the card says, and what it refuses."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import nas_gym
from nas_gym.cli import app
from nas_gym.data import load_dataset
from nas_gym.errors import RunError
from nas_gym.report.finished import _weights_in
from nas_gym.winner import exporting, load_winner, predict
from nas_gym.winner.exporting import RunExport, export_run, facts_of
from nas_gym.winner.intervals import wilson_interval
from nas_gym.winner.licences import LICENCES, licence_in_words
from nas_gym.winner.model_card import model_card
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

SMALL = {"epochs": 1, "max_layers": 3}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_refused(result: Result, words: str) -> None:
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    (sentence,) = result.stderr.strip().splitlines()
    assert sentence.startswith("error: ") and words in sentence and "Traceback" not in sentence


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search by a policy."""
    path = tmp_path_factory.mktemp("searched") / "run"
    settings = SearchSettings(evaluations=3, env_args=SMALL, agent_args={"n_steps": 16}, confirm=0, explain="all")
    runner.search(settings, path)
    return path


@pytest.fixture(scope="module")
def written(searched: Path) -> RunExport:
    """Its export."""
    return export_run(searched)


@pytest.fixture
def run(searched: Path, written: RunExport, tmp_path: Path) -> Path:
    """A copy of the run with its export, to be changed."""
    return Path(shutil.copytree(searched, tmp_path / "run"))


@pytest.fixture(scope="module")
def card(written: RunExport) -> str:
    return (written.folder / "model_card.md").read_text(encoding="utf-8")


def section(card: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found.group(1)


def test_the_model_carries_which_weights_it_is_of(searched: Path, written: RunExport) -> None:
    assert _weights_in(written.folder / "model.onnx") == load_winner(searched).digest is not None


def test_what_is_written(searched: Path, written: RunExport) -> None:
    names = ["model.onnx", "model.pt2", "predict.py", "network.png", "model_card.md"]
    assert written.folder == searched / "export" and [file.name for file in written.files] == names
    assert sorted(file.name for file in written.folder.iterdir()) == sorted(names)
    assert (written.folder / "predict.py").read_bytes() == Path(predict.__file__).read_bytes()
    with Image.open(written.folder / "network.png") as picture:
        assert picture.format == "PNG" and len(np.unique(np.asarray(picture))) > 20
    assert written.note == ""


def test_predictions_of_the_files_are_the_runs_networks(searched: Path, written: RunExport) -> None:
    import torch

    data, network = load_dataset("digits"), nas_gym.load(searched).module()
    with torch.no_grad():
        wanted = network(data.normalised("test")[0]).softmax(1).numpy()
    model = predict.Model(written.folder / "model.onnx")
    _, found = model.run(data.test.inputs.numpy() * np.float32(255))
    assert np.abs(found - wanted).max() <= 1e-4
    accuracy = float((found.argmax(1) == data.test.targets.numpy()).mean())
    for one in written.exported:
        assert one.comparison.samples == len(data.test) == 359
        assert one.comparison.accuracy == one.comparison.network_accuracy == pytest.approx(accuracy)
    result = nas_gym.load(searched).result
    assert result is not None and result["best"]["test_accuracy"] == pytest.approx(accuracy)
    facts = model.facts
    assert facts["key"] == result["best"]["key"] and facts["dataset"] == "digits" and facts["variant"] == "plain"
    assert facts["class_names"] == list(data.class_names)
    assert facts["metrics"]["test_accuracy"] == result["best"]["test_accuracy"]
    assert facts["metrics"]["parameters"] == result["best"]["parameters"] and facts["versions"]["torch"]


def test_the_card_has_its_sections_in_order(card: str) -> None:
    titles = re.findall(r"^## (.*)$", card, re.MULTILINE)
    wanted = ["Use", "Data", "How good it is", "The network", "What the policy computed", "Limits"]
    assert titles == [*wanted, "How to reproduce it"]
    assert card.startswith("# Model card: digits, 10 classes\n")


def test_the_cards_numbers_are_the_runs(card: str, searched: Path, written: RunExport) -> None:
    result = nas_gym.load(searched).result
    assert result is not None
    best = result["best"]
    measured = section(card, "How good it is")
    interval = wilson_interval(best["test_accuracy"], 359)
    row = f"| accuracy | {best['test_accuracy']:.4f} | {interval.low:.4f} to {interval.high:.4f} | 359 test images |"
    assert row in measured
    assert f"{best['validation_accuracy']:.4f} ± {best['validation_standard_error']:.4f}" in measured
    assert measured.count("macro-F1 of `model.") == 2 and "Wilson" in measured and "bootstrap" in measured
    assert "1,078 train, 360 validation, 359 test" in section(card, "Data")
    assert "CC BY 4.0" in section(card, "Data")
    network = section(card, "The network")
    assert f"{best['parameters']:,} parameters, {best['macs']:,} multiply" in network and best["key"] in network
    assert "](network.png)" in network and "| **total** |" in network
    for one in written.exported:
        assert f"| `{one.path.name}` | {one.size_bytes:,} bytes |" in card


def test_the_card_tells_what_the_policy_computed_and_not_why_it_is_good(card: str, searched: Path) -> None:
    told = section(card, "What the policy computed")
    for paragraph in nas_gym.load(searched).explanation():
        assert f"* {paragraph}\n" in told
    assert "It does not say why the network is good." in told


def test_the_cards_commands_are_those_of_the_run(card: str) -> None:
    commands = re.findall(r"^    (nas-gym .*)$", section(card, "How to reproduce it"), re.MULTILINE)
    search, export = commands
    assert "--env nas_gym/Chain-Digits-v0" in search and "--env-arg epochs=1" in search and "--evaluations 3" in search
    assert "--agent-arg n_steps=16" in search
    assert export == "nas-gym export RUN --format onnx,torch"


def test_a_network_trained_for_long_is_told_as_such(searched: Path, written: RunExport) -> None:
    winner = load_winner(searched)
    known = {"test_accuracy": 0.9, "plain_accuracy": 0.88, "test_images": 1000, "macro_f1": 0.875}
    content = {
        "key": winner.candidate.key,
        "request": {"top": 3},
        "data": {"training_images": 5, "test_images": 6},
        "over_seeds": {"test_accuracy": {"mean": 0.91, "sd": 0.004, "n": 3}},
        "test_touches": {"by_the_search": 1, "by_retrainings": 2},
    }
    matrix = [[70, 5], [15, 10]]
    metrics = {**winner.metrics, **known, "calibration_error": 0.02, "confusion_matrix": matrix}
    longer = replace(winner, retrained=True, metrics=metrics, content=content)
    card = model_card(
        exporting.Card(
            facts=facts_of(longer, "digits"),
            winner=longer,
            exported=written.exported,
            split_sizes=None,
            test_images=exporting._test_images(longer, None),
            account=exporting._account(nas_gym.load(searched), longer),
            run=nas_gym.load(searched).content,
            data_licence="CC0",
        )
    )
    measured = section(card, "How good it is")
    low, high = (wilson_interval(0.88, 1000).low, wilson_interval(0.88, 1000).high)
    assert f"accuracy, without mirrored images | 0.8800 | {low:.4f} to {high:.4f} | 1,000 test images" in measured
    assert "mean with mirrored images (not what these files compute) | 0.9000" in measured
    assert re.search(r"macro-F1 \| 0.8750 \| 0\.\d{4} to 0\.\d{4}", measured)
    assert "accuracy of 3 trainings (± standard deviation; this is the first) | 0.9100 ± 0.0040" in measured
    assert "measured once by the search and by 2 final trainings, one after the other" in measured
    assert "expected calibration error | 0.0200" in measured and "calibration" not in section(card, "Limits")
    assert "nas-gym retrain RUN --top 3" in section(card, "How to reproduce it")
    assert "CC0 (as stated by whoever exported the model)" in section(card, "Data")
    assert "final training: 5; test images: 6" in section(card, "Data")
    assert "retrain" not in section(card, "Limits")


def test_the_commands(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "export")
    result = call("export", run, "--format", "onnx", "--out", tmp_path / "here", "--data-licence", "public domain")
    assert result.exit_code == 0, result.output
    assert "model.onnx" in result.stdout and "nas-gym predict" in result.stdout
    assert not (run / "export").exists() and not (tmp_path / "here" / "model.pt2").exists()
    assert "public domain" in (tmp_path / "here" / "model_card.md").read_text()
    np.save(tmp_path / "digits.npy", load_dataset("digits").test.inputs[:5].numpy())
    asked = ["predict", tmp_path / "here" / "model.onnx", tmp_path / "digits.npy"]
    told = json.loads(call(*asked, "--json", "--top", "1").stdout)
    model = predict.Model(tmp_path / "here" / "model.onnx")
    direct = predict.predict_files(model, [str(tmp_path / "digits.npy")], top=1)
    assert told["predictions"] == [one.to_json() for one in direct] and len(direct) == 5
    assert len(call(*asked).stdout.splitlines()) == 7
    assert_refused(call("predict", run / "run.json", tmp_path / "digits.npy"), "not an ONNX model")
    assert_refused(call("predict", model.path, tmp_path / "none.png"), "there is no file or folder")
    assert_refused(call(*asked, "--top", "0"), "at least 1")


def test_an_export_as_one_object(run: Path) -> None:
    result = call("export", run, "--format", "torch", "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert set(told) == {"run_dir", "out", "files", "exported", "note"}
    (one,) = told["exported"]
    assert one["format"] == "torch" and one["comparison"]["difference"] <= one["tolerance"] == 1e-4


def test_data_that_are_gone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    winner = load_winner(run)
    trained_for_long = replace(winner, retrained=True)
    monkeypatch.setattr(exporting, "load_winner", lambda path: trained_for_long)

    def gone(run: Any) -> Any:
        raise RunError("the data are gone")

    monkeypatch.setattr("nas_gym.winner.searched.searched", gone)
    written = export_run(run, formats=("torch",))
    assert "random pixels" in written.note and "the data are gone" in written.note
    assert written.exported[0].comparison.accuracy is None
    card = (run / "export" / "model_card.md").read_text()
    assert "64 images of random pixels" in card and "Name: not known" in card
    result = call("export", run, "--format", "torch")
    assert result.exit_code == 0 and result.stderr.startswith("note: compared on random pixels")


def test_data_that_have_changed_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("ant", "owl"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.fromarray(generator.integers(0, 256, (8, 8)).astype(np.uint8))
            image.save(tmp_path / "pets" / name / f"{number}.png")
    arguments = {**SMALL, "dataset": str(tmp_path / "pets"), "max_layers": 1}
    settings = SearchSettings(
        env="nas_gym/Chain-v0", env_args=arguments, agent="random", evaluations=1, confirm=0, explain="none"
    )
    runner.search(settings, tmp_path / "run")
    assert export_run(tmp_path / "run", formats=("torch",)).note == ""
    card = (tmp_path / "run" / "export" / "model_card.md").read_text()
    assert "these are data of your own" in card and "No policy of this agent is on record" in card
    (tmp_path / "pets" / "ant").rename(tmp_path / "pets" / "zebra")  # classes are numbered in the order of their names
    assert_refused(call("export", tmp_path / "run"), "have changed since")
    shutil.rmtree(tmp_path / "pets")
    assert_refused(call("export", tmp_path / "run"), "can't be made again")


def test_what_can_not_be_exported(run: Path, tmp_path: Path, tables: Any) -> None:
    assert_refused(call("export", tmp_path / "none"), "no run directory")
    assert_refused(call("export", run, "--format", "tflite"), "onnx and torch")
    assert_refused(call("export", run, "--format", ","), "got none")
    (tmp_path / "file").write_text("")
    assert_refused(call("export", run, "--out", tmp_path / "file"), "no folder")
    assert_refused(call("export", run, "--format", "torch", "--out", tmp_path / "file" / "x"), "can't be written")
    table = SearchSettings(env="nas_gym/Table-v0", agent="random", evaluations=3, explain="none")
    runner.search(table, tmp_path / "table")
    assert_refused(call("export", tmp_path / "table"), "took its numbers from a table and trained nothing")


def test_licences_are_known_for_every_named_data_set() -> None:
    from nas_gym.data import KNOWN_DATASETS

    assert set(LICENCES) == set(KNOWN_DATASETS)
    assert licence_in_words("fashion-mnist").startswith("MIT, copyright Zalando SE")
    assert licence_in_words("my_images").startswith("Not known: these are data of your own.")
    assert licence_in_words("digits", "mine").startswith("mine (as stated by")
