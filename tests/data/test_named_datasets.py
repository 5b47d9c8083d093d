"""Data sets known by name: digits, and torchvision's against torchvision itself."""

import gzip
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from nas_gym.data import DATA_VARIABLE, KNOWN_DATASETS, find_datasets, load_dataset, stratified
from nas_gym.data.named import known_name, load_torchvision

Refusal = Callable[..., str]
RealData = Callable[[str], Path]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no\nnetwork")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def small_mnist(tmp_path: Path) -> Iterator[Path]:
    """A data root with 40 training and 20 test images in MNIST's own format."""
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for stem, n in (("train", 40), ("t10k", 20)):
        write_idx(raw / f"{stem}-images-idx3-ubyte.gz", generator.integers(0, 256, (n, 28, 28)))
        write_idx(raw / f"{stem}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    yield tmp_path / "root"


def files(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def test_digits() -> None:
    digits = load_dataset("digits")
    assert digits.input_shape == (1, 8, 8) and digits.n_classes == 10
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [1078, 360, 359]
    assert digits.train.inputs.dtype == torch.float32 and float(digits.train.inputs.max()) == 1.0
    for part in (digits.train, digits.validation, digits.test):
        shares = torch.bincount(part.targets).double() / len(part)
        torch.testing.assert_close(shares, torch.full((10,), 0.1, dtype=torch.float64), atol=0.005, rtol=0)


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    digits = load_dataset("Digits")
    rest, test = stratified(bunch.target, 0.2, (0, 1))
    assert np.array_equal(digits.test.inputs[:, 0].numpy() * 16, bunch.images[test])
    assert np.array_equal(digits.test.targets.numpy(), bunch.target[test])
    together = torch.cat([digits.train.inputs, digits.validation.inputs])[:, 0].numpy() * 16
    assert sorted(map(bytes, together)) == sorted(map(bytes, bunch.images[rest].astype(np.float32)))


def test_loading_twice_gives_the_same_and_leaves_global_generators_alone() -> None:
    first = load_dataset("digits", split_seed=3, first_per_class=50)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    second = load_dataset("digits", split_seed=3, first_per_class=50)
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != load_dataset("digits", split_seed=4, first_per_class=50).fingerprint
    after = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0] and torch.equal(before[2], after[2])
    assert np.array_equal(before[1][1], after[1][1]) and before[1][2] == after[1][2]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fashion-mnist", "FashionMNIST"),
        ("Fashion_MNIST", "FashionMNIST"),
        ("mnist", "MNIST"),
        ("cifar-10", "CIFAR10"),
        ("CIFAR100", "CIFAR100"),
        (" digits ", "digits"),
        ("imagenet", None),
    ],
)
def test_names_whatever_their_spelling(text: str, name: str | None) -> None:
    assert known_name(text) == name
    assert name is None or name in KNOWN_DATASETS


