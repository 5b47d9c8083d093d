"""The sections of a report: what they tell of a run, and what they say where a run has nothing to tell."""

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explained import CHECKS, MEANINGS, explain, teach

import nas_gym
from nas_gym.document import Badge, Block, Heading, Items, Rows, Text
from nas_gym.errors import RunError
from nas_gym.explain.record import OUT_OF_BUDGET, UNEXPLAINED, Decision, DecisionLog, Header
from nas_gym.explain.words import account
from nas_gym.report import report, write_report
from nas_gym.report.credit import credit, views_of
from nas_gym.report.explanations import checks, importance
from nas_gym.report.growing import against, growing, step_of
from nas_gym.report.influence import influence
from nas_gym.report.learning import _by_stage
from nas_gym.report.material import Material
from nas_gym.report.section import Section
from nas_gym.run_directory import EXPLANATIONS, settings_hash

Copied = Callable[[str], Path]
Made = Callable[[str], Path]


def material(run: Path) -> Material:
    return Material(nas_gym.load(run))


def said(section: Section) -> str:
    """Return all that a section says outside of tables."""
    words = []
    for block in section.blocks:
        match block:
            case Text(text) | Heading(text):
                words.append(text)
            case Items(items):
                words += items
    return "\n".join(words)


def tables(blocks: "list[Block] | tuple[Block, ...] | Any") -> list[Rows]:
    return [block for block in blocks if isinstance(block, Rows)]


def change(run: Path, **fields: Any) -> dict[str, Any]:
    """Change the run file; a field of None is taken out."""
    content = json.loads((run / "run.json").read_text()) | fields
    content = {name: value for name, value in content.items() if value is not None or name == "result"}
    content["settings_hash"] = settings_hash(content["settings"])
    (run / "run.json").write_text(json.dumps(content))
    return content


# Runs with less to tell


