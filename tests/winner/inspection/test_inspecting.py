"""An inspection of a run as it is typed: files, a second call, and a sentence for every mistake."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from nas_gym.cli import app
from nas_gym.winner.inspection import inspecting, layer_importances
from nas_gym.winner.inspection.folder import Settings, write_inspection
from nas_gym.winner.inspection.inspecting import inspect_run
from nas_gym.winner.inspection.subject import logits, subject_of
from nas_gym.winner.result import load_winner

QUICK = ["--images", "60", "--repeats", "1", "--patch", "4", "--device", "cpu"]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["inspect", *(str(a) for a in arguments)])


@pytest.fixture(scope="session")
def inspected(searched_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A copy of the search that was inspected, and what was printed; not to be changed."""
    path = Path(shutil.copytree(searched_run, tmp_path_factory.mktemp("inspected") / "run"))
    return path, call(path, *QUICK)


def content_of(path: Path) -> dict[str, Any]:
    return dict(json.loads((path / "inspection" / "inspection.json").read_text()))


def test_it_is_short_and_says_where_the_pictures_are(inspected: tuple[Path, Result]) -> None:
    path, result = inspected
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) < 40
    for words in ("Accuracy", "points lost", "SHAP maps:", str(path / "inspection")):
        assert words in result.stdout
    assert "measuring: layers" in result.stderr


def test_all_files_are_there_and_every_picture_has_its_sentence(inspected: tuple[Path, Result]) -> None:
    path, _ = inspected
    folder, content = path / "inspection", content_of(path)
    assert sorted(file.name for file in folder.iterdir()) == content["files"]
    pictures = sorted(folder.glob("*.png"))
    assert {file.name for file in pictures} == set(content["sentences"])
    page = (folder / "inspection.md").read_text()
    for file in pictures:
        with Image.open(file) as image:
            assert image.width > 300 and np.asarray(image.convert("L")).std() > 5
        assert f"]({file.name})" in page and content["sentences"][file.name] in page
    assert {"shap-right.png", "sanity.png", "patches.png", "layers.png", "weights.png"} <= set(content["sentences"])


def test_layers_are_those_of_the_winner(inspected: tuple[Path, Result]) -> None:
    path, _ = inspected
    layers, architecture = layer_importances(path), load_winner(path).candidate.trained
    assert all(architecture.operations[one.position].kind == one.kind for one in layers)
    assert sum(one.macs for one in layers) == architecture.macs
    assert sum(one.parameters for one in layers) == architecture.parameters
    assert all(one.low <= one.lost_accuracy <= one.high for one in layers)


def test_numbers_are_those_of_the_network(inspected: tuple[Path, Result]) -> None:
    path, _ = inspected
    subject, content = subject_of(path, "cpu"), content_of(path)
    inputs, targets = subject.dataset.normalised("test")
    test = subject.samples("test", 60, 0)
    torch.testing.assert_close(test.inputs, inputs[torch.from_numpy(test.places)])
    accuracy = (logits(subject.network, inputs).argmax(1) == targets).numpy()
    assert content["test_accuracy"] == pytest.approx(accuracy[test.places].mean())
    shown = content["shap"]["images"][0]
    assert shown["true"] == subject.winner.class_names[int(targets[shown["test_image"]])]
    one = subject.winner.class_names.index(shown["maps"][0]["class"])
    outputs = logits(subject.network, inputs[shown["test_image"]][None])[0]
    assert shown["maps"][0]["output"] == pytest.approx(float(outputs[one] - outputs.mean()), abs=1e-4)
    assert content["shap"]["relative_gap"] < 0.3
    pixels = subject.dataset.test.inputs[torch.from_numpy(test.places)].permute(0, 2, 3, 1)
    np.testing.assert_allclose(subject.pixels(test), pixels / (255 if pixels.dtype == torch.uint8 else 1), atol=1e-5)


