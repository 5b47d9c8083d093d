"""What mattered, all together: planted answers, files, words, and archives of which nothing can be said."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from archives import drawn, grid, made, planted

import nas_gym
from nas_gym.errors import ConfigurationError
from nas_gym.explain.archive import archive_of_table
from nas_gym.explain.importance import PICTURES, importance, importance_of_run, read, table_of, write
from nas_gym.explain.importance_record import Importance
from nas_gym.explain.importance_words import importance_words
from nas_gym.spaces import CategoricalSpace
from nas_gym.tables import BenchmarkTable, load_benchmark
from nas_gym_agents import runner
from nas_gym_agents.settings import SearchSettings

SIGNS = np.array([-1.0, 1.0, -1.0, 1.0])


def signal(decisions):
    """Slot 1 alone, slots 2 and 3 only together: orthogonal terms with variances 1 and 1/4."""
    a, b, c = (SIGNS[decisions[:, slot]] for slot in (1, 2, 3))
    return a + 0.5 * b * c


@pytest.fixture(scope="module")
def found():
    return importance(planted(400, 0, signal, noise=0.05))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("importance") / "run"
    runner.search(SearchSettings(env="nas_gym/Table-v0", agent="random", evaluations=80, explain="none"), path)
    return nas_gym.load(path)


def test_planted_slots_and_pairs_are_recovered(found):
    assert found.trust.reliable and found.surrogate.complete and found.surrogate.n == 4**6
    assert found.order[0] == 1
    np.testing.assert_allclose(found.surrogate.main, [0, 0.8, 0, 0, 0, 0], atol=0.05)
    pairs = np.array(found.surrogate.pairs)
    assert pairs[2, 3] == pytest.approx(0.2, abs=0.05)
    pairs[2, 3] = pairs[3, 2] = 0
    assert np.abs(pairs).max() < 0.02
    rises = np.array(found.permutation)[:, 0]
    assert set(np.argsort(-rises)[:3]) == set(np.argsort(-found.attributions.mean)[:3]) == {1, 2, 3}
    assert rises[1] == pytest.approx(2 * 0.8, abs=0.4)  # shuffling doubles a term's variance
    assert found.path.end_value > found.path.start_value
    assert found.path.start_value + sum(s.gain for s in found.path.steps) == pytest.approx(found.path.end_value)


def test_a_table_is_the_reference_and_the_values_of_the_path(run):
    table = load_benchmark()
    got = importance_of_run(run, table=table)
    whole = archive_of_table(table)
    rewards = dict(zip(whole.keys, whole.rewards.tolist(), strict=True))
    assert got.path.source == "looked up in the table"
    assert got.path.start_value == rewards[got.archive.keys[got.archive.median]]
    assert got.path.end_value == rewards[got.archive.keys[got.archive.best]]
    assert got.table.n == got.surrogate.n == len(table) and not got.table.complete
    assert got.table.variance == pytest.approx(whole.rewards.var())
    lengths = (whole.decisions != -1).sum(axis=1)
    means = np.array([whole.rewards[lengths == n].mean() for n in lengths])
    assert got.table.length == pytest.approx(means.var() / whole.rewards.var())


def test_files_are_written_whole_and_read_back(run):
    got = write(run.path)
    folder = run.path / "explanations"
    assert table_of(run) is not None and got.table is not None
    again = read(run.path)
    assert json.dumps(again.to_json(), ensure_ascii=False) == (folder / "importance.json").read_text(encoding="utf-8")
    drawn_files = {place.stem for place in folder.glob("*.png")}
    assert drawn_files == set(PICTURES)
    assert not list(folder.glob("*.tmp"))
    before = {place.name: place.read_bytes() for place in folder.iterdir()}
    write(run.path)
    assert {place.name: place.read_bytes() for place in folder.iterdir()} == before


def test_a_picture_without_content_is_removed(run, monkeypatch):
    write(run.path)
    monkeypatch.setattr("nas_gym.explain.importance_figures.figures", lambda importance: {})
    write(run.path)
    assert [place.name for place in (run.path / "explanations").iterdir()] == ["importance.json"]


def test_another_objective_leaves_the_table_out(run):
    table = load_benchmark()
    other = replace(importance_of_run(run, table=table).archive, objective="soft-macs:20000")
    got = importance(other, table=table, space=table.space())
    assert got.table is None and got.path.source == "predicted by the surrogate"
    assert any("soft-macs:20000" in note for note in got.notes)


def test_a_table_of_another_space_is_refused(run):
    table = load_benchmark()
    slots = (replace(table.slots[0], name="other"), *table.slots[1:])
    wrong = replace(table, slots=slots)
    with pytest.raises(ConfigurationError, match="other slots"):
        importance_of_run(run, table=wrong)
    with pytest.raises(ConfigurationError, match="other slots"):
        importance_of_run(run, space=CategoricalSpace({"a": ("x", "y")}))


def test_nothing_written_is_none_and_damage_is_told(run, tmp_path):
    assert read(tmp_path) is None
    folder = tmp_path / "explanations"
    folder.mkdir()
    for text in ("{", "{}", '{"schema": 99}', "[]"):
        (folder / "importance.json").write_text(text)
        with pytest.raises(ConfigurationError):
            read(tmp_path)


def test_same_seed_same_importance(found):
    again = importance(planted(400, 0, signal, noise=0.05))
    assert again.to_json() == found.to_json()
    assert Importance.from_json(json.loads(json.dumps(found.to_json()))).to_json() == found.to_json()


def test_a_full_table_gives_the_exact_shares():
    rows = grid(4, 4, 4)
    values = (0.5 + 0.2 * SIGNS[rows[:, 0]] + 0.1 * SIGNS[rows[:, 1]] * SIGNS[rows[:, 2]]).astype(np.float32)
    small = made(rows[::3], values[::3].astype(float), (4, 4, 4))
    table = BenchmarkTable("small", small.slots, rows, {"full": values[:, None]}, {"test": values})
    got = importance(small, table=table)
    assert got.table.complete
    np.testing.assert_allclose(got.table.main, [0.8, 0, 0], atol=1e-5)
    assert got.table.pairs[1][2] == pytest.approx(0.2, abs=1e-5) and abs(got.table.higher) < 1e-5


FAULTS = {
    "no network": (0, "varied", (4, 4)),
    "one network": (1, "varied", (4, 4)),
    "too few": (9, "varied", (4, 4)),
    "weak": (25, "varied", (4, 4)),
    "equal rewards": (50, "equal", (4, 4)),
    "one slot": (60, "varied", (4,)),
    "one choice": (60, "varied", (1, 1)),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_archives_of_which_little_can_be_said(fault):
    from nas_gym.explain.importance_figures import figures
    from nas_gym.explain.pictures import png

    n, kind, sizes = FAULTS[fault]
    rewards = np.full(n, 0.5) if kind == "equal" else np.random.default_rng(0).random(n)
    got = importance(replace(made(drawn(n, sizes, 0), rewards, sizes), failed=3))
    words = "\n".join(importance_words(got))
    assert ("3 failed networks" in words) and not re.search(r"\bnan\b|\binf\b|None", words)
    if n >= 10 and kind == "varied" and fault != "one choice":
        assert got.trust is not None and ("TOO WEAK" in words) == (not got.trust.reliable)
    else:
        assert got.trust is None and got.surrogate is None
    assert all(png(figure).startswith(b"\x89PNG") for figure in figures(got).values())
    assert Importance.from_json(json.loads(json.dumps(got.to_json()))).to_json() == got.to_json()
    json.dumps(got.to_json(), allow_nan=False)


def test_words_tell_what_the_numbers_say(found):
    words = importance_words(found)
    text = "\n".join(words)
    assert "**s1**" in text and "TOO WEAK" not in text
    assert f"rank correlation {found.trust.rank_correlation:.2f}" in text
    assert "s2 with s3" in text and "one order of the changes of many" in text
    table = next(part for part in words if part.startswith("| decision"))
    lines = table.splitlines()
    assert len(lines) == 2 + 6 and len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [f"s{slot}" for slot in found.order]
    assert words[-1].startswith("All of this describes the rewards")


def test_weak_surrogates_are_not_told_as_findings():
    got = importance(planted(100, 0, lambda decisions: np.zeros(len(decisions)), noise=1.0))
    text = "\n".join(importance_words(got))
    assert "TOO WEAK TO RELY ON" in text and "mattered most" not in text and "which is too weak to rely on" in text
    assert "Advice for the next search: nothing can be said" in text