def killed(run: Path) -> None:
    change(run, state="running", result=None)
    text = (run / "history.jsonl").read_text()
    (run / "history.jsonl").write_text(text[: len(text) * 2 // 3])
    shutil.rmtree(run / "figures")


def just_begun(run: Path) -> None:
    change(run, state="running", result=None)
    for name in ("history.jsonl", "results.sqlite"):
        (run / name).unlink()
    for name in ("decisions", "figures", "tensorboard"):
        shutil.rmtree(run / name)


def interrupted(run: Path) -> None:
    change(run, state="interrupted", result=None)


def without_decisions(run: Path) -> None:
    shutil.rmtree(run / "decisions")


def with_a_damaged_log(run: Path) -> None:
    next((run / "decisions").glob("part-*.parquet")).write_bytes(b"torn")


def failed_only(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    failed = [line | {"status": "diverged", "accuracy": None, "reward": 0.0} for line in lines]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in failed))
    change(run, result=None)


def illegal_only(run: Path) -> None:
    line = {"number": 0, "actions": [0], "slots": [0], "key": None, "status": "illegal_action", "reward": 0.0}
    (run / "history.jsonl").write_text(json.dumps(line) + "\n")
    change(run, result=None)


def from_before(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    settings = {k: v for k, v in content["settings"].items() if not k.startswith(("confirm", "explain_"))}
    result = {k: v for k, v in content["result"].items() if k not in ("seconds", "confirmation", "explaining_seconds")}
    best = {k: v for k, v in result["best"].items() if k not in ("validation_standard_error", "trainings")}
    gone = dict.fromkeys(("data", "workers", "fidelity", "hardware", "versions", "created"))
    change(run, settings=settings | {"explain": True}, result=result | {"best": best}, **gone)


def of_others(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    settings = content["settings"] | {"env": "theirs:Their/Env-v3", "env_args": {"objective": "theirs", "x": [1, "|"]}}
    slots = [slot | {"name": f"<{slot['name']}> | `&`"} for slot in content["slots"]]
    change(run, settings=settings, slots=slots, data={})


def not_explained(run: Path) -> None:
    log = nas_gym.load(run)
    frame, header = log.decisions, log.header
    rows = frame.sort_values(["episode", "step"]).to_dict("records")
    shutil.rmtree(run / "decisions")
    again = DecisionLog(run / "decisions")
    again.write_header(replace(header, note="attributions were switched off"))
    again.append([stripped(row, header) for row in rows])


def stripped(row: dict[str, Any], header: Header) -> Decision:
    names = ("episode", "step", "global_step", "policy_version", "slot", "observation", "action", "log_uniform")
    return Decision(
        **{name: row[name] for name in names},
        legal=np.unpackbits(np.frombuffer(row["mask"], np.uint8), count=header.n_actions).astype(bool),
        probabilities=row["probabilities"],
        logp=row["logp"],
        entropy=row["entropy"],
        runner_up=row["runner_up"],
        flags=row["flags"] | UNEXPLAINED,
    )


def with_damaged_explanations(run: Path) -> None:
    explain(run)
    for name in ("credit.parquet", "checks.json", "importance.json"):
        (run / EXPLANATIONS / name).write_text("torn")
    (run / EXPLANATIONS / "importance.md").unlink()
    pd.DataFrame({"episode": [1]}).to_parquet(run / EXPLANATIONS / "influence.parquet")


def with_odd_explanations(run: Path) -> None:
    """Explanations that can be read and mean nothing."""
    explain(run)
    (run / EXPLANATIONS / "importance.md").write_bytes(b"\xff\xfe caf\xe9")
    (run / EXPLANATIONS / "influence.json").write_text(json.dumps({"decisions": [{"step": 0}]}))
    credit_facts = json.loads((run / EXPLANATIONS / "credit.json").read_text())
    (run / EXPLANATIONS / "credit.json").write_text(json.dumps({**credit_facts, "views": None}))


def with_other_columns(run: Path) -> None:
    explain(run)
    pd.DataFrame({"episode": [1]}).to_parquet(run / EXPLANATIONS / "credit.parquet")


def with_explanations(run: Path) -> None:
    explain(run, mapping=True)


# Kind, what happens to the run, what the eleven sections then have to tell: question, answer, finished, growing,
# credit, influence, importance, learning, costs, checks, reproduce.
DEGRADED = {
    "whole": ("policy", lambda run: None, "11010001111"),
    "explained": ("policy", with_explanations, "11011111111"),
    "killed": ("policy", killed, "11010001111"),
    "just begun": ("policy", just_begun, "10000000001"),
    "interrupted": ("policy", interrupted, "11010001111"),
    "no decisions": ("policy", without_decisions, "11000000101"),
    "damaged log": ("policy", with_a_damaged_log, "11000000101"),
    "failures only": ("policy", failed_only, "10000001111"),
    "illegal only": ("policy", illegal_only, "10000001111"),
    "from before": ("policy", from_before, "11010001111"),
    "of others": ("policy", of_others, "11010001111"),
    "not explained": ("policy", not_explained, "11010001101"),
    "damaged explanations": ("policy", with_damaged_explanations, "11010001101"),
    "odd explanations": ("policy", with_odd_explanations, "11010001111"),
    "other columns": ("policy", with_other_columns, "11010111111"),
    "no policy": ("genetic", lambda run: None, "11010000101"),
    "no policy, explained": ("genetic", with_explanations, "11011110111"),
    "made-up accuracies": ("random", lambda run: None, "11010000101"),
}


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("name", DEGRADED)
def test_every_run_has_a_report(copied: Copied, name: str) -> None:
    kind, spoil, told = DEGRADED[name]
    run = copied(kind)
    spoil(run)
    written = write_report(nas_gym.load(run))
    assert "".join(str(int(one)) for one in written.sections.values()) == told
    for section in report(material(run)):
        assert section.blocks
        if not section.told:
            (only,) = section.blocks
            assert isinstance(only, Text)
            assert only.text.endswith(".")
    assert re.findall(r"(?<![=\w])(?:None|nan|NaN)\b", written.markdown.read_text()) == []


def test_results_that_are_gone_are_told_in_a_sentence(copied: Copied) -> None:
    run = copied("random")
    (run / "results.sqlite").unlink()
    with pytest.raises(RunError, match=r"results of .* are gone"):
        write_report(nas_gym.load(run))
    assert not (run / "report.html").exists()


def test_names_of_others_do_not_break_the_page(copied: Copied, sketched: None) -> None:
    run = copied("policy")
    of_others(run)
    written = write_report(nas_gym.load(run))
    assert "&lt;layer 1&gt;" in written.page.read_text()
    assert "<layer 1>" not in written.page.read_text()
    assert "layer 1> \\|" in written.markdown.read_text()


# The question, the answer


def test_the_question_tells_what_was_asked_and_spent(made: Made) -> None:
    whole = material(made("policy"))
    asked, spent = (dict(table.rows) for table in tables(report(whole)[0].blocks))
    assert asked["environment"] == "`nas_gym/Table-v0`"
    assert asked["data"].startswith("the table `fashion-chain`, 1,267 rows; data: FashionMNIST 14×14")
    assert asked["budget"] == "30 distinct networks"
    assert "looked up" in asked["evaluation"]
    choices = math.prod(len(slot["choices"]) for slot in whole.run.content["slots"])
    assert asked["combinations"].startswith(f"at most {choices:,};")
    evaluated = len(whole.run.history)
    assert spent["evaluations"] == f"{evaluated}, of 30 distinct networks"
    assert spent["failures"] == "0"


def test_a_training_names_its_data_and_licence(copied: Copied) -> None:
    run = copied("random")
    data = {"name": "digits", "input_shape": [1, 8, 8], "classes": 10, "train": 1078, "validation": 360, "test": 359}
    change(run, data=data, namespace="chain/1/x training/1 digits:0123456789abcdef epochs=8 seed=0 cpu")
    (asked, _) = (dict(table.rows) for table in tables(report(material(run))[0].blocks))
    assert asked["data"].startswith(
        "`digits`; 1×8×8 images of 10 classes: 1,078 to train, 360 to validate, 359 to test"
    )
    assert "licence: CC BY 4.0" in asked["data"]
    assert asked["evaluation"].startswith("every network is trained")


def test_the_answer_is_three_sentences(made: Made) -> None:
    whole = material(made("policy"))
    answer = report(whole)[1]
    (items,) = [block.items for block in answer.blocks if isinstance(block, Items)]
    assert len(items) == 3
    best = whole.ranked[0]
    assert f"{best.accuracy:.4f} ± {best.standard_error:.4f}" in items[0]
    assert all(f"{slot} = {choice}" in items[1] for slot, choice in best.choices)
    assert "chance" in items[2]


def test_the_front_holds_no_network_that_another_beats(made: Made) -> None:
    whole = material(made("genetic"))
    section = report(whole)[1]
    (front,) = [table for table in tables(section.blocks) if table.header[:2] == ("validation", "MACs")]
    told = {int(row[3].replace(",", "")) for row in front.rows}
    points = {one.episode: (one.accuracy or 0.0, -one.evaluation.macs) for one in whole.ranked}
    for episode in told:
        a, m = points[episode]
        assert not any(b >= a and n >= m and (b, n) != (a, m) for b, n in points.values())


# How the network grew


def test_the_account_comes_first_and_stays_whole(made: Made) -> None:
    whole = material(made("policy"))
    assert whole.best is not None
    words = account(whole.run.decisions[whole.run.decisions["episode"] == whole.best.episode], whole.run.header)
    section = growing(whole)
    shown = [block.text for block in section.blocks if isinstance(block, Text)]
    n = len(whole.steps)
    assert shown[: len(words) - n] == [*words[: -n - 1], words[-1]]
    text = said(section)
    for paragraph in words[-n - 1 : -1]:
        named, _, told = paragraph.partition(": ")
        assert named in text
        assert told[1:] in text


def test_decisions_close_to_chance_are_said_to_be_so_first(copied: Copied) -> None:
    run = copied("policy")
    loaded = nas_gym.load(run)
    best = loaded.best()[0]
    first = loaded.decisions[loaded.decisions["policy_version"] == 0]["episode"]
    assert len(first)  # the untrained policy is close to uniform
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    kept = [line for line in lines if line["number"] in set(first)]
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    section = growing(material(run))
    assert best.episode not in set(first) or best.accuracy is not None
    opening = section.blocks[0]
    assert isinstance(opening, Text)
    assert "close to chance" in opening.text
    assert "Chance, not a learned preference, explains them" in opening.text


def test_bars_lead_from_chance_to_the_policys_probability(made: Made) -> None:
    run = nas_gym.load(made("policy"))
    decisions, header = run.decisions, run.header
    episodes = decisions.groupby("episode")
    drawn = 0
    for _, frame in list(episodes)[:40]:
        rows = frame.sort_values("step").to_dict("records")
        for row in rows:
            step = step_of(row, rows, header)
            if row["n_valid"] == 1:
                assert step is None
                continue
            assert step is not None
            drawn += 1
            assert step.chance + sum(bar.nats for bar in step.bars) == pytest.approx(row["logp"], abs=1e-4)
            assert step.policy == pytest.approx(row["logp"])
            assert step.chance == pytest.approx(-math.log(row["n_valid"]), abs=1e-6)
            assert sorted(step.choices) == sorted(one["slot"] for one in rows if one["step"] < row["step"])
            assert sum(step.moved.values()) == pytest.approx(float(np.sum(row["phi"])), abs=1e-5)
            assert step.other is None or step.other[1] <= 0
            for bar in step.bars[1:]:
                assert bar.kind == ("towards" if bar.nats > 0 else "away")
    assert drawn > 100


def test_the_runner_up_is_told_by_the_odds_against_it() -> None:
    header = Header(("a", "b"), (("x", "y", "z"), ("x", "y", "z")), ("a", "b"), 3)
    generator = np.random.default_rng(0)
    phi0, phi = generator.normal(size=3).astype(np.float32), generator.normal(size=(2, 3))
    logps = phi0 + phi.sum(0)
    row = {
        "slot": 1,
        "step": 1,
        "action": 2,
        "runner_up": 0,
        "observation": np.array([2, 0], np.uint8),
        "phi0": float(phi0[2]),
        "phi": phi[:, 2].astype(np.float32),
        "phi0_actions": phi0,
        "phi_actions": phi.reshape(-1).astype(np.float16),
    }
    told = against(row, header)
    odds = re.search(r"odds against it were ([\d.]+) to 1: before any decision ([\d.]+) to 1, ", told)
    assert told.startswith("Why not x?")
    assert ("preferred" in told) == (logps[2] < logps[0])
    assert odds is not None
    assert float(odds[1]) == pytest.approx(math.exp(logps[2] - logps[0]), abs=0.006)
    assert float(odds[2]) == pytest.approx(math.exp(phi0[2] - phi0[0]), abs=0.006)
    assert "a = y ×" in told
    for missing in ({"phi_actions": None}, {"runner_up": -1}, {"runner_up": math.nan}):
        assert against(row | missing, header) == ""


# What decisions earned


@pytest.mark.parametrize("mapping", [False, True])
def test_views_of_credit_are_told_one_by_one(copied: Copied, mapping: bool) -> None:
    run = copied("policy")
    values = explain(run, mapping=mapping)
    section = credit(material(run))
    headings = [block.text for block in section.blocks if isinstance(block, Heading)]
    assert headings == [
        "Its Shapley value in the table",
        "What it lost for good (regret)",
        "As the critic expected it, decision by decision",
    ]
    scale = 1 if mapping else 100
    for view, table in zip(("shapley_table", "regret", "critic_waterfall"), tables(section.blocks), strict=True):
        assert [row[1] for row in table.rows] == [f"{scale * value:+#.3g}" for value in values[view]]
        assert len(table.header) == (4 if view == "shapley_table" else 2)
    text = said(section)
    assert all(meaning in text for meaning in MEANINGS.values())
    assert "**Not to be trusted here:** told of critic_waterfall" in text
    assert "Told of regret." in text
    assert text.count("Not to be trusted") == 1
    assert mapping or "**Against the mean alternative**: nothing was replaced" in text


def test_a_view_without_facts_is_not_trusted() -> None:
    (view,) = views_of({}, ["unheard"])
    assert not view.trusted


def test_networks_of_agents_without_a_policy_grow_with_their_credit(copied: Copied) -> None:
    run = copied("genetic")
    without = growing(material(run))
    assert f"nas-gym explain {run}" in said(without)
    explain(run)
    section = growing(material(run))
    assert "in the next section" in said(section)
    (picture,) = [block for block in section.blocks if hasattr(block, "caption")]
    assert "its Shapley value in the table" in picture.caption


# What was computed afterwards


def test_importance_is_taken_over_as_it_is_written(copied: Copied) -> None:
    run = copied("policy")
    explain(run)
    section = importance(material(run))
    assert Heading("Importance", 3) in section.blocks
    assert Rows(["slot", "share"], [["layer 1", "0.61"]]) in section.blocks
    assert "unused where text is" not in said(section)
    assert [Path(str(path)).name for path in section.pictures.values()] == ["importance.png", "beeswarm.png"]
    (run / EXPLANATIONS / "importance.md").unlink()
    assert "unused where text is" in said(importance(material(run)))


def test_what_taught_the_policy_is_traced_to_its_sources(copied: Copied) -> None:
    run = copied("policy")
    explain(run)
    section = influence(material(run))
    sources, teachers = tables(section.blocks)
    named = ("rewards of episodes", "entropy bonus", "optimiser's momentum")
    assert sources.header == ("decision", "before learning", *named, "at the decision")
    for row, (untaught, moves, logp) in zip(
        sources.rows, ((-0.7, (0.4, -0.2, 0.0), -0.5), (-2.0, (0.98, 0.0, 0.02), -1.0)), strict=True
    ):
        assert untaught + sum(moves) == pytest.approx(logp)
        assert row[1] == f"{100 * math.exp(untaught):.0f} %"
        assert list(row[2:5]) == [f"× {math.exp(move):.2f}" for move in moves]
        assert row[5] == f"{100 * math.exp(logp):.0f} %"
    told = [(row[0], row[1], row[2], row[4]) for row in teachers.rows]
    assert told == [
        ("activation = relu", "× 1.82", "1", "2 episodes"),
        ("activation = relu", "× 0.82", "2", "1 episode"),
        ("layer 1 = stop", "× 2.46", "4", "1 episode"),
        ("layer 1 = stop", "× 1.05", "5", "1 episode"),
        ("layer 1 = stop", "× 1.02", "6", "1 episode"),
    ]
    history = material(run).run.history
    assert [row[3] for row in teachers.rows[:2]] == [f"{history[i].reward:.4f}" for i in (1, 2)]
    assert "path: correlation 0.97, residual_share 0.03" in said(section)


def test_a_policy_that_was_taken_over_had_preferences(copied: Copied) -> None:
    run = copied("policy")
    explain(run)
    assert "had no preference to speak of" in said(influence(material(run)))
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "warm_start": {"run": "runs/before", "digest": "0"}}))
    told = said(influence(material(run)))
    assert "began with the policy of `runs/before`" in told and "no preference to speak of" not in told


