"""The site is built with warnings as errors; its notebooks are run by the build."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from doc_pages import ROOT, pages

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """One test, so that the site is built once however tests are spread."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", "-d", str(tmp_path / "trees")]
    command += ["-D", f"nb_execution_cache_path={tmp_path / 'notebooks'}", ".", str(tmp_path / "html")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "agents")))}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "html"
    check_pages_are_there(site)
    check_nothing_is_fetched(site)
    check_notebooks_have_outputs(site)
    check_api(site)


def check_pages_are_there(site: Path) -> None:
    for page in (*pages(), *(str(path.relative_to(ROOT)) for path in NOTEBOOKS)):
        assert (site / page).with_suffix(".html").is_file()
    assert "url=docs/index.html" in (site / "index.html").read_text(encoding="utf-8")


def check_nothing_is_fetched(site: Path) -> None:
    fetched = re.compile(r'<(?:script|img|iframe)[^>]* src="https?:|<link[^>]*stylesheet[^>]*href="https?:')
    found = [page.name for page in site.rglob("*.html") if fetched.search(page.read_text(encoding="utf-8"))]
    assert found == []


def check_notebooks_have_outputs(site: Path) -> None:
    for notebook in NOTEBOOKS:
        html = (site / notebook.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        assert html.count("cell_output") >= 3 and "Traceback" not in html


def check_api(site: Path) -> None:
    spaces, agents, evaluation = (
        (site / f"docs/api/nas_gym.{name}.html").read_text(encoding="utf-8")
        for name in ("spaces", "agents", "evaluation")
    )
    assert 'id="nas_gym.spaces.SearchSpace.next_slot"' in spaces
    assert 'id="nas_gym.agents.Genetic"' in agents, "what is imported when it is asked for is there too"
    assert 'href="nas_gym.architecture.html#nas_gym.architecture.Candidate"' in evaluation


def test_there_are_three_notebooks_without_outputs() -> None:
    assert len(NOTEBOOKS) >= 3
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert not [cell for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
