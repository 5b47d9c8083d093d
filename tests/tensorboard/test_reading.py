"""What the event files say, asked through TensorBoard's data provider: complete, incremental, never an exception."""

import zlib

import numpy as np
import pytest
from event_files import Provider, put
from made_up import CHECKS, PER_ROLLOUT, VIEWS, Search, credit
from tensorboard.context import RequestContext

from nas_gym.tensorboard.payload import pack
from nas_gym.tensorboard.reading import Memory, Reading, UnknownError
from nas_gym_agents.tensorboard_later import tell_checks, tell_credit


def reading(provider, memory=None):
    return Reading(provider, RequestContext(), "", memory or Memory())


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    search = Search(tmp_path_factory.mktemp("reading") / "ppo")
    search.play(230)
    search.explain()
    search.writer.close()
    return search


@pytest.fixture(scope="module")
def provider(search):
    return Provider(search.folder.parents[1])


RUN = "ppo/tensorboard"


def numbers(told):
    return told["columns"]["episode"]


def test_runs_tell_how_far_they_are(provider):
    (run,) = reading(provider).runs()
    assert (run["run"], run["episodes"]) == (RUN, 230)


def test_all_episodes_are_listed_in_order(provider, search):
    told = reading(provider).episodes(RUN)
    assert numbers(told) == list(range(230)) and told["unreadable"] == 0
    rewards = np.array([own[0].reward for own in search.written], dtype=np.float32)
    assert np.array_equal(np.array(told["columns"]["reward"], dtype=np.float32), rewards)
    assert told["columns"]["length"] == [len(own) for own in search.written]
    assert set(told["columns"]["status"]) == {"ok"}


@pytest.mark.parametrize("after", [-1, 0, 98, 99, 100, 199, 228, 229, 500])
def test_the_list_can_be_asked_for_its_end(provider, after):
    assert numbers(reading(provider).episodes(RUN, after)) == list(range(after + 1, 230))


def test_a_few_records_tell_all(provider):
    provider.read.clear()
    reading(provider).episodes(RUN)
    blocks = [f"nas/episodes/{number:06d}" for number in range(20, 23)]  # after the last full hundred
    assert sorted(provider.read) == [*blocks, "nas/index/000000"]


def test_what_has_not_grown_is_not_read_again(tmp_path):
    search = Search(tmp_path / "ppo")
    search.play(115)
    provider, memory = Provider(tmp_path), Memory()
    assert len(numbers(reading(provider, memory).episodes(RUN))) == 115
    provider.read.clear()
    assert len(numbers(reading(provider, memory).episodes(RUN))) == 115
    assert provider.read == []
    search.play(10)
    provider.reload()
    assert numbers(reading(provider, memory).episodes(RUN, 114)) == list(range(115, 125))
    assert sorted(provider.read) == ["nas/episodes/000011", "nas/episodes/000012"]
    search.writer.close()


def test_episodes_carry_their_decisions_and_credits(provider, search):
    for number in (0, 5, 99, 100, 229):
        found, own = reading(provider).episode(RUN, number), search.written[number]
        assert found["episode"] == number
        assert [d["action"] for d in found["decisions"]] == [d.action for d in own]
        assert set(found["credit"]) == set(VIEWS)
        assert found["outline"][0] == "" and "parameters" in found["outline"][1]


def test_the_run_as_a_whole(provider):
    told = reading(provider).run(RUN)
    assert told["header"]["facts"]["agent"] == "maskable-ppo"
    assert told["checks"]["checks"] == CHECKS
    assert told["credit_views"]["views"] == VIEWS
    assert isinstance(told["words"]["episode"], int)
    assert told["unreadable"] == 0


