"""From a trained network to files that run elsewhere: ONNX and torch.export, checked against the network.

`export_module` takes any torch module (plain, pruned, distilled), `export_onnx_file` an ONNX file that somebody made
of an exported one (quantised). Both refuse to write what does not give the numbers that the network gives.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.errors import ConfigurationError, ExportError
from nas_gym.winner.facts import Facts
from nas_gym.winner.forms import (
    ENDINGS,
    FORMATS,
    Format,
    as_onnx,
    as_torch,
    computing,
    one_line,
    require_onnx,
    sealed,
    traced,
)

if TYPE_CHECKING:
    from torch import nn

    from nas_gym.winner.packaged import Comparison, Outputs, Samples

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """One exported file.

    Attributes:
        format: ``"onnx"`` or ``"torch"``.
        path: Where it is.
        size_bytes: How large.
        tolerance: What its difference from the network was to stay within.
        comparison: How far its outputs are from the network's.
    """

    format: Format
    path: Path
    size_bytes: int
    tolerance: float
    comparison: "Comparison"

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        plain = {"format": self.format, "path": str(self.path), "size_bytes": self.size_bytes}
        return plain | {"tolerance": self.tolerance, "comparison": self.comparison.to_json()}


def export_module(
    module: "nn.Module",
    facts: Facts,
    folder: Path,
    name: str = "model",
    *,
    formats: Sequence[Format] = FORMATS,
    samples: "Samples | None" = None,
    tolerance: float = TOLERANCE,
) -> list[Exported]:
    """Write a trained network as files that take pixels in 0..255, of any number of images; return what was written.

    The module is not changed. Inside the files pixels are normalised, so that nothing has to be known to use them.

    Args:
        module: Takes normalised images (n, channels, height, width), tells logits (n, classes).
        facts: Written into every file.
        folder: Made if it is not there.
        name: Of the files, without ending.
        formats: ``"onnx"`` (``name.onnx``), ``"torch"`` (``name.pt2``, for `torch.export.load`).
        samples: Images that outputs are compared on; None: random pixels.
        tolerance: Largest difference (`Comparison.difference`) from the module that is written.

    Raises:
        ConfigurationError: There is no such format, or the extra ``onnx`` is not installed.
        ExportError: The network can't be exported, differs by more than the tolerance, or can't be written. Files of
            this name that were there before are still there then.
    """
    from nas_gym.evaluation.process import prepared
    from nas_gym.winner.packaged import Packaged, Samples, computed

    check_formats(formats)
    samples = samples or Samples.random(facts.input_shape)
    with prepared(0):
        packaged = Packaged(module, facts)
        expected = _of_network(lambda: computed(packaged, samples.pixels), facts)
        program = traced(packaged, facts)
        found: list[tuple[Exported, bytes]] = []
        for form in formats:
            content = as_onnx(program, facts) if form == "onnx" else as_torch(program, facts)
            path = folder / f"{name}{ENDINGS[form]}"
            found.append((_compared(form, path, content, expected, samples, tolerance), content))
    for exported, content in found:
        write_file(exported.path, content)
    return [exported for exported, _ in found]


def export_onnx_file(
    source: Path,
    module: "nn.Module",
    facts: Facts,
    folder: Path,
    name: str,
    *,
    tolerance: float,
    samples: "Samples | None" = None,
) -> Exported:
    """Write a changed form of an exported ONNX file, such as a quantised one, with facts of its own.

    Args:
        source: The changed file: inputs and outputs as `export_module` makes them.
        module: The network before the change; what the file's outputs are compared with.
        facts: Of the changed form.
        folder: Made if it is not there.
        name: Of the file, without ending.
        tolerance: As in `export_module`; a quantised network needs a larger one, which the file then states.
        samples: As in `export_module`.

    Raises:
        ConfigurationError: The extra ``onnx`` is not installed.
        ExportError: As in `export_module`, or the file is no such model.
    """
    from nas_gym.evaluation.process import prepared
    from nas_gym.winner.packaged import Packaged, Samples, computed

    onnx = require_onnx()
    samples = samples or Samples.random(facts.input_shape)
    try:
        model = onnx.load(source)
    except Exception as error:  # of protobuf, of the disk
        raise ExportError(f"{str(source)!r} is not an ONNX model that can be read ({one_line(error)})") from None
    with prepared(0):
        packaged = Packaged(module, facts)
        expected = _of_network(lambda: computed(packaged, samples.pixels), facts)
        content = sealed(model, facts)
        path = folder / f"{name}.onnx"
        exported = _compared("onnx", path, content, expected, samples, tolerance)
    write_file(path, content)
    return exported


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that there are not, and ONNX where its extra is not installed; raises ConfigurationError."""
    wrong = [form for form in formats if form not in FORMATS]
    if wrong or not formats or len(set(formats)) != len(formats):
        shown = ", ".join(map(repr, wrong or formats)) or "none"
        raise ConfigurationError(f"a model is exported as {' and '.join(FORMATS)}, each at most once, got {shown}")
    if "onnx" in formats:
        require_onnx()


def _of_network(compute: Callable[[], "Outputs"], facts: Facts) -> "Outputs":
    try:
        outputs = compute()
    except Exception as error:  # whatever a module of somebody else can raise
        raise ExportError(f"the network does not run on images of {facts.input_shape} ({one_line(error)})") from None
    if outputs[0].shape[1:] != (len(facts.class_names),):
        raise ExportError(
            f"the network's outputs have the shape {outputs[0].shape[1:]}, expected one for each of the "
            f"{len(facts.class_names)} classes"
        )
    return outputs


def _compared(
    form: Format, path: Path, content: bytes, expected: "Outputs", samples: "Samples", tolerance: float
) -> Exported:
    from nas_gym.winner.packaged import compared

    try:
        comparison = compared(expected, computing(form, content), samples)
    except Exception as error:  # what can't be loaded or run is not written
        raise ExportError(f"what was exported as {form} does not run ({one_line(error)})") from None
    if not comparison.difference <= tolerance:
        raise ExportError(
            f"{path.name} was not written: its outputs differ from the network's by {comparison.difference:.2g} on "
            f"{comparison.source}, more than the {tolerance:g} that is allowed"
        )
    return Exported(form, path, len(content), tolerance, comparison)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises ExportError."""
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise ExportError(f"{str(path)!r} can't be written ({error.strerror}); name another --out") from None
