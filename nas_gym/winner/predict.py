"""Predictions of an exported model for images: this one file needs numpy, pillow and onnxruntime, and nothing else.

It is shipped beside every exported model, and ``nas-gym predict`` is the same code:

    python predict.py model.onnx photo.jpg more/ "scans/*.png" arrays.npy

Python 3.10 or later. Exit codes: 0 done, 2 a mistake, told in one sentence.
"""

import argparse
import glob
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

METADATA = "nas_gym"  # the entry of an ONNX file's metadata that holds the facts, as JSON
SCHEMA = 1
INPUT, LOGITS, PROBABILITIES = "pixels", "logits", "probabilities"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".npy")  # of the files that are looked for in folders
BATCH = 64  # images that are predicted together

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_NAMES = {1: "grey", 3: "RGB", 4: "RGBA"}


class PredictionError(Exception):
    """A model or an image can't be used; the message is one sentence."""


@dataclass(frozen=True)
class Sample:
    """One image, ready for the model.

    Attributes:
        source: File it comes from; of an array of several images with its number, such as ``"a.npy[3]"``.
        pixels: float32 in 0..255, (channels, height, width).
        changes: What had to be changed to fit the model, in words.
    """

    source: str
    pixels: NDArray[np.float32]
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        source: As in `Sample`.
        top: The most probable classes and their probabilities, in falling order.
        changes: As in `Sample`.
    """

    source: str
    top: tuple[tuple[str, float], ...]
    changes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as JSON-ready data."""
        top = [{"class": name, "probability": probability} for name, probability in self.top]
        return {"file": self.source, **top[0], "top": top, "changes": list(self.changes)}


class Model:
    """An exported model.

    Args:
        path: The ``.onnx`` file that ``nas-gym export`` wrote.

    Attributes:
        facts: What is known of it: class names, input shape, key, data set, metrics, versions.
        class_names: One per output, in order.
        input_shape: Of one image, (channels, height, width).

    Raises:
        PredictionError: There is no such file, it is none of ours, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = _session(path)
        self.facts = _facts(path, self._session)
        self.class_names: tuple[str, ...] = tuple(self.facts["class_names"])
        channels, height, width = self.facts["input_shape"]
        self.input_shape: tuple[int, int, int] = (channels, height, width)

    def run(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return logits and probabilities, each (n, classes), for pixels in 0..255, (n, channels, height, width).

        Raises:
            PredictionError: The model can't be computed, or its numbers are no probabilities.
        """
        try:
            logits, probabilities = self._session.run([LOGITS, PROBABILITIES], {INPUT: pixels})
        except Exception as error:  # onnxruntime has a class of its own for every kind of failure
            raise PredictionError(f"{str(self.path)!r} can't be computed ({_line(error)}); export it again") from None
        if not np.isfinite(probabilities).all():
            raise PredictionError(f"{str(self.path)!r} gave numbers that are no probabilities; export it again")
        return logits, probabilities

    def predict(self, samples: Iterable[Sample], top: int = 3) -> Iterator[Prediction]:
        """Yield a prediction for every sample, in order; `BATCH` of them are computed together.

        Raises:
            PredictionError: As `run`.
        """
        batch: list[Sample] = []
        for sample in samples:
            batch.append(sample)
            if len(batch) == BATCH:
                yield from self._predicted(batch, top)
                batch = []
        if batch:
            yield from self._predicted(batch, top)

    def _predicted(self, batch: list[Sample], top: int) -> Iterator[Prediction]:
        _, probabilities = self.run(np.stack([sample.pixels for sample in batch]))
        for sample, row in zip(batch, probabilities, strict=True):
            order = np.argsort(-row, kind="stable")[:top]
            named = tuple((self.class_names[place], float(row[place])) for place in order)
            yield Prediction(sample.source, named, sample.changes)


