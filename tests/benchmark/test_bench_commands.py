"""nas-gym bench, bench report, bench submit and validate: output, exit codes, a sentence for every mistake."""

import json
from pathlib import Path

import pytest
from entries import TABLE
from typer.testing import CliRunner, Result

from nas_gym.cli import app
from nas_gym_agents.benchmark import Results

SMALL = ("--env", TABLE, "--agents", "random", "--seeds", "2", "--budget", "evaluations=6")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def assert_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert all(word in result.stderr for word in words), result.stderr


def test_the_way_of_a_benchmark(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = call("bench", *SMALL, "--noise", "0.003", "--agent-arg", "regularized-evolution.sample=2", "--out", out)
    assert first.exit_code == 0, first.output
    assert "local-search and regularized-evolution always take part" in first.stderr
    assert "score at the end" in first.stdout
    plan = Results.read(out).plan
    assert plan.agents["regularized-evolution"] == {"sample": 2}
    reported = call("bench", "report", out, "--json")
    assert reported.exit_code == 0
    assert len(json.loads(reported.stdout)["tracks"]) == 2
    checked = call("validate", out)
    assert checked.exit_code == 0
    assert "7 of 7 claims hold" in checked.stdout
    row = tmp_path / "row.json"
    row.write_text(call("bench", "submit", out, "--agent", "random").stdout)
    told = json.loads(call("validate", row, "--json").stdout)
    assert told["holds"] is True
    assert len(told["claims"]) == 2 + 3
    lie = json.loads(row.read_text())
    lie["claim"]["mean"] = 0.999
    row.write_text(json.dumps(lie))
    failed = call("validate", row)
    assert failed.exit_code == 1
    assert "DOES NOT HOLD" in failed.stdout


def test_json_is_one_object(tmp_path: Path) -> None:
    result = call("bench", *SMALL, "--out", tmp_path / "out", "--json")
    (line,) = result.stdout.splitlines()
    assert {"results", "plan", "tracks"} <= set(json.loads(line))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget", "unique"), ("budget", "unique")),
        (("--budget", "epochs=3"), ("budget", "epochs=3")),
        (("--agents", "nobody,random"), ("nobody",)),
        (("--env", "nas_gym/Nothing-v0"), ("Nothing",)),
        (("--env-arg", "colour=red"), ("colour",)),
        (("--env-arg", "score=beauty"), ("beauty", "test")),
        (("--agent-arg", "random=3"), ("AGENT.NAME=VALUE",)),
        (("--agent-arg", "random.speed=3"), ("speed",)),
        (("--agent-arg", "tpe.speed=3"), ("tpe",)),
        (("--seeds", "0"), ("seeds",)),
        (("--noise", "2"), ("noise",)),
        (("--env-arg", "noise=0.05"), ("use --noise",)),
    ],
)
def test_mistakes(arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path) -> None:
    result = call("bench", *SMALL, *arguments, "--out", tmp_path / "out")
    told = [line for line in result.stderr.splitlines() if "always take part" not in line]
    assert result.exit_code == 2, result.output
    assert len(told) == 1
    assert all(word in told[0] for word in words), told
    assert list(tmp_path.iterdir()) == []


def test_other_mistakes(results: Results, tmp_path: Path) -> None:
    assert_refused(call("bench"), "--env ID", "--out DIR")
    assert_refused(call("bench", "report", tmp_path), "no results directory")
    assert_refused(call("validate", tmp_path), "nothing to validate")
    assert_refused(call("bench", "submit", results.path, "--agent", "nobody"), "nobody", "random")
    assert_refused(call("bench", "submit", results.path, "--agent", "random", "--track", "loud"), "loud")
    taken = call("bench", *SMALL, "--out", results.path)
    assert taken.exit_code == 2
    assert "another plan" in taken.stderr


def test_tables_without_costs_take_no_budget_of_seconds(tmp_path: Path) -> None:
    import numpy as np

    from nas_gym.spaces import Slot
    from nas_gym.tables import BenchmarkTable
    from nas_gym.tables.benchmark import write_benchmark

    table = BenchmarkTable(
        name="free",
        slots=(Slot("a", ("x", "y")), Slot("b", ("x", "y"))),
        decisions=np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.int16),
        accuracies={"full": np.array([[0.1], [0.2], [0.3], [0.4]], dtype=np.float32)},
        scores={"test": np.array([0.1, 0.2, 0.4, 0.3], dtype=np.float32)},
    )
    write_benchmark(table, tmp_path / "free.parquet")
    named = ("--env-arg", f"table={tmp_path / 'free.parquet'}")
    refused = call("bench", *SMALL, *named, "--budget", "simulated_seconds=9", "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "no cost" in refused.stderr
    assert call("bench", *SMALL, *named, "--out", tmp_path / "out").exit_code == 0
    assert call("bench", "report", tmp_path / "out").exit_code == 0
    assert call("validate", tmp_path / "out").exit_code == 0
