"""The authors' records of trainings (NATS-Bench, NAS-Bench-201) as rows of a table, by their own API's rules.

The rules are those of ``get_more_info``, ``get_cost_info`` and ``simulate_train_eval`` of D-X-Y/NATS-Bench: an accuracy
is that of the last epoch; on CIFAR-10 the validation accuracy is ``x-valid`` of the networks trained on half of the
training images (``cifar10-valid``) and the test accuracy is ``ori-test`` of those trained on all of them
(``cifar10``); elsewhere they are ``x-valid`` and ``x-test``; a query costs the training and one pass over the
validation images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.spaces import Prefix, Slot
from nas_gym.spaces.cell import N_CELLS, edge_slots, from_official_string
from nas_gym.tables.benchmark import CATEGORICAL, CELL, BenchmarkTable
from nas_gym.tables.importing.layouts import NASBENCH201_FACTS

WIDTHS = tuple(range(8, 65, 8))  # channels of a layer in the size space
LATENCY = "authors-gpu-256"  # the record's own latency: a batch of 256 on the authors' GPU


class Sets(NamedTuple):
    """Which of the recorded trainings and image sets belong to a data set.

    Attributes:
        searched: The trainings whose validation accuracy a search sees.
        final: The trainings whose test accuracy scores an answer.
        test: The images of that.
        shape: Of one image.
        n_classes: Of the data set.
    """

    searched: str
    final: str
    test: str
    shape: tuple[int, int, int]
    n_classes: int


DATASETS = {
    "cifar10": Sets("cifar10-valid", "cifar10", "ori-test", (3, 32, 32), 10),
    "cifar100": Sets("cifar100", "cifar100", "x-test", (3, 32, 32), 100),
    "ImageNet16-120": Sets("ImageNet16-120", "ImageNet16-120", "x-test", (3, 16, 16), 120),
}


@dataclass(frozen=True)
class RecordedSpace:
    """A space of the benchmark.

    Attributes:
        name: Beginning of its tables' names.
        slots: Its decisions.
        decode: From a string to the decisions.
        fidelities: By the record's own name of a schedule, such as ``"12"``: its fidelity.
        size: Number of its architectures.
    """

    name: str
    slots: tuple[Slot, ...]
    decode: Callable[[str], Prefix]
    fidelities: Mapping[str, str]
    size: int


def _widths(text: str) -> Prefix:
    known = {str(width): action for action, width in enumerate(WIDTHS)}
    widths = text.split(":")
    if len(widths) != 5 or not set(widths) <= set(known):
        raise ConfigurationError(f"expected five widths such as 8:16:24:32:64, got {text!r}")
    return tuple(known[width] for width in widths)


TOPOLOGY = RecordedSpace("nasbench201", edge_slots(), from_official_string, {"12": "epochs=12", "200": "full"}, N_CELLS)
SIZE = RecordedSpace(
    "natsbench-size",
    tuple(Slot(f"layer {i}", tuple(map(str, WIDTHS))) for i in range(1, 6)),
    _widths,
    {"01": "epochs=1", "12": "epochs=12", "90": "full"},
    len(WIDTHS) ** 5,
)


@dataclass
class _Rows:
    """What was read so far, one entry a row."""

    decisions: list[Prefix] = field(default_factory=list)
    accuracies: dict[str, list[list[float]]] = field(default_factory=dict)
    costs: dict[str, list[float]] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=lambda: {"test": [], "validation": []})
    parameters: list[int] = field(default_factory=list)
    macs: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def from_records(
    records: Iterable[tuple[str, Mapping[str, Any]]], space: RecordedSpace, dataset: str, name: str
) -> BenchmarkTable:
    """Return the table of records.

    Where all rows were trained equally often, all trainings are kept, in the order of the authors' seeds; else their
    mean, which is what the authors' API reports.

    Args:
        records: The string of an architecture and its record, by the name of the schedule.
        space: Of the architectures.
        dataset: One of `DATASETS`.
        name: Of the table.

    Raises:
        ConfigurationError: A record lacks what is needed.
    """
    sets, rows = DATASETS[dataset], _Rows()
    for text, record in records:
        try:
            _add(rows, space.decode(text), record, space, sets)
        except ConfigurationError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ConfigurationError(
                f"the record of {text!r} is not as NATS-Bench writes it: {error!r} is missing or wrong for {dataset}"
            ) from None
    complete = len(rows.decisions) == space.size
    schedule = {"default_fidelity": "epochs=12", "default_score": "test", "dataset": dataset}
    found = {"rows": len(rows.decisions), "of": space.size}
    shape = {"input_shape": list(sets.shape), "n_classes": sets.n_classes} if space is TOPOLOGY else {}
    n = len(rows.decisions)
    latency = len(rows.latencies) == n and n > 0
    return BenchmarkTable(
        name=name,
        slots=space.slots,
        decisions=np.array(rows.decisions, dtype=np.int16).reshape(n, len(space.slots)),
        accuracies={fidelity: _trainings(values) for fidelity, values in rows.accuracies.items()},
        scores={score: _column(values, 0.01) for score, values in rows.scores.items()},
        costs={fidelity: _column(values) for fidelity, values in rows.costs.items()},
        latencies={LATENCY: _column(rows.latencies, 1000)} if latency else {},
        parameters=np.array(rows.parameters, dtype=np.int64),
        macs=np.array(rows.macs, dtype=np.int64),
        kind=CELL if complete and space is TOPOLOGY else CATEGORICAL,
        facts=NASBENCH201_FACTS | schedule | found | shape,
    )


def _add(rows: _Rows, decisions: Prefix, record: Mapping[str, Any], space: RecordedSpace, sets: Sets) -> None:
    for schedule, fidelity in space.fidelities.items():
        trained = _results(record[schedule], sets.searched)
        rows.accuracies.setdefault(fidelity, []).append([_accuracy(one, "x-valid") for one in trained])
        seconds = [sum(one["train_times"].values()) + _seconds(one, "x-valid") for one in trained]
        rows.costs.setdefault(fidelity, []).append(float(np.mean(seconds)))
    last = list(space.fidelities)[-1]
    final = _results(record[last], sets.final)
    rows.scores["test"].append(float(np.mean([_accuracy(one, sets.test) for one in final])))
    rows.scores["validation"].append(float(np.mean(rows.accuracies[space.fidelities[last]][-1])))
    rows.decisions.append(decisions)
    rows.parameters.append(round(float(final[0]["params"]) * 1e6))
    rows.macs.append(round(float(final[0]["flop"]) * 1e6))
    measured = [float(x) for one in final for x in one["latency"] or () if float(x) > 0]
    if measured:
        rows.latencies.append(float(np.mean(measured)))


def _results(record: Mapping[str, Any], trained_on: str) -> list[Mapping[str, Any]]:
    """Return the trainings on a set, in the order of their seeds."""
    seeds = record["dataset_seed"][trained_on]
    if not seeds:
        raise KeyError(trained_on)
    return [record["all_results"][trained_on, seed] for seed in seeds]


def _accuracy(training: Mapping[str, Any], images: str) -> float:
    """Return the accuracy after the last epoch in percent."""
    return float(training["eval_acc1es"][f"{images}@{training['epochs'] - 1}"])


def _seconds(training: Mapping[str, Any], images: str) -> float:
    """Return the seconds of one pass over a set of images."""
    return float(training["eval_times"][f"{images}@{training['epochs'] - 1}"])


def _trainings(values: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    if len({len(row) for row in values}) > 1:
        values = [[float(np.mean(row))] for row in values]
    return (np.array(values, dtype=np.float64) / 100).astype(np.float32)


def _column(values: Sequence[float], factor: float = 1.0) -> NDArray[np.float32]:
    return (np.array(values, dtype=np.float64) * factor).astype(np.float32)