def predict_files(model: Model, sources: Sequence[str], *, top: int = 3, resize: bool = False) -> list[Prediction]:
    """Return predictions for files, folders and patterns, in the order given.

    Args:
        model: Whose predictions.
        sources: Files (PNG, JPEG, BMP, WebP, ``.npy``), folders, which are searched for such files with all their
            subfolders, and patterns such as ``"scans/*.png"``.
        top: How many classes are told for every image.
        resize: Whether images of another size are scaled (bilinear) instead of refused.

    Raises:
        PredictionError: A file is missing, damaged or does not fit the model, or nothing was found.
    """
    if top < 1:
        raise PredictionError(f"the number of classes to tell is at least 1, got {top}")
    files = find_files(sources)
    samples = (sample for file in files for sample in read(file, model.input_shape, resize=resize))
    return list(model.predict(samples, top))


def find_files(sources: Sequence[str]) -> list[Path]:
    """Return the files that names, folders and patterns stand for.

    Raises:
        PredictionError: One of them stands for nothing.
    """
    if not sources:
        raise PredictionError("no image was named; name files, folders or patterns")
    found: list[Path] = []
    for source in sources:
        try:
            found += _found(source)
        except (
            OSError,
            RuntimeError,
        ) as error:  # too long a name, a folder that is closed to us
            raise PredictionError(f"{source!r} can't be read ({_line(error)}); check the spelling") from None
    return found


