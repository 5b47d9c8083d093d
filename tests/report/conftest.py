"""Runs to report on, made once, and a quicker way to draw."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import nas_gym
from nas_gym.html_page import Image
from nas_gym.report import canvas, write_report, writing
from nas_gym.report.writing import Written
from nas_gym.run_directory import EXPLANATIONS
from nas_gym_agents.runner import search
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.tensorboard import TensorBoardWriter

HASHED = {"evaluator": "hash"}
KINDS = {
    "policy": SearchSettings(env="nas_gym/Table-v0", agent="maskable-ppo", evaluations=None, unique=30, explain="all"),
    "genetic": SearchSettings(env="nas_gym/Table-v0", agent="genetic", evaluations=30),
    "random": SearchSettings(env_args=HASHED, agent="random", evaluations=8),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that returns the directory of a finished run of a kind; not to be written to."""
    home = tmp_path_factory.mktemp("runs")

    def find(kind: str) -> Path:
        if not (home / kind).exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(TensorBoardWriter, "finish", lambda *_: None)  # its pictures take longer than the search
                search(KINDS[kind], home / kind)
            shutil.rmtree(home / kind / EXPLANATIONS, ignore_errors=True)  # as after a kill; tests write their own
        return home / kind

    return find


@pytest.fixture
def copied(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function that returns a run directory of a kind to do anything with."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(made(kind), tmp_path / kind))

    return copy


@pytest.fixture(scope="session")
def written(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    """A function that returns where the report of a run of a kind is; with explanations after ``+``."""
    from explained import explain

    home = tmp_path_factory.mktemp("reports")
    found: dict[str, Written] = {}

    def find(kind: str) -> Written:
        if kind not in found:
            run = made(kind.removesuffix("+"))
            if kind.endswith("+"):
                run = Path(shutil.copytree(run, home / "runs" / kind))
                explain(run)
            found[kind] = write_report(nas_gym.load(run), home / kind)
        return found[kind]

    return find


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pictures made, wide and narrow, but not rendered, which is what takes time."""

    def sketch(drawing: canvas.Drawing) -> canvas.Drawn:
        with canvas._style():
            for width in (canvas.WIDE, canvas.NARROW):
                assert drawing(width).get_size_inches()[0] == width
        return canvas.Drawn(Image(b"<svg/>"), b"\x89PNG")

    monkeypatch.setattr(writing, "drawn", sketch)
