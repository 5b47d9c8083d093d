"""The command line: what it prints, its exit codes, and a sentence for every mistake."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import nas_gym
from nas_gym import cli
from nas_gym.agents import AGENTS
from nas_gym.cli import app

QUICK = ["--env-arg", "evaluator=hash", "--agent", "random", "--evaluations", "6"]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished search."""
    assert call("search", *QUICK, "--run-dir", tmp_path / "run").exit_code == 0
    return tmp_path / "run"


def test_search_ends_with_one_object(tmp_path: Path) -> None:
    result = call("search", *QUICK, "--run-dir", tmp_path / "run", "--json")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    summary = json.loads(line)
    assert set(summary) >= {"best", "evaluations", "unique", "from_store", "failures", "seconds", "run_dir"}
    wanted = {"actions", "key", "validation_accuracy", "test_accuracy", "parameters", "macs"}
    assert set(summary["best"]) >= wanted
    assert summary["evaluations"] == 6
    assert summary["run_dir"] == str(tmp_path / "run")


def test_show_gives_the_history_in_order(run: Path) -> None:
    shown = json.loads(call("show", run, "--json").stdout.splitlines()[-1])
    assert len(shown["history"]) == 6
    for episode in shown["history"]:
        assert set(episode) >= {"actions", "key", "status", "reward"}
    best = max(shown["history"], key=lambda episode: episode["reward"])
    assert shown["best"][0]["key"] == best["key"]
    assert shown["best"][0]["actions"] == best["actions"]


def test_show_is_readable(run: Path) -> None:
    text = call("show", run).stdout
    assert "Best networks" in text
    assert "No policy" in text
    assert "Where to look next" in text


def test_show_has_the_pareto_front(run: Path) -> None:
    shown = json.loads(call("show", run, "--pareto", "macs", "--top", "6", "--json").stdout)
    everything = [(one["validation_accuracy"], -one["macs"]) for one in shown["best"]]
    beaten = [any(a >= b and c >= d and (a, c) != (b, d) for a, c in everything) for b, d in everything]
    wanted = {one["key"] for one, is_beaten in zip(shown["best"], beaten, strict=True) if not is_beaten}
    assert {one["key"] for one in shown["pareto"]} == wanted
    macs = [one["macs"] for one in shown["pareto"]]
    assert macs == sorted(macs)
    assert "pareto" not in json.loads(call("show", run, "--json").stdout)
    assert "Pareto front of accuracy and macs" in " ".join(call("show", run, "--pareto", "macs").stdout.split())


def test_show_draws_the_pareto_front(run: Path, tmp_path: Path) -> None:
    assert call("show", run, "--pareto", "parameters", "--figure", tmp_path / "front.png").exit_code == 0
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    assert_refused(call("show", run, "--figure", tmp_path / "front.png"), "--pareto")
    assert_refused(call("show", run, "--pareto", "macs", "--figure", tmp_path / "front.nope"), "front.nope")
    assert_refused(call("show", run, "--pareto", "macs", "--figure", tmp_path / "none" / "front.png"), "front.png")


def test_a_front_over_what_is_not_known_is_refused(run: Path) -> None:
    assert_refused(call("show", run, "--pareto", "watts"), "latency_ms, parameters, macs")
    assert_refused(call("show", run, "--pareto", "latency_ms", "--json"), "latency=true")


