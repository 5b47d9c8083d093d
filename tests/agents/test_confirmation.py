"""The best networks are trained again before one is named: beyond the budget, and only where it counts."""

import sqlite3
import statistics
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import nas_gym
from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, StoredEvaluator
from nas_gym.store import ResultStore
from nas_gym_agents import runner
from nas_gym_agents.confirmation import Confirmation, confirm
from nas_gym_agents.settings import SearchSettings
from nas_gym_envs import make_chain

# Small trainings whose accuracies differ from repeat to repeat.
SMALL = {"epochs": 1, "first_per_class": 20, "max_layers": 2}


def candidates(n: int) -> list[Candidate]:
    space = make_chain(preset="nas_gym/Chain-Digits-v0", evaluator="hash", max_layers=1).space
    return [space.candidate((0, action)) for action in range(n)]


def rows(run: Path) -> dict[tuple[str, int], tuple[float, float]]:
    """Return time of commit and accuracy of everything in the store, by key and repeat."""
    with sqlite3.connect(run / "results.sqlite") as connection:
        found = connection.execute("select key, repeat, created, accuracy from evaluations")
        return {row[:2]: row[2:] for row in found}


def settings(**changes: Any) -> SearchSettings:
    return SearchSettings(**{"agent": "random", "evaluations": 6, "env_args": SMALL, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search whose best three were trained twice more."""
    path = tmp_path_factory.mktemp("confirmed") / "run"
    runner.search(settings(), path)
    return path


def test_the_best_are_trained_again_and_the_mean_names_the_winner(run: Path) -> None:
    loaded, found = nas_gym.load(run), rows(run)
    assert loaded.result is not None
    searched = sorted({key for key, _ in found}, key=lambda key: -found[key, 0][1])
    again = {key for key, repeat in found if repeat}
    assert again == set(searched[:3])
    assert len(found) == 6 + 3 * 2
    means = {key: statistics.mean(found[key, repeat][1] for repeat in range(3)) for key in again}
    best, summary = loaded.best(4), loaded.result["best"]
    assert summary["key"] == best[0].candidate.key == max(means, key=lambda key: means[key])
    assert summary["validation_accuracy"] == best[0].accuracy == pytest.approx(means[summary["key"]])
    spread = statistics.stdev(found[summary["key"], repeat][1] for repeat in range(3))
    assert summary["validation_standard_error"] == best[0].standard_error == pytest.approx(spread / 3**0.5)
    assert [one.n for one in best] == [3, 3, 3, 1] and summary["trainings"] == 3
    p = summary["test_accuracy"]
    n = round(p * (1 - p) / summary["test_standard_error"] ** 2)
    assert n == len(make_chain(**SMALL).evaluator.evaluator.dataset.test)  # type: ignore[attr-defined]


def test_the_budget_and_the_history_know_nothing_of_it(run: Path) -> None:
    loaded = nas_gym.load(run)
    assert loaded.result is not None
    assert loaded.result["evaluations"] == len(loaded.history) == 6
    confirmation = loaded.result["confirmation"]
    assert (confirmation["candidates"], confirmation["repeats"], confirmation["failed"]) == (3, 2, 0)
    assert confirmation["cost_seconds"] > 0
    loaded.module()  # the winner's weights are kept


def test_killed_before_it_named_a_winner_it_goes_on_to_the_same_result(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(evaluator: Any, ranked: Sequence[Candidate], repeats: int, *, first: int) -> Confirmation:
        confirm(evaluator, ranked[:2], 1, first=first)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner, "confirm", cut_short)
        runner.search(settings(), tmp_path / "run")
    loaded, before = nas_gym.load(tmp_path / "run"), rows(tmp_path / "run")
    assert loaded.content["state"] == "interrupted" and len(before) == 8
    assert [one.n for one in loaded.best(3)] == [1, 1, 1]
    runner.resume(tmp_path / "run")
    after = rows(tmp_path / "run")
    assert {question: after[question] for question in before} == before, "no committed training was repeated"
    uninterrupted, resumed = nas_gym.load(run), nas_gym.load(tmp_path / "run")
    assert uninterrupted.result is not None and resumed.result is not None
    assert uninterrupted.result["best"] == resumed.result["best"]
    assert uninterrupted.history == resumed.history


def test_where_nothing_is_trained_there_is_nothing_to_confirm(tmp_path: Path) -> None:
    summary = runner.search(settings(env_args={"evaluator": "hash"}), tmp_path / "run")
    assert summary["confirmation"] is None
    assert {repeat for _, repeat in rows(tmp_path / "run")} == {0}
    assert summary["best"]["trainings"] == 1


def test_other_searches_with_the_same_store_change_neither_the_order_nor_what_is_confirmed(tmp_path: Path) -> None:
    whole = {**SMALL, "epochs": 2}
    halving = {**whole, "stops": [1, 2], "fraction": 0.5}
    shared = {"store": str(tmp_path / "shared.sqlite"), "confirm": 1, "confirm_repeats": 1}
    runner.search(settings(env_args=whole, **shared | {"confirm": 0}), tmp_path / "whole")
    runner.search(settings(env_args=halving, seed=1, evaluations=4, **shared), tmp_path / "other")
    found = []
    for name, place in (("alone", {"store": None}), ("together", {})):
        summary = runner.search(settings(env_args=halving, **{**shared, **place}), tmp_path / name)
        best = nas_gym.load(tmp_path / name).best(6)
        found.append([summary["best"]["key"], *((b.candidate.key, b.evaluation.fidelity, b.accuracy) for b in best)])
    assert found[0] == found[1]


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    summary = runner.search(settings(evaluations=2, confirm=0), tmp_path / "run")
    assert summary["confirmation"] is None and len(rows(tmp_path / "run")) == 2


def test_with_repeats_new_ones_are_asked_for_and_the_winners_weights_are_kept(tmp_path: Path) -> None:
    arguments = {**SMALL, "repeats": 2}
    summary = runner.search(settings(evaluations=3, env_args=arguments, confirm=2, keep_weights=1), tmp_path / "run")
    found, loaded = rows(tmp_path / "run"), nas_gym.load(tmp_path / "run")
    searched = {key: statistics.mean((found[key, 0][1], found[key, 1][1])) for key, _ in found}
    assert [episode.accuracy for episode in loaded.history] == pytest.approx([searched[e.key] for e in loaded.history])
    assert sorted(repeat for _, repeat in found) == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert summary["best"]["trainings"] == 4 and summary["unique"] == 3
    loaded.module()


def test_a_winner_that_is_not_the_most_accurate_keeps_its_weights_too(tmp_path: Path) -> None:
    arguments = {**SMALL, "objective": "soft-macs:1000:-1:-1"}
    summary = runner.search(settings(env_args=arguments, confirm=0, keep_weights=1), tmp_path / "run")
    loaded = nas_gym.load(tmp_path / "run")
    assert summary["best"]["validation_accuracy"] < max(episode.accuracy or 0.0 for episode in loaded.history)
    assert len(list((tmp_path / "run" / "weights").iterdir())) == 2
    loaded.module()


def test_all_trainings_are_submitted_before_any_is_waited_for() -> None:
    class Waiting:
        identity = "waiting"
        asked = 0

        def submit(
            self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
        ) -> list[Future[Evaluation]]:
            futures: list[Future[Evaluation]] = [Future() for _ in candidates]
            pending.extend((future, candidate, repeat) for future, candidate in zip(futures, candidates, strict=True))
            if len(pending) == 6:  # whoever waits before asking for all would wait for ever
                for future, candidate, number in pending:
                    future.set_result(Evaluation(key=candidate.key, repeat=number, accuracy=0.5, cost_seconds=2.0))
            return futures

    pending: list[tuple[Future[Evaluation], Candidate, int]] = []
    done = confirm(Waiting(), candidates(2), 2)
    assert done == Confirmation(candidates=2, repeats=2, failed=0, cost_seconds=8.0)


def test_what_the_search_saw_is_answered_from_the_store_and_not_counted() -> None:
    stored = StoredEvaluator(HashEvaluator(), ResultStore())
    ranked = candidates(3)
    stored.submit(ranked)
    assert confirm(stored, ranked, 2).cost_seconds == 6
    assert (stored.asked, stored.from_store) == (9, 3)


def test_settings_of_older_runs_confirm_nothing() -> None:
    older = {name: value for name, value in settings().to_json().items() if not name.startswith("confirm")}
    assert SearchSettings.from_json(older).confirm == 0
    assert SearchSettings.from_json(settings(confirm=4).to_json()).confirm == 4
    for wrong in ({"confirm": -1}, {"confirm_repeats": -1}):
        with pytest.raises(ConfigurationError, match="0 or more"):
            settings(**wrong)
