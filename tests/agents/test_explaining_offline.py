"""Explaining after the search equals explaining while it ran."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import nas_gym
from nas_gym.errors import RunError
from nas_gym.explain.record import OUT_OF_BUDGET, UNEXPLAINED, Decision
from nas_gym.explain.rewriting import decision_of, rewrite
from nas_gym.run import Run
from nas_gym_agents import runner
from nas_gym_agents.explaining_offline import extend
from nas_gym_agents.explanations import explain_afterwards
from nas_gym_agents.settings import SearchSettings


def searched(path: Path, agent: str = "maskable-ppo", **more: object) -> Path:
    settings = SearchSettings(env="nas_gym/Table-v0", agent=agent, evaluations=60, seed=3, **more)  # type: ignore[arg-type]
    runner.search(settings, path)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    arguments = {"n_steps": 32}
    return {e: searched(folder / e, explain=e, agent_args=arguments) for e in ("all", "none")}


def decisions_of(run: Run) -> list[Decision]:
    return [decision_of(row, run.header) for row in run.decisions.to_dict("records")]


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def test_what_was_left_out_is_explained_as_the_search_would_have(runs: dict[str, Path], tmp_path: Path) -> None:
    late = nas_gym.load(copied(runs["none"], tmp_path / "run"))
    assert (late.decisions["flags"] & UNEXPLAINED).all()
    found = extend(nas_gym.load(late.path))
    live, late = nas_gym.load(runs["all"]).decisions, nas_gym.load(late.path).decisions
    assert found.explained == len(live) == len(late)
    assert found.logp_error < 1e-4 and found.residual < 1e-4
    assert not (late["flags"] & (UNEXPLAINED | OUT_OF_BUDGET)).any()
    for column in ("episode", "step", "action", "policy_version", "n_players", "explainer_id", "baseline_id"):
        np.testing.assert_array_equal(live[column], late[column])
    for column in ("phi", "phi0_actions", "value_phi"):
        np.testing.assert_allclose(np.stack(live[column]), np.stack(late[column]), atol=1e-5)
    np.testing.assert_allclose(np.stack(live["phi_actions"]), np.stack(late["phi_actions"]), atol=1e-2)  # float16
    assert nas_gym.load(tmp_path / "run").header.note == ""


def test_a_second_time_there_is_nothing_to_do(runs: dict[str, Path], tmp_path: Path) -> None:
    run = nas_gym.load(copied(runs["all"], tmp_path / "run"))
    before = {part: part.read_bytes() for part in sorted((run.path / "decisions").glob("part-*"))}
    assert extend(run).explained == 0
    assert {part: part.read_bytes() for part in before} == before
    assert extend(nas_gym.load(run.path), every=True).explained == len(run.decisions)


def test_decisions_drawn_within_a_time_budget_count_once_when_all_are_explained(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run = nas_gym.load(copied(runs["all"], tmp_path / "run"))
    drawn = [(d.episode, d.step) for d in decisions_of(run) if d.episode % 3 == 0]

    def as_drawn(decisions: Sequence[Decision]) -> list[Decision]:
        return [replace(d, sampling_probability=0.25) if (d.episode, d.step) in drawn else d for d in decisions]

    rewrite(run.path / "decisions", as_drawn)
    assert (nas_gym.load(run.path).decisions["sampling_probability"] < 1).any()
    assert extend(nas_gym.load(run.path)).explained == 0
    assert set(nas_gym.load(run.path).decisions["sampling_probability"]) == {1.0}


def test_what_is_checked_afterwards_is_told_to_the_tab_and_a_damaged_file_is_made_again(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run = copied(runs["none"], tmp_path / "run")
    told = explain_afterwards(nas_gym.load(run))["checks"]
    records = [e for file in (run / "tensorboard").glob("*.explained") for e in EventFileLoader(str(file)).Load()]
    assert "nas/checks" in {value.tag for event in records for value in event.summary.value}
    (run / "explanations/checks.json").write_text(json.dumps(told)[:40])
    assert nas_gym.load(run).checks is None
    assert explain_afterwards(nas_gym.load(run))["checks"] == told == nas_gym.load(run).checks


def test_another_policy_than_the_one_that_acted_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    run = copied(runs["none"], tmp_path / "run")
    other = searched(tmp_path / "other", explain="none", agent_args={"n_steps": 32, "hidden": 32})
    shutil.copytree(other / "decisions/updates", run / "decisions/updates", dirs_exist_ok=True)
    before = sorted((run / "decisions").glob("part-*"))[0].read_bytes()
    with pytest.raises(RunError, match="are not those that acted"):
        extend(nas_gym.load(run))
    assert sorted((run / "decisions").glob("part-*"))[0].read_bytes() == before


def test_the_end_of_a_search_and_the_command_tell_the_same_credit(runs: dict[str, Path], tmp_path: Path) -> None:
    run = copied(runs["all"], tmp_path / "run")
    before = json.loads((run / "explanations/credit.json").read_text())
    checks = json.loads((run / "explanations/checks.json").read_text())
    assert {check["passed"] for check in checks if check["name"] in ("additivity", "log_probability_match")} == {True}
    told = explain_afterwards(nas_gym.load(run))
    assert told["views"] == before["views"]
    assert told["checks"] == checks


def test_a_search_that_explained_nothing_is_checked_afterwards(runs: dict[str, Path], tmp_path: Path) -> None:
    run = copied(runs["none"], tmp_path / "run")
    assert not (run / "explanations/checks.json").exists()
    told = explain_afterwards(nas_gym.load(run))
    live = json.loads((runs["all"] / "explanations/checks.json").read_text())
    assert json.loads((run / "explanations/checks.json").read_text()) == told["checks"]
    assert [check["name"] for check in told["checks"]] == [check["name"] for check in live]
    passed = {check["name"]: check["passed"] for check in told["checks"]}
    assert passed["additivity"] and passed["log_probability_match"] and passed["fast_path"]


def test_an_agent_without_a_policy_gets_credit_and_no_attributions(tmp_path: Path) -> None:
    run = searched(tmp_path / "run", agent="local-search")
    told = explain_afterwards(nas_gym.load(run))
    assert "without a policy" in told["missing"]["attributions"]
    assert "shapley_table" in {view["name"] for view in told["views"]}
    assert told["checks"] == []