def _found(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return [path]
    if not glob.has_magic(source):
        raise PredictionError(f"there is no file or folder {source!r}; check the spelling")
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not matches:
        raise PredictionError(f"nothing matches the pattern {source!r}; check the spelling")
    return [file for match in matches for file in (_in_folder(match) if match.is_dir() else [match])]


def read(file: Path, input_shape: tuple[int, int, int], *, resize: bool = False) -> Iterator[Sample]:
    """Yield the image of a file, or the images of an ``.npy`` file.

    Args:
        file: PNG, JPEG, BMP, WebP or ``.npy``.
        input_shape: What the model takes, (channels, height, width).
        resize: As in `predict_files`; arrays are never resized.

    Raises:
        PredictionError: It can't be read, or does not fit.
    """
    if file.suffix.lower() == ".npy":
        return _array_samples(file, input_shape)
    return iter([_image_sample(file, input_shape, resize)])


def _image_sample(file: Path, input_shape: tuple[int, int, int], resize: bool) -> Sample:
    channels, height, width = input_shape
    mode = _MODES.get(channels)
    if mode is None:
        raise PredictionError(f"the model takes {channels} channels, which no image file has; give an .npy array")
    changes = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as opened:
                size, kind = opened.size, _kind(opened)
                fits = size == (width, height)
                pixels = _pixels(opened, mode, (width, height)) if fits or resize else None
    except Exception as error:  # Pillow's readers raise many kinds on a damaged file
        raise PredictionError(
            f"{str(file)!r} is not an image that can be read ({_line(error)}); "
            "repair it, or name a PNG, JPEG or .npy file"
        ) from None
    if pixels is None:
        raise PredictionError(
            f"{str(file)!r} has {size[0]}×{size[1]} pixels (width × height), the model takes {width}×{height}; "
            "add --resize to have images scaled"
        )
    if kind != channels:
        changes.append(f"{_NAMES[kind]} to {_NAMES[channels]}")
    if not fits:
        changes.append(f"resized from {size[0]}×{size[1]}")
    return Sample(str(file), pixels, tuple(changes))


def _kind(image: Image.Image) -> int:
    """Return the channels of an image as it is stored: 1, 3 or 4."""
    if image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16"):
        return 1
    return 4 if image.mode in ("RGBA", "PA", "RGBa") or "transparency" in image.info else 3


def _pixels(image: Image.Image, mode: str, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image as float32 (channels, height, width), read as nas-gym reads its training images.

    16-bit grey is brought to 8, transparency is dropped, colours become grey by Pillow's weights (ITU-R 601-2), and
    what is scaled is scaled bilinearly after that.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # Pillow would clip, not scale
        values = np.asarray(image).astype(np.float64)
        deep = image.mode != "F" and (image.mode.startswith("I;16") or values.max() > 255)
        image = Image.fromarray(np.clip(values / 257 if deep else values, 0, 255).round().astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns if a palette with transparency goes to RGB at once
    image = image.convert(mode)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    values = np.asarray(image, dtype=np.uint8)
    return np.atleast_3d(values).transpose(2, 0, 1).astype(np.float32)


def _array_samples(file: Path, input_shape: tuple[int, int, int]) -> Iterator[Sample]:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can ask for anything
        raise PredictionError(f"{str(file)!r} is not an .npy array that can be read ({_line(error)})") from None
    images = _batch(array, input_shape, file)
    scale = _scale(images, file)
    for number, image in enumerate(images):
        changes: tuple[str, ...] = ()
        pixels = np.asarray(image)
        if len(pixels) != input_shape[0]:
            changes = (f"{_NAMES[len(pixels)]} to {_NAMES[input_shape[0]]}",)
            pixels = _channels(pixels, input_shape[0])
        source = f"{file}[{number}]" if array.ndim == 4 or len(images) > 1 else str(file)
        yield Sample(source, pixels.astype(np.float32) * np.float32(scale), changes)


def _batch(array: NDArray[Any], input_shape: tuple[int, int, int], file: Path) -> NDArray[Any]:
    """Return an array as a view (n, channels, height, width): the axes are told by the size that the model takes."""
    channels, *size = input_shape
    known = {channels, *(_MODES if channels in _MODES else ())}
    readings = []
    if array.ndim == 2 and list(array.shape) == size:
        readings = [array[None, None]]
    if array.ndim == 3 and list(array.shape[1:]) == size:
        readings += [array[None]] if array.shape[0] in known else []
        readings += [array[:, None]] if channels == 1 and array.shape[0] != 1 else []
    if array.ndim == 3 and list(array.shape[:2]) == size and array.shape[2] in known:
        readings += [array.transpose(2, 0, 1)[None]]
    if array.ndim == 4 and list(array.shape[2:]) == size and array.shape[1] in known:
        readings += [array]
    if array.ndim == 4 and list(array.shape[1:3]) == size and array.shape[3] in known:
        readings += [array.transpose(0, 3, 1, 2)]
    if not readings or not array.size:
        raise PredictionError(
            f"{str(file)!r} holds an array of shape {array.shape}, the model takes images of "
            f"{size[0]}×{size[1]} (height × width), one or a batch, channels first or last; arrays are not resized"
        )
    if len(readings) > 1:
        raise PredictionError(
            f"the shape {array.shape} of {str(file)!r} could be one image or several, or has its channels first or "
            f"last; give a batch of shape (n, {channels}, {size[0]}, {size[1]})"
        )
    return readings[0]


def _scale(images: NDArray[Any], file: Path) -> float:
    """Return what to multiply an array by for pixels in 0..255: 255 for floats of at most 1, else 1."""
    if images.dtype.kind not in "uif":
        raise PredictionError(f"{str(file)!r} holds {images.dtype}, not pixels; give uint8 or floats")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 255):  # NaN fails too
        raise PredictionError(
            f"{str(file)!r} holds values from {low:g} to {high:g}; pixels lie in 0..255, or as floats in 0..1, "
            "and the model normalises them itself"
        )
    return 255.0 if images.dtype.kind == "f" and high <= 1 else 1.0


def _channels(image: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return an image (c, height, width) of 1, 3 or 4 channels with 1, 3 or 4, by the weights that Pillow uses."""
    colours = image[:3]  # transparency is dropped
    if channels == 1 and len(colours) == 3:
        if image.dtype.kind == "f":
            return np.tensordot(np.array([0.299, 0.587, 0.114]), colours, 1)[None]
        weights = np.array([19595, 38470, 7471], dtype=np.int64)
        return ((np.tensordot(weights, colours.astype(np.int64), 1) + 0x8000) >> 16)[None]
    if len(colours) == 1:
        colours = colours.repeat(min(channels, 3), axis=0)
    if channels == 4:
        opaque = 1 if image.dtype.kind == "f" and image.max() <= 1 else 255
        colours = np.concatenate([colours, np.full_like(colours[:1], opaque)])
    return colours


def _in_folder(folder: Path) -> list[Path]:
    found = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not found:
        raise PredictionError(f"the folder {str(folder)!r} holds no image ({', '.join(SUFFIXES)})")
    return found


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise PredictionError(
            'predictions need onnxruntime: pip install onnxruntime, or pip install "nas-gym[onnx]"'
        ) from None
    content = _content(path)
    onnxruntime.set_default_logger_severity(4)  # what goes wrong is told in a sentence of ours
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for every kind of failure
        raise PredictionError(
            f"{str(path)!r} is not an ONNX model that can be read ({_line(error)}); "
            "name the .onnx file that nas-gym export wrote"
        ) from None


def _content(path: Path) -> bytes:
    """Return what a model's file holds."""
    if path.is_dir():
        inside = next(
            (place for place in (path / "model.onnx", path / "export" / "model.onnx") if place.exists()), None
        )
        hint = f"name {str(inside)!r}" if inside else "name the .onnx file that nas-gym export wrote"
        raise PredictionError(f"{str(path)!r} is a folder, not a model; {hint}")
    if not path.exists():
        raise PredictionError(f"there is no model {str(path)!r}; nas-gym export RUN writes one")
    try:
        return path.read_bytes()
    except OSError as error:
        raise PredictionError(f"the model {str(path)!r} can't be read ({error.strerror}); check the path") from None


def _facts(path: Path, session: Any) -> dict[str, Any]:
    """Return the facts that an exported model carries, after a check that they fit it."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise PredictionError(
            f"{str(path)!r} is an ONNX model, but none of nas-gym: it carries no class names; "
            "name the .onnx file that nas-gym export wrote"
        )
    try:
        facts = dict(json.loads(text))
        schema, names, shape = facts["schema"], list(facts["class_names"]), [int(side) for side in facts["input_shape"]]
        taken = [list(one.shape) for one in session.get_inputs() if one.name == INPUT]
        given = {one.name: list(one.shape) for one in session.get_outputs()}
        fits = taken[0][1:] == shape and given[LOGITS][1:] == given[PROBABILITIES][1:] == [len(names)]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise PredictionError(f"what {str(path)!r} says of itself is damaged ({error!r}); export it again") from None
    if schema != SCHEMA:
        raise PredictionError(
            f"{str(path)!r} was exported by another version of nas-gym (schema {schema}, here {SCHEMA}); "
            "use the predict.py beside it"
        )
    if not fits or len(shape) != 3:
        raise PredictionError(f"what {str(path)!r} says of itself does not fit its network; export it again")
    return facts


def _line(error: Exception) -> str:
    """Return the words of an exception as one line, without onnxruntime's codes in front."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (line.rpartition(" : ")[2] if line.startswith("[ONNXRuntimeError]") else line).strip(" .")[:200]


def as_json(model: Model, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return a model and its predictions as JSON-ready data."""
    named = {name: model.facts.get(name) for name in ("key", "dataset", "variant")}
    return {"model": str(model.path), **named, "predictions": [one.to_json() for one in predictions]}


def as_table(predictions: Sequence[Prediction]) -> str:
    """Return predictions as a text table for people."""
    rows = [("file", "class", "probability", "then")]
    for one in predictions:
        (name, probability), *others = one.top
        then = ", ".join(f"{other} {_percent(share)}" for other, share in others)
        rows.append((one.source, name, _percent(probability), then + "".join(f" [{c}]" for c in one.changes)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Predictions of an exported model for images.")
    parser.add_argument("model", type=Path, help="the .onnx file that nas-gym export wrote")
    parser.add_argument("files", nargs="+", help="PNG, JPEG and .npy files, folders, patterns")
    parser.add_argument("--top", type=int, default=3, help="how many classes to tell for every image (default 3)")
    parser.add_argument("--resize", action="store_true", help="scale images of another size instead of refusing them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter of a class's name shows its number
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        model = Model(options.model)
        predictions = predict_files(model, options.files, top=options.top, resize=options.resize)
    except PredictionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(as_json(model, predictions)) if options.json else as_table(predictions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
