"""One function that turns what a user names, a data set or a path, into a data set."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from nas_gym.data.dataset import Dataset
from nas_gym.data.images import load_image_folder
from nas_gym.data.messages import one_line, quoted
from nas_gym.data.named import KNOWN_DATASETS, find_datasets, known_name, load_digits, load_torchvision
from nas_gym.data.npz import load_npz
from nas_gym.data.splitting import Parts, Splitting, divide
from nas_gym.errors import DatasetError

_EXPECTED = f"one of {', '.join(KNOWN_DATASETS)}, an .npz file, or a folder of .npz files or images"


def load_dataset(
    source: str | os.PathLike[str] | Dataset,
    *,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    first_per_class: int | None = None,
    first_test_per_class: int | None = None,
    validation_share: float = 0.2,
    split_seed: int = 0,
    image_size: int | Sequence[int] | None = None,
) -> Dataset:
    """Return the data set that a name or path stands for; equal arguments give equal tensors.

    A text is first taken for a name in ``KNOWN_DATASETS``, whatever its case and dashes; ``./mnist`` or a
    ``Path`` is always a path. Paths: an ``.npz`` (see ``load_npz``), several of them joined in the order
    given (separated by commas) or sorted (a pattern such as ``parts/*.npz``, or their folder), or a folder of
    images with a subfolder per class (see ``load_image_folder``).

    Args:
        source: Name, path, paths or pattern; a ``Dataset`` is returned as it is.
        data_root: Folder of torchvision's sets; by default ``$NAS_GYM_DATA`` or ``~/.cache/nas_gym``.
        download: Whether torchvision may fetch and unpack a set in ``data_root``. Otherwise nothing is
            written.
        first_per_class: At most so many official training images per class, before validation is taken from
            them.
        first_test_per_class: At most so many test images per class.
        validation_share: Share of the official training images that becomes the validation part, in (0, 1),
            where the source has no validation images. Where it has no test images either (digits), a share of
            all images, and so is the test part (0.2): 60, 20 and 20 % by default.
        split_seed: Seed of the division, not negative. No global generator is touched.
        image_size: For a folder of images: pixels of a side or (height, width); None takes that of the first
            image.

    Returns:
        uint8 images where the source has 8 bits per pixel, else float32 in 0..1.

    Raises:
        DatasetError: If the source is unknown, missing, damaged or of the wrong shape, or an option is out of
            range.
    """
    splitting = Splitting(validation_share, first_per_class, first_test_per_class, split_seed)
    if isinstance(source, Dataset):
        if splitting != Splitting() or image_size is not None:
            raise DatasetError(f"data set {source.name!r} is already divided; give these options where it is loaded")
        return source
    if not isinstance(source, (str, os.PathLike)) or not str(source).strip() or "\0" in str(source):
        raise DatasetError(f"expected {_EXPECTED}, got {source!r}")
    return divide(load_parts(source, data_root, download, image_size), splitting)


def load_parts(
    source: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    image_size: int | Sequence[int] | None = None,
) -> Parts:
    """Return what a source holds, before it is divided; arguments are those of `load_dataset`.

    Raises:
        DatasetError: If the source is unknown, missing, damaged or of the wrong shape.
    """
    try:
        return _load_parts(source, data_root, download, image_size)
    except OSError as error:  # a folder that may not be listed, a name that is too long, a disk that fails
        raise DatasetError(f"{str(source)!r} cannot be read ({one_line(error)}); check the path") from error


def holds_photographs(source: str | os.PathLike[str]) -> bool:
    """Return whether a source is a folder of images, which `load_parts` reads at any ``image_size``.

    What can't be read is none; `load_parts` says why.
    """
    name = known_name(source) if isinstance(source, str) else None
    path = _expanded(os.fsdecode(source))
    try:
        return name is None and path.is_dir() and not _npz_files(path)
    except (OSError, DatasetError):
        return False


def _load_parts(
    source: str | os.PathLike[str],
    data_root: str | os.PathLike[str] | None,
    download: bool,
    image_size: int | Sequence[int] | None,
) -> Parts:
    name = known_name(source) if isinstance(source, str) else None
    text = os.fsdecode(source)
    path = _expanded(text)
    images = name is None and path.is_dir() and not _npz_files(path)
    if image_size is not None and not images:
        raise DatasetError(f"image_size is for folders of images, {text!r} is none; leave it out")
    if name == "digits":
        return load_digits()
    if name is not None:
        return load_torchvision(name, data_root, download)
    if images:
        _refuse_torchvision_root(path)
        return load_image_folder(path, path.resolve().name, image_size)
    files = _resolve_npz(text, path)
    return load_npz(files, _joined_name(path, files))


def _resolve_npz(text: str, path: Path) -> list[Path]:
    """Return the files that a text names: one, those in a folder, a pattern's matches, or a list of these."""
    if path.is_dir():
        files = _npz_files(path)
        if not files:
            raise DatasetError(f"expected .npz files in {quoted(path)}, found none; only such can be joined")
        return files
    if path.exists():
        if path.suffix.lower() != ".npz":
            raise DatasetError(f"expected {_EXPECTED}, got the file {quoted(path)}; only .npz files are read")
        return [path]
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if len(pieces) > 1:
        return [file for piece in pieces for file in _resolve_npz(piece, _expanded(piece))]
    if glob.has_magic(text):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - the pattern may be absolute
        strangers = [match for match in matches if not match.lower().endswith(".npz")]
        if strangers or not matches:
            found = quoted(strangers[0]) if strangers else "nothing"
            raise DatasetError(f"expected the pattern {text!r} to match .npz files only, it matches {found}")
        return [Path(match) for match in matches]
    raise DatasetError(f"expected {_EXPECTED}, got {text!r}, and there is no such file or folder; check the spelling")


def _npz_files(folder: Path) -> list[Path]:
    """Return the ``.npz`` files in a folder, sorted; refuse a folder that has subfolders besides."""
    children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    files = [child for child in children if child.suffix.lower() == ".npz" and child.is_file()]
    if files and any(child.is_dir() for child in children):
        raise DatasetError(
            f"{quoted(folder)} has both .npz files and subfolders, so that it could be arrays or images; "
            "name the .npz files or move them away"
        )
    return files


def _joined_name(path: Path, files: Sequence[Path]) -> str:
    if path.is_dir():
        return path.resolve().name
    return files[0].stem if len(files) == 1 else f"{files[0].stem}+{len(files) - 1}"


def _refuse_torchvision_root(folder: Path) -> None:
    names = [name for name, place in find_datasets(folder).items() if place is not None]
    if names:
        raise DatasetError(
            f"{quoted(folder)} holds torchvision's {names[0]}; name the data set {names[0]} and pass the "
            "folder as --data-root (data_root=…)"
        )


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user
        return Path(text)
