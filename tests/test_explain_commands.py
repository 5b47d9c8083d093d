"""The command ``nas-gym explain``, as a user meets it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import nas_gym
from nas_gym.cli import app
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def flat(result: Result) -> str:
    return " ".join(result.stdout.split())


@pytest.fixture(scope="module")
def unexplained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search on a table that explained nothing."""
    run = tmp_path_factory.mktemp("runs") / "run"
    runner.search(
        SearchSettings(env="nas_gym/Table-v0", evaluations=24, agent_args={"n_steps": 16}, explain="none"), run
    )
    return run


def test_it_tells_why_what_it_earned_who_taught_it_and_what_mattered(unexplained: Path) -> None:
    said = flat(run_command(unexplained))
    run = nas_gym.load(unexplained)
    assert f"{len(run.decisions)} decisions explained" in said
    for sentence in run.explanation():
        assert " ".join(sentence.split()) in said
    (best,) = run.best(1)
    for slot, choice in best.choices:
        assert f"{slot} = {choice}" in said
    for title in ("Where the preference came from", "What mattered in the whole search", "credit, shapley_table: "):
        assert title in said
    assert "passed: The parts of every explanation add up" in said
    assert "--train" not in said, "a table knows what might have been"
    written = {file.name for file in (unexplained / "explanations").iterdir()}
    assert written >= {"checks.json", "credit.parquet", "importance.json", "importance.png", "influence.parquet"}


def test_a_second_time_nothing_is_left_to_explain(unexplained: Path) -> None:
    run_command(unexplained)
    told = json.loads(run_command(unexplained, "--json").stdout)
    assert told["run_dir"] == str(unexplained)
    assert told["attributions"]["explained"] == 0
    assert {view["name"] for view in told["views"]} >= {"shapley_table", "regret", "critic_waterfall"}
    again = json.loads(run_command(unexplained, "--all", "--json").stdout)
    assert again["attributions"]["explained"] == len(nas_gym.load(unexplained).decisions)


def test_the_second_best_network_can_be_asked_for(unexplained: Path) -> None:
    said = flat(run_command(unexplained, "--network", 2))
    for slot, choice in nas_gym.load(unexplained).best(2)[1].choices:
        assert f"{slot} = {choice}" in said


def test_an_agent_without_a_policy_says_what_there_is_not(tmp_path: Path) -> None:
    runner.search(SearchSettings(env="nas_gym/Table-v0", agent="random", evaluations=20), tmp_path / "run")
    said = flat(run_command(tmp_path / "run"))
    assert "no attributions" in said
    assert "no influence" in said
    assert "credit, shapley_table: " in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "no run directory"),
        (["RUN", "--train", "1", "--fidelity", "naps=3"], "naps"),
        (["RUN", "--network", "9999"], "number 9999 was asked for"),
    ],
    ids=["no run", "unknown fidelity", "no such network"],
)
def test_bad_input_is_one_sentence(unexplained: Path, arguments: list[str], sentence: str) -> None:
    result = run_command(*(unexplained if one == "RUN" else one for one in arguments))
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