def test_a_second_call_only_reports(inspected: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch) -> None:
    path, first = inspected

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(inspecting, "subject_of", fail)
    again = call(path, *QUICK)
    assert again.exit_code == 0 and again.stdout == first.stdout and again.stderr == ""
    assert json.loads(call(path, *QUICK, "--json").stdout) == content_of(path)
    with pytest.raises(AssertionError, match="measured again"):
        inspect_run(path, Settings(images=61))


def test_what_is_not_complete_is_no_inspection(inspected: tuple[Path, Result], tmp_path: Path) -> None:
    from nas_gym.winner.inspection.folder import read_inspection

    path = Path(shutil.copytree(inspected[0], tmp_path / "run"))
    assert read_inspection(path) is not None
    (path / "inspection" / "layers.png").unlink()
    assert read_inspection(path) is None
    (path / "inspection" / "inspection.json").write_text("{")
    assert read_inspection(path) is None


def test_a_failure_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_gym.errors import RunError

    write_inspection(tmp_path, {"a": b"old"})
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == ".inspection.unfinished":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(RunError, match="No space left"):
        write_inspection(tmp_path, {"a": b"new"})
    assert (tmp_path / "inspection" / "a").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["inspection"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--images", "1"], "images is a whole number from 2 on, got 1"),
        (["--repeats", "0"], "repeats is a whole number from 1 on, got 0"),
        (["--patch", "0"], "patch is a whole number from 1 on, got 0"),
        (["--device", "abacus"], "device 'abacus' can't be used here"),
    ],
)
def test_every_mistake_has_a_sentence(options: list[str], sentence: str, searched_run: Path) -> None:
    result = call(searched_run, *options)
    assert result.exit_code == 2 and sentence in " ".join(result.stderr.split()) and "Traceback" not in result.output


@pytest.mark.parametrize("damage", ["torn", "text", "nan", "gone", "shape"])
def test_damaged_weights_have_a_sentence(damage: str, run_path: Path) -> None:
    file = load_winner(run_path).weights[0]
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "text":
        file.write_text("no weights")
    elif damage == "gone":
        shutil.rmtree(file.parent)
    else:
        content = torch.load(file, weights_only=True)
        name = next(name for name, tensor in content["state"].items() if tensor.is_floating_point())
        content["state"][name] = content["state"][name] * float("nan") if damage == "nan" else torch.zeros(1, 2, 3)
        torch.save(content, file)
    result = call(run_path, *QUICK)
    assert result.exit_code == 2 and "weights" in result.stderr and "Traceback" not in result.output, result.output
    assert not (run_path / "inspection").exists()


def test_a_run_of_a_table_has_no_network(tmp_path: Path) -> None:
    from nas_gym_agents import runner
    from nas_gym_agents.settings import SearchSettings

    runner.search(
        SearchSettings(agent="random", env="nas_gym/Table-v0", evaluations=3, confirm=0, explain="none"),
        tmp_path / "run",
    )
    result = call(tmp_path / "run")
    assert result.exit_code == 2 and "took its numbers from a table and trained nothing" in result.stderr
    assert call(tmp_path).exit_code == 2


def test_a_network_of_a_table_needs_no_images(table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of vectors: features instead of patches; asking for patches is a mistake."""
    from nas_gym.errors import ConfigurationError
    from nas_gym.winner.inspection.subject import Subject

    class Tabular(Subject):
        def samples(self, split, most, seed):
            return table.samples

    subject = Tabular(table.subject.winner, table.subject.network, table.subject.dataset)
    assert not subject.has_images
    found = inspecting._parts(subject, Settings(images=50, repeats=2), lambda *_: None)
    assert [part.name for part in found.parts] == ["features", "layers", "weights"]
    assert all(picture.startswith(b"\x89PNG") for part in found.parts for picture, _ in part.pictures.values())
    monkeypatch.setattr(inspecting, "subject_of", lambda *_: subject)
    monkeypatch.setattr(inspecting, "load_winner", lambda _: subject.winner)
    monkeypatch.setattr(inspecting.RunDirectory, "open", lambda path: type("Open", (), {"close": lambda _: None})())
    with pytest.raises(ConfigurationError, match="this network takes samples of shape"):
        inspect_run(tmp_path, Settings(patch=2))
