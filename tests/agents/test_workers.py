"""Where the trainings of a search happen, and what becomes of a search whose workers don't come up."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import HashEvaluator, ProcessEvaluator
from nas_gym.store import ResultStore
from nas_gym_agents import SearchSettings, Workers, search

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


def test_a_script_without_a_guard_is_refused_before_its_worker_writes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigurationError, match="__main__"):
        search(settings(), tmp_path / "run", workers=Workers(workers="2"))
    assert not (tmp_path / "run").exists()
