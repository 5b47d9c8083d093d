"""Fixtures of the tests of winners: a search of a second, and a copy of it for every test."""

import shutil
from pathlib import Path

import pytest

from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

SEARCH = SearchSettings(
    agent="random",
    evaluations=4,
    seed=3,
    confirm=0,
    env_args={"epochs": 1, "first_per_class": 20, "max_macs": 60_000, "max_layers": 3},
)


@pytest.fixture(scope="session")
def searched_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search over digits; not to be changed."""
    path = tmp_path_factory.mktemp("searched") / "run"
    runner.search(SEARCH, path)
    return path


@pytest.fixture
def run_path(searched_run: Path, tmp_path: Path) -> Path:
    """A copy of the search."""
    return Path(shutil.copytree(searched_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def compressed_run(searched_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search, retrained and compressed; not to be changed."""
    from nas_gym.winner.compression.compressing import compress
    from nas_gym.winner.compression.request import Request
    from nas_gym.winner.request import Request as Retraining
    from nas_gym.winner.retraining import retrain

    pytest.importorskip("torch_pruning")
    path = Path(shutil.copytree(searched_run, tmp_path_factory.mktemp("compressed") / "run"))
    retrain(path, Retraining(top=1, repeats=1, epochs=4, width=2))  # so that what was searched is a smaller one
    compress(path, Request(ratios=(0.5,), epochs=1, students=1, points=3.0, calibration_images=64))
    return path
