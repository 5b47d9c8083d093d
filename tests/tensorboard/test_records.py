"""What is written for the tab says what the decisions said, in blocks that TensorBoard keeps whole."""

import itertools
import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import SPACE, VIEWS, credit, episodes, header

from nas_gym.drawing import COLOURS, kind_of
from nas_gym.explain.record import FORCED, UNEXPLAINED
from nas_gym.tensorboard import heat, records
from nas_gym.tensorboard.expanding import NUMBERS, credit_of, expanded, row_of, rows_of
from nas_gym.tensorboard.payload import PayloadError, pack, unpack
from nas_gym.tensorboard.records import (
    CREDIT,
    PER_CHUNK,
    PER_TAG,
    Index,
    Outcome,
    block,
    checks_record,
    credit_records,
    episode_record,
    header_record,
    heat_record,
    index_row,
    plain,
)


def written(record):
    """What a reader gets of a record."""
    return unpack(pack(record.kind, record.content), record.kind)


def same(found, expected, dtype=np.float32):
    """Whether numbers are those of the log, to the last bit; None stands for what is missing."""
    if expected is None:
        return found is None
    return np.array_equal(np.array(found, dtype=dtype), np.asarray(expected, dtype=dtype))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), policy=st.booleans())
def test_an_episode_comes_back_to_the_last_bit(seed, policy):
    (own,) = episodes(1, seed, start=seed % 7, policy=policy)
    outline = SPACE.outline(tuple(d.action for d in own))
    outcome = Outcome(status="ok", accuracy=0.75, parameters=10, macs=20)
    found = expanded(written(episode_record(own, outcome, outline)))
    json.dumps(found, allow_nan=False)
    assert (found["episode"], found["key"], found["status"]) == (own[0].episode, own[0].key, "ok")
    assert (found["accuracy"], found["parameters"], found["macs"]) == (0.75, 10, 20)
    assert same(found["reward"], own[0].reward) and found["outline"] == outline
    assert len(found["decisions"]) == len(own)
    for told, decision in zip(found["decisions"], own, strict=True):
        for name in (
            "step",
            "slot",
            "action",
            "runner_up",
            "flags",
            "n_players",
            "explainer",
            "baseline",
            "credit_kind",
        ):
            assert told[name] == getattr(decision, name), name
        for name in (*NUMBERS, "phi", "phi_std_err", "value_phi"):
            assert same(told[name], getattr(decision, name)), name
        assert told["observation"] == decision.observation.tolist()
        assert told["legal"] == decision.legal.tolist()
        spread = {"probabilities": np.float16, "phi0_actions": np.float32}
        for name, dtype in spread.items():
            values = getattr(decision, name)
            assert (told[name] is None) == (values is None)
            if values is not None:
                assert [value is not None for value in told[name]] == told["legal"]
                assert same([v for v in told[name] if v is not None], values[decision.legal], dtype), name
        if decision.phi_actions is None:
            assert told["phi_actions"] is None
        else:
            kept = np.array(told["phi_actions"], dtype=np.float16)[:, decision.legal]
            assert same(kept, decision.phi_actions[:, decision.legal], np.float16)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["groups", "values", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ONE = episode_record(next(iter(episodes(1))), Outcome(), []).content


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(sorted(ONE)), value=ANYTHING, inside=st.booleans())
def test_a_record_with_anything_in_it_is_shown_or_refused(field, value, inside):
    content = {"kind": "episode", "schema": 1, **ONE}
    content[field] = [value, *content[field][1:]] if inside and isinstance(content[field], list) else value
    for read in (expanded, row_of):
        with suppress(PayloadError):
            json.dumps(read(content), allow_nan=False)


def test_a_record_that_lacks_a_field_is_refused():
    for field in set(ONE) - {"outline", "reward", "key", "accuracy", "parameters", "macs"}:
        with pytest.raises(PayloadError):
            expanded({name: value for name, value in ONE.items() if name != field})


