"""The credit of runs: every view that a run allows, the reasons for the others, the files, and trainings on request."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nas_gym
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.evaluation import HashEvaluator
from nas_gym.explain import credit as names
from nas_gym.explain.credit_file import CREDIT_FACTS, CREDIT_TABLE, NO_STEP, read_credit
from nas_gym.explain.credit_run import chosen_episodes, credit_of_run
from nas_gym.explain.credit_views import Ground, errors_of_shapley
from nas_gym.history import Episode
from nas_gym.run import Run
from nas_gym.run_directory import EXPLANATIONS, RESULTS
from nas_gym.store import ResultStore
from nas_gym_agents import explaining_credit, runner
from nas_gym_agents.explaining_credit import TRAININGS, Trainings, explain_credit, ground_of, planned_trainings
from nas_gym_agents.settings import SearchSettings

EVERY = set(names.VIEWS)
EXACT = {names.COUNTERFACTUAL, names.COUNTERFACTUAL_BEST, names.TABLE, names.EXPECTED, names.REGRET}


def searched(path: Path, env: str = "nas_gym/Table-v0", evaluations: int = 60, **settings: Any) -> Run:
    runner.search(SearchSettings(env=env, evaluations=evaluations, explain="none", **settings), path)
    return nas_gym.load(path)


@pytest.fixture(scope="module")
def on_a_table(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return searched(tmp_path_factory.mktemp("table") / "run", agent="maskable-ppo")


@pytest.fixture(scope="module")
def without_a_table(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return searched(
        tmp_path_factory.mktemp("hash") / "run",
        env="nas_gym/Chain-Digits-v0",
        env_args={"evaluator": "hash", "max_layers": 3, "objective": "soft-macs:20000:0:-1"},
        agent="genetic",
    )


@pytest.fixture(scope="module")
def frame(on_a_table: Run) -> pd.DataFrame:
    """The credit of the run on a table; to be read only."""
    return credit_of_run(on_a_table, ground_of(on_a_table)).frame()


def test_a_policy_on_a_table_has_every_view_and_its_files_say_what_they_are(on_a_table: Run) -> None:
    written = explain_credit(on_a_table)
    frame, facts = read_credit(on_a_table.path / EXPLANATIONS)
    assert set(frame["view"]) == EVERY == {view["name"] for view in facts["views"]}
    assert facts["missing"] == {} and facts["rows"] == len(frame) == len(written.rows)
    assert (facts["unit"], facts["factor"], facts["objective"]) == ("points of accuracy", 100.0, "accuracy")
    assert facts == json.loads((on_a_table.path / EXPLANATIONS / CREDIT_FACTS).read_text()) == written.facts()
    assert not list((on_a_table.path / EXPLANATIONS).glob("*.tmp"))
    views = {view["name"]: view for view in facts["views"]}
    assert views[names.SURROGATE]["quality"]["n_networks"] == len({e.actions for e in on_a_table.history})
    assert {"rank_correlation", "error", "spread", "folds"} <= set(views[names.SURROGATE]["quality"])
    assert f"{views[names.SURROGATE]['quality']['rank_correlation']:.2f}" in views[names.SURROGATE]["trust"]
    assert "explained_variance" in views[names.CRITIC]["quality"]
    assert all(views[name]["quality"]["table"] == "fashion-chain" for name in (names.TABLE, names.REGRET))
    for name in EVERY - {names.CRITIC}:
        assert set(frame.loc[frame["view"] == name, "trusted"]) == {views[name]["trusted"]}


@pytest.mark.parametrize("view", [names.CRITIC, names.EXPECTED, names.TABLE])
def test_credits_and_their_base_sum_to_the_reward(on_a_table: Run, frame: pd.DataFrame, view: str) -> None:
    rewards = {episode.number: episode.reward for episode in on_a_table.history}
    grouped = frame[frame["view"] == view].groupby("episode")
    assert set(grouped.groups) == set(rewards)
    for number, rows in grouped:
        assert rows["base"].iloc[0] + rows["credit"].sum() == pytest.approx(rewards[number], abs=1e-6)


def test_regrets_sum_to_what_the_score_of_the_network_misses(on_a_table: Run, frame: pd.DataFrame) -> None:
    ground = ground_of(on_a_table)
    table, space = ground.table, ground.space
    assert table is not None and space is not None
    candidates = {e.number: space.candidate(e.actions) for e in on_a_table.history}
    for number, rows in frame[frame["view"] == names.REGRET].groupby("episode"):
        missed = table.table.scores["test"].max() - table.score(candidates[number])
        assert rows["credit"].min() >= 0 and rows["credit"].sum() == pytest.approx(missed)


def test_every_decision_has_one_row_and_open_slots_are_told_apart(on_a_table: Run, frame: pd.DataFrame) -> None:
    n_slots = len(on_a_table.content["slots"])
    for episode in on_a_table.history:
        mine = frame[frame["episode"] == episode.number]
        for view in EVERY:
            rows = mine[mine["view"] == view]
            decided = rows[rows["step"] != NO_STEP]
            assert decided["step"].tolist() == list(range(len(episode.actions)))
            assert decided["slot"].tolist() == list(episode.slots)
            open_ = rows.loc[rows["step"] == NO_STEP, "slot"].tolist()
            of_slots = view in (names.TABLE, names.SURROGATE)
            assert sorted([*open_, *episode.slots]) == list(range(n_slots)) if of_slots else open_ == []


def test_intervals_are_there_where_the_table_has_repeats(frame: pd.DataFrame) -> None:
    for view, known in ((names.COUNTERFACTUAL, True), (names.TABLE, True), (names.CRITIC, False)):
        rows = frame[(frame["view"] == view) & frame["credit"].notna()]
        assert rows["low"].notna().all() == rows["high"].notna().all() == known
        if known:
            assert ((rows["low"] <= rows["credit"]) & (rows["credit"] <= rows["high"])).all()
    rows = frame[frame["view"] == names.COUNTERFACTUAL]
    assert (rows["alternatives"] > 0).equals(rows["credit"].notna())


def test_the_error_of_a_shapley_value_is_the_spread_over_tables_with_that_noise() -> None:
    decisions = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.int16)
    found = errors_of_shapley(decisions, np.full(4, 0.1), seed=0, draws=4000)
    # Half of v(0) - v() and half of v(01) - v(1); of row 00, by the scores of 00, 01, 10, 11. The others by symmetry.
    weights = np.array([3, 1, -3, -1]) / 8
    np.testing.assert_allclose(found, 0.1 * np.sqrt((weights**2).sum()), rtol=0.06)


def test_without_a_policy_or_a_table_the_other_views_say_why_they_are_missing(without_a_table: Run) -> None:
    credit = explain_credit(without_a_table)
    assert {view.name for view in credit.views} == {names.SURROGATE}
    assert "no critic" in credit.missing[names.CRITIC]
    assert {credit.missing[name] for name in EXACT} == {"the rewards of this run came from no table"}
    assert (credit.unit, credit.factor, credit.objective) == ("units of reward", 1.0, "soft-macs:20000:0:-1")
    assert credit.view(names.CRITIC) is None


def test_a_surrogates_credits_sum_to_its_prediction_of_the_network(without_a_table: Run) -> None:
    rows = credit_of_run(without_a_table, ground_of(without_a_table)).frame()
    totals = rows.groupby("episode")["credit"].sum() + rows.groupby("episode")["base"].first()
    rewards = np.array([without_a_table.history[number].reward for number in totals.index])
    assert np.corrcoef(totals, rewards)[0, 1] > 0.9, "it was fitted to them"
    same = {}
    for number, total in totals.items():
        same.setdefault(without_a_table.history[number].actions, set()).add(round(total, 9))
    assert all(len(found) == 1 for found in same.values())


def test_too_few_networks_are_a_reason(tmp_path: Path) -> None:
    run = searched(tmp_path / "run", evaluations=20, agent="random")
    credit = credit_of_run(run, ground_of(run))
    assert set(credit.missing) == {names.CRITIC, names.SURROGATE}
    assert "30 distinct networks or more" in credit.missing[names.SURROGATE]


def test_where_the_environment_can_not_be_made_the_critic_still_speaks(
    on_a_table: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: SearchSettings) -> Any:
        raise ConfigurationError("its data are gone")

    monkeypatch.setattr(explaining_credit.SearchSettings, "make_env", gone)
    credit = credit_of_run(on_a_table, ground_of(on_a_table))
    assert {view.name for view in credit.views} == {names.CRITIC}
    assert all("its data are gone" in reason for reason in credit.missing.values())
    with pytest.raises(ConfigurationError, match="its data are gone"):
        planned_trainings(on_a_table, Trainings())


def test_another_table_than_that_of_the_run_is_not_used(on_a_table: Run, tmp_path: Path) -> None:
    run = nas_gym.load(on_a_table.path)
    run.content["namespace"] = "chain/1/other tabular/1 other"
    assert "made with another space, table" in ground_of(run).reason
    assert ground_of(run).space is None
    assert credit_of_run(run).missing[names.TABLE] == Ground().reason


def test_many_episodes_are_thinned_out_the_best_first() -> None:
    finished = [Episode(i, (0,), (0,), "k", "ok", float(i % 97)) for i in range(3000)]
    chosen = chosen_episodes(finished)
    numbers = [one.number for one in chosen]
    assert len(numbers) == len(set(numbers)) == 2000 and numbers == sorted(numbers)
    best = sorted(finished, key=lambda one: (-one.reward, one.number))[:500]
    assert {one.number for one in best} <= set(numbers)
    rest = [one.number for one in finished if one not in best]
    places = [place for place, number in enumerate(rest) if number in set(numbers)]
    assert (places[0], places[-1], max(np.diff(places))) == (0, 2499, 2), "evenly spaced"
    assert chosen_episodes(finished[:7], most=3) == sorted(
        sorted(finished[:7], key=lambda one: -one.reward)[:3], key=lambda one: one.number
    )
    assert chosen_episodes([]) == []


def test_how_many_were_left_out_is_told(on_a_table: Run) -> None:
    credit = credit_of_run(on_a_table, ground_of(on_a_table), most=10)
    assert (credit.episodes, credit.left_out) == (10, 50)
    assert {row.episode for row in credit.rows} == {one.number for one in chosen_episodes(on_a_table.history, 10)}


def test_single_episodes_can_be_asked_for(on_a_table: Run) -> None:
    credit = credit_of_run(on_a_table, ground_of(on_a_table), episodes=[7, 3, 7])
    assert {row.episode for row in credit.rows} == {3, 7} and credit.left_out == 58
    with pytest.raises(RunError, match="number 999"):
        credit_of_run(on_a_table, ground_of(on_a_table), episodes=[3, 999])


def test_on_request_replacements_are_trained_once_and_the_runs_results_stay(
    without_a_table: Run, tmp_path: Path
) -> None:
    run = nas_gym.load(shutil.copytree(without_a_table.path, tmp_path / "run"))
    before = ResultStore(run.path / RESULTS)
    n_before = len(before)
    before.close()
    asked = Trainings(best=2)
    planned = planned_trainings(run, asked)
    credit = explain_credit(run, trainings=asked)
    view = credit.view(names.COUNTERFACTUAL)
    assert view is not None and view.quality["n_networks"] == 2 and "one training" in str(view.quality["how"])
    rows = [row for row in credit.rows if row.view == names.COUNTERFACTUAL]
    assert {row.episode for row in rows} == {one.episode for one in run.best(2)}
    env = SearchSettings.from_json(run.settings).make_env()
    stores = ResultStore(run.path / EXPLANATIONS / TRAININGS), ResultStore(run.path / RESULTS)
    new, old = len(stores[0]), len(stores[1])
    for store in stores:
        store.close()
    assert old == n_before and 0 < new < planned, "what the run had evaluated was taken from it"
    best = run.best(1)[0]
    (own,) = env.evaluator.submit([best.candidate])
    reward = run.history[best.episode].reward
    assert env.objective(own.result()) == pytest.approx(reward)
    explain_credit(run, trainings=asked)
    again = ResultStore(run.path / EXPLANATIONS / TRAININGS)
    assert len(again) == new
    again.close()


def test_what_was_trained_on_request_is_told_by_every_later_call_and_nothing_more_is_trained(
    without_a_table: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = nas_gym.load(shutil.copytree(without_a_table.path, tmp_path / "run"))
    paid = explain_credit(run, trainings=Trainings(best=1))
    monkeypatch.setattr(HashEvaluator, "submit", None)  # whoever evaluates fails
    later = explain_credit(run)
    for view in (names.COUNTERFACTUAL, names.COUNTERFACTUAL_BEST):
        told = [[row for row in credit.rows if row.view == view] for credit in (paid, later)]
        assert told[0] == told[1] and told[0]
    (run.path / EXPLANATIONS / TRAININGS).unlink()
    kept = explain_credit(run).view(names.COUNTERFACTUAL)
    assert kept is None or kept.quality["n_networks"] <= 1, "what is not on record is not known, and no error"


def test_trained_and_looked_up_credit_are_the_same_on_a_table(on_a_table: Run, tmp_path: Path) -> None:
    run = nas_gym.load(shutil.copytree(on_a_table.path, tmp_path / "run"))
    trained = explain_credit(run, trainings=Trainings(best=1))
    number = run.best(1)[0].episode
    rows = [row for row in trained.rows if row.view == names.COUNTERFACTUAL]
    known = [
        row for row in credit_of_run(run, ground_of(run), episodes=[number]).rows if row.view == names.COUNTERFACTUAL
    ]
    assert [row.credit for row in rows] == pytest.approx([row.credit for row in known], nan_ok=True)


@pytest.mark.parametrize(
    ("asked", "sentence"), [({"best": 0}, "best"), ({"repeats": 0}, "repeats"), ({"fidelity": "soon"}, "fidelity")]
)
def test_impossible_trainings_are_refused(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Trainings(**asked)


@pytest.mark.parametrize("damage", ["missing", "torn", "foreign"])
def test_credit_that_can_not_be_read_is_a_sentence(on_a_table: Run, tmp_path: Path, damage: str) -> None:
    if damage != "missing":
        credit_of_run(on_a_table, ground_of(on_a_table), episodes=[1]).write(tmp_path)
        place = tmp_path / CREDIT_TABLE
        if damage == "torn":
            place.write_bytes(place.read_bytes()[:100])
        else:
            shutil.copy(next((on_a_table.path / "decisions").glob("*.parquet")), place)
    with pytest.raises(RunError, match="nas-gym explain RUN computes it"):
        read_credit(tmp_path)


def test_the_space_of_another_run_is_refused(on_a_table: Run, without_a_table: Run) -> None:
    with pytest.raises(RunError, match="not the space of the run"):
        credit_of_run(on_a_table, ground_of(without_a_table))
