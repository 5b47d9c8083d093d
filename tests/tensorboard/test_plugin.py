"""The plugin's routes and files, and that nothing about it can take TensorBoard down."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from event_files import Provider
from made_up import Search
from tensorboard.backend.experiment_id import ExperimentIdMiddleware
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from nas_gym.tensorboard import PLUGIN, TAB
from nas_gym.tensorboard.loader import DecisionsLoader
from nas_gym.tensorboard.plugin import STATIC, DecisionsPlugin

ROOT = Path(__file__).parents[2]
SOURCES = sorted(STATIC.iterdir())
RUN = "ppo/tensorboard"


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    search = Search(tmp_path_factory.mktemp("plugin") / "ppo")
    search.play(12)
    search.writer.close()
    plugin = DecisionsPlugin(TBContext(data_provider=Provider(search.folder.parents[1])))
    return plugin.get_plugin_apps()


def ask(apps, route, query="", method="GET"):
    answer = Client(ExperimentIdMiddleware(apps[route])).open(query_string=query, method=method)
    return answer.status_code, answer.get_data(as_text=True), answer.headers


@pytest.mark.parametrize(
    ("route", "query"),
    [
        ("/runs", ""),
        ("/run", f"run={RUN}"),
        ("/episodes", f"run={RUN}"),
        ("/episodes", f"run={RUN}&after=5"),
        ("/episode", f"run={RUN}&episode=11"),
        ("/heat", f"run={RUN}"),
    ],
)
def test_questions_are_answered_in_json(apps, route, query):
    status, text, headers = ask(apps, route, query)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(text)


@pytest.mark.parametrize(
    ("route", "query", "reason"),
    [
        ("/run", "", "name a run"),
        ("/heat", "episode=3", "name a run"),
        ("/episodes", f"run={RUN}&after=x", "after must be a whole number, got 'x'"),
        ("/episodes", f"run={RUN}&after=-2", "between -1"),
        ("/episode", f"run={RUN}", "episode must be a whole number"),
        ("/episode", f"run={RUN}&episode=1.5", "whole number"),
        ("/episode", f"run={RUN}&episode=-1", "between 0"),
        ("/episode", f"run={RUN}&episode=99999999999999999999", "between 0"),
        ("/episode", f"run={RUN}&episode=%00", "whole number"),
    ],
)
def test_questions_that_cannot_be_asked_get_400(apps, route, query, reason):
    status, text, _ = ask(apps, route, query)
    assert status == 400 and reason in json.loads(text)["error"]


@pytest.mark.parametrize(
    ("route", "query"),
    [
        ("/run", "run=x"),
        ("/episodes", "run="),
        ("/episode", f"run={RUN}&episode=12"),
        ("/heat", "run=../../etc/passwd"),
    ],
)
def test_what_is_not_there_gets_404(apps, route, query):
    status, text, _ = ask(apps, route, query)
    assert status == 404 and "there is no" in json.loads(text)["error"]


def test_nothing_is_written(apps):
    assert ask(apps, "/runs", method="POST")[0] == 405


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_pages_are_served(apps, path):
    status, text, headers = ask(apps, f"/{path.name}")
    assert (status, text) == (200, path.read_text(encoding="utf-8"))
    assert headers["Content-Type"] == {".js": "text/javascript", ".css": "text/css"}[path.suffix] + "; charset=utf-8"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_pages_need_nobody_else(path):
    """Another host would be refused by TensorBoard's content security policy, and may not be there."""
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"' )]+", text)) <= {"http://www.w3.org/2000/svg"}
    for name in re.findall(r'from "([^"]+)"', text):
        assert name.startswith("./") and (STATIC / name).is_file(), name
    assert "innerHTML" not in text and "eval(" not in text
    assert len(text.splitlines()) <= 300


def test_what_is_imported_is_exported_and_the_other_way_round():
    sources = {path.name: path.read_text(encoding="utf-8") for path in SOURCES if path.suffix == ".js"}
    exports = {
        name: re.findall(r"export (?:async )?(?:const|function|class) (\w+)", text) for name, text in sources.items()
    }
    exported = {(name, word) for name, words in exports.items() for word in words}
    imported = {
        (source, word.split(" as ")[0].strip())
        for text in sources.values()
        for words, source in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text)
        for word in words.split(",")
    }
    assert imported == exported - {("index.js", "render")}  # which TensorBoard calls


def test_the_tab_is_named():
    plugin = DecisionsPlugin(TBContext(data_provider=None))
    metadata = plugin.frontend_metadata()
    assert (metadata.tab_name, metadata.es_module_path) == (TAB, "/index.js")
    assert plugin.data_plugin_names() == (PLUGIN,) and not plugin.is_active()


def test_the_distribution_names_the_loader():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["tensorboard_plugins"][PLUGIN].partition(":")
    assert getattr(import_module(module), name) is DecisionsLoader


@pytest.mark.parametrize(("asked", "kept"), [({}, 0), ({"scalars": 5}, 0), ({PLUGIN: 50}, 50)])
def test_all_records_are_kept_unless_asked_otherwise(asked, kept):
    flags = SimpleNamespace(samples_per_plugin=dict(asked))
    DecisionsLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {**asked, PLUGIN: kept}


def test_other_flags_do_not_matter():
    DecisionsLoader().fix_flags(SimpleNamespace())
    DecisionsLoader().fix_flags(SimpleNamespace(samples_per_plugin=None))


def test_a_tab_that_cannot_be_loaded_is_left_out(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "nas_gym.tensorboard.plugin", None)
    assert DecisionsLoader().load(TBContext()) is None
    assert "can't be loaded" in caplog.text


def test_the_loader_imports_next_to_nothing():
    """What TensorBoard imports unguarded must not fail, nor take long."""
    heavy = ["torch", "pandas", "sqlalchemy", "matplotlib", "nas_gym.tensorboard.plugin", "nas_gym.tensorboard.reading"]
    script = f"import nas_gym.tensorboard.loader, sys; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
