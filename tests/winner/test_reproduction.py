"""The commands of a model card are read by the command line as the settings they were made of."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nas_gym.cli import app
from nas_gym.errors import RunError
from nas_gym.winner.reproduction import retrain_command, search_command
from nas_gym.winner.request import Request
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "arguments": {
        "env": "nas_gym/Chain-v0",
        "env_args": {
            "dataset": "digits",
            "epochs": 3,
            "flip": True,
            "stops": [1, 3],
            "objective": "soft-macs:20000:0:-1",
            "hyperparameters": ["learning_rate"],
            "device": "cpu",
            "data_root": "/a place/with 'quotes'",
        },
        "agent": "genetic",
        "agent_args": {"population": 7, "text": "12", "nothing": None},
        "evaluations": None,
        "unique": 20,
        "seed": 7,
        "explain": "none",
        "explain_share": 0.25,
        "store": "sqlite:////tmp/results.sqlite",
        "confirm": 0,
        "confirm_repeats": 1,
        "warm_start": "/tmp/another run",
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_command_gives_the_settings_back(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = SearchSettings(**SETTINGS[name]).to_json()
    command = search_command(settings, str(tmp_path / "run"))
    assert command is not None
    caught: list[SearchSettings] = []

    def search(settings: SearchSettings, path: Path, **_: Any) -> None:
        assert path == tmp_path / "run"
        caught.append(settings)
        raise RunError("seen")

    monkeypatch.setattr(runner, "search", search)
    program, *words = shlex.split(command)
    assert program == "nas-gym"
    result = CliRunner().invoke(app, words)
    assert "seen" in result.stderr, result.output
    assert caught[0].to_json() == settings


def test_what_no_command_can_say() -> None:
    assert search_command(SearchSettings(keep_weights=9).to_json()) is None
    assert "--explain all" in (search_command({**SearchSettings().to_json(), "explain": True}) or "")


def test_a_retraining_is_written_with_all_that_was_asked() -> None:
    request = {"top": 3, "minutes": None, "also": ["a b", "c"], "width": 2.0, "recipe": {"flip": False}}
    assert retrain_command(request) == (
        "nas-gym retrain RUN --top 3 --also 'a b' --also c --width 2.0 --recipe-arg flip=false"
    )


@pytest.mark.parametrize(
    "request_",
    [
        Request(),
        Request(top=1, repeats=2, epochs=4, seeds=3, also=("digits", "/a place/x.npz"), width=2.5, depth=2),
        Request(minutes=3.5, width="auto", recipe={"flip": True, "learning_rate": 0.2, "optimizer": "adam"}),
    ],
    ids=["defaults", "everything", "by time"],
)
def test_a_retraining_is_read_as_it_was(request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    caught: list[Request] = []

    def retrain(run: Path, request: Request, *_: Any) -> None:
        caught.append(request)
        raise RunError("seen")

    monkeypatch.setattr("nas_gym.winner.retraining.retrain", retrain)
    words = shlex.split(retrain_command(request_.to_json(), str(tmp_path)))[1:]
    result = CliRunner().invoke(app, words)
    assert "seen" in result.stderr, result.output
    assert caught == [request_]
