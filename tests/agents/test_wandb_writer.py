"""Weights & Biases: told what TensorBoard is told, once, and never the end of a search."""

import importlib.machinery
import random
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import differences, events

import nas_gym
from nas_gym.errors import ConfigurationError
from nas_gym.run_directory import read_run_file
from nas_gym_agents import wandb_writer
from nas_gym_agents.ending import Ending
from nas_gym_agents.runner import Tally, resume, search
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.wandb_writer import AXES, STEPS, Wandb

QUICK = SearchSettings(env="nas_gym/Table-v0", agent="random", evaluations=12)
LEARNS = SearchSettings(env="nas_gym/Table-v0", evaluations=60, agent_args={"n_steps": 32, "batch_size": 32})


class FaultError(Exception):
    """What a client may raise."""


class FakeRun:
    """A run that keeps what it is told, and may fail."""

    def __init__(self, settings: dict[str, Any], fails: str) -> None:
        self.settings, self.fails = settings, fails
        self.logged: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}
        self.finished = 0
        self.offline, self.dir, self.url = True, "/there/files", "https://there"

    def define_metric(self, name: str, step_metric: str | None = None, hidden: bool = False) -> None:
        self.metrics[name] = step_metric
        self._fail("define")

    def log(self, values: dict[str, Any]) -> None:
        self.logged.append(dict(values))
        if len(self.logged) > 3:
            self._fail("log")

    def finish(self) -> None:
        self.finished += 1
        self._fail("finish")

    def _fail(self, where: str) -> None:
        if where == self.fails:
            raise FaultError(f"{where} failed\nlong story")

    def scalars(self) -> dict[str, list[tuple[int, float]]]:
        """Return the numbers by tag, with their steps on the axes that were defined."""
        found: dict[str, list[tuple[int, float]]] = {}
        for values in self.logged:
            axes = {name: value for name, value in values.items() if name in (*AXES.values(), STEPS)}
            for tag, value in values.items():
                if tag not in axes and isinstance(value, float):
                    metric = self.metrics.get(f"{tag.partition('/')[0]}/*", self.metrics["*"])
                    found.setdefault(tag, []).append((axes[metric], value))
        return found


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[FakeRun]]]:
    """A function that puts a made-up wandb in place, which may fail somewhere; returns the list of its runs."""
    runs: list[FakeRun] = []

    def install(fails: str = "") -> list[FakeRun]:
        module: Any = types.ModuleType("wandb")
        module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)

        def init(**settings: Any) -> FakeRun:
            if fails == "init":
                raise FaultError("not logged in")
            runs.append(FakeRun(settings, fails))
            return runs[-1]

        def settings(**fields: Any) -> dict[str, Any]:
            return fields

        module.init, module.Settings = init, settings
        settings.model_fields = {"silent": None, "console": None}  # type: ignore[attr-defined]
        module.Image = module.Html = lambda told: ("media", told)
        module.Table = lambda columns, rows: ("table", columns, rows)
        monkeypatch.setitem(sys.modules, "wandb", module)
        return runs

    monkeypatch.setattr(wandb_writer, "_report", lambda *_: {"report/page": "page"})
    monkeypatch.setattr(Ending, "_draw", lambda *_: None)  # the pictures of the end are none of our business
    yield install


def test_it_is_told_the_numbers_of_tensorboard(fake: Callable[..., list[FakeRun]], tmp_path: Path) -> None:
    runs = fake()
    told: list[str] = []
    search(LEARNS, tmp_path / "run", wandb=Wandb("demo", told.append))
    (run,) = runs
    board = {tag: values for tag, values in events(tmp_path / "run").items() if values}
    mine = {tag: values for tag, values in run.scalars().items() if tag in board}
    assert {tag.partition("/")[0] for tag in mine} >= {"nas", "policy", "xai", "train"}
    assert set(mine) == set(board)
    for tag, values in board.items():
        assert [step for step, _ in mine[tag]] == [step for step, _ in values], tag
        assert [value for _, value in mine[tag]] == pytest.approx([value for _, value in values], rel=1e-5), tag
    assert run.settings["project"] == "demo"
    assert run.settings["config"] == LEARNS.to_json()
    assert run.settings["settings"] == {"silent": True, "console": "off"}, "what this version does not know is left out"
    assert run.settings["id"] == read_run_file(tmp_path / "run")["wandb"]["id"]
    result = nas_gym.load(tmp_path / "run").result
    assert result is not None
    assert run.summary["best/validation_accuracy"] == result["best"]["validation_accuracy"]
    assert run.summary["evaluations"] == 60
    assert run.logged[-1] == {"report/page": "page"}
    assert run.finished == 1
    assert told == ["Weights & Biases is told in the project demo: wandb sync /there uploads it"]


