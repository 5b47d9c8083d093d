"""What variants are worth: accuracy, size and latency, all of them in one runtime; and which of them are chosen."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_gym.errors import ExportError
from nas_gym.pareto import front
from nas_gym.winner.compression.material import Material
from nas_gym.winner.compression.request import Request
from nas_gym.winner.compression.runtime import latencies, right
from nas_gym.winner.export import write_file
from nas_gym.winner.forms import require_onnx, sealed
from nas_gym.winner.intervals import wilson_interval

BATCHES = {1: 300, 64: 60}  # images in a pass, and rounds at most
Row = dict[str, Any]


def measured(
    notes: Sequence[Mapping[str, Any]],
    place: Path,
    material: Material,
    request: Request,
    done: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Return a row for every variant; all of them are measured on the test images here, once, after all are made.

    What is found is written into the files: they say their own accuracy.

    Args:
        notes: Of the variants that were made; the first one is the winner as it is.
        place: Folder with ``NAME.onnx``.
        material: Where the images come from.
        request: With the threads of ONNX Runtime.
        done: Told how many parts of the measurement are done, and of how many.
    """
    files = {note["name"]: place / f"{note['name']}.onnx" for note in notes}
    validation, test = material.samples("validation"), material.samples("test")
    assert validation.targets is not None and test.targets is not None, "images of a data set have classes"
    rows: list[Row] = []
    total = len(files) + len(BATCHES)
    for number, note in enumerate(notes):
        file = files[note["name"]]
        rows.append(
            {
                **note,
                **_counted("validation", right(file, validation.pixels, validation.targets), len(validation.pixels)),
            }
        )
        rows[-1] |= _counted("test", right(file, test.pixels, test.targets), len(test.pixels))
        if done is not None:
            done(number + 1, total)
    for row in rows:
        _stamp(files[row["name"]], material, row)
        row["size_bytes"] = files[row["name"]].stat().st_size
        row["latency"] = {}
    for number, (batch, rounds) in enumerate(BATCHES.items()):
        pixels = np.resize(validation.pixels, (batch, *validation.pixels.shape[1:]))
        found = latencies(files, pixels, batch=batch, rounds=rounds, threads=request.threads)
        for row in rows:
            row["latency"][str(batch)] = found[row["name"]].to_json()
        if done is not None:
            done(len(files) + number + 1, total)
    unseen = material.winner.metrics["plain_accuracy"] if material.winner.retrained else None
    return _compared(rows, unseen)


def expected_losses(rows: Sequence[Row], unseen: float | None) -> list[float]:
    """Return the points of accuracy that variants are expected to lose, by validation images, in the order of the rows.

    Where the winner was trained on the validation images, what it reaches on them says nothing. It is then expected to
    reach what its retraining told of unseen images, and its int8 form as much more or less than that as on the
    validation images. All others were trained without these, and are expected to reach what they reach on them.

    Args:
        rows: With ``validation_accuracy`` and ``kind``; the first one is the winner as it is.
        unseen: What is known of the winner on images that it was not trained on; None: it has not seen those of
            validation.
    """
    seen = rows[0]["validation_accuracy"]
    shift = 0.0 if unseen is None else unseen - seen
    expected = [row["validation_accuracy"] + (shift if row["kind"] == "plain" else 0.0) for row in rows]
    return [100 * (expected[0] - one) for one in expected]


def chosen(rows: Sequence[Row], points: float) -> dict[str, str]:
    """Return the names of the smallest and the fastest variant that are expected to lose at most so many points.

    Args:
        rows: Of `measured`; the first one, the winner as it is, can be chosen too. The variants' test images have no
            say.
        points: Hundredths of accuracy.
    """
    good = [row for row in rows if row["points_expected_to_lose"] <= points + 1e-9]
    smallest = min(good, key=lambda row: (row["size_bytes"], row["name"]))
    fastest = min(good, key=lambda row: (row["latency"]["1"]["median_ms"], row["name"]))
    return {"smallest": smallest["name"], "fastest": fastest["name"]}


def pareto(rows: Sequence[Row], cost: Callable[[Row], float]) -> list[str]:
    """Return the names of the variants that no other one beats in test accuracy and a cost, the cheapest first."""
    kept = front([(row["test_accuracy"], -cost(row)) for row in rows])
    return [row["name"] for row in sorted((r for r, k in zip(rows, kept, strict=True) if k), key=cost)]


def _counted(split: str, n_right: int, n: int) -> dict[str, Any]:
    interval = wilson_interval(n_right / n, n)
    return {
        f"{split}_accuracy": interval.value,
        f"{split}_interval": [interval.low, interval.high],
        f"{split}_images": n,
    }


def _compared(rows: list[Row], unseen: float | None) -> list[Row]:
    """Return the rows with what they are compared with the first one."""
    first = rows[0]
    for row, lost in zip(rows, expected_losses(rows, unseen), strict=True):
        row["points_expected_to_lose"] = lost
        row["times_smaller"] = first["size_bytes"] / row["size_bytes"]
        row["times_faster"] = {
            batch: first["latency"][batch]["median_ms"] / row["latency"][batch]["median_ms"] for batch in row["latency"]
        }
        row["points_lost_test"] = 100 * (first["test_accuracy"] - row["test_accuracy"])
    return rows


def _stamp(file: Path, material: Material, row: Row) -> None:
    """Write what was measured into a file."""
    names = ("validation_accuracy", "test_accuracy", "test_images", "tolerance", "difference", "same_class")
    facts = material.facts(row["name"], **{name: row[name] for name in names})
    try:
        model = require_onnx().load(file)
    except Exception as error:
        raise ExportError(f"{str(file)!r} can't be read any more ({error}); remove it and its .json") from None
    write_file(file, sealed(model, facts))
