"""ONNX Runtime: what files answer and how long they take, all of them under the same conditions."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym.winner.predict import INPUT, LOGITS

WARMUP = 5
LEAST_ROUNDS = 15
_ACCURACY_BATCH = 64


@dataclass(frozen=True)
class Latency:
    """What forward passes of one file took, in milliseconds.

    Attributes:
        batch: Images in a pass.
        median_ms: Of a pass.
        low_ms: First quartile.
        high_ms: Third quartile; the two enclose the interquartile range.
        passes: Measured.
    """

    batch: int
    median_ms: float
    low_ms: float
    high_ms: float
    passes: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return asdict(self)


def session(file: Path, threads: int | None = None) -> Any:
    """Return an inference session on the CPU.

    Args:
        file: An ONNX file.
        threads: Of one operation; operations run one after the other. None: as many as there are processors.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    return onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])


def right(file: Path, pixels: NDArray[np.float32], targets: NDArray[np.int64]) -> int:
    """Return how many images a file names the class of.

    Args:
        file: An ONNX file.
        pixels: In 0..255, float32 (n, channels, height, width).
        targets: Classes, int64 (n,).
    """
    run, found = session(file), 0
    for start in range(0, len(pixels), _ACCURACY_BATCH):
        here = slice(start, start + _ACCURACY_BATCH)
        (logits,) = run.run([LOGITS], {INPUT: pixels[here]})
        found += int((logits.argmax(1) == targets[here]).sum())
    return found


def latencies(
    files: Mapping[str, Path],
    pixels: NDArray[np.float32],
    *,
    batch: int,
    rounds: int,
    threads: int = 1,
    seed: int = 0,
    seconds: float = 30.0,
) -> dict[str, Latency]:
    """Return the latency of every file, measured in turns: whatever else the machine does meets all of them alike.

    Every round runs every file once, in a random order, each on the same images; a pass is timed on its own.

    Args:
        files: ONNX files by name.
        pixels: At least ``batch`` images.
        batch: Images in a pass.
        rounds: Passes of each file, at most.
        threads: Of ONNX Runtime.
        seed: Of the order.
        seconds: After so many no round begins, if there were at least 15.
    """
    sessions = {name: session(file, threads) for name, file in files.items()}
    feed, chance = {INPUT: np.ascontiguousarray(pixels[:batch])}, np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in files}
    for one in sessions.values():
        for _ in range(WARMUP):
            one.run([LOGITS], feed)
    names, until = list(files), time.monotonic() + seconds
    for number in range(rounds):
        if number >= LEAST_ROUNDS and time.monotonic() > until:
            break
        for place in chance.permutation(len(names)):
            started = time.perf_counter_ns()
            sessions[names[place]].run([LOGITS], feed)
            times[names[place]].append((time.perf_counter_ns() - started) / 1e6)
    return {name: _latency(batch, found) for name, found in times.items()}


def _latency(batch: int, milliseconds: list[float]) -> Latency:
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return Latency(batch, float(median), float(low), float(high), len(milliseconds))
