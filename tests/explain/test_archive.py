"""The archive of a run against its history and its table; architectures that stand for a space."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archives import drawn, made

import nas_gym
from nas_gym.errors import ConfigurationError
from nas_gym.explain.archive import Archive, archive, archive_of_table
from nas_gym.explain.random_architectures import draw, prefix_of, representative
from nas_gym.history import Episode
from nas_gym.spaces import CategoricalSpace
from nas_gym.store import ResultStore
from nas_gym.tables import fashion_chain_space, load_benchmark
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings


def searched(path: Path, **env_args: object) -> nas_gym.run.Run:
    settings = SearchSettings(
        env="nas_gym/Table-v0", agent="random", evaluations=40, env_args=env_args, explain="none", confirm=0
    )
    runner.search(settings, path)
    return nas_gym.load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("searched") / "run")


def test_rows_are_the_networks_by_their_first_episodes(run):
    found = archive(run)
    first: dict[str, Episode] = {}
    for episode in run.history:
        first.setdefault(episode.key, episode)
    assert found.keys == tuple(first) and found.episodes.tolist() == [e.number for e in first.values()]
    assert found.rewards.tolist() == pytest.approx([e.reward for e in first.values()])
    for row, episode in zip(found.decisions, first.values(), strict=True):
        assert {slot: action for slot, action in enumerate(row.tolist()) if action != -1} == dict(
            zip(episode.slots, episode.actions, strict=True)
        )
    assert (found.decisions == -1).any()  # some chains are short
    assert found.rewards[found.best] == max(e.reward for e in run.history)
    assert (found.failed, found.illegal, found.less_trained, found.objective) == (0, 0, 0, "accuracy")


def test_rewards_are_those_of_the_objective(tmp_path):
    run = searched(tmp_path / "run", objective="soft-macs:20000:0:-1")
    found = archive(run)
    rewards = {episode.key: episode.reward for episode in run.history}
    assert found.rewards.tolist() == pytest.approx([rewards[key] for key in found.keys])
    assert found.objective == "soft-macs:20000:0:-1"


def test_failures_are_counted_and_left_out(run, tmp_path):
    import shutil

    copy = nas_gym.load(shutil.copytree(run.path, tmp_path / "run"))
    store = ResultStore(copy.path / "results.sqlite")
    whole = archive(run)
    for namespace, candidate, evaluation in list(store):
        if evaluation.key in whole.keys[:5]:
            store.put(namespace, candidate, replace(evaluation, status="diverged", accuracy=None, standard_error=None))
    store.close()
    history = copy.path / "history.jsonl"
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    for line in lines:
        if line["key"] in whole.keys[:5]:
            line |= {"status": "diverged", "accuracy": None, "reward": 0.0}
    lines.append(lines[-1] | {"number": len(lines), "key": None, "status": "illegal_action", "accuracy": None})
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = archive(nas_gym.load(copy.path))
    assert found.keys == whole.keys[5:] and (found.failed, found.illegal) == (5, 1)


def test_a_table_is_an_archive():
    table = load_benchmark()
    whole = archive_of_table(table)
    assert len(whole) == len(table) and whole.rewards.tolist() == table.mean_accuracy().tolist()
    assert archive_of_table(table, "stop=1").rewards.tolist() == table.mean_accuracy("stop=1").tolist()


def test_best_and_median_are_the_first_of_their_rewards():
    found = made(drawn(5, (2,), 0), np.array([0.3, 0.9, 0.1, 0.9, 0.3]), (2,))
    assert (found.best, found.median) == (1, 0)


def test_rewards_are_told_with_four_digits():
    assert made(drawn(2, (2,), 0), np.array([0.5, 0.12345]), (2,)).told(0.12345) == "0.1235"
    assert made(drawn(2, (2,), 0), np.array([25.9, 1.0]), (2,)).told(-1.1554, "+") == "-1.16"
    assert made(drawn(2, (2,), 0), np.array([0.0, 0.0]), (2,)).told(0.0) == "0.000"


@pytest.mark.parametrize("fault", ["choice", "shape", "reward"])
def test_faults_are_refused(fault):
    decisions, rewards = drawn(4, (2, 2), 0), np.ones(4)
    if fault == "choice":
        decisions[0, 0] = 2
    elif fault == "shape":
        decisions = decisions[:3]
    else:
        rewards[0] = np.nan
    with pytest.raises(ConfigurationError):
        made(decisions, rewards, (2, 2))


def test_json_round_trip(run):
    found = archive(run)
    again = Archive.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    empty = made(drawn(0, (2, 2), 0), np.zeros(0), (2, 2))
    assert Archive.from_json(empty.to_json()).decisions.shape == (0, 2)


def test_draws_are_legal_and_uniform_per_decision():
    space = fashion_chain_space()
    rows, free = draw(space, 3_000, 0)
    assert not free and rows.dtype == np.int16
    assert all(prefix_of(space, row) is not None for row in rows[:300])
    legal = np.flatnonzero(space.legal((0,)))
    counts = np.bincount(rows[rows[:, 0] == 0, 1], minlength=9)
    assert set(np.flatnonzero(counts)) == set(legal)
    shares = counts[legal] / counts.sum()
    assert np.abs(shares - 1 / len(legal)).max() < 4 * np.sqrt(1 / len(legal) / counts.sum())
    np.testing.assert_array_equal(rows, draw(space, 3_000, 0)[0])


def test_what_stands_for_a_space():
    free = CategoricalSpace({"a": ("x", "y"), "b": ("x", "y", "z")})
    found = made(drawn(20, (2, 3), 0), np.arange(20.0), (2, 3))
    for space in (free, None):
        sample = representative(found, space, 0)
        assert sample.complete and not sample.drawn and len(sample.decisions) == 6
    limited = CategoricalSpace({"a": ("x", "y"), "b": ("x", "y", "z")}, rows=[(0, 0), (1, 2)])
    sample = representative(found, limited, 0, n=50)
    assert (
        not sample.complete and sample.drawn and {tuple(row) for row in sample.decisions.tolist()} == {(0, 0), (1, 2)}
    )
    huge = made(drawn(20, (9,) * 6, 0), np.arange(20.0), (9,) * 6)
    sample = representative(huge, None, 0, n=50)
    assert not sample.complete and sample.drawn and sample.decisions.shape == (50, 6)
    short = replace(found, decisions=np.where(found.decisions == 1, -1, found.decisions).astype(np.int16))
    sample = representative(short, None, 0)
    assert not sample.complete and not sample.drawn and len(sample.decisions) == 20