def test_nothing_is_told_unless_asked(fake: Callable[..., list[FakeRun]], tmp_path: Path) -> None:
    runs = fake()
    search(QUICK, tmp_path / "run")
    assert runs == []
    assert "wandb" not in read_run_file(tmp_path / "run")


def test_a_missing_package_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "nas-gym\[wandb\]"'):
        search(QUICK, tmp_path / "run", wandb=Wandb("demo"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match="name of a project"):
        search(QUICK, tmp_path / "run", wandb=Wandb(" "))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that nobody is told of."""
    place = tmp_path_factory.mktemp("reference") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ending, "_draw", lambda *_: None)
        search(QUICK, place)
    return place


@pytest.mark.parametrize("fails", ["init", "define", "log", "finish"])
def test_its_failures_are_said_once_and_change_nothing(
    fake: Callable[..., list[FakeRun]], reference: Path, tmp_path: Path, fails: str
) -> None:
    fake(fails)
    told: list[str] = []
    search(QUICK, tmp_path / "run", wandb=Wandb("demo", told.append))
    assert differences(tmp_path / "run", reference) == []
    said = [sentence for sentence in told if "FaultError" in sentence]
    assert len(said) == 1
    assert "the search is not affected" in said[0]
    assert "long story" not in said[0]


class StopError(Exception):
    """Stands for a kill."""


def test_a_resume_goes_on_where_it_was_told_last(fake: Callable[..., list[FakeRun]], tmp_path: Path) -> None:
    runs = fake()

    def stop(tally: Tally) -> None:
        if tally.episodes == 40:
            raise StopError

    with pytest.raises(StopError):
        search(LEARNS, tmp_path / "run", watch=stop, wandb=Wandb("demo"))
    resume(tmp_path / "run")
    first, second = runs
    assert first.settings["id"] == second.settings["id"]
    assert second.settings["resume"] == "allow"
    board = {tag: values for tag, values in events(tmp_path / "run").items() if values}
    one, other = first.scalars(), second.scalars()
    assert [step for step, _ in one["nas/reward"]] == list(range(1, 41))
    for tag, values in board.items():
        both = [step for step, _ in (*one.get(tag, []), *other.get(tag, []))]
        assert both == [step for step, _ in values], tag
    assert first.finished == second.finished == 1


def test_a_resume_without_the_package_says_so_and_goes_on(
    fake: Callable[..., list[FakeRun]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake()

    def stop(tally: Tally) -> None:
        if tally.episodes == 5:
            raise StopError

    with pytest.raises(StopError):
        search(QUICK, tmp_path / "run", watch=stop, wandb=Wandb("demo"))
    monkeypatch.setitem(sys.modules, "wandb", None)  # its import fails
    told: list[str] = []
    assert resume(tmp_path / "run", tell=told.append)["evaluations"] == 12
    assert len(told) == 1
    assert "can't be told" in told[0]


def generators() -> list[Any]:
    return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]  # noqa: NPY002


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file of wandb: LevelDB's log format, after a header of seven bytes.

    Blocks of 32 KiB hold parts: checksum (4 bytes), length (2), kind (1: whole, 2: first, 3: middle, 4: last), bytes.
    """
    assert data[:4] == b":W&B"
    place, record = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record = (record if kind in (3, 4) else b"") + data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record


@pytest.mark.slow
def test_the_real_package_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    before = generators()
    told: list[str] = []
    search(QUICK, tmp_path / "run", wandb=Wandb("demo", told.append))
    assert generators() == before
    (sentence,) = told
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert f"wandb sync {folder} uploads it" in sentence
    (file,) = folder.glob("run-*.wandb")
    keys: set[str] = set()
    steps, summary = [], {}
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        keys |= {*items, *(key.rpartition("/")[0] for key in items)}  # of media: a key for each of its facts
        if "nas/reward" in items:
            steps.append(int(items["evaluations"]))
        summary |= {"/".join(item.nested_key) or item.key: item.value_json for item in record.summary.update}
    assert steps == list(range(1, 13))
    assert {"nas/best_val_acc", "nas/unique_evals", "report/page"} <= keys
    assert {key for key in keys if key.startswith("report/answer")} >= {"report/answer-progress", "report/answer-front"}
    assert {"report/the-best-networks-1"} <= keys
    result = nas_gym.load(tmp_path / "run").result
    assert result is not None
    assert float(summary["best/validation_accuracy"]) == result["best"]["validation_accuracy"]
    assert list((folder / "files" / "media" / "html").rglob("*.html"))
