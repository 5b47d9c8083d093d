"""Event files in tests: read in this process, and written by somebody else."""

import time

import numpy as np
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from nas_gym.tensorboard import PLUGIN

EVERYTHING = 0  # TensorBoard's word for no sampling


class Provider:
    """TensorBoard's slow loader, in this process; counts what is read."""

    def __init__(self, folder, samples=EVERYTHING):
        self.multiplexer = EventMultiplexer(tensor_size_guidance={PLUGIN: samples})
        self.folder = folder
        self.read = []
        self.reload()

    def reload(self):
        self.multiplexer.AddRunsFromDirectory(str(self.folder)).Reload()
        self.inner = MultiplexerDataProvider(self.multiplexer, str(self.folder))

    def list_tensors(self, *args, **kwargs):
        return self.inner.list_tensors(*args, **kwargs)

    def read_tensors(self, *args, run_tag_filter, **kwargs):
        self.read += run_tag_filter.tags
        return self.inner.read_tensors(*args, run_tag_filter=run_tag_filter, **kwargs)


def put(folder, tag, step, data, plugin=PLUGIN):
    """Write a value of somebody else's under our name."""
    writer = EventFileWriter(str(folder), filename_suffix=f".{time.monotonic_ns()}")
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin), data_class=DATA_CLASS_TENSOR)
    tensor = make_tensor_proto(np.array(data, dtype=object) if isinstance(data, bytes) else np.asarray(data))
    summary = Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])
    writer.add_event(Event(step=step, wall_time=time.time(), summary=summary))
    writer.close()
