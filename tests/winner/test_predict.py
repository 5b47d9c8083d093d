"""predict.py: what it reads, what it changes, and a sentence for whatever is wrong."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from nas_gym.data import images as training_images
from nas_gym.winner import predict
from nas_gym.winner.export import export_module
from nas_gym.winner.facts import Facts
from nas_gym.winner.predict import Model, PredictionError, predict_files

HEIGHT, WIDTH = 6, 5  # so that no axis can be mistaken for another
CLASSES = ("cat", "dog", "ant", "owl")
Models = dict[int, tuple[Path, nn.Module]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """An exported model for each number of channels, with the network it was made of."""
    made: Models = {}
    for channels in (1, 3):
        torch.manual_seed(channels)
        network = nn.Sequential(nn.Flatten(), nn.Linear(channels * HEIGHT * WIDTH, len(CLASSES))).eval()
        facts = Facts(
            class_names=CLASSES,
            input_shape=(channels, HEIGHT, WIDTH),
            mean=(0.4,) * channels,
            std=(0.25,) * channels,
            key=f"key-{channels}",
            dataset="pets",
        )
        folder = tmp_path_factory.mktemp("models")
        (one,) = export_module(network, facts, folder, formats=("onnx",))
        made[channels] = one.path, network
    return made


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def colours(seed: int = 0) -> np.ndarray:
    return pixels(seed, HEIGHT, WIDTH, 3)


def expected(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Return the network's probabilities for images (n, channels, height, width) in 0..255."""
    normalised = (torch.from_numpy(images.astype(np.float32)) / 255 - 0.4) / 0.25
    with torch.no_grad():
        return network(normalised).softmax(1).numpy()


def probabilities(path: Path, source: Path, **options: Any) -> np.ndarray:
    """Return predicted probabilities in the order of the classes, (n, classes)."""
    found = predict_files(Model(path), [str(source)], top=len(CLASSES), **options)
    return np.array([[dict(one.top)[name] for name in CLASSES] for one in found])


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp"])
def test_image_files_give_the_networks_probabilities(ending: str, models: Models, tmp_path: Path) -> None:
    path, network = models[3]
    file = tmp_path / f"image.{ending}"
    Image.fromarray(colours()).save(file)
    read = np.asarray(Image.open(file).convert("RGB"))  # JPEG and WebP lose something on the way
    (found,) = predict_files(Model(path), [str(file)], top=4)
    wanted = expected(network, read.transpose(2, 0, 1)[None])[0]
    order = np.argsort(-wanted)
    assert [name for name, _ in found.top] == [CLASSES[place] for place in order]
    assert np.allclose([share for _, share in found.top], wanted[order], atol=1e-5)
    assert found.source == str(file) and found.changes == ()


