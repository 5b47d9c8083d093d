"""Killed at any instant, a search resumes to the history, decisions and events of an uninterrupted one."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nas_gym
from nas_gym.errors import RunError
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

# A search of about ten seconds, with real trainings.
SETTINGS = {
    "maskable-ppo": {"evaluations": 28, "agent_args": {"n_steps": 32, "batch_size": 16}, "env_args": {"epochs": 1}},
    "genetic": {"evaluations": 30, "agent_args": {}, "env_args": {"epochs": 1}},
    "model-ppo": {
        "evaluations": 30,
        "agent_args": {"updates": 2, "imagined": 16, "n_epochs": 1},
        "env_args": {"evaluator": "hash"},
    },
}
WALL_CLOCK = ("xai/overhead_share", "nas/answers_from_store", "time/")


def settings_of(agent: str) -> SearchSettings:
    return SearchSettings(agent=agent, seed=3, **SETTINGS[agent])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Reference runs, one per agent, made when they are first asked for."""
    made: dict[str, Path] = {}

    def run(agent: str) -> Path:
        if agent not in made:
            made[agent] = tmp_path_factory.mktemp(agent) / "run"
            runner.search(settings_of(agent), made[agent])
        return made[agent]

    return run


def start(agent: str, path: Path) -> "subprocess.Popen[bytes]":
    """Start the search in a process of its own."""
    settings = settings_of(agent)
    options = ["--agent", agent, "--seed", "3", "--evaluations", str(settings.evaluations), "--run-dir", str(path)]
    for name, values in (("--env-arg", settings.env_args), ("--agent-arg", settings.agent_args)):
        for key, value in values.items():
            options += [name, f"{key}={value}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "nas_gym", "search", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def lines(path: Path) -> int:
    """How many lines a file has; a resume that swaps in what it has rebuilt leaves a moment without it."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill_when(process: "subprocess.Popen[bytes]", path: Path, episodes: int, delay: float) -> None:
    """Kill -9 once the history has that many episodes, plus a delay."""
    deadline = time.monotonic() + 120
    while lines(path / "history.jsonl") < episodes and process.poll() is None:
        assert time.monotonic() < deadline, "the search did not get that far"
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()


def committed(path: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """All rows of the results, by question: the time of commit and the training's seconds tell a repeated training."""
    if not (path / "results.sqlite").exists():
        return {}
    with sqlite3.connect(path / "results.sqlite") as connection:
        try:
            rows = connection.execute("select namespace, key, fidelity, repeat, created, evaluation from evaluations")
            return {row[:4]: row[4:] for row in rows}
        except sqlite3.OperationalError:  # killed before the table was made
            return {}


def events(path: Path) -> dict[str, list[tuple[int, float]]]:
    """All scalars of a run by tag, and the tags of everything else, without wall-clock ones."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(
        str(path / "tensorboard"), size_guidance=dict.fromkeys(("scalars", "tensors", "images"), 0)
    )
    board.Reload()
    tags = board.Tags()
    found = {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in tags["scalars"]}
    for kind in ("images", "tensors", "histograms"):
        found |= {f"{kind}:{tag}": [] for tag in tags[kind]}
    return {tag: values for tag, values in found.items() if not tag.startswith(WALL_CLOCK)}


def assert_same_run(path: Path, reference: Path) -> None:
    one, other = nas_gym.load(path), nas_gym.load(reference)
    assert one.history == other.history
    pd.testing.assert_frame_equal(one.decisions, other.decisions)
    assert events(path) == events(reference)
    assert one.result is not None and other.result is not None
    assert one.result["best"] == other.result["best"]
    kept = sorted(file.name for file in (path / "weights").glob("*"))
    assert kept == sorted(file.name for file in (reference / "weights").glob("*"))
    assert not (path / ".rebuild").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))  # 200 more: scripts/fault_injection.py
def test_killed_at_a_random_instant_the_default_agent_resumes_to_the_same_run(
    number: int, tmp_path: Path, uninterrupted: Any
) -> None:
    chance = random.Random(number)
    path = tmp_path / "run"
    process = start("maskable-ppo", path)
    kill_when(process, path, episodes=chance.randrange(0, 28), delay=chance.uniform(0, 0.3))
    before = committed(path)
    runner.resume(path)
    after = committed(path)
    assert {question: after[question] for question in before} == before, "no committed training was repeated"
    assert_same_run(path, uninterrupted("maskable-ppo"))


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["genetic", "model-ppo"])
def test_killed_twice_other_agents_resume_to_the_same_run(agent: str, tmp_path: Path, uninterrupted: Any) -> None:
    chance = random.Random(agent)
    path = tmp_path / "run"
    process = start(agent, path)
    kill_when(process, path, episodes=chance.randrange(1, 12), delay=0.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "nas_gym", "resume", str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    kill_when(process, path, episodes=chance.randrange(12, 24), delay=chance.uniform(0, 0.1))
    before = committed(path)
    runner.resume(path)
    assert {question: committed(path)[question] for question in before} == before
    assert_same_run(path, uninterrupted(agent))


def test_a_finished_run_is_reported_and_not_searched_again(tmp_path: Path) -> None:
    settings = SearchSettings(agent="random", evaluations=5, env_args={"evaluator": "hash"})
    first = runner.search(settings, tmp_path / "run")
    before = (tmp_path / "run" / "history.jsonl").stat().st_mtime_ns
    assert runner.resume(tmp_path / "run") == first
    assert runner.search(settings, tmp_path / "run") == first
    assert (tmp_path / "run" / "history.jsonl").stat().st_mtime_ns == before


def test_a_store_shared_by_searches_answers_without_training(tmp_path: Path) -> None:
    common = {"agent": "random", "evaluations": 6, "env_args": {"epochs": 1}, "store": str(tmp_path / "shared.sqlite")}
    first = runner.search(SearchSettings(**common), tmp_path / "one")
    second = runner.search(SearchSettings(**common), tmp_path / "two")
    assert second["from_store"] == 6
    assert nas_gym.load(tmp_path / "one").history == nas_gym.load(tmp_path / "two").history
    assert first["best"] == second["best"], "the test accuracy too: the winner was trained again, to the same weights"
    nas_gym.load(tmp_path / "two").module()


def test_changed_settings_data_or_recipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    runner.search(SearchSettings(agent="random", evaluations=3, env_args={"evaluator": "hash"}), path)
    with pytest.raises(RunError, match="evaluations 3 there, 4 asked"):
        runner.search(SearchSettings(agent="random", evaluations=4, env_args={"evaluator": "hash"}), path)
    text = (path / "run.json").read_text()
    (path / "run.json").write_text(text.replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(RunError, match="changed by hand"):
        runner.resume(path)
    (path / "run.json").write_text(text.replace("synthetic/1 hash", "synthetic/1 other"))
    with pytest.raises(RunError, match="other data"):
        runner.resume(path)
    (path / "run.json").write_text(text[:50])
    with pytest.raises(RunError, match="damaged"):
        runner.resume(path)


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    settings = SearchSettings(agent="random", evaluations=40, env_args={"evaluator": "hash"})
    refused = []

    def watch(tally: Any) -> None:
        if tally.episodes == 3:
            with pytest.raises(RunError, match="another process"):
                runner.resume(path)
            refused.append(True)

    runner.search(settings, path, watch=watch)
    assert refused


def test_interrupted_it_says_so_and_resumes(tmp_path: Path) -> None:
    settings = SearchSettings(evaluations=30, env_args={"evaluator": "hash"}, agent_args={"n_steps": 32})

    def watch(tally: Any) -> None:
        if tally.episodes == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.search(settings, tmp_path / "run", watch=watch)
    loaded = nas_gym.load(tmp_path / "run")
    assert loaded.content["state"] == "interrupted"
    assert len(loaded.history) == 17
    assert loaded.best(3), "an interrupted run can be read"
    runner.resume(tmp_path / "run")
    runner.search(settings, tmp_path / "other")
    assert_same_run(tmp_path / "run", tmp_path / "other")


def test_a_torn_history_and_a_lost_decision_log_are_rebuilt(tmp_path: Path) -> None:
    settings = SearchSettings(evaluations=12, agent="random", env_args={"evaluator": "hash"})

    def watch(tally: Any) -> None:
        if tally.episodes == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.search(settings, tmp_path / "run", watch=watch)
    history = tmp_path / "run" / "history.jsonl"
    history.write_bytes(history.read_bytes()[:-20])
    assert len(nas_gym.load(tmp_path / "run").history) == 7
    shutil.rmtree(tmp_path / "run" / "decisions")
    runner.resume(tmp_path / "run")
    runner.search(settings, tmp_path / "other")
    assert_same_run(tmp_path / "run", tmp_path / "other")


def test_a_relative_store_and_tuples_in_the_settings_mean_the_same_run_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grids = {"evaluator": "hash", "hyperparameters": ("learning_rate", "batch_size")}
    settings = SearchSettings(agent="random", evaluations=4, env_args=grids, store="shared.sqlite")
    summary = runner.search(settings, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert runner.search(settings_again(settings), tmp_path / "run") == summary
    assert len(nas_gym.load(tmp_path / "run").best(4)) == 4
    assert not list((tmp_path / "elsewhere").iterdir())


def settings_again(settings: SearchSettings) -> SearchSettings:
    return SearchSettings.from_json(settings.to_json())


def test_a_swap_that_a_kill_cut_short_is_finished(tmp_path: Path) -> None:
    settings = SearchSettings(evaluations=12, agent="random", env_args={"evaluator": "hash"})

    def watch(tally: Any) -> None:
        if tally.episodes == 8:
            raise KeyboardInterrupt

    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        runner.search(settings, path, watch=watch)
    place = path / ".rebuild"  # as `swap_in` leaves it between its two renames of the history
    place.mkdir()
    (place / "COMPLETE").touch()
    (path / "history.jsonl").rename(place / "history.jsonl")
    assert len(nas_gym.load(path).history) == 0
    seen = []

    def count(tally: Any) -> None:
        seen.append(len(nas_gym.load(path).history))

    runner.resume(path, watch=count)
    assert min(seen) >= 8, "what the killed search had shown stays in view while it is rebuilt"
    runner.search(settings, tmp_path / "other")
    assert_same_run(path, tmp_path / "other")


def test_a_policy_is_never_replaced_by_an_untrained_one(tmp_path: Path) -> None:
    settings = SearchSettings(evaluations=30, env_args={"evaluator": "hash"}, agent_args={"n_steps": 32})

    def stop_at(episodes: int) -> Any:
        def watch(tally: Any) -> None:
            if tally.episodes == episodes:
                raise KeyboardInterrupt

        return watch

    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        runner.search(settings, path, watch=stop_at(20))
    trained = (path / "policy.zip").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        runner.resume(path, watch=stop_at(3))
    assert (path / "policy.zip").read_bytes() == trained
    assert not (path / ".rebuild").exists()


def test_failed_trainings_end_nothing_and_are_tried_again_on_request(tmp_path: Path) -> None:
    options = {"epochs": 1, "time_limit_seconds": 1e-6}
    settings = SearchSettings(agent="random", evaluations=3, env_args=options)
    path = tmp_path / "run"
    summary = runner.search(settings, path)
    assert summary["failures"] == {"timeout": 3}
    assert summary["best"] is None
    assert [episode.reward for episode in nas_gym.load(path).history] == [0.0] * 3
    first = committed(path)
    assert runner.resume(path) == summary and committed(path) == first
    again = runner.resume(path, retry_failed=True)
    assert again["failures"] == {"timeout": 3}
    assert all(committed(path)[question] != first[question] for question in first), "each was asked for again"