def test_decisions_that_were_not_traced_are_said_to_be_so(copied: Copied) -> None:
    run = copied("policy")
    explain(run)
    teach(run / EXPLANATIONS, 10_000)
    assert "not among those that were traced" in said(influence(material(run)))


def test_checks_are_counted(copied: Copied) -> None:
    run = copied("policy")
    explain(run)
    section = checks(material(run))
    assert section.blocks[0] == Badge("1 of 3 checks passed, 1 failed, 1 without a verdict", "bad")
    (table,) = tables(section.blocks)
    assert [row[0] for row in table.rows] == [check["name"] for check in CHECKS]
    assert [row[3] for row in table.rows] == ["passed", "**failed**", "no verdict"]


def test_checks_that_were_not_computed_come_from_the_log(made: Made) -> None:
    whole = material(made("policy"))
    section = checks(whole)
    assert section.blocks[0] == Badge("2 of 2 checks passed", "good")
    assert "nas-gym explain" in said(section)
    (table,) = tables(section.blocks)
    free = whole.run.decisions[whole.run.decisions["flags"] == 0]
    assert [row[1] for row in table.rows] == [f"{free[name].max():.4g}" for name in ("residual", "logp_error")]


# How the policy changed; costs


def test_means_by_stage_are_weighted_means() -> None:
    generator = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({"policy_version": generator.integers(0, 25, n)})
    columns, values = generator.integers(-1, 4, n), generator.random(n)
    weights = generator.integers(1, 5, n).astype(float)
    found = _by_stage(frame, columns, values, weights, ("a", "b", "c", "never"))
    assert found is not None
    means, stages, names = found
    assert names == ["a", "b", "c", "never"][: len(names)]
    assert len(stages) == 10
    for stage, label in enumerate(stages):
        first, last = ((*label.split("–"), label)[i] for i in (0, 1))
        mine = frame["policy_version"].between(int(first), int(last)).to_numpy()
        for column in range(len(names)):
            kept = mine & (columns == column)
            wanted = np.average(values[kept], weights=weights[kept]) if kept.any() else np.nan
            assert means[stage, column] == pytest.approx(wanted, nan_ok=True)


