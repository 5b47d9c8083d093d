"""Data sets that are folders of images, made here with Pillow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_gym.data import load_dataset
from nas_gym.data.images import load_image_folder

Refusal = Callable[..., str]


def pixels(seed: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> np.ndarray:
    shape = size if mode == "L" else (*size, len(mode))
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def draw(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 10, mode: str = "RGB") -> Path:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(pixels(1000 * number + i, mode=mode)).save(folder / name / f"{i:03}.png")
    return folder


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_subfolder_per_class(tmp_path: Path, mode: str) -> None:
    draw(tmp_path / "pets", mode=mode)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("ignored")
    (tmp_path / "pets" / ".cache").mkdir()
    parts = load_image_folder(tmp_path / "pets", "pets")
    assert parts.class_names == ("cat", "dog") and parts.train.targets.tolist() == [0] * 10 + [1] * 10
    for index, seed in ((0, 0), (9, 9), (10, 1000), (19, 1009)):
        image = parts.train.inputs[index].permute(1, 2, 0).numpy()
        assert np.array_equal(image, pixels(seed, mode=mode).reshape(6, 5, -1))
    pets = load_dataset(tmp_path / "pets")
    assert pets.name == "pets" and pets.input_shape == (len(mode) if mode == "RGB" else 1, 6, 5)
    assert [len(part) for part in (pets.train, pets.validation, pets.test)] == [12, 4, 4]
    assert pets.fingerprint == load_dataset(str(tmp_path / "pets")).fingerprint


@pytest.mark.parametrize("validation", [None, "val", "validation"])
def test_train_and_test_folders(tmp_path: Path, validation: str | None) -> None:
    draw(tmp_path / "train")
    draw(tmp_path / "test", n=3)
    if validation:
        draw(tmp_path / validation, classes=("dog",), n=2)
    pets = load_dataset(tmp_path)
    sizes = [len(part) for part in (pets.train, pets.validation, pets.test)]
    assert sizes == ([20, 2, 6] if validation else [16, 4, 6])
    if validation:
        assert pets.validation.targets.tolist() == [1, 1]


def test_train_can_be_a_class(tmp_path: Path) -> None:
    assert load_dataset(draw(tmp_path / "vehicles", classes=("train", "bus"))).class_names == ("bus", "train")


def test_every_mode_and_format(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    rgb = Image.fromarray(pixels(0))
    for i, mode in enumerate(("1", "L", "LA", "P", "RGB", "RGBA")):
        rgb.convert(mode).save(tmp_path / "a" / f"{i}.png")
    rgb.convert("P").save(tmp_path / "a" / "6.png", transparency=bytes(range(256)))
    rgb.convert("CMYK").save(tmp_path / "b" / "0.jpg")
    rgb.save(tmp_path / "b" / "1.BMP")
    rgb.save(tmp_path / "b" / "2.webp", lossless=True)
    rgb.save(tmp_path / "b" / "3.jpeg")
    Image.fromarray(np.full((6, 5), 65535, dtype=np.uint16)).save(tmp_path / "b" / "4.png")
    inputs = load_image_folder(tmp_path, "modes").train.inputs
    assert tuple(inputs.shape) == (12, 3, 6, 5)
    for exact in (4, 5, 8, 9):
        assert np.array_equal(inputs[exact].permute(1, 2, 0).numpy(), pixels(0))
    assert torch.equal(inputs[1], inputs[2])  # transparency is dropped
    assert torch.equal(inputs[11], torch.full((3, 6, 5), 255, dtype=torch.uint8))


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        deep = (pixels(i, mode="L").astype(np.uint16) * 257).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / name / "0.png")
    inputs = load_image_folder(tmp_path, "deep").train.inputs
    assert np.array_equal(inputs[:, 0].numpy(), np.stack([pixels(0, mode="L"), pixels(1, mode="L")]))


def test_sizes(tmp_path: Path) -> None:
    draw(tmp_path)
    Image.fromarray(pixels(7, (40, 30))).save(tmp_path / "dog" / "big.png")
    assert load_dataset(tmp_path).input_shape == (3, 6, 5)
    assert load_dataset(tmp_path, image_size=8).input_shape == (3, 8, 8)
    resized = load_image_folder(tmp_path, "pets", (12, 10))
    assert tuple(resized.train.inputs.shape) == (21, 3, 12, 10)
    oracle = Image.fromarray(pixels(7, (40, 30))).resize((10, 12), Image.Resampling.BILINEAR)
    assert np.array_equal(resized.train.inputs[20].permute(1, 2, 0).numpy(), np.asarray(oracle))


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "body"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_damaged_image_is_named(refusal: Refusal, tmp_path: Path, damage: str, suffix: str) -> None:
    draw(tmp_path)
    path = tmp_path / "dog" / f"bad{suffix}"
    Image.fromarray(pixels(1, (64, 64))).save(path)
    content = path.read_bytes()
    broken = {"empty": b"", "text": b"hello", "cut": content[: len(content) // 2], "body": content[:20]}
    path.write_bytes(broken[damage])
    refusal(lambda: load_dataset(tmp_path), str(path))


@pytest.mark.parametrize("size", [0, -3, 2.5, "big", (4,), (4, 0), (4, 4, 4), True, 10**7])
def test_bad_sizes(refusal: Refusal, tmp_path: Path, size: object) -> None:
    draw(tmp_path)
    refusal(lambda: load_dataset(tmp_path, image_size=size), "image_size")  # type: ignore[arg-type]


def test_bad_layouts(refusal: Refusal, tmp_path: Path) -> None:
    refusal(lambda: load_dataset(tmp_path), str(tmp_path), "2 classes")
    draw(tmp_path / "train")
    draw(tmp_path / "test", classes=("cat", "owl"), n=1)
    refusal(lambda: load_dataset(tmp_path), str(tmp_path / "test" / "owl"), "training images")
    (tmp_path / "test" / "owl" / "000.png").unlink()
    (tmp_path / "test" / "owl").rename(tmp_path / "test" / "dog")
    refusal(lambda: load_dataset(tmp_path), str(tmp_path / "test" / "dog"), "found none")
    (tmp_path / "test" / "dog").rmdir()
    (tmp_path / "others").mkdir()
    refusal(lambda: load_dataset(tmp_path), "others")
    (tmp_path / "others").rmdir()
    (tmp_path / "val").mkdir()
    refusal(lambda: load_dataset(tmp_path), str(tmp_path / "val"), "found none")
    (tmp_path / "validation").mkdir()
    refusal(lambda: load_dataset(tmp_path), str(tmp_path), "both")
