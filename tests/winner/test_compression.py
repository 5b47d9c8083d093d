"""nas-gym compress: what it writes, what the numbers are, what is not made twice, and what it refuses."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from nas_gym.cli import app
from nas_gym.data import load_dataset
from nas_gym.winner import load_winner
from nas_gym.winner.compression import compressing, making
from nas_gym.winner.compression.compressing import compress
from nas_gym.winner.compression.figure import figure
from nas_gym.winner.compression.material import material
from nas_gym.winner.compression.measuring import chosen, expected_losses, pareto
from nas_gym.winner.compression.network import read_network
from nas_gym.winner.compression.request import Request
from nas_gym.winner.compression.runtime import latencies
from nas_gym.winner.compression.table import markdown, signed, terminal
from nas_gym.winner.intervals import wilson_interval

REQUEST = Request(ratios=(0.5,), epochs=1, students=1, points=3.0, calibration_images=64)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def content(compressed_run: Path) -> dict[str, Any]:
    return dict(json.loads((compressed_run / "compressed" / "compressed.json").read_text()))


@pytest.fixture(scope="module")
def test_images() -> tuple[np.ndarray, np.ndarray]:
    test = load_dataset("digits", first_per_class=20).test
    scale = 1 if test.inputs.dtype == torch.uint8 else 255
    return (test.inputs.float() * scale).numpy(), test.targets.numpy()


def logits_of(file: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(None, {"pixels": pixels})
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    return np.asarray(logits)


def test_every_file_gives_the_numbers_of_its_network(
    compressed_run: Path, content: dict[str, Any], test_images: tuple[np.ndarray, np.ndarray]
) -> None:
    folder, winner = compressed_run / "compressed", load_winner(compressed_run)
    pixels, targets = test_images
    mean, std = (np.array(values, dtype=np.float32).reshape(1, -1, 1, 1) for values in (winner.mean, winner.std))
    names = [row["name"] for row in content["variants"]]
    assert {"plain", "plain-int8", "pruned-50", "distilled-1"} <= set(names) and names[0] == "plain"
    for row in content["variants"]:
        network = read_network(folder / f"{row['name'].removesuffix('-int8')}.pt")
        with torch.no_grad():
            expected = network(torch.from_numpy((pixels / 255 - mean) / std)).numpy()
        logits = logits_of(folder / f"{row['name']}.onnx", pixels)
        difference = np.abs(logits - expected).max() / max(1, np.abs(expected).max())
        assert difference <= row["tolerance"] == (0.25 if row["numbers"] == "int8" else 1e-4)
        right = float((logits.argmax(1) == targets).mean())
        assert row["test_accuracy"] == pytest.approx(right) and row["test_images"] == len(targets)
        assert row["test_interval"][0] == pytest.approx(wilson_interval(right, len(targets)).low)
        assert row["size_bytes"] == (folder / f"{row['name']}.onnx").stat().st_size
        assert (row["parameters"], row["macs"]) == (network.architecture.parameters, network.architecture.macs)
        assert row["parameters"] == sum(p.numel() for p in network.parameters())
    plain = read_network(folder / "plain.pt").state_dict()
    assert all(torch.equal(plain[name], value) for name, value in winner.module().state_dict().items())


def test_what_is_left_out_is_smaller(content: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in content["variants"]}
    assert rows["pruned-50"]["parameters"] < rows["plain"]["parameters"]
    assert rows["pruned-50"]["macs"] < rows["plain"]["macs"]
    assert rows["pruned-50"]["size_bytes"] < rows["plain"]["size_bytes"]
    assert rows["plain-int8"]["parameters"] == rows["plain"]["parameters"]
    for row in rows.values():
        assert row["times_smaller"] == pytest.approx(rows["plain"]["size_bytes"] / row["size_bytes"])
        for batch, one in row["latency"].items():
            assert 0 < one["low_ms"] <= one["median_ms"] <= one["high_ms"] and one["passes"] >= 15
            ratio = rows["plain"]["latency"][batch]["median_ms"] / one["median_ms"]
            assert row["times_faster"][batch] == pytest.approx(ratio)


def test_int8_weights_are_int8_with_a_scale_for_every_channel(compressed_run: Path) -> None:
    model = onnx.load(compressed_run / "compressed" / "plain-int8.onnx")
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    scaled = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in held]
    weights = [(held[n.input[0]], held[n.input[1]]) for n in scaled if held[n.input[0]].ndim > 1]
    assert weights and all(values.dtype == np.int8 and np.abs(values.astype(int)).max() <= 64 for values, _ in weights)
    assert any(scale.size > 1 for _, scale in weights)


def test_files_say_what_they_are_and_predict(compressed_run: Path, content: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    for row in content["variants"]:
        file = compressed_run / "compressed" / f"{row['name']}.onnx"
        facts = json.loads({p.key: p.value for p in onnx.load(file).metadata_props}["nas_gym"])
        assert facts["variant"] == row["name"] and facts["class_names"] == list("0123456789")
        assert facts["metrics"]["test_accuracy"] == row["test_accuracy"]
        told = call("predict", file, tmp_path / "a.png", "--json")
        assert told.exit_code == 0, told.output


def test_table_and_figure_tell_all_variants(compressed_run: Path, content: dict[str, Any]) -> None:
    folder, names = compressed_run / "compressed", [row["name"] for row in content["variants"]]
    with (folder / "compressed.csv").open() as file:
        told = list(csv.DictReader(file))
    assert [row["name"] for row in told] == names
    assert [float(row["batch_1_median_ms"]) for row in told] == [
        row["latency"]["1"]["median_ms"] for row in content["variants"]
    ]
    text = (folder / "compressed.md").read_text()
    assert text == markdown(content) and all(f"| {name} |" in text for name in names)
    drawn = figure(content)
    for axes in drawn.axes:
        marks = [line for line in axes.lines if line.get_marker() in ("o", "s", "^") and line.get_zorder() == 4]
        assert len(marks) == len(axes.texts) == len(names)
        ys = sorted(float(np.asarray(line.get_ydata())[0]) for line in marks)
        assert ys == pytest.approx(sorted(100 * row["test_accuracy"] for row in content["variants"]))
    with Image.open(folder / "pareto.png") as picture:
        assert picture.size == (1980, 960)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal(content))
    assert "…" not in console.export_text()


def test_variants_learn_from_images_that_choose_none(compressed_run: Path, searched_run: Path) -> None:
    after, before = material(compressed_run), material(searched_run)
    validation = {image.tobytes() for image in before.dataset.validation.inputs.numpy()}
    test = {image.tobytes() for image in before.dataset.test.inputs.numpy()}
    trained = {image.tobytes() for image in after.dataset.train.inputs.numpy()}
    assert not trained & validation and not trained & test
    assert len(after.dataset.validation) == len(before.dataset.validation)
    assert after.winner.retrained and after.dataset.mean == after.winner.mean
    assert before.recipe(5).learning_rate == pytest.approx(0.3 * before.recipe(5, ()).learning_rate)


def row(name: str, kind: str, validation: float, size: int = 10, ms: float = 1.0) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "validation_accuracy": validation, "size_bytes": size, "test_accuracy": validation,
        "latency": {"1": {"median_ms": ms}},
    }  # fmt: skip


def test_the_choice_is_by_images_that_were_not_trained_on() -> None:
    rows = [row("plain", "plain", 0.99), row("plain-int8", "plain", 0.985), row("pruned-50", "pruned", 0.905)]
    assert expected_losses(rows, None) == pytest.approx([0, 0.5, 8.5])
    assert expected_losses(rows, 0.91) == pytest.approx([0, 0.5, 0.5]), "the winner has seen them: 0.91 is its due"


def test_the_smallest_and_the_fastest_of_the_good_are_chosen() -> None:
    rows = [row("a", "plain", 0.9, 100, 5.0), row("b", "pruned", 0.9, 20, 3.0), row("c", "pruned", 0.9, 30, 2.0)]
    rows.append(row("d", "pruned", 0.5, 1, 0.1))
    for one, lost in zip(rows, (0.0, 0.9, 1.0, 40.0), strict=True):
        one["points_expected_to_lose"] = lost
    assert chosen(rows, 1.0) == {"smallest": "b", "fastest": "c"}
    assert chosen(rows, 0.95) == {"smallest": "b", "fastest": "b"}
    assert chosen(rows, 0.0) == {"smallest": "a", "fastest": "a"}
    assert pareto(rows, lambda one: one["size_bytes"]) == ["d", "b"]


def test_files_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order = list[str]()

    class Session:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, names: object, feed: object) -> None:
            order.append(self.name)

    monkeypatch.setattr("nas_gym.winner.compression.runtime.session", lambda file, threads: Session(file.name))
    files = {name: Path(name) for name in "abc"}
    found = latencies(files, np.zeros((2, 1, 2, 2), dtype=np.float32), batch=2, rounds=20)
    rounds = np.array(order[15:]).reshape(20, 3)
    assert (
        all(sorted(one) == ["a", "b", "c"] for one in rounds.tolist())
        and len({tuple(one) for one in rounds.tolist()}) > 1
    )
    assert {one.passes for one in found.values()} == {20} and {one.batch for one in found.values()} == {2}


def test_what_is_done_is_not_made_again(compressed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(shutil.copytree(compressed_run, tmp_path / "run"))

    def none(*arguments: object, **options: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(making, "train", none)
    monkeypatch.setattr(making, "export_module", none)
    before = json.loads((path / "compressed" / "compressed.json").read_text())
    assert compress(path, REQUEST) == before


def test_a_killed_compression_goes_on_with_what_it_has(
    compressed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(compressed_run, tmp_path / "run"))
    request = Request(ratios=(0.4,), epochs=1, students=0, quantise=False)
    old, trainings = (path / "compressed" / "compressed.json").read_text(), list[str]()
    train, measured = making.train, compressing.measured

    def counting(lesson: Any, *rest: Any) -> Any:
        trainings.append(lesson.question)
        return train(lesson, *rest)

    def killed(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "train", counting)
    monkeypatch.setattr(compressing, "measured", killed)
    with pytest.raises(KeyboardInterrupt):
        compress(path, request)
    assert (path / "compressed" / "compressed.json").read_text() == old, (
        "the old one stays until the new one is complete"
    )
    monkeypatch.setattr(compressing, "measured", measured)
    monkeypatch.setattr(compressing, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        compress(path, request)
    monkeypatch.undo()
    monkeypatch.setattr(making, "train", killed)
    content = compress(path, request)
    assert [row["name"] for row in content["variants"]] == ["plain", "pruned-40"] and len(trainings) == 1
    models = {file.name for file in (path / "compressed").glob("*.onnx")}
    assert models == {"plain.onnx", "pruned-40.onnx"}, "files of the earlier one are gone"
    assert not list((path / "compressed" / "unfinished").iterdir())


def assert_refused(result: Result, words: str) -> None:
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    (sentence,) = result.stderr.strip().splitlines()
    assert sentence.startswith("error: ") and words in sentence and "Traceback" not in sentence


def test_mistakes_are_a_sentence(run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(call("compress", tmp_path / "none"), "none")
    assert_refused(call("compress", run_path, "--ratios", "1.5"), "at most 0.95")
    assert_refused(call("compress", run_path, "--ratios", "half"), "0.25,0.5")
    assert_refused(call("compress", run_path, "--epochs", "0"), "epochs")
    assert_refused(call("compress", run_path, "--ratios", "none", "--no-distil", "--no-int8"), "nothing is left")
    shutil.rmtree(run_path / "weights")
    assert_refused(call("compress", run_path, "--epochs", "1"), "weights")
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    assert_refused(call("compress", run_path, "--epochs", "1"), 'pip install "nas-gym[compress]"')


def test_signs() -> None:
    assert [signed(value) for value in (0.3, -0.3, -0.001, 0.0)] == ["+0.30", "−0.30", "±0.00", "±0.00"]
