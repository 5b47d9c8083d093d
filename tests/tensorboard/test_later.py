"""What is explained after a search takes the place of what was not, for both of TensorBoard's loaders."""

from dataclasses import replace

import numpy as np
import pytest
from made_up import PER_ROLLOUT, Search, episodes, header
from serving import serving

from nas_gym.explain.record import OUT_OF_BUDGET, UNEXPLAINED
from nas_gym_agents.tensorboard_later import tell_decisions

N = 45
RUN = "ppo/tensorboard"


class Unexplained(Search):
    """A search that explained nothing."""

    def play(self, count):
        explained, self.explained = list(episodes(count, self._seed)), list(episodes(count, self._seed))
        none = {"phi": None, "phi0": None, "phi_actions": None, "phi0_actions": None, "value_phi": None, "value0": None}
        flags = UNEXPLAINED | OUT_OF_BUDGET
        self.episodes_ = [[replace(d, **none, flags=d.flags | flags) for d in own] for own in explained]
        return super().play(count)

    def _new(self, count):
        return self.episodes_


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    search = Unexplained(tmp_path_factory.mktemp("later") / "ppo")
    search.play(N)
    search.writer.close()
    decisions = [d for own in search.explained for d in own]
    tell_decisions(search.folder, decisions, replace(header(), note="told later"))
    return search


@pytest.mark.parametrize("flag", ["--load_fast=true", "--load_fast=false"], ids=["fast", "slow"])
def test_explained_decisions_take_the_place_of_the_others(search, flag):
    with serving(search.folder.parents[1], flag) as server:
        server.wait(RUN, N)
        server.until(lambda: server.ask("run", run=RUN)["header"]["header"]["note"] == "told later")
        assert server.ask("episodes", run=RUN)["columns"]["episode"] == list(range(N))
        for number, own in enumerate(search.explained):
            found = server.ask("episode", run=RUN, episode=number)
            assert (found["status"], found["outline"][1] != "") == ("ok", True)  # what the search said stays
            for told, decision in zip(found["decisions"], own, strict=True):
                assert (told["phi"] is None) == (decision.phi is None)
                assert decision.phi is None or np.array_equal(np.float32(told["phi"]), np.float32(decision.phi))
        told = server.ask("run", run=RUN)
        assert told["header"]["facts"]["agent"] == "maskable-ppo"
        assert len(server.ask("heat", run=RUN)["moments"]) == -(-N // PER_ROLLOUT)
