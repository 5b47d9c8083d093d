"""Values of TensorBoard's events: histograms, texts, pictures."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary


CHARTS = {
    "search": {
        "validation accuracy": ["Multiline", ["nas/best_val_acc", "nas/val_acc$"]],
        "reward": ["Multiline", ["nas/best_reward", "nas/mean_reward"]],
        "failures": ["Multiline", ["nas/failures/.*"]],
    },
    "trainings": {
        "validation curves of the best so far": ["Multiline", ["curves/evaluation_.*"]],
        "validation accuracy by epoch": ["Multiline", ["nas/val_acc_epoch/.*"]],
    },
    "policy": {
        "entropy by step": ["Multiline", ["policy/entropy/.*"]],
        "mean |attribution| by slot": ["Multiline", ["xai/mean_abs_attr/.*"]],
    },
}


def histogram(tag: str, values: NDArray[Any], bins: Any) -> "Summary.Value":
    """Return a histogram.

    Args:
        tag: Its tag.
        values: Not empty.
        bins: Their number, or their edges.
    """
    from torch.utils.tensorboard import summary

    values = np.asarray(values, dtype=np.float64)
    if isinstance(bins, int) and np.ptp(values) < bins * 4 * np.spacing(np.abs(values).max()):
        values = np.full_like(values, values[0])  # closer than the edges of so many bins could be
    made: Any = summary.histogram  # untyped
    value: Summary.Value = made(tag, values, bins).value[0]
    return value


def text(tag: str, words: str) -> "Summary.Value":
    """Return a text in Markdown."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    tensor = make_tensor_proto(np.array([words.encode()], dtype=object))
    return Summary.Value(tag=tag, metadata=create_summary_metadata(tag, ""), tensor=tensor)


def image(tag: str, data: bytes) -> "Summary.Value":
    """Return a picture from a PNG file."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))  # of a PNG's header chunk
    picture = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=data)
    return Summary.Value(tag=tag, image=picture)
