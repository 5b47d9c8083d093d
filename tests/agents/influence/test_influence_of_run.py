"""From a run to words, a table and a picture."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import PPO
from taught import taught, with_advantages

from nas_gym import load
from nas_gym.errors import RunError
from nas_gym.explain.record import FORCED
from nas_gym_agents import SearchSettings, search
from nas_gym_agents.influence import Influence, Share, Taught, account_of_influence, influence_of, influence_of_run
from nas_gym_agents.influence.figure import influence_figure
from nas_gym_agents.influence.result import CHECKS, SOURCES, TABLE
from nas_gym_agents.updates import START, UPDATES, Updates


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of the table that ships, with a few quick updates."""
    path = tmp_path_factory.mktemp("run") / "run"
    settings = SearchSettings(
        env="nas_gym/Table-v0",
        evaluations=40,
        agent_args={"n_steps": 32, "batch_size": 16, "n_epochs": 4},
        explain="none",
    )
    search(settings, path)
    return path


@pytest.fixture(scope="module")
def found(run: Path) -> Influence:
    return influence_of_run(run, 39, retrainings=10)


def test_every_free_decision_is_taught_from_the_untaught_policy_to_the_one_that_acted(
    run: Path, found: Influence
) -> None:
    decisions = load(run).decisions
    rows = decisions[(decisions["episode"] == 39) & ((decisions["flags"] & FORCED) == 0)]
    assert [one.step for one in found.decisions] == rows["step"].tolist()
    for one, row in zip(found.decisions, rows.to_dict("records"), strict=True):
        assert one.version == row["policy_version"] > 2
        assert one.logp == pytest.approx(row["logp"], abs=1e-5)
        assert one.untaught + sum(share.nats for share in one.shares) == pytest.approx(one.logp, abs=1e-9)
        assert one.of("unexplained") == pytest.approx(0, abs=0.01)
        evaluations = [share for share in one.shares if share.source == "evaluation"]
        earlier = decisions[decisions["policy_version"] < one.version]
        assert [share.evaluation for share in evaluations] == sorted(earlier["episode"].unique())
        keys = decisions.groupby("episode")["key"].first()
        assert all(share.key == keys[share.evaluation] for share in evaluations)
        assert sum(share.without is not None for share in evaluations) == 10


def test_the_first_networks_were_decided_by_the_untaught_policy(run: Path) -> None:
    found = influence_of_run(run, 0)
    decisions = load(run).decisions
    logps = decisions[(decisions["episode"] == 0) & ((decisions["flags"] & FORCED) == 0)]["logp"]
    assert [one.logp for one in found.decisions] == pytest.approx(logps.tolist(), abs=1e-5)
    assert all(one.version == 0 and one.logp == one.untaught for one in found.decisions)
    assert all("untaught policy" in text for text in account_of_influence(found)[: len(found.decisions)])
    assert found.checks["retraining"] is None and not found.frame()["nats"].any()


def test_it_is_deterministic_and_an_open_run_will_do(run: Path, found: Influence) -> None:
    assert influence_of_run(load(run), 39, retrainings=10) == found


def test_without_an_episode_the_best_network_is_explained_and_the_last_version_on_request(run: Path) -> None:
    best = influence_of_run(run, retrainings=0)
    assert {one.episode for one in best.decisions} == {load(run).best(1)[0].episode}
    assert best.checks["retraining"] is None
    last = influence_of_run(run, retrainings=0, final=True)
    assert {one.version for one in last.decisions} == {len(list((run / "decisions" / UPDATES).glob("update-*")))}


def test_table_and_checks_are_written_whole(found: Influence, tmp_path: Path) -> None:
    found.write(tmp_path / "explanations")
    assert sorted(file.name for file in (tmp_path / "explanations").iterdir()) == [CHECKS, TABLE]
    frame = pd.read_parquet(tmp_path / "explanations" / TABLE)
    pd.testing.assert_frame_equal(frame, found.frame())
    assert list(frame) == ["episode", "step", "policy_version", "source", "evaluation", "key", "nats", "without"]
    assert set(frame["source"]) == set(SOURCES)
    total = frame.groupby("step")["nats"].sum()
    np.testing.assert_allclose(total, [one.logp - one.untaught for one in found.decisions])
    content = json.loads((tmp_path / "explanations" / CHECKS).read_text())
    assert content["checks"] == found.checks
    assert content["checks"]["replay"] == {"exact": True, "logp_error": pytest.approx(0, abs=1e-5)}
    assert content["checks"]["retraining"]["evaluations"] == 10
    assert [one["slot"] for one in content["decisions"]] == [one.slot for one in found.decisions]


def share(nats: float, evaluation: int, key: str | None) -> Share:
    return Share("evaluation", nats, evaluation, key)


def made_up(*shares: Share, version: int = 5) -> Taught:
    logp = -2.0 + sum(one.nats for one in shares)
    return Taught(79, 2, "layer 2", "conv 5×5", version, -2.0, logp, shares)


