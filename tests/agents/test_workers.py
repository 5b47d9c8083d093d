"""Where the trainings of a search happen, and what becomes of a search whose workers don't come up."""

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

import nas_gym
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.evaluation import Evaluation, HashEvaluator, ProcessEvaluator
from nas_gym.store import ResultStore
from nas_gym.winner.searched import searched
from nas_gym_agents import SearchSettings, Workers, resume, search
from nas_gym_agents.explaining_credit import TRAININGS, Trainings, explain_credit, ground_of

HASH = {"evaluator": "hash", "max_layers": 2}


class Broken:
    """What a search hands to its workers, which can't use it there."""

    identity = HashEvaluator().identity

    def __call__(self) -> Any:
        raise OSError("the data are not mounted here")


def settings(**changes: Any) -> SearchSettings:
    return SearchSettings(**{"agent": "random", "evaluations": 3, "env_args": HASH, "explain": "none", **changes})


def test_a_search_whose_workers_can_not_come_up_stops_and_commits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Workers, "pool", lambda self, evaluator: ProcessEvaluator(Broken(), 1))
        with pytest.raises(ConfigurationError, match=r"can't make the evaluator \(OSError: the data are not mounted"):
            search(settings(), tmp_path / "run", workers=Workers(workers="2"))
    store = ResultStore(tmp_path / "run" / "results.sqlite")
    assert len(store) == 0
    store.close()
    summary = search(settings(), tmp_path / "run")  # the same again, where they can
    assert summary["evaluations"] == 3 and not summary["failures"]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is on the address space")
def test_a_memory_limit_is_part_of_what_is_stored_and_all_that_reads_a_run_agrees(tmp_path: Path) -> None:
    store = str(tmp_path / "shared.sqlite")
    arguments = {"epochs": 1, "first_per_class": 20, "max_layers": 2}
    mine = settings(env_args=arguments, store=store, confirm=0, evaluations=2)
    tight = Workers(memory_limit_mb=900)
    limited, unlimited = tmp_path / "limited", tmp_path / "unlimited"
    search(mine, limited, workers=tight)
    assert search(mine, unlimited)["from_store"] == 0, "what failed for want of memory may fit without a limit"
    run, other = nas_gym.load(limited), nas_gym.load(unlimited)
    assert run.content["namespace"] == other.content["namespace"] + " memory=900"
    assert run.best(1)[0].candidate.key == other.best(1)[0].candidate.key
    assert resume(limited)["evaluations"] == 2
    with pytest.raises(RunError, match="memory=900"):
        resume(limited, workers=Workers())
    assert searched(run).namespace == run.content["namespace"]
    assert ground_of(run).space is not None
    again = ResultStore(store)
    asked = len(again)
    explain_credit(run, trainings=Trainings(best=1))
    assert len(again) == asked
    again.close()
    replaced = ResultStore(limited / "explanations" / TRAININGS)
    keys = {evaluation.key for _, _, evaluation in replaced}
    assert {namespace for namespace, _, _ in replaced} == {run.content["namespace"]}
    assert not keys & {episode.key for episode in run.history}, "no training is repeated"
    replaced.close()


def test_crashes_on_a_shared_store_are_tried_again_but_not_those_of_the_run_itself(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "shared.sqlite")
    mine = settings(store=str(tmp_path / "shared.sqlite"))
    first = search(mine, tmp_path / "first")
    run = nas_gym.load(tmp_path / "first")
    candidate = run.best(1)[0].candidate
    crash = Evaluation(key=candidate.key, status="crashed", reason="the worker process died 3 times")
    store.put(run.content["namespace"], candidate, crash)
    assert search(mine, tmp_path / "second")["failures"] == {}
    store.put(run.content["namespace"], candidate, crash)
    content = json.loads((tmp_path / "second" / "run.json").read_text())
    (tmp_path / "second" / "run.json").write_text(json.dumps({**content, "state": "running", "result": None}))
    assert set(resume(tmp_path / "second")["failures"]) == {"crashed"} and not first["failures"]
    store.close()


def test_a_script_without_a_guard_is_refused_before_its_worker_writes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigurationError, match="__main__"):
        search(settings(), tmp_path / "run", workers=Workers(workers="2"))
    assert not (tmp_path / "run").exists()
