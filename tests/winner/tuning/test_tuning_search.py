"""Searches of planted objectives: what matters is found and kept, trials are pruned, a kill changes nothing."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from nas_gym.errors import RunError
from nas_gym.optuna_package import journal
from nas_gym.winner.tuning.confirming import Finalist
from nas_gym.winner.tuning.importance import elite, importances
from nas_gym.winner.tuning.space import Range, Space, Value
from nas_gym.winner.tuning.trials import Report, Stage, Trial, run_stage
from nas_gym.winner.tuning.two_stages import Found, search
from tests.winner.tuning.planted import BUDGET, EPOCHS, FIRST, SPACE, Planted, accuracy, planted_search

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def reference() -> Found:
    return planted_search(Planted())


def values(found: Found) -> list[tuple[dict[str, Value], tuple[float, ...], bool]]:
    return [(trial.values, trial.curve, trial.pruned) for trial in [*found.broad, *found.narrow]]


@pytest.mark.parametrize("seed", range(3))
def test_the_one_that_matters_is_found_and_kept(seed: int) -> None:
    found = planted_search(Planted(), seed=seed)
    first = found.importances[0]
    assert first.name == "learning_rate" and first.important and first.chance < 0.05
    assert first.share > 2 * found.importances[1].share
    assert sum(one.share for one in found.importances) == pytest.approx(1)
    domain = found.space.free["learning_rate"]
    assert isinstance(domain, Range) and 0.1 in domain
    assert domain.high / domain.low < 1000
    assert set(found.space.fixed) >= {one.name for one in found.importances if not one.important}
    assert 3 <= len(found.space.fixed) < len(SPACE.free)
    assert accuracy(found.best[0].values) == found.best[0].score > 0.97
    assert {name: found.narrow[0].values[name] for name in found.space.fixed} == found.space.fixed


def test_the_first_trial_is_the_recipe_without_tuning(reference: Found) -> None:
    assert reference.broad[0].values == FIRST


def test_pruning_prunes_the_hopeless_and_no_budget_is_exceeded() -> None:
    train = Planted()
    found = planted_search(train)
    trials = [*found.broad, *found.narrow]
    pruned = [trial for trial in trials if trial.pruned]
    assert len(pruned) > 5
    assert all(len(trial.curve) < EPOCHS for trial in pruned)
    assert not [trial for trial in trials if not trial.pruned and len(trial.curve) != EPOCHS]
    assert train.epochs == sum(len(trial.curve) for trial in trials)
    assert BUDGET - EPOCHS < train.epochs <= BUDGET
    assert len(trials) > BUDGET / EPOCHS
    assert np.mean([accuracy(t.values) for t in pruned]) < np.mean([t.score for t in trials if not t.pruned])


def test_the_same_seed_gives_the_same_trials_and_another_one_others(reference: Found) -> None:
    assert values(planted_search(Planted())) == values(reference)
    assert values(planted_search(Planted(), seed=1)) != values(reference)


@pytest.mark.parametrize("stop", [(1, 1), (9, 3), (30, 2)], ids=str)
def test_an_interrupted_search_goes_on_to_the_same_trials(
    stop: tuple[int, int], reference: Found, tmp_path: Path
) -> None:
    file, begun = tmp_path / "journal.log", Planted(stopped_at=stop)
    with pytest.raises(KeyboardInterrupt):
        planted_search(begun, file)
    rest = Planted()
    assert values(planted_search(rest, file)) == values(reference)
    assert rest.seen[0] == begun.seen[-1]  # the interrupted trial comes again
    assert len(begun.seen) + len(rest.seen) == len(values(reference)) + 1
    silent = Planted()
    assert values(planted_search(silent, file)) == values(reference) and not silent.seen


def test_a_killed_search_goes_on_to_the_same_trials(reference: Found, tmp_path: Path) -> None:
    file = tmp_path / "journal.log"
    path = os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "agents")))
    command = [sys.executable, "-m", "tests.winner.tuning.planted", str(file), "9", "2"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, cwd=ROOT, check=False)
    assert done.returncode == -9
    with file.open("ab") as opened:
        opened.write(b'{"op_code":5,"worker_id":"torn')  # as if the kill had come in the middle of a line
    (tmp_path / "journal.log.lock").symlink_to(file)  # and with Optuna's lock held
    assert values(planted_search(Planted(), file)) == values(reference)


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.log").write_text('{"op_code":0}\nnonsense\n{"op_code":0}\n')
    with pytest.raises(RunError, match="begin anew with --fresh"):
        journal(tmp_path / "journal.log")


def test_a_training_that_fails_is_among_the_worst() -> None:
    def fails(values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        return "the loss was not finite" if float(values["learning_rate"]) > 0.1 else Planted()(values, seed, report)

    stage = Stage(name="broad", space=SPACE, budget=80, epochs=EPOCHS, seed=0, first=(FIRST,))
    trials = run_stage(stage, [fails])
    failed = [trial for trial in trials if trial.reason]
    assert failed and {trial.reason for trial in failed} == {"the loss was not finite"}
    assert all(trial.pruned and trial.curve == (0.0,) and trial.score == -1 for trial in failed)
    assert all(float(trial.values["learning_rate"]) > 0.1 for trial in failed)
    assert not set(map(id, elite(trials))) & set(map(id, failed))


def test_if_nothing_can_be_trained_that_is_told() -> None:
    with pytest.raises(RunError, match=r"none of \d+ trainings came to its end \(no memory\)"):
        search(SPACE, FIRST, [lambda values, seed, report: "no memory"], budget=80, epochs=EPOCHS)


def test_several_at_once_keep_to_the_budget_and_find_it_too() -> None:
    trains = [Planted(), Planted(), Planted()]
    found = search(SPACE, FIRST, trains, budget=BUDGET, epochs=EPOCHS, shuffles=20)
    assert all(train.seen for train in trains)
    assert sum(train.epochs for train in trains) <= BUDGET
    assert found.importances[0].name == "learning_rate" and found.best[0].score > 0.95


def test_an_error_in_one_of_several_ends_all() -> None:
    def breaks(values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError, match="broken"):
        search(SPACE, FIRST, [Planted(), breaks], budget=10_000, epochs=EPOCHS)


def test_the_unguided_search_begins_with_the_same_trials(reference: Found) -> None:
    stage = Stage(name="broad", space=SPACE, budget=BUDGET, epochs=EPOCHS, seed=0, first=(FIRST,))
    unguided = run_stage(stage, [Planted()])
    n = len(reference.broad)
    assert unguided[:n] == reference.broad and len(unguided) > n


def made_up(n: int, generator: np.random.Generator) -> list[Trial]:
    """Return trials whose accuracy has nothing to do with their values."""
    trials = []
    for number in range(n):
        drawn = {"a": float(generator.random()), "b": float(generator.random()), "c": float(generator.random())}
        trials.append(Trial(number, dict(drawn), (float(generator.random()),), pruned=False))
    return trials


def test_the_chance_of_what_does_not_matter_is_that_of_chance() -> None:
    generator = np.random.default_rng(0)
    space = Space(dict.fromkeys("abc", Range(0.0, 1.0)))
    chances = []
    for _ in range(12):
        found = importances(space, made_up(30, generator), shuffles=40)
        chances += [one.chance for one in found]
        assert [one.important for one in found][:2] == [True, True]
    assert 0.3 < np.mean(chances) < 0.7
    assert np.mean(np.array(chances) <= 0.2) < 0.45


def test_a_pruned_trial_counts_as_not_among_the_best_whatever_it_had() -> None:
    space = Space({"a": Range(0.0, 1.0)})
    good = [Trial(n, {"a": 0.9 + n / 1000}, (0.1, 0.2), pruned=False) for n in range(5)]
    bad = [Trial(5 + n, {"a": n / 40}, (0.5 + 7 * n % 25 / 100,), pruned=True) for n in range(25)]
    assert elite([*bad, *good]) == good
    found = importances(space, [*bad, *good], shuffles=50)
    assert found[0].chance == pytest.approx(1 / 51)


def test_a_gain_is_sure_only_beyond_the_spread_of_its_seeds() -> None:
    before = Finalist({}, (0.5, 0.6, 0.7))
    gain = Finalist({}, (0.51, 0.62, 0.73)).better_than(before)  # differences 0.01, 0.02, 0.03: s = 0.01
    half = 4.302653 * 0.01 / 3**0.5  # the 97.5 % point of t with 2 degrees of freedom, from a table
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.02, 0.02 - half, 0.02 + half), abs=1e-7)
    assert gain.low < 0, "one sign in three seeds is no proof"
    assert Finalist({}, (0.61, 0.71, 0.82)).better_than(before).low > 0
    same = before.better_than(before)
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_the_interval_of_a_gain_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(0.01, 0.02, (2000, 3))
    none = Finalist({}, (0.0, 0.0, 0.0))
    found = [Finalist({}, tuple(map(float, row))).better_than(none) for row in drawn]
    covered = np.mean([one.low <= 0.01 <= one.high for one in found])
    assert 0.93 < covered < 0.97