LAYOUTS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray], int]] = {
    # channels of the model; from images (n, channels, height, width) to the array; how many images it holds
    "h w": (1, lambda a: a[0, 0], 1),
    "1 h w": (1, lambda a: a[0], 1),
    "h w 1": (1, lambda a: a[0].transpose(1, 2, 0), 1),
    "n h w": (1, lambda a: a[:, 0], 7),
    "n 1 h w": (1, lambda a: a, 7),
    "n h w 1": (1, lambda a: a.transpose(0, 2, 3, 1), 7),
    "3 h w": (3, lambda a: a[0], 1),
    "h w 3": (3, lambda a: a[0].transpose(1, 2, 0), 1),
    "n 3 h w": (3, lambda a: a, 7),
    "n h w 3": (3, lambda a: a.transpose(0, 2, 3, 1), 7),
}
NUMBERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uint8": lambda a: a,
    "int64": lambda a: a.astype(np.int64),
    "0 to 255": lambda a: a.astype(np.float64),
    "0 to 1": lambda a: a.astype(np.float32) / 255,
    "half": lambda a: a.astype(np.float16),
    "big-endian": lambda a: a.astype(">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("numbers", NUMBERS)
def test_arrays_of_every_layout(layout: str, numbers: str, models: Models, tmp_path: Path) -> None:
    channels, arrange, n = LAYOUTS[layout]
    path, network = models[channels]
    images = pixels(1, 7, channels, HEIGHT, WIDTH)
    np.save(tmp_path / "a.npy", NUMBERS[numbers](arrange(images)))
    assert np.allclose(probabilities(path, tmp_path / "a.npy"), expected(network, images[:n]), atol=1e-5)
    sources = [one.source for one in predict_files(Model(path), [str(tmp_path / "a.npy")])]
    numbered = [f"{tmp_path / 'a.npy'}[{i}]" for i in range(n)]
    assert sources == (numbered if layout.startswith("n ") else [str(tmp_path / "a.npy")])


def test_more_images_than_are_predicted_together(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, network = models[3]
    images = pixels(2, 2 * predict.BATCH + 3, 3, HEIGHT, WIDTH)
    np.save(tmp_path / "a.npy", images)
    lengths, run = [], Model.run
    monkeypatch.setattr(Model, "run", lambda self, batch: lengths.append(len(batch)) or run(self, batch))
    assert np.allclose(probabilities(path, tmp_path / "a.npy"), expected(network, images), atol=1e-5)
    assert lengths == [predict.BATCH, predict.BATCH, 3]


def test_colours_become_grey_as_pillow_has_them_from_files_and_arrays(models: Models, tmp_path: Path) -> None:
    path, network = models[1]
    image = colours(3)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "f.npy", image.astype(np.float32))
    grey = np.asarray(Image.fromarray(image).convert("L"))
    wanted = expected(network, grey[None, None])
    assert np.allclose(probabilities(path, tmp_path / "a.png"), wanted, atol=1e-6)
    assert np.allclose(probabilities(path, tmp_path / "a.npy"), wanted, atol=1e-6)
    assert np.allclose(probabilities(path, tmp_path / "f.npy"), wanted, atol=0.01)  # not rounded to whole numbers
    for name in ("a.png", "a.npy"):
        assert predict_files(Model(path), [str(tmp_path / name)])[0].changes == ("RGB to grey",)


def test_grey_becomes_colour_and_transparency_is_dropped(models: Models, tmp_path: Path) -> None:
    path, network = models[3]
    grey, image = pixels(4, HEIGHT, WIDTH), pixels(5, HEIGHT, WIDTH, 4)
    Image.fromarray(grey).save(tmp_path / "g.png")
    np.save(tmp_path / "g.npy", grey)
    wanted = expected(network, np.repeat(grey[None, None], 3, axis=1))
    for name in ("g.png", "g.npy"):
        assert np.allclose(probabilities(path, tmp_path / name), wanted, atol=1e-6)
        assert predict_files(Model(path), [str(tmp_path / name)])[0].changes == ("grey to RGB",)
    Image.fromarray(image, "RGBA").save(tmp_path / "t.png")
    np.save(tmp_path / "t.npy", image)
    wanted = expected(network, image[None, ..., :3].transpose(0, 3, 1, 2))
    for name in ("t.png", "t.npy"):
        assert np.allclose(probabilities(path, tmp_path / name), wanted, atol=1e-6)
        assert predict_files(Model(path), [str(tmp_path / name)])[0].changes == ("RGBA to RGB",)


def stored(mode: str) -> Image.Image:
    """Return an image of a mode that PNG can hold."""
    image = Image.fromarray(pixels(6, 9, 8, 3))
    if mode == "I;16":
        return Image.fromarray(pixels(7, 9, 8).astype(np.uint16) * 257)
    if mode == "P, transparent":
        image = image.convert("P")
        image.info["transparency"] = bytes(range(256))
        return image
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P, transparent", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("wanted", ["L", "RGB"])
def test_images_are_read_as_for_the_training(mode: str, wanted: str, tmp_path: Path) -> None:
    stored(mode).save(tmp_path / "a.png")
    channels = 1 if wanted == "L" else 3
    for size in ((9, 8), (HEIGHT, WIDTH)):
        (sample,) = predict.read(tmp_path / "a.png", (channels, *size), resize=True)
        trained = training_images._pixels(tmp_path / "a.png", wanted, size).reshape(*size, channels)
        assert np.array_equal(sample.pixels, trained.transpose(2, 0, 1).astype(np.float32))
        assert sample.pixels.dtype == np.float32
        resized = [change for change in sample.changes if change.startswith("resized")]
        assert resized == ([] if size == (9, 8) else ["resized from 8×9"])


def test_folders_patterns_and_their_order(models: Models, tmp_path: Path) -> None:
    path, _ = models[3]
    for number, name in enumerate(("b.png", "a.jpg", "deep/er/c.PNG", ".hidden.png", ".cache/x.png", "notes.txt")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            (tmp_path / name).write_text("no image")
        else:
            Image.fromarray(colours(number)).save(tmp_path / name)
    np.save(tmp_path / "deep" / "d.npy", np.stack([colours(9), colours(10)]))

    def sources(*named: str) -> list[str]:
        found = predict_files(Model(path), [str(tmp_path / name) if name else str(tmp_path) for name in named])
        return [str(Path(one.source).relative_to(tmp_path)) for one in found]

    assert sources("") == ["a.jpg", "b.png", "deep/d.npy[0]", "deep/d.npy[1]", "deep/er/c.PNG"]
    assert sources("*.png") == ["b.png"]
    assert sources("b.png", "a.jpg", "b.png") == ["b.png", "a.jpg", "b.png"]
    assert sources("**/*.PNG") == ["deep/er/c.PNG"]
    assert sources("deep*") == ["deep/d.npy[0]", "deep/d.npy[1]", "deep/er/c.PNG"]
    Image.fromarray(colours()).save(tmp_path / "odd[1].png")  # a name that looks like a pattern
    assert sources("odd[1].png") == ["odd[1].png"]


def test_a_file_with_no_ending_is_read_by_what_it_is(models: Models, tmp_path: Path) -> None:
    path, _ = models[3]
    Image.fromarray(colours()).save(tmp_path / "image", format="PNG")
    assert len(predict_files(Model(path), [str(tmp_path / "image")])) == 1


# What is wrong: a function of the folder that returns model, files and options; then words of the sentence.


def _png(folder: Path, array: np.ndarray, name: str = "a.png") -> Path:
    Image.fromarray(array).save(folder / name)
    return folder / name


def _npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


def _bytes(folder: Path, content: bytes, name: str) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _changed(folder: Path, source: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(source)
    change(model)
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def _said(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], None]:
    """Return what changes the facts that a model carries."""

    def act(model: Any) -> None:
        said = json.loads(model.metadata_props[0].value)
        change(said)
        model.metadata_props[0].value = json.dumps(said)

    return act


def _no_facts(model: Any) -> None:
    del model.metadata_props[:]


def _no_json(model: Any) -> None:
    model.metadata_props[0].value = "{"


def _no_probabilities(model: Any) -> None:
    (weight,) = [one for one in model.graph.initializer if len(one.dims) == 2]
    values = np.full(tuple(weight.dims), np.nan, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))


def _folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("")
    return folder / "empty"


WRONG_IMAGES: dict[str, tuple[Callable[[Path], Path | str], str]] = {
    "too wide": (
        lambda f: _png(f, pixels(0, HEIGHT, WIDTH + 1, 3)),
        "6×6 pixels (width × height), the model takes 5×6",
    ),
    "too small": (lambda f: _png(f, pixels(0, 2, 2, 3)), "--resize"),
    "cut short": (lambda f: _cut(_png(f, pixels(0, HEIGHT, WIDTH, 3))), "not an image that can be read"),
    "cut JPEG": (lambda f: _bytes(f, _jpeg()[:300], "a.jpg"), "not an image that can be read"),
    "text": (lambda f: _bytes(f, b"hello", "a.png"), "not an image that can be read"),
    "nothing in it": (lambda f: _bytes(f, b"", "a.jpg"), "not an image that can be read"),
    "other kind of file": (lambda f: _bytes(f, b"%PDF-1.4", "a.pdf"), "PNG, JPEG or .npy"),
    "no file": (lambda f: f / "none.png", "there is no file or folder"),
    "nothing matches": (lambda f: f / "*.png", "nothing matches the pattern"),
    "empty folder": (_folder, "holds no image (.png, .jpg"),
    "too long a name": (lambda f: f / ("x" * 5000), "can't be read"),
    "nobody's home": (lambda f: "~nobody-of-that-name/a.png", "can't be read"),
    "npy of another size": (lambda f: _npy(f, pixels(0, 7, 7, 3)), "shape (7, 7, 3), the model takes images of 6×5"),
    "npy of no image": (lambda f: _npy(f, pixels(0, 0, 3, HEIGHT, WIDTH)), "shape (0, 3, 6, 5)"),
    "npy of two channels": (lambda f: _npy(f, pixels(0, 2, HEIGHT, WIDTH)), "shape (2, 6, 5)"),
    "npy of one axis": (lambda f: _npy(f, pixels(0, 90)), "shape (90,)"),
    "npy of text": (lambda f: _npy(f, np.full((HEIGHT, WIDTH, 3), "a")), "not pixels"),
    "npy of truth": (lambda f: _npy(f, np.ones((HEIGHT, WIDTH, 3), bool)), "not pixels"),
    "npy of objects": (lambda f: _npy(f, np.array([{}], dtype=object)), "not an .npy array that can be read"),
    "npy below 0": (lambda f: _npy(f, np.full((HEIGHT, WIDTH, 3), -1.5)), "the model normalises them itself"),
    "npy above 255": (lambda f: _npy(f, np.full((HEIGHT, WIDTH, 3), 300)), "from 300 to 300"),
    "npy of NaN": (lambda f: _npy(f, np.full((HEIGHT, WIDTH, 3), np.nan)), "from nan to nan"),
    "npy of infinity": (lambda f: _npy(f, np.full((HEIGHT, WIDTH, 3), np.inf)), "from inf to inf"),
    "npy cut short": (lambda f: _cut(_npy(f, pixels(0, HEIGHT, WIDTH, 3))), "not an .npy array that can be read"),
    "npy that is none": (lambda f: _bytes(f, b"hello", "a.npy"), "not an .npy array that can be read"),
    "npy header that asks for too much": (lambda f: _bytes(f, _boast(), "a.npy"), "not an .npy array that can be read"),
}


def _jpeg() -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(pixels(0, HEIGHT, WIDTH, 3)).save(file, format="JPEG")
    return file.getvalue()


def _boast() -> bytes:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (9000000000000, 3, 6, 5), }".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(90)


