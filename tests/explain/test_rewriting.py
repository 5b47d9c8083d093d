"""Decisions read back from the log, and the log written anew."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from nas_gym.envs import ArchitectureEnv, Budget
from nas_gym.errors import RunError
from nas_gym.evaluation import HashEvaluator
from nas_gym.explain import read_decisions, read_header
from nas_gym.explain.record import Decision, write_part
from nas_gym.explain.rewriting import decision_of, rewrite
from nas_gym.spaces import ChainSpace
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.random_search import RandomSearch
from nas_gym_agents.recorder import DecisionRecorder


def record(folder: Path, agent: MaskablePPOSearch | RandomSearch) -> None:
    env = ArchitectureEnv(ChainSpace((1, 8, 8), 10, max_layers=3), HashEvaluator(), budget=Budget(evaluations=40))
    agent.search(env, seed=0, recorder=DecisionRecorder(folder, explain="all"))


@pytest.mark.parametrize("agent", [MaskablePPOSearch(n_steps=32), RandomSearch()], ids=["maskable-ppo", "random"])
def test_what_is_read_back_is_what_was_written(tmp_path: Path, agent: MaskablePPOSearch | RandomSearch) -> None:
    record(tmp_path / "log", agent)
    header, frame = read_header(tmp_path / "log"), read_decisions(tmp_path / "log")
    decisions = [decision_of(row, header) for row in frame.to_dict("records")]
    (tmp_path / "again").mkdir()
    (tmp_path / "again/header.json").write_text((tmp_path / "log/header.json").read_text())
    write_part(tmp_path / "again/part-000000.parquet", decisions)
    again = [decision_of(row, header) for row in read_decisions(tmp_path / "again").to_dict("records")]
    for one, other in zip(decisions, again, strict=True):
        for field in fields(Decision):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)
    assert read_decisions(tmp_path / "again").drop(columns=[]).equals(frame)


def test_only_what_changes_is_written(tmp_path: Path) -> None:
    record(tmp_path, MaskablePPOSearch(n_steps=32))
    parts = sorted(tmp_path.glob("part-*.parquet"))
    stamps = {part: part.stat().st_ino for part in parts}
    wanted = int(read_decisions(tmp_path)["episode"].max())

    def change(decisions: list[Decision]) -> list[Decision]:
        return [replace(d, reward_credit=0.25) if d.episode == wanted else d for d in decisions]

    changed = rewrite(tmp_path, change)  # type: ignore[arg-type]
    frame = read_decisions(tmp_path)
    assert changed == (frame["episode"] == wanted).sum() > 0
    assert set(frame.loc[frame["episode"] == wanted, "reward_credit"]) == {0.25}
    assert frame.loc[frame["episode"] != wanted, "reward_credit"].isna().all()
    assert [part for part in parts if part.stat().st_ino != stamps[part]] == [parts[-1]]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_damaged_part_is_told(tmp_path: Path) -> None:
    record(tmp_path, MaskablePPOSearch(n_steps=32))
    part = sorted(tmp_path.glob("part-*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(RunError, match="damaged"):
        rewrite(tmp_path, lambda decisions: decisions)
