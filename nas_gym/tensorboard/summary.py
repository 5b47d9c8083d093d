"""From a record to TensorBoard's message; imported where event files are written."""

from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.util.tensor_util import make_tensor_proto

from nas_gym.tensorboard import PLUGIN
from nas_gym.tensorboard.payload import SCHEMA, pack
from nas_gym.tensorboard.records import Record


def summary_value(record: Record) -> Any:
    """Return the ``Summary.Value`` of a record: one string that our tab alone reads.

    The class of data must be named: TensorBoard shows nothing of a run whose values do not name it.
    """
    data = SummaryMetadata.PluginData(plugin_name=PLUGIN, content=str(SCHEMA).encode())
    metadata = SummaryMetadata(plugin_data=data, data_class=DATA_CLASS_TENSOR)
    tensor = make_tensor_proto(np.array(pack(record.kind, record.content), dtype=object))
    return Summary.Value(tag=record.tag, metadata=metadata, tensor=tensor)