def test_the_heat_map(provider):
    told = reading(provider).heat(RUN)
    assert len(told["moments"]) == -(-230 // PER_ROLLOUT)
    assert told["moments"][-1]["policy_versions"] == [11, 11]


@pytest.mark.parametrize("ask", ["run", "episodes", "heat"])
def test_an_unknown_run_is_said_to_be_unknown(provider, ask):
    with pytest.raises(UnknownError, match="no run 'nobody'"):
        getattr(reading(provider), ask)("nobody")


def test_an_unknown_episode_is_said_to_be_unknown(provider):
    with pytest.raises(UnknownError, match="no episode 230"):
        reading(provider).episode(RUN, 230)


def test_a_sample_that_somebody_asked_for_is_named_as_the_reason(search):
    sampled = reading(Provider(search.folder.parents[1], 3))
    kept = numbers(sampled.episodes(RUN))
    assert 0 < len(kept) < 230  # what is left is listed, nothing fails
    missing = min(set(range(230)) - set(kept))
    with pytest.raises(UnknownError, match="--samples_per_plugin nas_decisions="):
        sampled.episode(RUN, missing)


FOREIGN = {
    "no zlib": b"hello",
    "cut off": pack("episode", {"episode": 0})[:-2],
    "another kind": pack("gears", {}),
    "another schema": zlib.compress(b'{"kind":"episode","schema":99}'),
    "no fields": pack("episode", {"episode": 0}),
    "numbers": [1.0, 2.0],
    "one number": 3.5,
    "many texts": ["a", "b"],
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_values_are_counted_and_nothing_else(tmp_path, data):
    search = Search(tmp_path / "ppo")
    search.play(30)
    search.writer.close()
    places = ["nas/header", "nas/episodes/000003", "nas/index/000000", "nas/heat/000000", "nas/checks", "nas/x"]
    for tag in (*places, "nas/words", "nas/credit_views", "nas/credit/000000"):
        put(search.folder, tag, 900, data)
    provider = Provider(tmp_path)
    asked = reading(provider)
    assert [run["run"] for run in asked.runs()] == [RUN]
    told, listed = asked.run(RUN), asked.episodes(RUN)
    assert told["header"]["facts"]["agent"] == "maskable-ppo"  # the one that can be read stays
    assert (told["checks"], told["words"], told["credit_views"]) == (None, None, None)
    assert told["unreadable"] == 5  # header, checks, words, credit_views, and a tag that is not ours
    assert numbers(listed) == list(range(30)) and listed["unreadable"] == 2
    assert len(asked.heat(RUN)["moments"]) == 2 and asked.heat(RUN)["unreadable"] == 1
    assert asked.episode(RUN, 3)["credit"] == {}
    with pytest.raises(UnknownError):
        asked.episode(RUN, 900)


def test_a_run_of_foreign_values_alone_is_listed_as_empty(tmp_path):
    put(tmp_path / "theirs", "gears", 0, b"nothing of ours")
    asked = reading(Provider(tmp_path))
    (run,) = asked.runs()
    assert (run["run"], run["episodes"]) == ("theirs", 0)
    assert numbers(asked.episodes("theirs")) == []
    assert (asked.run("theirs")["header"], asked.run("theirs")["unreadable"]) == (None, 1)
    assert asked.heat("theirs") == {"moments": [], "unreadable": 0}


def test_without_an_index_the_episodes_are_read(tmp_path, search):
    provider = Provider(search.folder.parents[1])
    tags = provider.list_tensors

    def without_index(*args, **kwargs):
        return {
            run: {tag: series for tag, series in found.items() if "index" not in tag}
            for run, found in tags(*args, **kwargs).items()
        }

    provider.list_tensors = without_index
    assert numbers(reading(provider).episodes(RUN)) == list(range(230))


def test_what_is_added_last_counts(tmp_path):
    search = Search(tmp_path / "ppo")
    search.play(20)
    search.explain()
    search.writer.close()
    later = [{"name": "again", "passed": True, "sentence": "Later."}]
    views = {"counterfactual": {"meaning": "New.", "trusted": True}}
    frame = credit(search.written, seed=5)
    frame = frame[frame["view"] == "counterfactual"]
    tell_checks(search.folder, later)
    tell_credit(search.folder, frame, views)
    asked = reading(Provider(tmp_path))
    told = asked.run(RUN)
    assert (told["checks"]["checks"], told["credit_views"]["views"], told["unreadable"]) == (later, views, 0)
    found = asked.episode(RUN, 3)["credit"]
    assert list(found) == ["counterfactual"]
    expected = frame[frame["episode"] == 3]["credit"].to_numpy(np.float32)
    assert np.array_equal(np.array(found["counterfactual"]["credit"], np.float32), expected)
    assert numbers(asked.episodes(RUN)) == list(range(20))


def test_what_a_resumed_search_writes_again_is_not_listed_twice(tmp_path):
    for place in (tmp_path / "ppo", tmp_path / "ppo" / ".rebuild"):
        search = Search(place)
        search.play(3)
        search.writer.close()
    assert [run["run"] for run in reading(Provider(tmp_path)).runs()] == [RUN]


def test_memory_forgets_the_least_recently_used():
    memory = Memory(2)
    memory.put("a", 1, "A")
    memory.put("b", 1, "B")
    assert memory.get("a", 1) == "A"
    memory.put("c", 1, "C")
    assert [memory.get(key, 1) for key in "abc"] == ["A", None, "C"]
    assert memory.get("a", 2) is None