@pytest.mark.parametrize("name", WRONG_IMAGES)
def test_a_wrong_image_gets_one_sentence(
    name: str, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = WRONG_IMAGES[name]
    assert_refused([models[3][0], make(tmp_path)], words, capsys)


WRONG_MODELS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "no model": (lambda f, m: f / "none.onnx", "there is no model"),
    "a folder": (lambda f, m: f, "is a folder, not a model; name the .onnx file"),
    "the folder of a model": (lambda f, m: m.parent, "model.onnx'"),
    "text": (lambda f, m: _bytes(f, b"hello", "a.onnx"), "not an ONNX model that can be read"),
    "nothing in it": (lambda f, m: _bytes(f, b"", "a.onnx"), "an ONNX model"),
    "an image": (lambda f, m: _png(f, pixels(0, 4, 4)), "not an ONNX model that can be read"),
    "cut in half": (lambda f, m: _bytes(f, m.read_bytes()[: m.stat().st_size // 2], "a.onnx"), "not an ONNX model"),
    "of somebody else": (lambda f, m: _changed(f, m, _no_facts), "none of nas-gym"),
    "facts that are no JSON": (lambda f, m: _changed(f, m, _no_json), "is damaged"),
    "facts without classes": (lambda f, m: _changed(f, m, _said(lambda s: s.pop("class_names"))), "is damaged"),
    "classes that are too few": (lambda f, m: _changed(f, m, _said(lambda s: s["class_names"].pop())), "does not fit"),
    "another shape": (lambda f, m: _changed(f, m, _said(lambda s: s.update(input_shape=[3, 5, 6]))), "does not fit"),
    "of the future": (lambda f, m: _changed(f, m, _said(lambda s: s.update(schema=99))), "schema 99, here 1"),
    "weights that are no numbers": (lambda f, m: _changed(f, m, _no_probabilities), "no probabilities"),
}


@pytest.mark.parametrize("name", WRONG_MODELS)
def test_a_wrong_model_gets_one_sentence(
    name: str, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = WRONG_MODELS[name]
    file = _png(tmp_path, colours(), "good.png")
    assert_refused([make(tmp_path, models[3][0]), file], words, capsys)


def assert_refused(arguments: list[Any], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.strip().splitlines()
    assert sentence.startswith("error: ") and words in sentence and "Traceback" not in sentence


def test_a_model_that_is_cut_anywhere_is_refused(models: Models, tmp_path: Path) -> None:
    content = models[1][0].read_bytes()
    cuts = [*range(0, len(content), max(1, len(content) // 60)), *range(len(content) - 30, len(content))]
    for cut in cuts:
        (tmp_path / "cut.onnx").write_bytes(content[:cut])
        with pytest.raises(PredictionError):
            Model(tmp_path / "cut.onnx")


@pytest.mark.parametrize("n", [3, 4])
def test_what_could_be_one_image_or_several_is_refused(n: int, models: Models, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels(0, n, HEIGHT, WIDTH))
    with pytest.raises(PredictionError, match="could be one image or several"):
        probabilities(models[1][0], tmp_path / "a.npy")


def test_a_decompression_bomb_is_refused(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    _png(tmp_path, pixels(0, 12, 12, 3))  # more than that, less than twice as much: Pillow only warns
    with pytest.raises(PredictionError, match="not an image that can be read"):
        probabilities(models[3][0], tmp_path / "a.png", resize=True)


def test_without_onnxruntime_the_message_says_what_to_install(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PredictionError, match="pip install onnxruntime"):
        Model(models[1][0])


def test_tables_and_json(models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, network = models[3]
    first, second = _png(tmp_path, colours(0), "a.png"), _png(tmp_path, pixels(1, 9, 9), "b.png")
    options = [str(path), str(first), str(second), "--resize", "--top", "2"]
    assert predict.main([*options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["key"], told["dataset"], told["variant"]) == (str(path), "key-3", "pets", "plain")
    one, other = told["predictions"]
    share = expected(network, colours(0).transpose(2, 0, 1)[None])[0]
    assert one["file"] == str(first) and one["class"] == CLASSES[share.argmax()] == one["top"][0]["class"]
    assert one["probability"] == pytest.approx(share.max(), abs=1e-5) and len(one["top"]) == 2 and one["changes"] == []
    assert other["changes"] == ["grey to RGB", "resized from 9×9"]
    assert predict.main(options) == 0
    header, rule, row, other_row = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "class", "probability", "then"] and set(rule) == {"-", " "}
    assert row.startswith(f"{first}  {one['class']}") and f"{100 * share.max():.1f} %" in row
    assert other_row.endswith("[grey to RGB] [resized from 9×9]")
    assert len({line.index(c) for line, c in ((row, one["class"]), (other_row, other["class"]))}) == 1
    assert_refused([*options[:2], "--top", "0"], "at least 1", capsys)
    assert predict.main([*options[:2], "--top", "99", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["predictions"][0]["top"]) == len(CLASSES)


def test_it_imports_numpy_pillow_and_onnxruntime_alone() -> None:
    tree = ast.parse(Path(predict.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names}
    assert packages - set(sys.stdlib_module_names) == {"numpy", "PIL", "onnxruntime"}


@pytest.mark.slow
def test_in_an_environment_of_numpy_pillow_and_onnxruntime(models: Models, tmp_path: Path) -> None:
    path, network = models[3]
    python = _environment(tmp_path / "venv")
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(python), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=bare)

    listed = json.loads(run("-m", "pip", "list", "--format", "json").stdout)
    installed = {package["name"].lower() for package in listed}
    assert not installed & {"torch", "onnx", "onnxscript", "nas-gym", "scikit-learn", "pandas"}
    shutil.copy(path, tmp_path / "model.onnx")
    shutil.copy(predict.__file__, tmp_path / "predict.py")
    _png(tmp_path, colours(0), "a.png")
    np.save(tmp_path / "b.npy", colours(1))
    Image.fromarray(colours(2)).save(tmp_path / "c.jpg")
    done = run("predict.py", "model.onnx", "a.png", "b.npy", "c.jpg", "--json", "--top", "4")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    told = json.loads(done.stdout)["predictions"]
    images = [colours(0), colours(1), np.asarray(Image.open(tmp_path / "c.jpg"))]
    wanted = expected(network, np.stack(images).transpose(0, 3, 1, 2))
    found = [[{c["class"]: c["probability"] for c in one["top"]}[name] for name in CLASSES] for one in told]
    assert np.allclose(found, wanted, atol=1e-4)
    refused = run("predict.py", "model.onnx", "none.png")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1


def _environment(place: Path) -> Path:
    """Make a virtual environment with three packages and what they need; skip where they can't be had.

    It fails instead where NAS_GYM_REQUIRE names ``packages``, as in CI.
    """
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--retries", "0", "--timeout", "20", "numpy", "pillow", "onnxruntime"]
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bare)
    if done.returncode:
        what = f"needs packages from an index: {(done.stderr.strip().splitlines() or ['pip failed'])[-1][:200]}"
        required = "packages" in os.environ.get("NAS_GYM_REQUIRE", "").split(",")
        pytest.fail(f"NAS_GYM_REQUIRE asks for packages, but it {what}") if required else pytest.skip(what)
    return python
