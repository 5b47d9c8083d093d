"""Fixtures of the tests of evaluations."""

from collections.abc import Callable
from typing import Any

import pytest
from networks import Faulty

from nas_gym.data import Dataset, load_dataset
from nas_gym.evaluation import training


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """The digits: 1,078 images to train on."""
    return load_dataset("digits")


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes every module a `Faulty` one with the given fault."""

    def install(fault: Any, step: int = 1) -> None:
        monkeypatch.setattr(training, "build", lambda architecture, seed: Faulty(fault, step))

    return install
