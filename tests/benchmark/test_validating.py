"""Which claims hold: true ones do, and every kind of lie is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from entries import TABLE

from nas_gym.document import as_markdown
from nas_gym.errors import RunError
from nas_gym_agents.benchmark import Plan, Results, benchmark
from nas_gym_agents.benchmark.checklist import checklist
from nas_gym_agents.benchmark.chunks import schema
from nas_gym_agents.benchmark.submission import submission
from nas_gym_agents.benchmark.validating import validate

LEADERBOARD = Path(__file__).parents[2] / "leaderboard"


Change = Callable[[pd.DataFrame], pd.DataFrame]


def changed(results: Results, folder: Path, change: Change) -> Path:
    shutil.copytree(results.path, folder)
    frame = change(results.frame)
    pq.write_table(pa.Table.from_pandas(frame, schema=schema(), preserve_index=False), folder / "results.parquet")
    return folder


def put(column: str, value: object) -> Change:
    """Return a function that changes one cell."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.at[7, column] = value
        return frame

    return change


def test_true_claims_hold(results: Results) -> None:
    checked = validate(results.path)
    assert len(checked) == 1 + 2 * 3
    assert all(one.holds for one in checked), checked


LIES: dict[str, Change] = {
    "reward": put("reward", 0.99),
    "score": put("score", 0.99),
    "unique": put("unique", 1),
    "cost_seconds": put("cost_seconds", 1.0),
    "not x": put("key", "x"),
    "allowed are": put("actions", [0, 99]),
    "numbered": lambda frame: frame.drop(index=7),
    "seeds 0 to 4": lambda frame: frame[frame["seed"] != 2],
}


@pytest.mark.parametrize("word", LIES)
def test_lies_are_found(word: str, results: Results, tmp_path: Path) -> None:
    checked = validate(changed(results, tmp_path / "copy", LIES[word]))
    failed = [one for one in checked if not one.holds]
    assert failed
    assert word in failed[0].detail
    if word != "seeds 0 to 4":
        assert len(failed) == 1


def test_a_search_beyond_its_budget_is_found(results: Results, tmp_path: Path) -> None:
    shutil.copytree(results.path, tmp_path / "copy")
    content = json.loads((results.path / "plan.json").read_text())
    content["plan"]["amount"] = 20
    (tmp_path / "copy" / "plan.json").write_text(json.dumps(content))
    assert "budget" in next(one for one in validate(tmp_path / "copy") if not one.holds).detail


def test_another_table_is_found(results: Results, tmp_path: Path) -> None:
    shutil.copytree(results.path, tmp_path / "copy")
    content = json.loads((results.path / "plan.json").read_text())
    content["environments"][TABLE]["digest"] = "another"
    (tmp_path / "copy" / "plan.json").write_text(json.dumps(content))
    (failed,) = [one for one in validate(tmp_path / "copy") if not one.holds]
    assert "another" in failed.detail


@pytest.mark.parametrize("track", ["noise-free", "noise 0.003"])
def test_submissions_are_replayed(track: str, results: Results, tmp_path: Path) -> None:
    made = submission(results, "random", track=track)
    file = tmp_path / "row.json"
    file.write_text(json.dumps(made))
    checked = validate(file)
    assert len(checked) == 5 + 3
    assert all(one.holds for one in checked), checked
    made["seeds"][1]["score"] += 0.01
    made["seeds"][2]["actions"] = [0]
    made["seeds"][3]["score"] = float("nan")
    file.write_text(json.dumps(made))
    assert [one.holds for one in validate(file)] == [True, False, False, False, True] + [False] * 3


@pytest.mark.parametrize("name", ["mean", "std", "iqm"])
def test_every_number_over_the_seeds_is_checked(name: str, results: Results, tmp_path: Path) -> None:
    made = submission(results, "random")
    made["claim"][name] += 0.001
    (tmp_path / "row.json").write_text(json.dumps(made))
    (failed,) = [one for one in validate(tmp_path / "row.json") if not one.holds]
    assert f"{name} of the scores" in failed.claim


@pytest.mark.slow
def test_real_trainings_are_made_again_and_their_seconds_are_not_compared(tmp_path: Path) -> None:
    options = {"epochs": 1, "threads": 1}
    plan = Plan.of(env="nas_gym/Chain-Digits-v0", env_args=options, seeds=1, budget="evaluations=2")
    results = benchmark(plan, tmp_path / "out")
    assert all(one.holds for one in validate(results.path)), validate(results.path)
    lie = changed(results, tmp_path / "copy", lambda frame: frame.assign(reward=frame["reward"] + 0.01))
    assert not any(one.holds for one in validate(lie)[1:])
    assert "Costs are seconds measured here" in as_markdown(checklist(results))


def test_what_is_no_submission_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"schema": 2}', '{"schema": 1, "agent": "a"}'):
        (tmp_path / "row.json").write_text(text)
        with pytest.raises(RunError, match="no submission"):
            validate(tmp_path / "row.json")
    with pytest.raises(RunError, match="nothing to validate"):
        validate(tmp_path / "nowhere")


def test_a_missing_table_leaves_a_submission_unchecked(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_GYM_TABLES", str(tmp_path / "none"))
    made = submission(results, "random") | {"env": "nas_gym/NB201-CIFAR100-v0"}
    (tmp_path / "row.json").write_text(json.dumps(made))
    (checked,) = validate(tmp_path)
    assert checked.holds is None
    assert "missing" in checked.detail


def test_the_leaderboard_holds() -> None:
    assert [one for one in validate(LEADERBOARD) if one.holds is False] == []


def test_the_template_has_the_fields_of_a_submission(results: Results) -> None:
    template = json.loads((LEADERBOARD / "TEMPLATE.json").read_text())
    made = submission(results, "random")
    assert set(template) == set(made)
    assert set(template["seeds"][0]) == set(made["seeds"][0])
    assert set(template["claim"]) == set(made["claim"])