def test_a_training_search_shows_what_is_known_of_its_numbers(tmp_path: Path) -> None:
    small = ["--env-arg", "epochs=1", "--env-arg", "first_per_class=20", "--env-arg", "max_layers=2"]
    options = [*small, "--agent", "random", "--evaluations", "2", "--confirm", "2", "--confirm-repeats", "1"]
    measured = ["--env-arg", "latency=true", "--env-arg", "objective=soft-latency:1"]
    result = call("search", *options, *measured, "--run-dir", tmp_path / "run")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    number = r"\d\.\d{4} ± \d\.\d{4}"
    mean = rf"validation accuracy {number} \(mean of 2 trainings\), test accuracy of the first training {number}, "
    assert re.search(mean + r".* MACs, \d+\.\d\d ms \(IQR \d+\.\d\d\)", text), text
    assert "The best 2 were trained 1 more times each, beyond the budget, before it was named." in text
    assert "by the objective soft-latency:1" in text
    assert re.search(rf"│ 1 │ {number} │", text)
    shown = json.loads(call("show", tmp_path / "run", "--json", "--pareto", "latency_ms").stdout)
    for one in shown["best"]:
        assert one["latency_ms"] > 0 and one["latency_iqr_ms"] >= 0 and one["trainings"] == 2
        assert one["validation_standard_error"] >= 0
    assert shown["pareto"]


def test_an_untrained_policy_is_said_to_be_close_to_chance_first(tmp_path: Path) -> None:
    options = ["--env-arg", "evaluator=hash", "--evaluations", "4", "--run-dir", tmp_path / "run"]
    assert call("search", *options).exit_code == 0
    account = nas_gym.load(tmp_path / "run").explanation()
    assert account[0].startswith("All free decisions were close to chance")
    text = " ".join(call("show", tmp_path / "run").stdout.split())
    assert text.index("All free decisions were close to chance") < text.index("activation =")
    assert "not what makes the network good" in text


def test_the_end_of_a_search_prints_how_its_explanations_were_checked(tmp_path: Path) -> None:
    path = tmp_path / "run"
    options = ["--env", "nas_gym/Table-v0", "--evaluations", "24", "--agent-arg", "n_steps=16", "--run-dir", path]
    text = call("search", *options).stdout
    checks = nas_gym.load(path).checks
    assert checks
    judged = [check["passed"] for check in checks if check["passed"] is not None]
    assert f"{sum(judged)} of {len(judged)} checks of these explanations passed" in text
    checks[0] |= {"passed": False, "sentence": "The parts do not add up."}
    (path / "explanations/checks.json").write_text(json.dumps(checks))
    assert "FAILED: The parts do not add up." in call("show", path).stdout


def test_sample_draws_from_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "run"
    options = ["--env-arg", "evaluator=hash", "--evaluations", "8", "--agent-arg", "n_steps=16", "--run-dir", path]
    assert call("search", *options).exit_code == 0
    first = json.loads(call("sample", path, "-n", "4", "--seed", "1", "--json").stdout)
    assert first == json.loads(call("sample", path, "-n", "4", "--seed", "1", "--json").stdout)
    assert len(first["architectures"]) == 4
    assert all(0 < one["probability"] <= 1 for one in first["architectures"])
    assert call("sample", path).exit_code == 0


def test_lists(tmp_path: Path) -> None:
    ids = [row["id"] for row in json.loads(call("envs", "--json").stdout)["environments"]]
    assert ids == list(nas_gym.IDS)
    agents = [row["agent"] for row in json.loads(call("agents", "--json").stdout)["agents"]]
    assert agents == list(AGENTS)
    assert agents[0] == "maskable-ppo"  # the default comes first
    facts = json.loads(call("doctor", "--json", "--data-root", tmp_path).stdout)
    assert facts["data"]["digits"] and facts["torch"]
    for command in ("envs", "agents", "doctor"):
        assert call(command).exit_code == 0


