"""The command that a report gives: read by the shell and by the command line, it asks for the same search again."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import nas_gym
from nas_gym.cli import app
from nas_gym.document import Code
from nas_gym.report.material import Material
from nas_gym.report.reproduce import _broken, reproduce, search_command
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.workers import Workers

NAMES = st.sampled_from(["evaluator", "epochs", "objective", "noise", "limits", "device", "x_1"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(["1", "true", "null", '"a"', "[1]", "1e5", "a=b", "it's", "a b", "$HOME", "-x", "*", "\\", "\n"]),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.lists(st.integers(0, 9) | TEXTS, max_size=3),
)
PLACES = st.sampled_from(["/data/a store.sqlite", "sqlite:////data/x.sqlite", "postgresql://host/db"])
SETTINGS = st.builds(
    SearchSettings,
    env=st.sampled_from(["nas_gym/Table-v0", "theirs:Their/Env-v0"]),
    env_args=st.dictionaries(NAMES, VALUES, max_size=4),
    agent=st.sampled_from(["maskable-ppo", "genetic"]),
    agent_args=st.dictionaries(NAMES, VALUES, max_size=3),
    evaluations=st.integers(1, 10**6),
    unique=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**32 - 1),
    explain=st.sampled_from(["all", "none", "budget"]),
    explain_share=st.floats(0.001, 1.0),
    store=st.none() | PLACES,
    confirm=st.integers(0, 9),
    confirm_repeats=st.integers(0, 9),
    warm_start=st.none() | st.just("/runs/that one"),
)
PLACED = st.sampled_from([Workers(), Workers(workers="3", trainings_per_gpu=2, memory_limit_mb=512.5)])


@pytest.fixture(scope="module")
def searched() -> Iterator[Callable[[list[str]], tuple[SearchSettings, Workers]]]:
    """A function that returns what the command line would search, given its arguments."""
    asked: list[tuple[SearchSettings, Workers]] = []

    def search(settings: SearchSettings, *_: Any, workers: Workers, **__: Any) -> dict[str, Any]:
        asked.append((settings, workers))
        return {}

    def read(arguments: list[str]) -> tuple[SearchSettings, Workers]:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return asked.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "search", search)
        patch.setattr("nas_gym.cli._report", lambda *_: None)
        yield read


@given(wanted=SETTINGS, placed=PLACED)
@settings(max_examples=60, deadline=None)
def test_the_command_line_reads_the_same_settings(
    searched: Callable[[list[str]], tuple[SearchSettings, Workers]], wanted: SearchSettings, placed: Workers
) -> None:
    words = search_command(wanted.to_json(), placed.to_json())
    assert words[:2] == ["nas-gym", "search"]
    found, workers = searched(words[1:])
    assert found.to_json() == wanted.to_json()
    assert workers == placed


@given(wanted=SETTINGS)
@settings(max_examples=25, deadline=None)
def test_the_shell_reads_the_same_words(wanted: SearchSettings) -> None:
    words = search_command(wanted.to_json(), {})
    script = "printf '%s\\0' " + _broken(words)
    told = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode()
    assert told.removesuffix("\0").split("\0") == words


def test_a_search_without_a_limit_of_evaluations_stays_so(
    searched: Callable[[list[str]], tuple[SearchSettings, Workers]],
) -> None:
    wanted = SearchSettings(evaluations=None, unique=7)
    assert searched(search_command(wanted.to_json(), {})[1:])[0] == wanted


@pytest.mark.parametrize(("before", "now"), [(True, "all"), (False, "none")])
def test_runs_from_before_are_read_as_a_resume_reads_them(
    searched: Callable[[list[str]], tuple[SearchSettings, Workers]], before: bool, now: str
) -> None:
    old = {
        name: value
        for name, value in SearchSettings(evaluations=5).to_json().items()
        if not name.startswith(("confirm", "explain"))
    } | {"explain": before}
    found, _ = searched(search_command(old, {})[1:])
    wanted = SearchSettings.from_json(old)
    assert found.explain == wanted.explain == now
    assert (found.confirm, found.evaluations) == (wanted.confirm, 5) == (0, 5)


@pytest.mark.parametrize("kind", ["policy", "genetic", "random"])
def test_the_report_gives_the_command_of_its_run(
    made: Callable[[str], Path],
    searched: Callable[[list[str]], tuple[SearchSettings, Workers]],
    kind: str,
) -> None:
    run = nas_gym.load(made(kind))
    code = next(block.text for block in reproduce(Material(run)).blocks if isinstance(block, Code))
    told = subprocess.run(["sh", "-c", f"printf '%s\\0' {code}"], capture_output=True, check=True).stdout.decode()
    found, _ = searched(told.removesuffix("\0").split("\0")[1:])
    assert found.to_json() == run.settings


def test_what_the_command_line_can_not_say_is_said(copied: Callable[[str], Path]) -> None:
    run = nas_gym.load(copied("random"))
    whole = Material(run)
    assert not [block for block in reproduce(whole).blocks if "no option" in getattr(block, "text", "")]
    whole.settings = {**run.settings, "keep_weights": 9, "unheard": 1}
    (told,) = [block.text for block in reproduce(whole).blocks if "no option" in getattr(block, "text", "")]  # type: ignore[union-attr]
    assert re.search(r"`unheard=1`, `keep_weights=9`", told)