def test_outcomes_are_counted_with_their_reasons(copied: Copied) -> None:
    run = copied("random")
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for line in lines[:3]:
        line |= {"status": "diverged", "accuracy": None}
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole = material(run)
    failed = replace(whole.evaluations[0], status="diverged", accuracy=None, reason="the loss is not finite")
    whole.__dict__["evaluations"] = [failed, failed, *whole.evaluations]
    outcomes, reasons, _ = tables(report_of(whole, "Failures and costs").blocks)
    counted = Counter(line["status"] for line in lines)
    assert {row[0]: int(row[1]) for row in outcomes.rows} == counted
    assert list(reasons.rows) == [["diverged", "the loss is not finite", "2"]]


def test_seconds_and_answers_without_a_training_are_told(made: Made) -> None:
    whole = material(made("policy"))
    taken = dict(tables(report_of(whole, "Failures and costs").blocks)[-1].rows)
    evaluated = len(whole.run.history)
    assert taken["answers without a training"].startswith(f"{evaluated - 30} of {evaluated} evaluations")
    assert taken["decisions explained"].startswith(f"{len(whole.run.decisions)} of {len(whole.run.decisions)}")
    assert "of the search" in taken["seconds of explaining"]


def test_decisions_left_out_for_time_are_told(copied: Copied) -> None:
    run = copied("policy")
    whole = material(run)
    assert whole.log is not None
    frame = whole.log[0].copy()
    frame.loc[frame.index[:7], "flags"] = UNEXPLAINED | OUT_OF_BUDGET
    frame.loc[frame.index[:7], "phi"] = None
    whole.__dict__["log"] = (frame, whole.log[1])
    taken = dict(tables(report_of(whole, "Failures and costs").blocks)[-1].rows)
    assert "; 7 were left out for the time" in taken["decisions explained"]


def report_of(whole: Material, title: str) -> Section:
    return next(section for section in report(whole) if section.title == title)
