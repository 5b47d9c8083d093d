"""Running a plan: the table, its totals, resuming, workers, and what is refused."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import entries
import numpy as np
import pytest
from entries import TABLE

from nas_gym.errors import BudgetError, ConfigurationError, NasGymError, RunError
from nas_gym.tables import load_benchmark
from nas_gym_agents.benchmark import ALWAYS, Plan, Results, benchmark, running
from nas_gym_agents.benchmark.chunks import chunks
from nas_gym_agents.benchmark.plan import parse_budget
from nas_gym_agents.registry import make_agent
from nas_gym_envs import Budget


def digest(results: Results) -> str:
    return hashlib.sha256((results.path / "results.parquet").read_bytes()).hexdigest()


def small(**changes: Any) -> Plan:
    return Plan.of(**{"env": TABLE, "agents": "random", "seeds": 2, "budget": "evaluations=8", **changes})


def test_every_evaluation_is_a_row(plan: Plan, results: Results) -> None:
    frame = results.frame
    assert list(plan.agents) == ["random", *ALWAYS]
    searches = frame.groupby(["env", "track", "agent", "seed"], observed=True)
    assert len(searches) == 2 * 3 * 5
    table = load_benchmark()
    for _, rows in searches:
        assert rows["evaluation"].tolist() == list(range(1, len(rows) + 1))
        assert rows["unique"].iloc[-1] == 30
        assert rows["unique"].tolist() == [rows["key"][:i].nunique() for i in range(1, len(rows) + 1)]
        row = [table.rows[key] for key in rows["key"]]
        np.testing.assert_allclose(rows["score"], table.scores["test"][row])
        np.testing.assert_allclose(rows["cost_seconds"], np.cumsum(table.costs["full"][row].astype(float)))
    quiet = frame[frame["track"] == "noise-free"]
    rewards = table.mean_accuracy()[[table.rows[key] for key in quiet["key"]]]
    np.testing.assert_allclose(quiet["reward"], rewards, atol=1e-6)


def test_rows_are_what_the_agent_does_alone(plan: Plan, results: Results) -> None:
    found = make_agent("random")
    env = plan.envs[0].make()
    env.budget = Budget(unique=30)
    best = found.search(env, seed=3)
    frame = results.frame
    mine = frame[(frame["agent"] == "random") & (frame["seed"] == 3) & (frame["track"] == "noise-free")]
    assert len(mine) == best.episodes
    assert tuple(mine["actions"].iloc[int(mine["reward"].argmax())]) == best.actions


def test_noise_is_the_same_for_all_agents_at_a_seed(results: Results) -> None:
    frame = results.frame
    noisy = frame[frame["track"] == "noise 0.003"]
    per_row = noisy.groupby(["seed", "key"])["reward"]
    assert (per_row.nunique() == 1).all()
    assert (per_row.count() > 1).any()
    assert noisy.groupby("key")["reward"].nunique().max() > 1


def test_a_stopped_benchmark_goes_on_to_the_same_table(plan: Plan, results: Results, tmp_path: Path) -> None:
    def stop(done: int, n: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(plan, tmp_path / "out", watch=stop)
    with pytest.raises(RunError, match="not finished"):
        Results.read(tmp_path / "out")
    left = {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out" / "parts").iterdir()}
    assert len(left) == 4
    told: list[tuple[int, int]] = []
    again = benchmark(plan, tmp_path / "out", watch=lambda done, n: told.append((done, n)))
    assert told[0] == (4, len(list(chunks(plan))))
    assert digest(again) == digest(results)
    assert not (tmp_path / "out" / "parts").exists()
    assert again.content["state"] == "finished"
    assert set(again.content["took"]) == set(plan.agents)


@pytest.mark.slow
def test_the_table_does_not_depend_on_the_number_of_workers(plan: Plan, results: Results, tmp_path: Path) -> None:
    assert digest(benchmark(plan, tmp_path / "out", workers=2)) == digest(results)


def test_a_finished_benchmark_is_only_reported(plan: Plan, results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_do", lambda *a: pytest.fail("nothing is left to do"))
    assert digest(benchmark(plan, results.path)) == digest(results)


@pytest.mark.parametrize(
    "changes", [{"seeds": 3}, {"budget": "evaluations=9"}, {"agents": "random,genetic"}, {"noise": 0.1}]
)
def test_another_plan_in_the_same_directory_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    benchmark(small(), tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    with pytest.raises(RunError, match="another plan"):
        benchmark(small(**changes), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_a_place_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("important")
    with pytest.raises(RunError, match="neither empty"):
        benchmark(small(), tmp_path)
    with pytest.raises(RunError, match="neither empty"):
        benchmark(small(), tmp_path / "mine.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"agents": "nobody"}, "nobody"),
        ({"agents": "entries:nobody"}, "nobody"),
        ({"agents": "entries:number"}, "int"),
        ({"agents": "entries:wrong"}, "3 arguments"),
        ({"agents": "no_such_module:Agent"}, "no_such_module"),
        ({"agents": "unfinished_entry:Agent"}, "NameError: name 'nothing'"),
        ({"agents": "entries:Unmade"}, "RuntimeError: no licence"),
        ({"env": "nas_gym/Nothing-v0"}, "Nothing"),
        ({"env_args": {"score": "beauty"}}, "beauty"),
        ({"env_args": {"fidelity": "epochs=99"}}, "epochs=99"),
        ({"env_args": {"table": "/nowhere/table.parquet"}}, "missing"),
        ({"agent_args": {"random": {"speed": 3}}}, "speed"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(NasGymError, match=word):
        benchmark(small(**changes), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    for changes in ({"seeds": 0}, {"noise": 1.5}, {"noise": -0.1}, {"env": [TABLE, TABLE]}, {"env": []}):
        with pytest.raises(ConfigurationError):
            small(**changes)
    for noise in (0.0, 0.003):
        with pytest.raises(ConfigurationError, match="use --noise"):
            small(noise=noise, env_args={"noise": 0.1})
    with pytest.raises(ConfigurationError, match="budget"):
        small(env_args={"budget": 3})
    with pytest.raises(ConfigurationError, match="genetic"):
        small(agent_args={"genetic": {}})
    with pytest.raises(BudgetError):
        Plan(envs=small().envs, agents={"random": {}}, seeds=1, unit="unique", amount=0)


BAD_BUDGETS = ["", "unique", "unique=", "unique=0", "unique=-1", "epochs=5", "unique=1.5", "=5", "unique=nan"]


@pytest.mark.parametrize("text", [*BAD_BUDGETS, "simulated_seconds=inf"])
def test_bad_budgets_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="budget"):
        parse_budget(text)


def test_budgets_are_read() -> None:
    assert parse_budget("unique=200") == ("unique", 200)
    assert parse_budget("evaluations=1_000") == ("evaluations", 1000)
    assert parse_budget("simulated-seconds=2.5") == ("simulated_seconds", 2.5)


def test_simulated_seconds_overshoot_by_at_most_one_query(tmp_path: Path) -> None:
    results = benchmark(small(budget="simulated_seconds=20"), tmp_path)
    for searches in results.searches.values():
        for run in searches:
            assert run.costs[-1] >= 20
            assert len(run.costs) == 1 or run.costs[-2] < 20


def test_plans_survive_json(plan: Plan) -> None:
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_agents_of_others_take_part(tmp_path: Path) -> None:
    plan = small(agents="entries:Lowest", agent_args={"entries:Lowest": {"floor": 1}}, seeds=2)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    results = benchmark(plan, tmp_path, agents={"first-legal": entries.first_legal, "lowest": lambda: entries.Lowest()})
    assert np.random.get_state()[1].tolist() == state, "global generators are left alone"  # noqa: NPY002
    assert list(results.content["agents"]) == ["first-legal", "lowest", "entries:Lowest", *ALWAYS]
    assert results.content["agents"]["entries:Lowest"] == {"from": "entries:Lowest", "settings": {"floor": 1}}
    for agent in results.content["agents"]:
        assert [len(run.rewards) for run in results.searches[TABLE, "noise-free", agent]] == [8, 8]
    chosen = results.frame.groupby("agent", observed=True)["actions"].first()
    assert min(chosen["entries:Lowest"]) == 1
    again = benchmark(
        plan, tmp_path / "2", agents={"first-legal": entries.first_legal, "lowest": lambda: entries.Lowest()}
    )
    assert digest(again) == digest(results)


def test_every_seed_has_a_new_agent(tmp_path: Path) -> None:
    frame = benchmark(small(agents="entries:Learned", seeds=8), tmp_path).frame  # more seeds than pieces
    mine = frame[frame["agent"] == "entries:Learned"]
    assert len({tuple(actions) for actions in mine["actions"]}) == 1


def test_a_kill_during_the_first_write_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "plan.json.tmp").touch()
    assert benchmark(small(), tmp_path).path == tmp_path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_benchmark_that_is_killed_leaves_no_workers(tmp_path: Path) -> None:
    words = ["bench", "--env", TABLE, "--agents", "random", "--seeds", "2000", "--budget", "evaluations=500"]
    command = [sys.executable, "-m", "nas_gym", *words, "--workers", "2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    parts, deadline = tmp_path / "out" / "parts", time.monotonic() + 240
    while not (parts.is_dir() and any(parts.glob("*.parquet"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "workers live on"
        time.sleep(0.2)


def test_an_agent_that_fails_is_named_and_what_is_done_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match="'broken' failed with seed 0: RuntimeError: no idea"):
        benchmark(small(), tmp_path, agents={"broken": entries.broken})
    assert "in broken" in capsys.readouterr().err


def test_an_agent_that_evaluates_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="'idle' evaluated nothing"):
        benchmark(small(), tmp_path, agents={"idle": lambda env, seed: None})


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["bench", "--env", TABLE, "--agents", "random", "--seeds", "2000", "--budget", "evaluations=500"]
    command = [sys.executable, "-m", "nas_gym", *words, "--workers", "2", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        parts, deadline = tmp_path / "out" / "parts", time.monotonic() + 240
        while not (parts.is_dir() and any(parts.glob("*.parquet"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "goes on" in told
    assert "Traceback" not in told


def test_local_functions_need_one_worker(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="top of a module"):
        benchmark(small(), tmp_path / "out", agents={"mine": lambda env, seed: None}, workers=2)
    assert not (tmp_path / "out").exists()


def test_damage_is_named(results: Results, plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results.path, folder)
    whole = (folder / "results.parquet").read_bytes()
    (folder / "results.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="damaged"):
        Results.read(folder)
    (folder / "plan.json").write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        Results.read(folder)
    with pytest.raises(RunError, match="no results directory"):
        Results.read(tmp_path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    def stop(done: int, n: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(small(), tmp_path, watch=stop)
    (part,) = (tmp_path / "parts").iterdir()
    part.write_bytes(b"PAR1")
    with pytest.raises(RunError, match=part.name):
        benchmark(small(), tmp_path)
    part.unlink()
    assert benchmark(small(), tmp_path).table.num_rows == 3 * 2 * 8