CHECKED = {
    "path": {"residual_share": 0.0005},
    "retraining": {"evaluations": 24, "correlation": 0.5, "chance": 0.2},
}


def test_words_fold_repeats_and_name_the_strongest_first() -> None:
    one = made_up(
        share(0.2, 12, "a"),
        share(-0.3, 20, "b"),
        share(0.11, 31, "a"),
        share(0.22, 45, "c"),
        share(0.18, 71, "d"),
        share(0.06, 72, "e"),
        share(-0.01, 73, None),
        share(0.02, 74, None),
        Share("entropy", -0.08),
        Share("unexplained", 0.001),
    )
    assert [teacher.first for teacher in one.teachers] == [12, 45, 71, 72, 74, 73, 20]
    assert [teacher.made for teacher in one.teachers] == [True, True, True, True, False, False, True]
    text = account_of_influence(Influence((one,), CHECKED))
    assert text[0] == (
        "layer 2 = conv 5×5: 14 % before the first update, 20 % after 5 (+0.40 nats). It was learned mostly from "
        "networks 12 (evaluated 2 times), 45 and 71 (+0.31, +0.22, +0.18 nats), against network 20 (-0.30 nats); the "
        "other 3 sum to +0.07, the entropy bonus -0.08."
    )
    assert text[-1].endswith("a rank correlation of 0.50 with these shares (chance stays below 0.20).")


def test_words_for_what_no_network_moved_and_for_the_untaught_policy() -> None:
    text = account_of_influence(Influence((made_up(share(0.01, 1, "a")), made_up(version=0)), CHECKED))
    assert "No single network's reward moved it by 5 %; those of all 1 sum to +0.01" in text[0]
    assert text[1] == "layer 2 = conv 5×5: 14 %, decided by the untaught policy."
    failed = account_of_influence(Influence((made_up(share(-0.1, 3, None), share(-0.2, 4, "a")),), CHECKED))[0]
    assert (
        "It was unlearned mostly because of network 4 and episode 3 that made no network (-0.20, -0.10 nats)" in failed
    )
    entropy = Share("entropy", 0.3)
    only_away = account_of_influence(Influence((made_up(share(-0.1, 1, "a"), entropy),), CHECKED))[0]
    assert "No network's reward moved it up by 5 %, against network 1 (-0.10 nats)" in only_away


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ((0.3, -0.1), "It was learned mostly from network 0 (+0.30 nats), against network 1 (-0.10 nats)"),
        ((0.1, -0.3), "It was unlearned mostly because of network 1 (-0.30 nats), against network 0 (+0.10 nats)"),
        ((0.2, -0.19), "It stayed about where it was, between network 0 (+0.20 nats) and network 1 (-0.19 nats)"),
    ],
)
def test_what_became_less_likely_was_not_learned(shares: tuple[float, float], told: str) -> None:
    one = made_up(*(share(nats, number, f"key {number}") for number, nats in enumerate(shares)))
    assert told in account_of_influence(Influence((one,), CHECKED))[0]


def test_a_policy_that_was_taken_over_is_not_called_untaught(run: Path, tmp_path: Path) -> None:
    warm = tmp_path / "warm"
    arguments = {"n_steps": 16}
    search(SearchSettings(env="nas_gym/Table-v0", evaluations=12, agent_args=arguments, warm_start=str(run)), warm)
    found = influence_of_run(warm, 0, retrainings=0)
    assert found.began_with == str(run)
    text = " ".join(account_of_influence(found))
    assert f"decided by the policy taken over from {run}." in text and "untaught" not in text
    assert f"The search began with the policy of {run}" in text
    found.write(tmp_path)
    assert json.loads((tmp_path / "influence.json").read_text())["began_with"] == str(run)


def test_episodes_that_made_no_network_are_told_apart() -> None:
    recorder, _ = taught(PPO, updates=2)
    frame = recorder.frame()
    failed = set(frame.loc[frame["key"].isna() & (frame["policy_version"] < 1), "episode"])
    last = int(frame["episode"].max())
    found = influence_of(recorder.ledger.read(), frame, recorder.log.header, last, retrainings=0)
    teachers = found.decisions[0].teachers
    assert {teacher.first for teacher in teachers if not teacher.made} == failed and failed
    assert all(teacher.episodes == 1 for teacher in teachers if not teacher.made)
    assert any("episode" in label.get_text() for label in influence_figure(found).axes[0].get_yticklabels())


def test_words_say_when_retraining_does_not_agree() -> None:
    poor = {**CHECKED, "retraining": {"evaluations": 24, "correlation": 0.1, "chance": 0.2}}
    assert "do not say what would have been" in account_of_influence(Influence((), poor))[-1]
    none = {**CHECKED, "retraining": None}
    assert "not compared with retraining" in account_of_influence(Influence((), none))[-1]


