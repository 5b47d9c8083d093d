"""Exported files give the network's numbers, whatever the network is made of, or are not written."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nas_gym.architecture import Architecture, Operation
from nas_gym.builder import MODULES, build
from nas_gym.data import load_dataset
from nas_gym.data.dataset import Dataset, Split
from nas_gym.errors import ConfigurationError, ExportError
from nas_gym.evaluation import Recipe
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.operations import ACTIVATIONS
from nas_gym.spaces import ChainSpace, Limits, default_catalogue
from nas_gym.winner.export import TOLERANCE, Exported, export_module, export_onnx_file
from nas_gym.winner.facts import Facts
from nas_gym.winner.packaged import Packaged, Samples, compared, computed

SHAPE = (3, 32, 32)
CATALOGUE = default_catalogue((4, 8, 16))
NO_LIMITS = Limits(parameters=10**9, macs=10**10, resolution=1)


def facts(shape: tuple[int, ...] = SHAPE, classes: int = 10, **more: Any) -> Facts:
    mean, std = (tuple(start + 0.05 * channel for channel in range(shape[0])) for start in (0.4, 0.2))
    return Facts(class_names=tuple(f"class {i}" for i in range(classes)), input_shape=shape, mean=mean, std=std, **more)


def settled(network: nn.Module, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    """Return a network whose batch normalisation has seen something, so that its outputs depend on its inputs."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(12):
            network(torch.randn((16, *shape), generator=generator))
    return network.eval()


def tiny(classes: int = 10, shape: tuple[int, ...] = (1, 4, 4)) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes)).eval()


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def assert_same(network: nn.Module, exported: list[Exported], known: Facts, n: int = 50) -> None:
    """Compare files with the network by means other than the exporter's own."""
    pixels = np.random.default_rng(1).uniform(0, 255, (n, *known.input_shape)).astype(np.float32)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (known.mean, known.std))
    with torch.no_grad():
        logits = network.eval()((torch.from_numpy(pixels) / 255 - mean) / std)
    probabilities = torch.softmax(logits, 1)
    assert logits.std(0).mean() > 1e-4, "the outputs depend on the inputs"
    for one in exported:
        if one.format == "onnx":
            runner = session(one.path)
            found = [torch.from_numpy(part) for part in runner.run(["logits", "probabilities"], {"pixels": pixels})]
            first = torch.from_numpy(runner.run(["logits"], {"pixels": pixels[:1]})[0])
        else:
            module = torch.export.load(one.path).module()
            found = list(module(torch.from_numpy(pixels)))
            first = module(torch.from_numpy(pixels[:1]))[0]
        assert torch.allclose(found[0], logits, rtol=0, atol=TOLERANCE)
        assert torch.allclose(found[1], probabilities, rtol=0, atol=TOLERANCE)
        assert torch.allclose(first, logits[:1], rtol=0, atol=TOLERANCE)


def chain_of_all_layers(activation: str) -> Architecture:
    """Return a chain of every layer of the catalogue but the global pooling, one after the other."""
    space = ChainSpace(SHAPE, 10, catalogue=CATALOGUE, max_layers=len(CATALOGUE), limits=NO_LIMITS)
    layers = [number for number, layer in enumerate(CATALOGUE) if layer.name != "global pool"]
    prefix = (ACTIVATIONS.index(activation), *layers, len(CATALOGUE))
    for end, action in enumerate(prefix):
        assert space.legal(prefix[:end])[action], f"decision {end} is illegal"
    return space.candidate(prefix).architecture


def everything_else() -> Architecture:
    """Return a network of the operations that the catalogue's chain lacks: those of cells, odd strides, groups."""
    conv = (("bias", 1), ("channels", 6), ("groups", 3), ("kernel", 1), ("stride", 2))
    return Architecture(
        SHAPE,
        (
            Operation("conv", conv),
            Operation("smooth", (("kernel", 3),), (0,)),
            Operation("zero", (("channels", 6), ("height", 16), ("width", 16)), (0,)),
            Operation("identity", (), (0,)),
            Operation("add", (), (1, 2, 3)),
            Operation("average_pool", (("kernel", 3),), (4,)),
            Operation("global_average_pool", (), (5,)),
            Operation("batch_norm", (), (6,)),
            Operation("linear", (("units", 10),), (7,)),
        ),
    )


