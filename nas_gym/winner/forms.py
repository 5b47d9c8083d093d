"""The two forms of an exported network, ONNX and torch.export's, as the bytes of a file and as something to run."""

import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nas_gym.errors import ConfigurationError, ExportError
from nas_gym.winner.facts import Facts
from nas_gym.winner.predict import INPUT, LOGITS, METADATA, PROBABILITIES

if TYPE_CHECKING:
    from torch import nn

Format: TypeAlias = Literal["onnx", "torch"]
FORMATS: tuple[Format, ...] = ("onnx", "torch")
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
FACTS_FILE = f"{METADATA}.json"  # inside a .pt2
OPSET = 18  # of ONNX: every onnxruntime since 1.14 reads it


def require_onnx() -> Any:
    """Return the package onnx, once all of the extra is there; raises ConfigurationError."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f'ONNX needs the extra onnx ({error}): pip install "nas-gym[onnx]"; or export --format torch'
        ) from None
    return onnx


def traced(packaged: "nn.Module", facts: Facts) -> Any:
    """Return the packaged network as a program of torch.export, for any number of images; raises ExportError."""
    import torch

    example = torch.zeros((2, *facts.input_shape))
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                packaged, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},), strict=False
            )
    except Exception as error:  # a network that can't be traced fails in many ways
        raise ExportError(
            f"the network can't be traced for any number of images ({one_line(error)}); "
            "what it computes must not depend on values, nor on the number of images"
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    return program


def as_torch(program: Any, facts: Facts) -> bytes:
    """Return a program as the content of a ``.pt2`` file, with the facts inside."""
    import torch

    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files={FACTS_FILE: json.dumps(facts.to_json())})
    return file.getvalue()


def as_onnx(program: Any, facts: Facts) -> bytes:
    """Return a program as the content of an ``.onnx`` file, with the facts inside; raises ExportError."""
    import torch

    names = {"input_names": [INPUT], "output_names": [LOGITS, PROBABILITIES]}
    try:
        with _quiet():
            made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)  # type: ignore[arg-type]
    except Exception as error:  # an operation that ONNX does not know
        raise ExportError(
            f"the network can't be written as ONNX ({one_line(error)}); export it with --format torch"
        ) from None
    assert made is not None, "dynamo=True returns a program"
    return sealed(made.model_proto, facts)


def sealed(model: Any, facts: Facts) -> bytes:
    """Return an ONNX model as bytes, with the facts inside and nothing of where it was made; raises ExportError."""
    onnx = require_onnx()
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
        raise ExportError(f"the ONNX model does not pass ONNX's own check ({one_line(error)})") from None
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def computing(form: Format, content: bytes) -> Callable[..., Any]:
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own warnings away: what matters is compared afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def one_line(error: Exception) -> str:
    """Return the first line of an exception's words."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:200]