def test_the_one_evaluation_that_taught_something_is_named_first() -> None:
    recorder, _ = taught(updates=1, ent_coef=0.0, normalize_advantage=False)
    updates, decisions = recorder.ledger.read(), recorder.frame()
    frame = decisions.set_index("global_step")
    advantages = [np.zeros_like(update.rows["advantages"]) for update in updates]
    planted = int(frame.loc[updates[0].global_steps[10, 0], "episode"])
    mine = np.isin(updates[0].global_steps, frame.index[frame["episode"] == planted])
    advantages[0][mine] = 1.0
    updates = Updates(updates.start, with_advantages(updates, advantages).parts[:1])  # the others follow another policy
    taken = decisions[decisions["episode"] == planted].assign(policy_version=1, logp=np.nan)
    episode = int(decisions["episode"].max()) + 1
    asked = pd.concat([decisions, taken.assign(episode=episode, global_step=10**6 + taken["step"])])
    found = influence_of(updates, asked, recorder.log.header, episode, final=True, retrainings=0)
    for one in found.decisions:
        first, *others = one.teachers
        assert first.first == planted and first.nats > 0.005
        assert not any(other.nats for other in others)
        assert one.logp - one.untaught == pytest.approx(first.nats, rel=0.02)


def test_samples_of_unknown_episodes_are_a_source_of_their_own() -> None:
    recorder, _ = taught(updates=2)
    updates = recorder.ledger.read()
    parts = (replace(updates[0], global_steps=np.full_like(updates[0].global_steps, -1)), updates[1])
    frame = recorder.frame()
    last = int(frame["episode"].max())
    found = influence_of(Updates(updates.start, parts), frame, recorder.log.header, last, final=True, retrainings=0)
    assert all(abs(one.of("unknown")) > 1e-4 for one in found.decisions)
    known = {share.evaluation for one in found.decisions for share in one.shares if share.source == "evaluation"}
    assert known == set(frame[frame["policy_version"] == 1]["episode"])


def test_figures_show_every_taught_decision(found: Influence) -> None:
    figure = influence_figure(found, "What taught the controller")
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == len(found.decisions)
    for axes, one in zip(panels, found.decisions, strict=True):
        assert axes.get_title(loc="left").startswith(f"{one.slot}:  {one.choice}")
        total = sum(bar.get_width() for bar in axes.patches)
        assert one.untaught + total == pytest.approx(one.logp, abs=0.02)  # what is smaller has no bar
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names[0].startswith(f"network {one.teachers[0].first}") and any(
            "other network" in name for name in names
        )
    assert influence_figure(Influence((made_up(version=0),), {})).axes


def untraced(agent: str, folder: Path) -> str:
    settings = SearchSettings(env="nas_gym/Table-v0", agent=agent, evaluations=12, explain="none")
    search(settings, folder)
    with pytest.raises(RunError) as caught:
        influence_of_run(folder)
    return str(caught.value)


REFUSALS = {
    "genetic": "its agent is neither maskable-ppo nor ppo",
    "model-ppo": "imagined rewards",
    "recurrent-ppo": "its policy is recurrent",
    "reinforce": "its updates are not kept",
    "maskable-ppo": "before its first update",
}


@pytest.mark.parametrize("agent", REFUSALS)
def test_agents_and_runs_without_updates_are_refused_in_one_sentence(agent: str, tmp_path: Path) -> None:
    sentence = untraced(agent, tmp_path / "run")
    assert REFUSALS[agent] in sentence and "\n" not in sentence


def test_a_run_from_before_there_were_updates_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run, tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / "decisions" / UPDATES)
    with pytest.raises(RunError, match="from before there were such"):
        influence_of_run(tmp_path / "old")
    with pytest.raises(RunError, match="episode 999 took no free decision"):
        influence_of_run(run, 999)


def test_a_decision_log_of_another_policy_is_refused(run: Path) -> None:
    from nas_gym_agents.updates import read_updates

    loaded = load(run)
    decisions = loaded.decisions.assign(logp=loaded.decisions["logp"] - 1)
    with pytest.raises(RunError, match="off by 1 nats from the decision log"):
        influence_of(read_updates(run / "decisions" / UPDATES), decisions, loaded.header, 39, retrainings=0)


@pytest.mark.parametrize("killed_at", [23])
def test_a_resumed_search_keeps_the_same_updates(run: Path, tmp_path: Path, killed_at: int) -> None:
    from nas_gym_agents import resume

    class KilledError(Exception):
        pass

    def watch(tally: Any) -> None:
        if tally.episodes == killed_at:
            raise KilledError

    settings = SearchSettings.from_json(load(run).settings)
    with pytest.raises(KilledError):
        search(settings, tmp_path / "run", watch=watch)
    resume(tmp_path / "run")
    folders = run / "decisions" / UPDATES, tmp_path / "run" / "decisions" / UPDATES
    names = [sorted(file.name for file in folder.iterdir()) for folder in folders]
    assert names[0] == names[1] and START in names[0] and len(names[0]) > 4
    for name in names[0]:
        if name != START:  # an archive holds the time
            with np.load(folders[0] / name) as one, np.load(folders[1] / name) as other:
                assert one.files == other.files
                assert all(np.array_equal(one[part], other[part]) for part in one.files)
