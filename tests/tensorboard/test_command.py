"""nas-gym tensorboard: one sentence for a user's mistake; that it serves is in the tests of the loaders."""

import json
import socket
import subprocess
import sys

import pytest
from made_up import Search
from typer.testing import CliRunner

from nas_gym.cli import app
from nas_gym.errors import ConfigurationError
from nas_gym.tensorboard import launch
from nas_gym.tensorboard.loader import DecisionsLoader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    search = Search(folder)
    search.play(3)
    search.writer.close()
    return folder


def refused(*arguments):
    found = CliRunner().invoke(app, ["tensorboard", *map(str, arguments)])
    assert found.exit_code == 2, found.output
    return " ".join(found.output.split())


def test_a_place_that_is_no_run(tmp_path):
    assert "is no folder" in refused(tmp_path / "nothing")
    assert "holds no event files" in refused(tmp_path)


def test_a_port_that_is_taken(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(run, "--port", port, "--", "--load_fast=false")
    assert f"port {port}" in said and "--port" in said


def test_a_port_that_is_none(run):
    assert "--port" in refused(run, "--port", 70_000)


def test_a_flag_that_tensorboard_does_not_know(run):
    assert "TensorBoard refuses '--nonsense'" in refused(run, "--port", 0, "--", "--nonsense")


def test_no_tensorboard(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert 'pip install "tensorboard' in refused(run)


def test_a_tab_that_is_not_there_is_said(run, monkeypatch):
    monkeypatch.setattr(launch, "with_ours", lambda plugins: ([p for p in plugins if p is not DecisionsLoader], True))
    with pytest.raises(ConfigurationError, match=r"has no tab|does not serve"):
        launch.launch(run, port=0, flags=["--load_fast=false"])


def test_our_plugin_is_there_once():
    plugins, _ = launch.with_ours(["scalars", DecisionsLoader])
    assert plugins == ["scalars", DecisionsLoader]
    plugins, everywhere = launch.with_ours(["scalars"])
    assert (plugins, everywhere) == (["scalars", DecisionsLoader], False)


def test_help_is_quick():
    script = "import sys; from nas_gym.cli import app; print([n for n in ('tensorboard', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
