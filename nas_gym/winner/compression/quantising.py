"""int8: static quantisation of an exported ONNX file by ONNX Runtime, with ranges from training images."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError, ExportError
from nas_gym.winner.forms import one_line
from nas_gym.winner.predict import INPUT

TOLERANCE = 0.25  # largest difference of a logit, in units of the largest one, with which an int8 form is kept
LEAST_SAME_CLASS = 0.95  # and the share of images on which it must name the class that the float32 form names
_BATCH = 32
_QUANTISED = (  # the others (normalisation of the pixels, softmax) stay in float32
    *("Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
    *("Reshape", "Flatten"),
)


def quantised(source: Path, target: Path, pixels: NDArray[np.float32]) -> None:
    """Write an ONNX file in int8 (`onnxruntime.quantization.quantize_static`): QDQ form, 8-bit weights per channel.

    Normalisation is folded into convolutions first. Activations are uint8, with the smallest and largest value over
    the calibration images as their range; weights are int8 in −64..63, one scale for every output channel: a CPU
    without VNNI adds two products in 16 bits, which full 8-bit weights can overflow (ONNX Runtime's documentation,
    "Quantize ONNX Models", U8S8 and ``reduce_range``). What this is: Jacob et al. 2018, arXiv 1712.05877.

    Args:
        source: Of `nas_gym.winner.export.export_module`.
        target: Its folder exists.
        pixels: Calibration images in 0..255, float32 (n, channels, height, width).

    Raises:
        ConfigurationError: The extra ``onnx`` is not installed.
        ExportError: ONNX Runtime can't quantise this network.
    """
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ConfigurationError(
            f'int8 needs the extra onnx ({error}): pip install "nas-gym[onnx]"; or give --no-int8'
        ) from None
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                _Images(pixels),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTISED),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as error:  # of the graph, of the disk, of protobuf
            raise ExportError(f"ONNX Runtime can't quantise {source.name} ({one_line(error)})") from None


class _Images:
    """Calibration images as ONNX Runtime takes them, batch by batch."""

    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self._batches = iter(np.array_split(pixels, -(-len(pixels) // _BATCH)))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or None after the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's advice away, which it gives by the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
