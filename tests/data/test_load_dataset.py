"""What a source can be, and what is no source."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas_gym.data import KNOWN_DATASETS, load_dataset

Refusal = Callable[..., str]


def test_a_data_set_is_returned_as_it_is(refusal: Refusal) -> None:
    digits = load_dataset("digits")
    assert load_dataset(digits) is digits
    refusal(lambda: load_dataset(digits, first_per_class=3), "digits", "already divided")
    refusal(lambda: load_dataset(digits, image_size=3), "digits", "already divided")


@pytest.mark.parametrize("source", ["imagenet", "no/such/file.npz", "no/such/folder/", "~nobody-here/x", "x" * 5000])
def test_unknown_sources(refusal: Refusal, source: str) -> None:
    refusal(lambda: load_dataset(source), source[:4000])


def test_an_unknown_name_lists_the_known_ones(refusal: Refusal) -> None:
    refusal(lambda: load_dataset("imagenet"), *KNOWN_DATASETS)


@pytest.mark.parametrize("source", ["", "  ", "a\0b", ",", ",,", 7, None, b"digits"])
def test_what_is_no_source(refusal: Refusal, source: object) -> None:
    refusal(lambda: load_dataset(source), "expected")  # type: ignore[arg-type]


def test_a_name_with_a_line_break_gives_one_line(refusal: Refusal) -> None:
    refusal(lambda: load_dataset("a\nb"), "a\\nb")


def test_a_path_is_never_taken_for_a_name(refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(lambda: load_dataset(Path("digits")), "no such file")


def test_files_and_folders_of_other_kinds(refusal: Refusal, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n")
    refusal(lambda: load_dataset(table), str(table), ".npz")
    refusal(lambda: load_dataset(f"{tmp_path}/*"), str(table))
    refusal(lambda: load_dataset(f"{tmp_path},{tmp_path}"), str(tmp_path), "found none")
    np.savez(tmp_path / "a.npz", x_train=np.zeros((4, 2, 2)), y_train=np.zeros(4, dtype=int))
    (tmp_path / "cats").mkdir()
    refusal(lambda: load_dataset(tmp_path), str(tmp_path), "subfolders")


def test_a_root_of_torchvision_is_recognised(refusal: Refusal, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{stem}-ubyte.gz").write_bytes(b"")
    refusal(lambda: load_dataset(tmp_path), str(tmp_path), "MNIST", "--data-root")


def test_image_size_belongs_to_folders_of_images(refusal: Refusal) -> None:
    refusal(lambda: load_dataset("digits", image_size=4), "image_size", "digits")