def every_other_activation() -> Architecture:
    """Return a network in which every activation but ReLU follows a convolution, an addition and a linear layer."""
    conv = (("bias", 0), ("channels", 4), ("groups", 1), ("kernel", 3), ("stride", 1))
    operations: list[Operation] = [Operation("max_pool", (("kernel", 4),)), Operation("conv", conv, (0,))]

    def then(kind: str, settings: tuple[tuple[str, int], ...] = (), inputs: tuple[int, ...] = ()) -> None:
        operations.append(Operation(kind, settings, inputs or (len(operations) - 1,)))

    for activation in ACTIVATIONS[1:]:
        source = len(operations) - 1
        for kind, settings in (("conv", conv), ("batch_norm", ()), (activation, ()), ("conv", conv)):
            then(kind, settings)
        then("add", (), (source, len(operations) - 1))
        then(activation)
    then("global_average_pool")
    for activation in ACTIVATIONS[1:]:
        then("linear", (("units", 8),))
        then("batch_norm")
        then(activation)
    then("linear", (("units", 10),))
    return Architecture(SHAPE, tuple(operations))


NETWORKS: dict[str, Callable[[], Architecture]] = {
    "every layer": lambda: chain_of_all_layers("relu"),
    "operations of cells": everything_else,
    "every other activation": every_other_activation,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_and_activation(name: str, tmp_path: Path) -> None:
    network = settled(build(NETWORKS[name](), seed=0))
    exported = export_module(network, facts(), tmp_path)
    assert_same(network, exported, facts())
    assert all(one.comparison.difference <= TOLERANCE for one in exported)


def test_no_operation_is_left_out_of_these_networks() -> None:
    used = {operation.kind for make in NETWORKS.values() for operation in make().operations}
    assert used == set(MODULES) - {"choice"}, "'choice' stands for networks that can't be built"


def test_pixels_are_normalised_inside_as_for_a_training() -> None:
    inputs = torch.randint(0, 256, (6, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = Split(inputs, torch.arange(6) % 3)
    data = Dataset("d", split, split, split, ("a", "b", "c"), (0.3, 0.4, 0.5), (0.1, 0.2, 0.3))
    network = tiny(3, (3, 4, 4))
    known = replace(facts((3, 4, 4), 3), mean=data.mean, std=data.std)
    packaged = Packaged(network, known)
    logits, probabilities = packaged(inputs)
    assert torch.equal(logits, network(data.normalised("test")[0]))
    assert torch.equal(logits, packaged(inputs.float())[0])
    assert torch.allclose(probabilities.sum(1), torch.ones(6))
    samples = Samples.of_split(split, "test", most=3)
    assert samples.source == "3 test images" and samples.targets is not None
    assert samples.targets.tolist() == [0, 2, 2]  # images 0, 2 and 5: in even distances, ends included
    assert np.array_equal(samples.pixels, inputs[[0, 2, 5]].float().numpy())
    scaled = Samples.of_split(Split(inputs.float() / 255, split.targets), "test")
    assert np.allclose(scaled.pixels, inputs.float().numpy(), atol=1e-4)


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    network = build(everything_else(), seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    export_module(network, facts(), tmp_path, formats=("torch",))
    assert network.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_facts_are_inside_and_where_it_was_made_is_not(tmp_path: Path) -> None:
    known = facts((1, 4, 4), key="abc", dataset="données", metrics={"test_accuracy": 0.5}, versions={"torch": "x"})
    onnx_file, torch_file = export_module(tiny(), known, tmp_path, "net")
    assert (onnx_file.path, torch_file.path) == (tmp_path / "net.onnx", tmp_path / "net.pt2")
    model = onnx.load(onnx_file.path)
    (entry,) = model.metadata_props
    assert entry.key == "nas_gym" and json.loads(entry.value) == known.to_json()
    assert [one.name for one in model.graph.input] == ["pixels"]
    assert [[d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in model.graph.output] == [
        ["n", 10],
        ["n", 10],
    ]
    inside = {"nas_gym.json": ""}
    torch.export.load(torch_file.path, extra_files=inside)
    assert json.loads(inside["nas_gym.json"]) == known.to_json()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.pt2"]
    for one in (onnx_file, torch_file):
        content = one.path.read_bytes()
        assert len(content) == one.size_bytes
        assert b".py" not in content.replace(b".python", b"") and str(Path(__file__).parents[2]).encode() not in content


@pytest.mark.slow
def test_a_pt2_needs_torch_alone(tmp_path: Path) -> None:
    export_module(tiny(), facts((1, 4, 4)), tmp_path, formats=("torch",))
    script = (
        "import sys, torch; module = torch.export.load(sys.argv[1]).module(); "
        "logits, probabilities = module(torch.full((3, 1, 4, 4), 100.0)); "
        "print(tuple(probabilities.shape), 'nas_gym' in sys.modules)"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "model.pt2")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip() == "(3, 10) False", done.stderr


class Different(nn.Module):
    """Computes something else once it is exported."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.network, self.by = tiny(), by

    def forward(self, x: Tensor) -> Tensor:
        exporting = torch.compiler.is_exporting()
        return self.network(x) + (self.by * torch.eye(10)[0] if exporting else 0.0)  # type: ignore[no-any-return]


class Counting(nn.Module):
    """Depends on the number of images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] * (len(x) if len(x) > 1 else 5)


class Looking(nn.Module):
    """Depends on values in a way that can't be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] * (2 if float(x.sum()) > 0 else 1)


class NoNumbers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] * float("nan")


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "other numbers": (Different(3e-3), "differ from the network's by"),
    "no numbers": (NoNumbers(), "differ from the network's by inf"),
    "the number of images": (Counting(), "any number of images"),
    "values": (Looking(), "can't be traced"),
    "too few classes": (tiny(9), "one for each of the 10 classes"),
    "other images": (tiny(10, (1, 5, 5)), "does not run on images of (1, 4, 4)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_right_is_not_written(name: str, tmp_path: Path) -> None:
    module, words = REFUSED[name]
    (tmp_path / "model.onnx").write_text("what was there before")
    with pytest.raises(ExportError) as caught:
        export_module(module, facts((1, 4, 4)), tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.onnx", "what was there before")]


def test_a_tolerance_is_what_the_caller_says(tmp_path: Path) -> None:
    (one,) = export_module(Different(3e-3), facts((1, 4, 4)), tmp_path, formats=("torch",), tolerance=1e-2)
    assert 2.9e-3 < one.comparison.logits < 3.1e-3 and one.tolerance == 1e-2
    assert one.to_json()["comparison"]["difference"] == one.comparison.difference <= one.comparison.logits


def test_differences_of_large_logits_are_counted_in_units_of_the_largest() -> None:
    samples = Samples(np.zeros((4, 1, 1, 1), np.float32), np.array([0, 1, 1, 1]), "four")
    logits = np.array([[200.0, 0], [100, 0], [0, 50], [0, 50]], dtype=np.float32)
    probabilities = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)

    def file(pixels: Any) -> Any:
        other = logits[: len(pixels)].copy()
        other[-1, 1] += 0.1
        return other, probabilities[: len(pixels)]

    found = compared((logits, probabilities), file, samples)
    assert found.logits == pytest.approx(0.1, rel=1e-4) and found.scale == 200
    assert found.difference == pytest.approx(0.1 / 200, rel=1e-4)
    assert (found.accuracy, found.network_accuracy, found.same_class) == (0.75, 0.75, 1.0)
    assert found.confusion == ((1, 0), (1, 2))
    assert replace(found, logits=0.0, probabilities=0.2).difference == 0.2


def test_formats_and_places_that_there_are_not(tmp_path: Path) -> None:
    for formats in (("tflite",), (), ("onnx", "onnx")):
        with pytest.raises(ConfigurationError, match="exported as onnx and torch"):
            export_module(tiny(), facts((1, 4, 4)), tmp_path, formats=formats)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="can't be written"):
        export_module(tiny(), facts((1, 4, 4)), tmp_path / "file" / "x", formats=("torch",))


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_the_message_names_it(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=r'pip install "nas-gym\[onnx\]"'):
        export_module(tiny(), facts((1, 4, 4)), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": ("a",)}, "at least 2 distinct"),
        ({"class_names": ("a", "a")}, "at least 2 distinct"),
        ({"input_shape": (64,)}, "channels, height, width"),
        ({"mean": (0.5, 0.5)}, "as many means"),
        ({"std": (0.0,)}, "above zero"),
        ({"mean": (float("nan"),)}, "as many means"),
    ],
)
def test_facts_that_do_not_fit_together(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        replace(facts((1, 4, 4)), **change)


# The network of a short training and its variants, on a thousand images and more.


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> nn.Module:
    space = ChainSpace(digits.input_shape, digits.n_classes)
    names = list(space.slots[1].choices)
    layers = ("conv 3×3 16 bn", "residual 32", "max pool 2", "fully connected 64", "stop")
    candidate = space.candidate((0, *(names.index(name) for name in layers)))
    recipe = Recipe(epochs=3, batch_size=64, learning_rate=0.1, threads=1)
    return TrainingEvaluator(digits, recipe, device="cpu").train(candidate)[0]


def all_images(data: Dataset) -> Samples:
    """Return every image of a small data set: 1,797 digits."""
    parts = (data.train, data.validation, data.test)
    joined = Split(torch.cat([p.inputs for p in parts]), torch.cat([p.targets for p in parts]))
    return Samples.of_split(joined, data.name, most=len(joined))


def facts_of_data(data: Dataset, variant: str = "plain") -> Facts:
    return Facts(
        class_names=data.class_names,
        input_shape=data.input_shape,
        mean=data.mean,
        std=data.std,
        dataset=data.name,
        variant=variant,
    )


def pruned(network: nn.Module) -> nn.Module:
    """Return a network without half of the channels of its convolutions that batch normalisation follows."""
    from copy import deepcopy

    from torch.nn.utils import prune

    network = deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            prune.ln_structured(layer, "weight", amount=0.5, n=2, dim=0)  # type: ignore[no-untyped-call]
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    return network


def narrow() -> nn.Module:
    """Return what is left of a pruned network: other layers than any catalogue has."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Hardswish(), nn.Conv2d(5, 7, 3, stride=2))
    return settled(
        nn.Sequential(*layers, nn.ReLU6(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(28, 10)), (1, 8, 8)
    )


@pytest.mark.parametrize("variant", ["plain", "pruned", "narrow"])
def test_over_a_thousand_images(variant: str, trained: nn.Module, digits: Dataset, tmp_path: Path) -> None:
    network = {"plain": lambda: trained, "pruned": lambda: pruned(trained), "narrow": narrow}[variant]()
    samples = all_images(digits)
    known = facts_of_data(digits, variant)
    expected = computed(Packaged(network, known), samples.pixels)
    for one in export_module(network, known, tmp_path, samples=samples):
        found = one.comparison
        assert found.samples == 1_797 and max(found.logits, found.probabilities) <= 1e-4
        assert found.accuracy == found.network_accuracy and found.same_class == 1.0
    logits, probabilities = session(tmp_path / "model.onnx").run(
        ["logits", "probabilities"], {"pixels": samples.pixels}
    )
    assert np.abs(logits - expected[0]).max() <= 1e-4 and np.abs(probabilities - expected[1]).max() <= 1e-4
    if variant == "plain":
        assert one.comparison.accuracy is not None and one.comparison.accuracy > 0.8


def quantised(source: Path, place: Path, samples: Samples) -> Path:
    """Return an int8 form of an exported file, calibrated on some of the samples."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[Any] = iter([{"pixels": samples.pixels[i : i + 50]} for i in range(0, 200, 50)])

        def get_next(self) -> Any:
            return next(self.batches, None)

    quantize_static(source, place, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
    return place


def test_a_quantised_file_states_its_tolerance_and_accuracy(
    trained: nn.Module, digits: Dataset, tmp_path: Path
) -> None:
    samples = all_images(digits)
    (plain, *_) = export_module(trained, facts_of_data(digits), tmp_path, formats=("onnx",), samples=samples)
    smaller = quantised(plain.path, tmp_path / "raw.onnx", samples)
    known = facts_of_data(digits, "int8")
    with pytest.raises(ExportError, match=r"more than the 0\.0001 that is allowed"):
        export_onnx_file(smaller, trained, known, tmp_path, "int8", tolerance=1e-4, samples=samples)
    assert not (tmp_path / "int8.onnx").exists()
    one = export_onnx_file(smaller, trained, known, tmp_path, "int8", tolerance=0.3, samples=samples)
    assert 1e-4 < one.comparison.difference <= one.tolerance == 0.3
    assert one.comparison.accuracy is not None and plain.comparison.accuracy is not None
    assert one.comparison.accuracy >= plain.comparison.accuracy - 0.02
    assert one.size_bytes < plain.size_bytes / 2
    (entry,) = onnx.load(one.path).metadata_props
    assert json.loads(entry.value)["variant"] == "int8"


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model, whatever its name says")
    with pytest.raises(ExportError, match="not an ONNX model"):
        export_onnx_file(tmp_path / "text.onnx", tiny(), facts((1, 4, 4)), tmp_path, "x", tolerance=1)
    export_module(tiny(), facts((1, 4, 4)), tmp_path, formats=("onnx",))
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.input[0].name = model.graph.node[0].input[0] = "images"
    onnx.save(model, tmp_path / "renamed.onnx")
    with pytest.raises(ExportError, match="images"):
        export_onnx_file(tmp_path / "renamed.onnx", tiny(), facts((1, 4, 4)), tmp_path, "x", tolerance=1)


@pytest.mark.slow
def test_a_thousand_test_images_of_fashion_mnist(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    data = load_dataset("FashionMNIST", data_root=real_data("fashion_mnist"), first_per_class=150)
    space = ChainSpace(data.input_shape, data.n_classes)
    names = list(space.slots[1].choices)
    layers = ("conv 3×3/2 32 bn", "separable 3×3 32 bn", "residual/2 64", "global pool", "stop")
    candidate = space.candidate((3, *(names.index(name) for name in layers)))
    network = TrainingEvaluator(data, Recipe(epochs=2, threads=1), device="cpu").train(candidate)[0]
    samples = Samples.of_split(data.test, "test")
    for variant, module in (("plain", network), ("pruned", pruned(network))):
        known = facts_of_data(data, variant)
        for one in export_module(module, known, tmp_path, variant, samples=samples):
            assert one.comparison.samples == 1_000 and max(one.comparison.logits, one.comparison.probabilities) <= 1e-4
    smaller = quantised(tmp_path / "plain.onnx", tmp_path / "raw.onnx", samples)
    one = export_onnx_file(
        smaller, network, facts_of_data(data, "int8"), tmp_path, "int8", tolerance=0.5, samples=samples
    )
    assert one.comparison.accuracy is not None and one.comparison.network_accuracy is not None
    assert one.comparison.accuracy > one.comparison.network_accuracy - 0.03 > 0.3
