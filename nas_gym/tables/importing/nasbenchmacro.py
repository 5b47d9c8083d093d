"""Tables out of NAS-Bench-Macro's JSON, ``nas-bench-macro_cifar10.json``.

By its README: keys are eight digits, one a layer; values have ``test_acc`` (three trainings), ``mean_acc``, ``std``,
``params`` and ``flops``. There is no validation accuracy: the first training is what a search sees, and the mean of the
others scores its answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nas_gym.errors import ConfigurationError
from nas_gym.spaces import Slot
from nas_gym.tables.benchmark import BenchmarkTable
from nas_gym.tables.importing.layouts import MACRO_BLOCKS, MACRO_FACTS, MACRO_LAYERS


def import_nasbenchmacro(path: Path, name: str) -> BenchmarkTable:
    """Return the table of the file.

    Args:
        path: The file.
        name: Of the table.

    Raises:
        ConfigurationError: It is damaged or something else.
    """
    content = _read(path)
    codes = sorted(content)
    if any(len(code) != MACRO_LAYERS or not set(code) <= {"0", "1", "2"} for code in codes):
        raise ConfigurationError(f"{str(path)!r} needs eight digits from 0 to 2 for every network, such as 22212202")
    try:
        trainings = np.array([[float(value) for value in content[code]["test_acc"]] for code in codes])
        parameters = np.array([int(content[code]["params"]) for code in codes], dtype=np.int64)
        macs = np.array([int(content[code]["flops"]) for code in codes], dtype=np.int64)
        if trainings.ndim != 2 or trainings.shape[1] < 2:
            raise ValueError("fewer than two trainings")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{str(path)!r} is not as NAS-Bench-Macro writes it (test_acc, params and flops for every network): {error}"
        ) from None
    trainings = trainings / 100
    return BenchmarkTable(
        name=name,
        slots=tuple(Slot(f"layer {i + 1}", MACRO_BLOCKS) for i in range(MACRO_LAYERS)),
        decisions=np.array([[int(digit) for digit in code] for code in codes], dtype=np.int16),
        accuracies={"full": trainings[:, :1].astype(np.float32)},
        scores={"test": trainings[:, 1:].mean(axis=1).astype(np.float32)},
        parameters=parameters,
        macs=macs,
        facts=MACRO_FACTS | {"default_fidelity": "full", "default_score": "test"},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{str(path)!r} is no JSON ({error})") from None
    if not isinstance(content, dict) or not content:
        raise ConfigurationError(f"{str(path)!r} needs an object with a network's results under its code")
    return content
