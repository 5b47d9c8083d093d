"""The pictures of docs/tensorboard.md, of real searches on a table.

NAS_GYM_SCREENSHOTS=docs/images pytest tests/tensorboard/test_screenshots.py
"""

from pathlib import Path

import pytest
from serving import serving
from tab import SHOTS, Tab

from nas_gym_agents.runner import search
from nas_gym_agents.settings import SearchSettings

LARGEST = 200_000  # bytes of a picture
AGENTS = ("maskable-ppo", "genetic")

pytestmark = pytest.mark.skipif(not SHOTS, reason="no pictures are asked for: NAS_GYM_SCREENSHOTS names no folder")


@pytest.fixture(scope="module")
def page(tmp_path_factory, window):
    folder = tmp_path_factory.mktemp("runs")
    for agent in AGENTS:
        settings = SearchSettings(env="nas_gym/Table-v0", agent=agent, evaluations=600, explain="all")
        search(settings, folder / agent)
    with serving(folder) as server:
        for agent in AGENTS:
            server.wait(f"{agent}/tensorboard", 600)
        yield server.base


@pytest.mark.parametrize(
    ("name", "width", "height", "dark", "selection"),
    [
        ("tab-decision", 1280, 1330, False, {"decision": 4}),
        ("tab-decision-dark", 1280, 1330, True, {"decision": 4}),
        ("tab-training", 1280, 760, False, {"view": "training"}),
        (
            "tab-compare",
            1280,
            1180,
            False,
            {"view": "compare", "decision": 3, "run2": "genetic/tensorboard", "episode2": 100},
        ),
        ("tab-narrow", 400, 1400, False, {"decision": 4}),
    ],
)
def test_pictures(page, window, name, width, height, dark, selection):
    tab = Tab(window)
    tab.size(width, height, dark=dark)
    told = {"run": "maskable-ppo/tensorboard", **selection}
    hash_ = "&".join(["nas_decisions", *(f"p.nas_decisions.{key}={value}" for key, value in told.items())])
    tab.open(f"{page}/#{hash_}")
    tab.until(lambda: tab.all("[data-testid=heat], [data-testid=bar]"))
    tab.shoot(name)
    tab.size(1280)
    assert 10_000 < (Path(SHOTS or "") / f"{name}.png").stat().st_size < LARGEST
