"""From a trained network to files that run elsewhere: ONNX and torch.export, checked against the network.

`export_module` takes any torch module (plain, pruned, distilled), `export_onnx_file` an ONNX file that somebody made
of an exported one (quantised). Both refuse to write what does not give the numbers that the network gives.
"""

import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nas_gym.errors import ConfigurationError, ExportError
from nas_gym.winner.facts import Facts
from nas_gym.winner.predict import INPUT, LOGITS, METADATA, PROBABILITIES, SCHEMA

if TYPE_CHECKING:
    from torch import nn

    from nas_gym.winner.packaged import Comparison, Outputs, Samples

Format: TypeAlias = Literal["onnx", "torch"]
FORMATS: tuple[Format, ...] = ("onnx", "torch")
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-4
FACTS_FILE = f"{METADATA}.json"  # inside a .pt2
OPSET = 18  # of ONNX: every onnxruntime since 1.14 reads it


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

    _check_formats(formats)
    samples = samples or Samples.random(facts.input_shape)
    with prepared(0):
        packaged = Packaged(module, facts)
        expected = _of_network(lambda: computed(packaged, samples.pixels), facts)
        program = _program(packaged, facts)
        found: list[tuple[Exported, bytes]] = []
        for form in formats:
            content = _as_onnx(program, facts) if form == "onnx" else _as_torch(program, facts)
            path = folder / f"{name}{ENDINGS[form]}"
            found.append((_compared(form, path, content, expected, samples, tolerance), content))
    for exported, content in found:
        _write(exported.path, content)
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

    onnx = _onnx()
    samples = samples or Samples.random(facts.input_shape)
    try:
        model = onnx.load(source)
    except Exception as error:  # of protobuf, of the disk
        raise ExportError(f"{str(source)!r} is not an ONNX model that can be read ({_line(error)})") from None
    with prepared(0):
        packaged = Packaged(module, facts)
        expected = _of_network(lambda: computed(packaged, samples.pixels), facts)
        content = _sealed(model, facts)
        path = folder / f"{name}.onnx"
        exported = _compared("onnx", path, content, expected, samples, tolerance)
    _write(path, content)
    return exported


def _check_formats(formats: Sequence[str]) -> None:
    wrong = [form for form in formats if form not in FORMATS]
    if wrong or not formats or len(set(formats)) != len(formats):
        shown = ", ".join(map(repr, wrong or formats)) or "none"
        raise ConfigurationError(f"a model is exported as {' and '.join(FORMATS)}, each at most once, got {shown}")
    if "onnx" in formats:
        _onnx()


def _onnx() -> Any:
    """Return the package onnx, once all of the extra is there."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f'ONNX needs the extra onnx ({error}): pip install "nas-gym[onnx]"; or export --format torch'
        ) from None
    return onnx


def _of_network(compute: Callable[[], "Outputs"], facts: Facts) -> "Outputs":
    try:
        outputs = compute()
    except Exception as error:  # whatever a module of somebody else can raise
        raise ExportError(f"the network does not run on images of {facts.input_shape} ({_line(error)})") from None
    if outputs[0].shape[1:] != (len(facts.class_names),):
        raise ExportError(
            f"the network's outputs have the shape {outputs[0].shape[1:]}, expected one for each of the "
            f"{len(facts.class_names)} classes"
        )
    return outputs


def _program(packaged: "nn.Module", facts: Facts) -> Any:
    """Return the packaged network as a program of torch.export, for any number of images."""
    import torch

    example = torch.zeros((2, *facts.input_shape))
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                packaged, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},), strict=False
            )
    except Exception as error:  # a network that can't be traced fails in many ways
        raise ExportError(
            f"the network can't be traced for any number of images ({_line(error)}); "
            "what it computes must not depend on values, nor on the number of images"
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    return program


def _as_torch(program: Any, facts: Facts) -> bytes:
    import torch

    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files={FACTS_FILE: json.dumps(facts.to_json())})
    return file.getvalue()


def _as_onnx(program: Any, facts: Facts) -> bytes:
    import torch

    names = {"input_names": [INPUT], "output_names": [LOGITS, PROBABILITIES]}
    try:
        with _quiet():
            made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)  # type: ignore[arg-type]
    except Exception as error:  # an operation that ONNX does not know
        raise ExportError(
            f"the network can't be written as ONNX ({_line(error)}); export it with --format torch"
        ) from None
    assert made is not None, "dynamo=True returns a program"
    return _sealed(made.model_proto, facts)


def _sealed(model: Any, facts: Facts) -> bytes:
    """Return an ONNX model as bytes, with the facts inside and without traces of where it was made."""
    onnx = _onnx()
    wanted, got = {INPUT, LOGITS, PROBABILITIES}, {one.name for one in (*model.graph.input, *model.graph.output)}
    if got != wanted:
        raise ExportError(
            f"an exported model has the inputs and outputs {', '.join(sorted(wanted))}, got {', '.join(sorted(got))}; "
            "begin with a file of nas-gym export"
        )
    del model.graph.value_info[:]  # shapes in between, which follow from the others
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]  # names files of this machine
    for one in (*model.graph.input, *model.graph.output):
        one.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA: json.dumps(facts.to_json())})
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"the ONNX model does not pass ONNX's own check ({_line(error)})") from None
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _compared(
    form: Format, path: Path, content: bytes, expected: "Outputs", samples: "Samples", tolerance: float
) -> Exported:
    from nas_gym.winner.packaged import compared

    try:
        comparison = compared(expected, _computing(form, content), samples)
    except Exception as error:  # what can't be loaded or run is not written
        raise ExportError(f"what was exported as {form} does not run ({_line(error)})") from None
    if not comparison.difference <= tolerance:
        raise ExportError(
            f"{path.name} was not written: its outputs differ from the network's by {comparison.difference:.2g} on "
            f"{comparison.source}, more than the {tolerance:g} that is allowed"
        )
    return Exported(form, path, len(content), tolerance, comparison)


def _computing(form: Format, content: bytes) -> Callable[..., Any]:
    """Return the function that a file's content computes."""
    if form == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return lambda pixels: tuple(session.run([LOGITS, PROBABILITIES], {INPUT: pixels}))
    import torch

    from nas_gym.winner.packaged import computed

    with _quiet():
        program = torch.export.load(io.BytesIO(content))
        module = program.module()
    return lambda pixels: computed(module, pixels)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own warnings away: what matters is compared afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:200]


__all__ = ["FORMATS", "SCHEMA", "TOLERANCE", "Exported", "Format", "export_module", "export_onnx_file"]
