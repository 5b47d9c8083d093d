"""One made-up folder of runs, one TensorBoard and one browser for all tests of the tab."""

import pytest
from browser import chromium
from made_up import Search
from serving import serving
from tab import N_OTHER, OTHER, RUN, N, Tab


@pytest.fixture(scope="session")
def searches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    ppo = Search(folder / "ppo")
    evolution = Search(folder / "evolution", agent="regularized-evolution", policy=False, seed=3)
    for search, count in ((ppo, N), (evolution, N_OTHER)):
        search.play(count)
        search.explain()
    yield folder, ppo, evolution
    ppo.writer.close()
    evolution.writer.close()


@pytest.fixture(scope="session")
def server(searches):
    folder, *_ = searches
    with serving(folder) as server:
        server.wait(RUN, N)
        server.wait(OTHER, N_OTHER)
        yield server


@pytest.fixture(scope="session")
def window():
    with chromium() as window:
        yield window


@pytest.fixture
def tab(window, server):
    """The tab as it opens, on the first run by name."""
    tab = Tab(window)
    tab.size(1280)
    tab.complaints()
    yield tab.open(f"{server.base}/#nas_decisions&p.nas_decisions.run={RUN}")
    assert tab.complaints() == []


@pytest.fixture(scope="session")
def ppo(searches):
    return searches[1].written
