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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", "-d", str(place / "trees")]
    command += ["-D", f"nb_execution_cache_path={place / 'notebooks'}", ".", str(place / "html")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "agents")))}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / "html"


@pytest.mark.slow
def test_every_page_and_notebook_is_on_the_site(site: Path) -> None:
    for page in (*pages(), *(str(path.relative_to(ROOT)) for path in NOTEBOOKS)):
        assert (site / page).with_suffix(".html").is_file()
    assert "url=docs/index.html" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_site_asks_no_other_host_for_anything(site: Path) -> None:
    fetched = re.compile(r'<(?:script|img|iframe)[^>]* src="https?:|<link[^>]*stylesheet[^>]*href="https?:')
    found = [page.name for page in site.rglob("*.html") if fetched.search(page.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.slow
def test_notebooks_have_the_outputs_of_this_build(site: Path) -> None:
    for notebook in NOTEBOOKS:
        html = (site / notebook.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        assert html.count("cell_output") >= 3 and "Traceback" not in html


@pytest.mark.slow
def test_api_pages_show_what_modules_offer(site: Path) -> None:
    spaces = (site / "docs/api/nas_gym.spaces.html").read_text(encoding="utf-8")
    agents = (site / "docs/api/nas_gym.agents.html").read_text(encoding="utf-8")
    assert 'id="nas_gym.spaces.SearchSpace.next_slot"' in spaces
    assert 'id="nas_gym.agents.Genetic"' in agents, "what is imported when it is asked for is there too"
    evaluation = (site / "docs/api/nas_gym.evaluation.html").read_text(encoding="utf-8")
    assert re.search(r'href="nas_gym\.architecture\.html#nas_gym\.architecture\.Candidate"', evaluation)


def test_there_are_three_notebooks_without_outputs() -> None:
    assert len(NOTEBOOKS) >= 3
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert not [cell for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
