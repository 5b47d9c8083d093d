"""Shared by all tests: one thread, and where the real data lie."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


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
