"""Reading a run: the order of its networks, its Pareto fronts, and how both are printed."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import nas_gym
from nas_gym import reports
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.objective import named_objective
from nas_gym.run import Run
from nas_gym.store import ResultStore
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

OBJECTIVE = "soft-macs:20000:0:-1"


def searched(path: Path, **env_args: object) -> Run:
    arguments = {"evaluator": "hash", **env_args}
    runner.search(SearchSettings(agent="random", evaluations=12, env_args=arguments, explain="none"), path)
    return nas_gym.load(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search for accuracy."""
    return searched(tmp_path_factory.mktemp("finished") / "run").path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A copy of it, to be changed."""
    return nas_gym.load(shutil.copytree(finished, tmp_path / "run"))


def printed(run: Run, top: int = 3, pareto: str | None = None) -> str:
    file = io.StringIO()
    reports.print_run(run, top, Console(file=file, width=200), pareto)
    return file.getvalue()


def rewrite(run: Run, **fields: object) -> None:
    """Change fields of everything in the run's store."""
    store = ResultStore(run.path / "results.sqlite")
    for namespace, candidate, evaluation in list(store):
        values = {name: value(evaluation) if callable(value) else value for name, value in fields.items()}
        store.put(namespace, candidate, replace(evaluation, **values))
    store.close()


def test_the_best_are_those_with_the_highest_reward(tmp_path: Path) -> None:
    run = searched(tmp_path / "run", objective=OBJECTIVE)
    rewards = {episode.key: episode.reward for episode in run.history}
    best = run.best(len(rewards))
    assert [rewards[one.candidate.key] for one in best] == sorted(rewards.values(), reverse=True)
    accuracies = [one.accuracy or 0.0 for one in best]
    assert accuracies != sorted(accuracies, reverse=True), "another order than that of the accuracies"
    assert run.result is not None and run.result["best"]["key"] == best[0].candidate.key
    assert named_objective(OBJECTIVE)(best[0].evaluation) == max(rewards.values())
    assert f"by the objective {OBJECTIVE}" in printed(run)


def test_an_objective_of_somebody_elses_environment_leaves_the_order_of_accuracies(run: Run) -> None:
    before = [one.candidate.key for one in run.best(12)]
    for foreign in ("theirs", 5, ["accuracy", "macs"]):
        run = nas_gym.load(run.path)
        run.content["settings"]["env_args"]["objective"] = foreign
        assert [one.candidate.key for one in run.best(12)] == before


@pytest.mark.parametrize("cost", ["macs", "parameters"])
def test_a_front_is_what_no_other_network_beats(run: Run, cost: str) -> None:
    points = {one.candidate.key: (one.accuracy or 0.0, -getattr(one.evaluation, cost)) for one in run.best(12)}
    wanted = {
        key
        for key, (a, b) in points.items()
        if not any(c >= a and d >= b and (c, d) != (a, b) for c, d in points.values())
    }
    found = run.pareto(cost)
    assert {one.candidate.key for one in found} == wanted
    costs = [getattr(one.evaluation, cost) for one in found]
    assert costs == sorted(costs) and len(found) > 1


def test_a_front_needs_a_cost_that_is_known(run: Run) -> None:
    with pytest.raises(ConfigurationError, match="macs"):
        run.pareto("watts")
    with pytest.raises(RunError, match="latency=true"):
        run.pareto("latency_ms")
    rewrite(run, latency_ms=lambda evaluation: evaluation.macs / 1e5, latency_iqr_ms=0.25)
    assert [one.candidate.key for one in run.pareto("latency_ms")] == [one.candidate.key for one in run.pareto()]
    assert "(IQR 0.25)" in printed(run) and "Pareto" not in printed(run)
    assert "Pareto front of accuracy and macs" in printed(run, pareto="macs")


def test_accuracies_have_their_standard_errors_and_old_stores_none(run: Run) -> None:
    (best,) = run.best()
    assert (best.standard_error, best.n) == (None, 1)
    assert "±" not in printed(run) and f"{best.accuracy:.4f}" in printed(run)
    rewrite(run, standard_error=0.0125)
    assert run.best()[0].standard_error == 0.0125
    assert f"{best.accuracy:.4f} ± 0.0125" in printed(run)
    (shown,) = reports.run_as_json(run, 1)["best"]
    assert (shown["validation_standard_error"], shown["trainings"]) == (0.0125, 1)


def test_where_proxies_stand_in_for_accuracies_they_order_the_networks(run: Run) -> None:
    rewrite(run, accuracy=None, loss=None, proxy=lambda evaluation: -float(evaluation.macs))
    best = run.best(12)
    assert [one.evaluation.macs for one in best] == sorted(one.evaluation.macs for one in best)
    assert best[0].accuracy is None
    assert f"proxy -{best[0].evaluation.macs}" in printed(run)
    assert run.pareto() == []
