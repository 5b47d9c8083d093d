"""Shared by all tests: one thread, and where the real data lie."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_gym.registration import TABLE_IDS

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in the background of a shell: programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """A function that returns a folder of real data, or skips the test where it is absent."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    root = Path(os.environ.get("NAS_GYM_TEST_DATA", default))

    def find(name: str) -> Path:
        folder = root / name
        if not folder.is_dir():
            pytest.skip(f"needs the data set {name} in {root} (NAS_GYM_TEST_DATA)")
        return folder

    return find


REAL_TABLES = {
    "nasbench201-cifar10": ("nasbench201", "nasbench201_cifar10.parquet"),
    "nasbenchmacro-cifar10": ("nas_bench_macro", "nas_bench_macro_cifar10.parquet"),
}


@pytest.fixture(scope="session")
def tables(
    tmp_path_factory: pytest.TempPathFactory, real_data: Callable[[str], Path]
) -> Iterator[Callable[[str], Path]]:
    """A function that puts a table where the ids look for it: of real data, which may skip the test, or made up."""
    home = tmp_path_factory.mktemp("tables")

    def find(name: str) -> Path:
        from nas_gym.tables.importing import import_table, save_table

        place = home / f"{name}.parquet"
        if not place.is_file():
            if name in REAL_TABLES:
                folder, file = REAL_TABLES[name]
                save_table(import_table(real_data(folder) / file, name=name), place)
            else:
                save_table(made_up_cells(name), place)
        return place

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_GYM_TABLES", str(home))
        yield find


@pytest.fixture(scope="session")
def cheaply(tables: Callable[[str], Path]) -> Callable[[str], dict[str, Any]]:
    """A function that returns arguments with which an id trains nothing."""

    def arguments(env_id: str) -> dict[str, Any]:
        if env_id not in TABLE_IDS:
            return {"evaluator": "hash"}
        if TABLE_IDS[env_id] != "fashion-chain":
            tables(TABLE_IDS[env_id])
        return {}

    return arguments


def made_up_cells(name: str) -> Any:
    """Return a full table of cells whose numbers are drawn, for the data sets that are not here."""
    from nas_gym.spaces.cell import EDGES, OPERATIONS, edge_slots
    from nas_gym.tables import BenchmarkTable

    n, generator = len(OPERATIONS) ** len(EDGES), np.random.default_rng(0)
    decisions = np.stack(np.unravel_index(np.arange(n), (len(OPERATIONS),) * len(EDGES)), axis=1).astype(np.int16)
    shape, classes = ((3, 16, 16), 120) if "imagenet" in name else ((3, 32, 32), 100)
    return BenchmarkTable(
        name=name,
        slots=edge_slots(),
        decisions=decisions,
        accuracies={fidelity: generator.random((n, 2), dtype=np.float32) for fidelity in ("epochs=12", "full")},
        scores={"test": generator.random(n, dtype=np.float32)},
        costs={"epochs=12": np.full(n, 100, np.float32)},
        kind="nasbench201",
        facts={"input_shape": list(shape), "n_classes": classes},
    )
