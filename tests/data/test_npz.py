"""Data sets in .npz files: what is read, joined and refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_gym.data import load_dataset
from nas_gym.data.npz import load_npz
from nas_gym.data.pixels import channels_first

Refusal = Callable[..., str]
RealData = Callable[[str], Path]


def images(n: int = 30, shape: tuple[int, ...] = (6, 5), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8)


def arrays(**changes: Any) -> dict[str, Any]:
    """Arrays of a good set, with changes; a change to None leaves an array out."""
    good = {
        "x_train": images(30),
        "y_train": np.arange(30) % 3,
        "x_test": images(9, seed=1),
        "y_test": np.arange(9) % 3,
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def save(path: Path, **changes: Any) -> Path:
    np.savez(path, **arrays(**changes))
    return path


def test_plain_arrays(tmp_path: Path) -> None:
    path = save(tmp_path / "toy.npz", class_names=np.array(["a", "b", "c"]), i_train=np.arange(30))
    parts = load_npz([path], "toy")
    assert np.array_equal(parts.train.inputs[:, 0].numpy(), images(30))
    toy = load_dataset(path)
    assert toy.name == "toy" and toy.class_names == ("a", "b", "c") and toy.input_shape == (1, 6, 5)
    assert [len(part) for part in (toy.train, toy.validation, toy.test)] == [24, 6, 9]
    assert toy.train.inputs.dtype == torch.uint8
    assert np.array_equal(toy.test.inputs[:, 0].numpy(), images(9, seed=1))


def test_optional_arrays(tmp_path: Path) -> None:
    path = save(tmp_path / "toy.npz", x_val=images(6, seed=2), y_val=np.arange(6)[:, None] % 3)
    toy = load_dataset(path)
    assert [len(part) for part in (toy.train, toy.validation, toy.test)] == [30, 6, 9]
    path = save(tmp_path / "toy.npz", x_test=None, y_test=None)
    toy = load_dataset(path)
    assert [len(part) for part in (toy.train, toy.validation, toy.test)] == [18, 6, 6]
    assert toy.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    "shape", [(6, 5, 3), (3, 6, 5), (6, 5, 1), (1, 6, 5), (4, 4, 3), (3, 4, 4), (8, 8, 2), (13, 8, 8)]
)
def test_order_of_axes(shape: tuple[int, ...]) -> None:
    batch = images(4, shape)
    last = shape[2] in (1, 2, 3)
    assert np.array_equal(channels_first(batch, "x"), batch.transpose(0, 3, 1, 2) if last else batch)


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 5, 3), (2, 5, 7)])
def test_axes_that_cannot_be_told_apart(refusal: Refusal, shape: tuple[int, ...]) -> None:
    refusal(lambda: channels_first(images(4, shape), "x_train"), "x_train", str(shape)[1:-1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32_in_0_1(tmp_path: Path, dtype: type) -> None:
    scaled = save(
        tmp_path / "a.npz", x_train=(images() / 255).astype(dtype), x_test=(images(9, seed=1) / 255).astype(dtype)
    )
    raw = save(tmp_path / "b.npz", x_train=images().astype(dtype), x_test=images(9, seed=1).astype(dtype) // 255)
    first, second = load_dataset(scaled), load_dataset(raw)
    assert first.train.inputs.dtype == second.train.inputs.dtype == torch.float32
    torch.testing.assert_close(first.train.inputs, second.train.inputs, atol=1e-3, rtol=0)
    assert float(second.test.inputs.max()) <= 1.001 / 255  # scaled like its training images, though all below 1


def test_whole_numbers_of_other_widths_become_uint8(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=images().astype(np.int64))
    assert load_dataset(path).fingerprint == load_dataset(save(tmp_path / "b.npz")).fingerprint


def test_joined_files(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    one = save(folder / "one.npz", x_test=None, y_test=None)
    two = save(folder / "two.npz", x_train=None, y_train=None)
    three = save(folder / "three.npz", x_train=images(12, seed=5), y_train=np.arange(12) % 3, x_test=None, y_test=None)
    (folder / "README.md").write_text("about them")
    joined = load_npz([three, one, two], "toy").train.inputs[:, 0].numpy()
    assert np.array_equal(joined, np.concatenate([images(12, seed=5), images(30)]))
    by_folder = load_dataset(folder)
    assert by_folder.name == "parts" and len(by_folder.train) + len(by_folder.validation) == 42
    by_glob, by_list = load_dataset(f"{folder}/*.npz"), load_dataset(f"{one}, {three},{two}")
    assert by_folder.fingerprint == by_glob.fingerprint == by_list.fingerprint
    assert load_dataset(f"{three},{one},{two}").fingerprint != by_list.fingerprint
    assert by_list.name == "one+2"


def test_names_with_the_signs_of_patterns_and_lists(tmp_path: Path) -> None:
    assert load_dataset(save(tmp_path / "a,[b].npz")).name == "a,[b]"


def test_cifar10_subset(real_data: RealData, refusal: Refusal) -> None:
    path = real_data("cifar10") / "subset.npz"
    cifar = load_dataset(path)
    assert [len(part) for part in (cifar.train, cifar.validation, cifar.test)] == [8000, 2000, 2000]
    assert torch.bincount(cifar.train.targets).tolist() == [800] * 10
    assert torch.bincount(cifar.test.targets).tolist() == [200] * 10
    with np.load(path) as archive:
        test = archive["x_test"]
    assert np.array_equal(cifar.test.inputs.permute(0, 2, 3, 1).numpy(), test)
    assert cifar.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.005)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": None}, "x_train"),
        ({"y_test": None}, "y_test"),
        ({"x_train": None, "y_train": None}, "x_train"),
        ({"x_train": images(30)[:, 0]}, "shape"),
        ({"x_train": images(0)}, "shape"),
        ({"x_train": np.uint8(3)}, "shape"),
        ({"x_train": images(30, (2, 5, 7))}, "channels"),
        ({"x_test": images(9, (7, 7))}, "one shape"),
        ({"x_train": images().astype(np.float32) * 2}, "0..255"),
        ({"x_train": images().astype(np.float32) - 200}, "0..1"),
        ({"x_train": np.full((30, 6, 5), np.nan, dtype=np.float32)}, "nan"),
        ({"x_train": np.full((30, 6, 5), np.inf, dtype=np.float32)}, "inf"),
        ({"x_train": images().astype(np.int32) - 1}, "-1"),
        ({"x_train": images() > 99}, "bool"),
        ({"x_train": images().astype("datetime64[s]")}, "datetime64"),
        ({"x_train": images().astype(str)}, "pixels"),
        ({"x_train": images() + 1j}, "complex"),
        ({"x_test": images(9) / 255}, "one kind"),
        ({"x_train": images().astype(object)}, "pickled"),
        ({"y_train": (np.arange(30) % 3).astype(object)}, "pickled"),
        ({"y_train": (np.arange(30) % 3).astype(float)}, "whole number"),
        ({"y_train": np.eye(3, dtype=int)[np.arange(30) % 3]}, "one-hot"),
        ({"y_train": np.array(["cat", "dog", "owl"] * 10)}, "whole number"),
        ({"y_train": np.arange(31) % 3}, "31 labels"),
        ({"y_train": np.arange(30) % 3 - 1}, "from 0"),
        ({"y_train": np.full(30, 2**63, dtype=np.uint64)}, "from 0"),
        ({"y_train": np.arange(30) % 3 + 1}, "gaps"),
        ({"y_train": np.arange(30) % 3 * 10**8}, "gaps"),
        ({"y_train": np.zeros(30, dtype=int)}, "2 classes"),
        ({"y_test": np.arange(9) % 4}, "class 3"),
        ({"class_names": np.array(["a", "b"])}, "0..1"),
        ({"class_names": np.array(["a", "b", "c", "d"])}, "0..3"),
        ({"class_names": np.arange(3)}, "class_names"),
        ({"x_test": images(30), "y_test": np.arange(30) % 3}, "same images"),
    ],
)
def test_bad_arrays(refusal: Refusal, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = save(tmp_path / "toy.npz", **changes)
    refusal(lambda: load_dataset(path), str(path), words)


def test_repeated_class_names(refusal: Refusal, tmp_path: Path) -> None:
    path = save(tmp_path / "toy.npz", class_names=np.array(["a", "b", "b"]))
    refusal(lambda: load_dataset(path), "toy", "distinct")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped", "npy", "foreign keys", "no arrays", "member"])
def test_damaged_files(refusal: Refusal, tmp_path: Path, damage: str) -> None:
    import zipfile

    path = tmp_path / "toy.npz"
    np.savez_compressed(path, **arrays())
    content = path.read_bytes()
    if damage == "npy":
        with path.open("wb") as file:
            np.save(file, images())
    elif damage == "foreign keys":
        np.savez(path, images=images(), labels=np.arange(30))
    elif damage == "member":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train", b"hello")
    elif damage == "no arrays":
        zipfile.ZipFile(path, "w").close()
    else:
        middle = content[:400] + bytes(byte ^ 255 for byte in content[400:430]) + content[430:]
        path.write_bytes({"empty": b"", "text": b"hello", "cut": content[:-300], "flipped": middle}[damage])
    refusal(lambda: load_dataset(path), str(path))


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_one_sentence_or_harmless(tmp_path: Path, seed: int) -> None:
    from nas_gym.errors import DatasetError

    generator = np.random.default_rng(seed)
    path = save(tmp_path / "toy.npz") if seed % 2 else tmp_path / "toy.npz"
    if not seed % 2:
        np.savez_compressed(path, **arrays())
    content = bytearray(path.read_bytes())
    for position in generator.integers(0, len(content), 8):
        content[position] = generator.integers(0, 256)
    path.write_bytes(content)
    try:
        load_dataset(path)
    except DatasetError as error:
        assert "\n" not in str(error) and str(path) in str(error)


def test_files_that_do_not_fit_together(refusal: Refusal, tmp_path: Path) -> None:
    one = save(tmp_path / "one.npz", class_names=np.array(["a", "b", "c"]))
    refusal(lambda: load_dataset(f"{one},{one}"), str(one), "same images")
    two = save(
        tmp_path / "two.npz",
        x_train=images(30, seed=3),
        x_test=images(9, seed=4),
        class_names=np.array(["a", "c", "b"]),
    )
    refusal(lambda: load_dataset(f"{one},{two}"), str(two), "class_names")
    three = save(tmp_path / "three.npz", x_train=images(30, (6, 5, 3)), x_test=images(9, (6, 5, 3)))
    refusal(lambda: load_dataset([one, three][1].with_name("t*.npz")), str(two))
    os.unlink(two)  # noqa: PTH108
    refusal(lambda: load_dataset(f"{tmp_path}/*.npz"), str(three), "one shape")
    refusal(lambda: load_dataset(f"{one},{tmp_path / 'none.npz'}"), "none.npz", "no such file")
    refusal(lambda: load_dataset(f"{tmp_path}/x*.npz"), "x*.npz", "nothing")