def test_fashion_mnist_equals_torchvisions_own(real_data: RealData, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(real_data("fashion_mnist"), root)
    packed = load_torchvision("FashionMNIST", root, download=False)
    assert not list(root.rglob("*-ubyte"))  # nothing was unpacked
    through = load_torchvision("FashionMNIST", root, download=True)  # no network: the checksums are right
    unpacked = load_torchvision("FashionMNIST", root, download=False)
    for train in (True, False):
        oracle = torchvision.datasets.FashionMNIST(str(root), train=train)
        for parts in (packed, through, unpacked):
            part = parts.train if train else parts.test
            assert part is not None and parts.class_names == tuple(oracle.classes)
            assert torch.equal(part.inputs[:, 0], oracle.data) and torch.equal(part.targets, oracle.targets)


def test_fashion_mnist_1000_per_class(real_data: RealData) -> None:
    root = real_data("fashion_mnist")
    before = files(root)
    fashion = load_dataset("fashion-mnist", data_root=root, first_per_class=1000)
    assert [len(part) for part in (fashion.train, fashion.validation, fashion.test)] == [8000, 2000, 10000]
    assert torch.bincount(fashion.train.targets).tolist() == [800] * 10
    assert torch.bincount(fashion.validation.targets).tolist() == [200] * 10
    assert fashion.train.inputs.dtype == torch.uint8 and fashion.input_shape == (1, 28, 28)
    assert files(root) == before


def test_mnist_names_and_statistics(real_data: RealData) -> None:
    parts = load_torchvision("MNIST", real_data("mnist"), download=False)
    assert parts.class_names == tuple(torchvision.datasets.MNIST.classes)
    assert parts.test is not None and (len(parts.train), len(parts.test)) == (60000, 10000)
    assert float(parts.train.inputs.double().mean() / 255) == pytest.approx(0.1307, abs=5e-5)


def test_a_root_that_cannot_be_written_is_read(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(small_mnist)
    plain = load_dataset("mnist", data_root=small_mnist)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    assert load_dataset("mnist", data_root=small_mnist, download=True).fingerprint == plain.fingerprint
    assert files(small_mnist) == before


def test_the_environment_variable_names_the_root(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(small_mnist))
    assert len(load_dataset("mnist").test) == 20
    assert find_datasets() == {
        "MNIST": str(small_mnist / "MNIST" / "raw"),
        "FashionMNIST": None,
        "CIFAR10": None,
        "CIFAR100": None,
    }
    assert set(find_datasets(small_mnist / "nowhere").values()) == {None}


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"])
def test_a_missing_set_names_the_two_options(refusal: Refusal, tmp_path: Path, name: str) -> None:
    refusal(lambda: load_dataset(name, data_root=tmp_path), name, str(tmp_path), "--download", "--data-root")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["MNIST", "CIFAR10"])
def test_a_failed_download_is_one_sentence(refusal: Refusal, tmp_path: Path, name: str) -> None:
    refusal(lambda: load_dataset(name, data_root=tmp_path, download=True), name, str(tmp_path), "network")
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "root"
    refusal(lambda: load_dataset(name, data_root=place, download=True), name, str(place))


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header", "labels", "label range"])
def test_damaged_mnist_files(refusal: Refusal, small_mnist: Path, damage: str) -> None:
    raw = small_mnist / "MNIST" / "raw"
    path = raw / ("train-labels-idx1-ubyte.gz" if "label" in damage else "train-images-idx3-ubyte.gz")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "labels":
        write_idx(path, np.arange(39) % 10)
    elif damage == "label range":
        write_idx(path, np.arange(40) + 1)
    else:
        path.write_bytes({"empty": b"", "text": b"not gzip", "header": gzip.compress(b"\0\0\x08\x03\0\0")}[damage])
    refusal(lambda: load_dataset("mnist", data_root=small_mnist), str(raw if "label" in damage else path))


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write a small CIFAR-10 in the official format; return its training images, (50, 3, 32, 32)."""
    from torchvision.datasets.utils import calculate_md5

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    batches = {f"data_batch_{i}": generator.integers(0, 256, (10, 3072)).astype(np.uint8) for i in range(1, 6)}
    test = generator.integers(0, 256, (10, 3072)).astype(np.uint8)
    for name, data in {**batches, "test_batch": test}.items():
        content = pickle.dumps({"data": data, "labels": list(range(10))}, protocol=2)
        # as the pickles of old numpy: dtype("u1", 0, 1) in place of dtype("u1", False, True)
        assert content.count(b"\x89\x88\x87") == 1
        (folder / name).write_bytes(content.replace(b"\x89\x88\x87", b"K\x00K\x01\x87"))
    names = [f"class {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [[name, calculate_md5(str(folder / name))] for name in batches])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", calculate_md5(str(folder / "test_batch"))]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": calculate_md5(str(folder / "batches.meta"))})
    return np.concatenate(list(batches.values())).reshape(-1, 3, 32, 32)


@pytest.mark.usefixtures("offline")
def test_cifar10_in_torchvisions_format(refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar(tmp_path, monkeypatch)
    parts = load_torchvision("CIFAR10", tmp_path, download=False)
    assert np.array_equal(parts.train.inputs.numpy(), images)
    assert parts.class_names == tuple(f"class {i}" for i in range(10))
    cifar = load_dataset("cifar-10", data_root=tmp_path)
    assert [len(part) for part in (cifar.train, cifar.validation, cifar.test)] == [40, 10, 10]
    assert load_dataset("cifar-10", data_root=tmp_path, download=True).fingerprint == cifar.fingerprint
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:-1])
    refusal(lambda: load_dataset("cifar-10", data_root=tmp_path), "CIFAR10", str(tmp_path), "--download")
