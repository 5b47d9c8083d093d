"""Both of TensorBoard's loaders keep every episode, whatever they sample of others, and survive what is not ours."""

import numpy as np
import pytest
from event_files import put
from made_up import Search
from serving import serving

from nas_gym.tensorboard.payload import pack
from nas_gym.tensorboard.records import ROW

N = 300
RUN = "ppo/tensorboard"
LOADERS = {"fast": "--load_fast=true", "slow": "--load_fast=false"}


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    search = Search(tmp_path_factory.mktemp("loaders") / "ppo")
    search.play(N)
    search.explain()
    search.writer.close()
    foreign = search.folder.parents[1] / "theirs"
    put(foreign, "nas/episodes/000000", 3, pack("episode", {})[:-4])
    put(foreign, "gears", 1, [1.0, 2.0])
    return search


@pytest.fixture(scope="module", params=LOADERS, ids=list(LOADERS))
def server(request, search):
    with serving(search.folder.parents[1], LOADERS[request.param]) as server:
        server.wait(RUN, N)
        yield server


def test_no_episode_is_dropped(server, search):
    columns = server.ask("episodes", run=RUN)["columns"]
    assert columns["episode"] == list(range(N))
    rewards = np.array([own[0].reward for own in search.written], dtype=np.float32)
    assert np.array_equal(np.array(columns["reward"], dtype=np.float32), rewards)


@pytest.mark.parametrize("number", [0, 9, 10, 123, 298, 299])
def test_episodes_open_with_the_values_of_the_log(server, search, number):
    found, own = server.ask("episode", run=RUN, episode=number), search.written[number]
    assert [d["action"] for d in found["decisions"]] == [d.action for d in own]
    for told, decision in zip(found["decisions"], own, strict=True):
        assert (told["phi"] is None) == (decision.phi is None)
        if decision.phi is not None:
            assert np.array_equal(np.array(told["phi"], np.float32), decision.phi.astype(np.float32))
    assert set(found["credit"]) == {"counterfactual", "shapley_surrogate", "regret"}


def test_the_rest_is_there(server):
    told = server.ask("run", run=RUN)
    assert told["unreadable"] == 0 and told["header"]["facts"]["seed"] == 0 and len(told["checks"]["checks"]) == 3
    assert len(server.ask("heat", run=RUN)["moments"]) == 15


def test_what_is_not_ours_takes_nothing_down(server):
    assert "theirs" in {run["run"] for run in server.ask("runs")["runs"]}
    assert server.ask("episodes", run="theirs") == {
        "columns": {field: [] for field in ROW},
        "unreadable": 1,
    }
    assert server.ask("run", run="theirs")["unreadable"] == 1
    assert server.status("episode", run="theirs", episode=3) == 404
    assert server.status("episode", run="theirs", episode="x") == 400


def test_new_episodes_come_while_it_serves(tmp_path):
    search = Search(tmp_path / "ppo")
    search.play(15)
    with serving(tmp_path) as server:
        server.wait(RUN, 15)
        assert server.ask("episodes", run=RUN)["columns"]["episode"] == list(range(15))
        search.play(40)
        server.wait(RUN, 55)
        assert server.ask("episodes", run=RUN, after=14)["columns"]["episode"] == list(range(15, 55))
    search.writer.close()