def test_blocks_are_small_and_steps_grow():
    steps = defaultdict(list)
    for own in episodes(253):
        record = episode_record(own, Outcome(), [])
        steps[record.tag].append(record.step)
    assert len(steps) == 26
    for taken in steps.values():
        assert len(taken) <= PER_TAG and all(a < b for a, b in itertools.pairwise(taken))
    assert block("nas/index/", 20_000 // PER_CHUNK) == "nas/index/000020"


def test_the_index_holds_every_full_hundred():
    index, rows, found = Index(), [], []
    for own in episodes(250):
        rows.append(index_row(episode_record(own, Outcome(status="ok"), []).content))
        record = index.add(rows[-1])
        found += [] if record is None else rows_of(written(record))
    assert found == rows[:200]
    assert [row["length"] for row in rows] == [len(own) for own in episodes(250)]
    assert index.add({**rows[0], "episode": 300}).content["episode"] == list(range(200, 250))


@pytest.mark.parametrize("name", ["episode", "reward", "status", "key", "length"])
def test_an_index_without_meaning_is_refused(name):
    index = {"episode": [0], "reward": [None], "policy_version": [0], "status": ["ok"], "length": [3], "key": [""]}
    assert rows_of(index)[0]["reward"] is None
    for wrong in ([[]], [{}], [0, 1], 5, None):
        with pytest.raises(PayloadError):
            rows_of(index | {name: wrong})


def rollouts(count=6):
    decisions = [d for own in episodes(20 * count) for d in own]
    return [[d for d in decisions if d.policy_version == version] for version in range(count)]


def free_and_explained(decisions):
    return [d for d in decisions if not d.flags & (FORCED | UNEXPLAINED)]


def test_means_of_a_rollout_are_those_of_its_decisions():
    (decisions, *_) = rollouts(1)
    found = heat.checked(written(heat_record(4, decisions)))
    assert found["n_decisions"] == len(decisions)
    kept = free_and_explained(decisions)
    assert {(row["step"], row["slot"]) for row in found["rows"]} == {(d.step, d.slot) for d in kept}
    for row in found["rows"]:
        there = [d for d in kept if (d.step, d.slot) == (row["step"], row["slot"])]
        assert row["n"] == len(there)
        np.testing.assert_allclose(row["weight"], len(there) * 6 / 5, rtol=1e-6)
        np.testing.assert_allclose(row["phi"], np.mean([np.abs(d.phi) for d in there], 0), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(row["prior"], np.mean([abs(d.phi0 - d.log_uniform) for d in there]), rtol=1e-6)


def test_what_was_explained_by_chance_stands_for_what_was_not():
    (decisions, *_) = rollouts(1)
    kept = [d for d in free_and_explained(decisions) if d.step == 2]
    rare, often = replace(kept[0], sampling_probability=0.1), replace(kept[1], sampling_probability=1.0)
    (row,) = heat.checked(heat_record(0, [rare, often]).content)["rows"]
    np.testing.assert_allclose(row["phi"], (10 * np.abs(rare.phi) + np.abs(often.phi)) / 11, rtol=1e-3, atol=1e-6)


def test_nothing_explained_is_no_rollout():
    without = [replace(d, phi=None) for own in episodes(3) for d in own]
    assert heat_record(0, without) is None


@pytest.mark.parametrize("most", [1, 4, 6, 50])
def test_moments_gather_rollouts(most):
    parts = [heat.checked(written(heat_record(i, decisions))) for i, decisions in enumerate(rollouts(6))]
    found = heat.moments(parts, most)
    assert len(found) == min(most, 6)
    assert found[0]["policy_versions"][0] == 0 and found[-1]["policy_versions"][1] == 5
    together = heat.moments(parts, 1)[0]
    kept = free_and_explained([d for decisions in rollouts(6) for d in decisions])
    for row in together["rows"]:
        there = [np.abs(d.phi) for d in kept if (d.step, d.slot) == (row["step"], row["slot"])]
        assert row["n"] == len(there)
        np.testing.assert_allclose(row["phi"], np.mean(there, 0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "content",
    [{}, {"rows": []}, {"rows": [1], "policy_version": 0, "global_step": 0, "n_decisions": 0}, {"rows": None}],
    ids=["empty", "none", "numbers", "null"],
)
def test_a_rollout_without_meaning_is_refused(content):
    with pytest.raises(PayloadError):
        heat.checked(content)


def test_credits_come_back():
    written_ = list(episodes(230))
    frame = credit(written_)
    meanings, *chunks = credit_records(7, frame, VIEWS)
    assert (meanings.tag, meanings.step, meanings.content["views"]) == (records.VIEWS, 7, VIEWS)
    assert [(chunk.tag, chunk.step) for chunk in chunks] == [(f"{CREDIT}000000", step) for step in range(3)]
    for number in (0, 99, 100, 229):
        found = credit_of(written(chunks[number // PER_CHUNK]), number)
        assert set(found) == set(VIEWS)
        for view, columns in found.items():
            own = frame[(frame["episode"] == number) & (frame["view"] == view)]
            assert columns["step"] == own["step"].tolist() and columns["slot"] == own["slot"].tolist()
            assert same(columns["credit"], own["credit"])
            assert [value is None for value in columns["low"]] == own["low"].isna().tolist()
    assert credit_of(written(chunks[0]), 5_000) == {}


@pytest.mark.parametrize("content", [{}, {"episodes": 3}, {"episodes": {"1": 4}}, {"episodes": {"1": {"a": {}}}}])
def test_credits_without_meaning_are_refused(content):
    with pytest.raises(PayloadError):
        credit_of(content, 1)


def test_plain_values_are_json():
    value = {
        1: np.float32(0.5),
        "a": [np.int64(3), float("nan"), np.array([1.0, np.inf])],
        "b": {"c": object},
        "d": True,
    }
    found = plain(value)
    json.dumps(found, allow_nan=False)
    assert found == {"1": 0.5, "a": [3, None, [1.0, None]], "b": {"c": "<class 'object'>"}, "d": True}
    assert (
        checks_record(0, [{"name": "x", "passed": np.bool_(True), "value": np.nan}]).content["checks"][0]["passed"]
        is True
    )


def test_the_header_names_the_colours_of_the_pictures():
    kinds = [[kind_of(slot.name, choice) for choice in slot.choices] for slot in SPACE.slots]
    found = written(header_record(2, header(), kinds, {"seed": np.int64(3)}))
    assert found["header"]["slots"] == [slot.name for slot in SPACE.slots]
    assert {kind for names in found["kinds"] for kind in names} <= set(COLOURS)
    assert found["facts"] == {"seed": 3}
