"""The pages of the documentation run from top to bottom: Python as it stands there, commands made smaller."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from doc_pages import ROOT, Block, Command, blocks, commands, pages
from doc_running import CHECKS, ELSEWHERE, NOT_RUN, ONLY_PARSED, PREPARED, SMALLER, TABLES, reason_not_to_run, smaller
from typer.testing import CliRunner

from nas_gym.cli import app

SEARCH = "nas-gym search --env nas_gym/Chain-Digits-v0"


def to_run(page: str) -> list[tuple[Block, list[Command]]]:
    """Return the blocks of a page that are run, with the commands of those that are no Python."""
    parts = []
    for block in blocks(page):
        if block.kind == "python":
            parts.append((block, []))
        elif block.kind == "commands":
            found = [c for c in commands(page) if c.line == block.line and reason_not_to_run(c) is None]
            parts += [(block, found)] if found else []
    return parts


RUN = [page for page in pages() if page not in ELSEWHERE and to_run(page)]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small search on digits, explained; not to be changed."""
    path = tmp_path_factory.mktemp("pages") / "run"
    call(smaller(SEARCH) + f" --run-dir {path}")
    return path


def call(command: str) -> str:
    """Run a command in this process; return what it printed."""
    program, *words = shlex.split(command)
    assert program == "nas-gym", f"don't know how to run {command!r}: say in doc_running.NOT_RUN why not"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (command, done.output, done.exception)
    return done.output


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_page_runs(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as for a user who stands in this folder; taken back afterwards
    for place in PREPARED.get(page, ()):
        shutil.copytree(request.getfixturevalue("digits"), tmp_path / place)
    if page in TABLES:
        find: Callable[[str], Path] = request.getfixturevalue("tables")
        find(TABLES[page])
    names: dict[str, object] = {"__name__": "__main__"}
    for block, found in to_run(page):
        if block.kind == "python":
            padding = "\n" * block.line  # so that a traceback has the page's own lines
            exec(compile(padding + block.text, str(ROOT / page), "exec"), names)
        for command in found:
            print(call(smaller(command.text)))
    printed = capsys.readouterr().out
    if page in CHECKS:
        CHECKS[page](printed, names)


def test_every_reason_is_needed() -> None:
    texts = [command.text for page in pages() for command in commands(page)]
    for pattern in NOT_RUN:
        assert any(re.search(pattern, text) for text in texts), f"{pattern!r} matches nothing any more"
    for pattern in ONLY_PARSED:
        assert any(re.search(pattern, page) for page in pages()), f"{pattern!r} matches nothing any more"
    for page in (*ELSEWHERE, *PREPARED, *TABLES, *CHECKS):
        assert page in pages()
    for test in ELSEWHERE.values():
        assert (ROOT / test).is_file()
    for pattern in SMALLER:
        assert any(re.search(pattern, text) for text in texts), f"{pattern!r} matches nothing any more"


def test_tutorials_are_run_and_not_only_parsed() -> None:
    assert [page for page in RUN if page.startswith("docs/tutorials/")] == [
        page for page in pages() if page.startswith("docs/tutorials/")
    ]
    for search in ("nas-gym search --run-dir runs/digits", f"{SEARCH} --evaluations 256"):
        assert "--env-arg epochs=1" in smaller(search) and "--evaluations 6" in smaller(search)
    table = "nas-gym search --env nas_gym/Table-v0"
    assert smaller(f"{table} --unique 200") == f"{table} --unique 16"