# Options, then words that the sentence must hold; TMP is the test's own folder.
MISTAKES = {
    "unknown id": ["--env", "nas_gym/Nope-v0", "nas_gym/Nope-v0"],
    "unknown package": ["--env", "no_such_package:Their/Env-v0", "no_such_package"],
    "foreign environment": ["--env", "CartPole-v1", "ArchitectureEnv"],
    "unknown agent": ["--agent", "nope", "maskable-ppo"],
    "unknown data set": ["--env", "nas_gym/Chain-v0", "--env-arg", "dataset=nope", "nope"],
    "missing file": ["--env", "nas_gym/Chain-v0", "--env-arg", "dataset=TMP/none.npz", "none.npz"],
    "wrong shapes": ["--env", "nas_gym/Chain-v0", "--env-arg", "dataset=TMP/shapes.npz", "shapes.npz"],
    "wrong labels": ["--env", "nas_gym/Chain-v0", "--env-arg", "dataset=TMP/labels.npz", "labels.npz"],
    "unknown option": ["--env-arg", "foo=1", "foo"],
    "no pair": ["--env-arg", "epochs", "NAME=VALUE"],
    "empty catalogue": ["--env-arg", "catalogue=[]", "catalogue"],
    "impossible parameters": ["--env-arg", "max_parameters=3", "raise a limit"],
    "impossible resolution": ["--env-arg", "min_layers=9", "raise a limit"],
    "zero budget": ["--evaluations", "0", "got 0"],
    "negative budget": ["--unique", "-4", "got -4"],
    "negative seed": ["--seed", "-1", "seed"],
    "bad recipe": ["--env-arg", "epochs=0", "epochs=0"],
    "recipe of a wrong type": ["--env-arg", "epochs=many", "epochs"],
    "limit of a wrong type": ["--env-arg", "max_macs=few", "macs"],
    "layers of a wrong type": ["--env-arg", "max_layers=deep", "max_layers"],
    "bad agent setting": ["--agent-arg", "n_steps=0", "n_steps"],
    "unknown agent setting": ["--agent-arg", "foo=1", "foo"],
    "no value for an agent setting": ["--agent-arg", "n_steps=null", "n_steps"],
    "batch of one": ["--agent-arg", "batch_size=1", "batch_size"],
    "no number": ["--agent-arg", "entropy=NaN", "JSON"],
    "large seed": ["--seed", "4294967296", "seed"],
    "no objective": ["--env-arg", "objective=x", "soft-latency:MS"],
    "objective out of range": ["--env-arg", "objective=soft-macs:-1", "target"],
    "latency that is not measured": ["--env-arg", "objective=soft-latency:5", "latency=true"],
    "memory on a CPU": ["--env-arg", "objective=soft-memory:100", "--device", "cpu", "peak_memory_mb"],
    "a proxy's accuracy": [
        *("--env-arg", "evaluator=proxy:parameters", "--env-arg", "objective=soft-macs:1e6"),
        "needs accuracy",
    ],
    "a proxy without one": ["--env-arg", "evaluator=hash", "--env-arg", "objective=proxy:-5", "needs proxy"],
    "latency of nothing": ["--env-arg", "evaluator=hash", "--env-arg", "objective=soft-latency:5", "latency_ms"],
    "late stop": ["--env-arg", "fidelity=stop=20", "--env-arg", "epochs=1", "can't stop after 20"],
    "large images": ["--env-arg", "fidelity=resolution=64", "resolution=64"],
    "no fidelity": ["--env-arg", "fidelity=3", "a fidelity is 'full'"],
    "vector of rewards": ["--env-arg", "objective=vector:accuracy:macs", "weighted:"],
    "no repeats": ["--env-arg", "repeats=0", "repeats"],
    "nothing to repeat": ["--env-arg", "evaluator=hash", "--env-arg", "repeats=2", "training"],
    "fewer than none": ["--confirm", "-1", "confirm"],
    "budget of the environment": ["--env-arg", "budget=5", "budget"],
    "no evaluator": ["--env-arg", "evaluator=5", "evaluator"],
    "no layers": ["--env-arg", 'catalogue=["x"]', "nas-gym envs"],
    "too many colons": ["--env", "a:b:c", "a:b:c"],
    "no module": ["--env", ":foo", ":foo"],
    "no such device": ["--device", "cuda:77", "cuda:77"],
    "unknown hyper-parameter": ["--env-arg", 'hyperparameters=["nope"]', "nope"],
    "place in a file": ["--run-dir", "TMP/file/run", "can't be made"],
    "place is a file": ["--run-dir", "TMP/file", "neither an empty folder nor a run"],
    "place is full": ["--run-dir", "TMP/full", "neither an empty folder nor a run"],
    "damaged store": ["--store", "TMP/damaged.sqlite", "damaged.sqlite"],
    "no database": ["--store", "TMP/text.sqlite", "text.sqlite"],
    "store nowhere": ["--store", "TMP/none/r.sqlite", "none"],
    "store in memory": ["--store", "sqlite://", "sqlite://"],
    "unknown database": ["--store", "nosuchdb://host/name", "nosuchdb"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with things that are not what they should be."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    wrong = {"x_train": np.zeros((20, 8, 8, 3, 1), np.uint8), "y_train": np.arange(20) % 2}
    np.savez(tmp_path / "shapes.npz", **wrong)
    np.savez(tmp_path / "labels.npz", x_train=np.zeros((20, 8, 8), np.uint8), y_train=np.full(20, -1))
    (tmp_path / "damaged.sqlite").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    (tmp_path / "text.sqlite").write_text("not a database, whatever its name says")
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_and_writes_nothing(
    mistake: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *options, words = (text.replace("TMP", str(place)) for text in MISTAKES[mistake])
    monkeypatch.chdir(place)
    before = tree(place)
    if "--evaluations" not in options and "--unique" not in options:
        options += ["--evaluations", "4"]
    if "--run-dir" not in options:
        options += ["--run-dir", str(place / "new")]
    assert_refused(call("search", *options), words)
    assert tree(place) == before
    assert not (place / "new").exists()


def assert_refused(result: Result, words: str) -> None:
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    (sentence,) = result.stderr.strip().splitlines()
    assert sentence.startswith("error: ") and words in sentence
    assert "Traceback" not in sentence


@pytest.mark.parametrize("command", ["show", "resume", "sample"])
def test_what_is_no_run_is_refused(command: str, tmp_path: Path) -> None:
    assert_refused(call(command, tmp_path / "nothing"), "no run directory")
    (tmp_path / "file").write_text("")
    assert_refused(call(command, tmp_path / "file"), "no run directory")


def test_other_settings_and_agents_without_a_policy_are_refused(run: Path) -> None:
    assert_refused(call("search", *QUICK, "--seed", "5", "--run-dir", run), "other settings")
    assert_refused(call("sample", run), "no policy")


def test_a_damaged_database_of_a_run_is_refused_and_left_alone(run: Path) -> None:
    for extra in ("-wal", "-shm"):
        (run / f"results.sqlite{extra}").unlink(missing_ok=True)
    content = (run / "results.sqlite").read_bytes()
    (run / "results.sqlite").write_bytes(content[:100] + b"\xff" * 2000 + content[2100:])
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(state | {"result": None, "state": "running"}))
    before = tree(run)
    assert_refused(call("show", run), "results.sqlite")
    assert_refused(call("resume", run), "results.sqlite")
    assert tree(run) == before


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-m", "nas_gym", "search", "--env-arg", "epochs=1", "--run-dir", str(path)]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (path / "history.jsonl").exists() or (path / "history.jsonl").stat().st_size < 300:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(rf"nas-gym resume {re.escape(str(path))}", stderr)
    assert "Traceback" not in stderr
    assert nas_gym.load(path).content["state"] == "interrupted"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_waiting_threads_go_to_sleep_soon_unless_the_user_has_a_policy(
    before: dict[str, str], after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(before))
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(cli, "app", lambda: seen.append(dict(os.environ)))
    cli.main()
    assert seen == [after]


def test_quiet_without_a_terminal(tmp_path: Path) -> None:
    result = call("search", *QUICK, "--run-dir", tmp_path / "run")
    assert result.stderr.count("\n") == 1
