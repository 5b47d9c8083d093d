"""Answers from a table: rewards, trainings, noise, costs, latencies, and what is refused."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Fidelity, StoredEvaluator, TabularEvaluator, evaluate
from nas_gym.spaces import Slot
from nas_gym.store import ResultStore
from nas_gym.tables import BenchmarkTable
from nas_gym.testing_evaluators import check_evaluator


@pytest.fixture(scope="module")
def table() -> BenchmarkTable:
    generator = np.random.default_rng(1)
    n = 400
    return BenchmarkTable(
        name="made up",
        slots=(Slot("a", tuple(map(str, range(20)))), Slot("b", tuple(map(str, range(20))))),
        decisions=np.array([[i, j] for i in range(20) for j in range(20)], dtype=np.int16),
        accuracies={
            "full": generator.uniform(0.3, 0.7, (n, 3)).astype(np.float32),
            "epochs=2": generator.uniform(0.3, 0.7, (n, 1)).astype(np.float32),
        },
        scores={"test": generator.random(n, dtype=np.float32), "other": np.full(n, 0.25, np.float32)},
        costs={"epochs=2": generator.random(n, dtype=np.float32)},
        latencies={"phone": generator.random(n, dtype=np.float32)},
        parameters=np.arange(n) + 1,
        macs=np.arange(n) * 7,
        facts={"default_fidelity": "epochs=2"},
    )


def answers(table: BenchmarkTable, repeat: int = 0, asked: Fidelity | None = None, **options: Any) -> list[Any]:
    space = table.space()
    candidates = [space.candidate(tuple(row)) for row in table.decisions.tolist()]
    return evaluate(TabularEvaluator(table, **options), candidates, fidelity=asked, repeat=repeat)


@pytest.mark.parametrize("options", [{}, {"trainings": 1}, {"trainings": "each"}, {"noise": 0.1, "device": "phone"}])
def test_conformance(table: BenchmarkTable, options: dict[str, Any]) -> None:
    space = table.space()
    candidates = [space.candidate(row) for row in ((0, 1), (3, 4), (19, 19))]
    check_evaluator(lambda: TabularEvaluator(table, "full", **options), candidates)


def test_rewards_are_the_rows(table: BenchmarkTable) -> None:
    for row, answer in enumerate(answers(table)):
        assert answer.ok and answer.fidelity == "epochs=2" and answer.key == table.keys[row]
        assert answer.accuracy == pytest.approx(float(table.accuracies["epochs=2"][row, 0]), abs=0)
        assert answer.cost_seconds == pytest.approx(float(table.costs["epochs=2"][row]), abs=0)
        assert (answer.parameters, answer.macs) == (row + 1, row * 7)
        assert answer.latency_ms is None and answer.standard_error is None


def test_trainings(table: BenchmarkTable) -> None:
    full = table.accuracies["full"].astype(np.float64)
    mean = answers(table, asked=Fidelity())
    assert [a.accuracy for a in mean] == pytest.approx(full.mean(axis=1))
    assert [a.standard_error for a in mean] == pytest.approx(full.std(axis=1, ddof=1) / 3**0.5)
    assert [a.cost_seconds for a in mean] == [0.0] * 400
    assert [a.accuracy for a in answers(table, 9, Fidelity())] == [a.accuracy for a in mean]
    assert [a.accuracy for a in answers(table, fidelity="full", trainings=2)] == pytest.approx(full[:, 2])
    for repeat in range(3):
        each = answers(table, repeat, fidelity="full", trainings="each")
        assert [a.accuracy for a in each] == pytest.approx(full[:, repeat])
        assert {a.repeat for a in each} == {repeat}
    with pytest.raises(ConfigurationError, match="3 trainings"):
        answers(table, 3, fidelity="full", trainings="each")


def test_noise_is_one_draw_a_row_and_seed(table: BenchmarkTable) -> None:
    plain = np.array([a.accuracy for a in answers(table)])
    noisy = [np.array([a.accuracy for a in answers(table, noise=0.02, noise_seed=seed)]) for seed in (0, 0, 1)]
    assert np.array_equal(noisy[0], noisy[1]) and not np.array_equal(noisy[0], noisy[2])
    assert (noisy[0] - plain).std() == pytest.approx(0.02, rel=0.15)
    assert abs((noisy[0] - plain).mean()) < 0.004
    again = np.array([a.accuracy for a in answers(table, 5, noise=0.02)])
    assert np.array_equal(again, noisy[0]), "the same whatever the repeat"
    wild = np.array([a.accuracy for a in answers(table, noise=0.9)])
    assert wild.min() >= 0 and wild.max() <= 1


def test_latency_and_score(table: BenchmarkTable) -> None:
    assert [a.latency_ms for a in answers(table, device="phone")] == pytest.approx(table.latencies["phone"].tolist())
    evaluator, candidate = TabularEvaluator(table), table.space().candidate((1, 2))
    assert evaluator.score(candidate) == float(table.scores["test"][22])
    assert evaluator.score(candidate, "other") == 0.25
    with pytest.raises(ConfigurationError, match="test, other"):
        evaluator.score(candidate, "nope")
    assert evaluator.simulates_cost and not TabularEvaluator(table, "full").simulates_cost


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"fidelity": "stop=1"}, "stop=1"),
        ({"trainings": 3, "fidelity": "full"}, "3 trainings"),
        ({"trainings": "some"}, "some"),
        ({"trainings": True}, "True"),
        ({"noise": -1}, "noise"),
        ({"noise": 1.0}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"device": "watch"}, "phone"),
    ],
)
def test_refusals(table: BenchmarkTable, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        TabularEvaluator(table, **options)


def test_questions_that_no_row_answers(table: BenchmarkTable) -> None:
    stranger = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash").unwrapped.space.candidate((0, 18, 21))
    with pytest.raises(ConfigurationError, match="no row"):
        TabularEvaluator(table).submit([stranger])
    with pytest.raises(ConfigurationError, match="epochs=7"):
        TabularEvaluator(table).submit([], fidelity=Fidelity(epochs=7))


def test_settings_that_change_answers_change_the_identity(table: BenchmarkTable) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"fidelity": "full"},
        {"trainings": 0},
        {"noise": 0.1},
        {"noise": 0.1, "noise_seed": 1},
    ]
    options.append({"device": "phone"})
    assert len({TabularEvaluator(table, **one).identity for one in options}) == len(options)


def test_a_store_asks_for_the_fidelity_of_the_table(table: BenchmarkTable, tmp_path: Path) -> None:
    stored = StoredEvaluator(TabularEvaluator(table), ResultStore(tmp_path / "results.sqlite"))
    (answer,) = evaluate(stored, [table.space().candidate((1, 2))])
    assert answer.fidelity == "epochs=2" and str(stored.fidelity) == "epochs=2"


def test_options_of_the_environment(table: BenchmarkTable) -> None:
    env = gym.make("nas_gym/Table-v0", table=table, fidelity="full", trainings=1, noise=0.01, device="phone").unwrapped
    assert isinstance(env.evaluator, TabularEvaluator)
    env.reset()
    env.step(3)
    _, reward, terminated, _, info = env.step(4)
    assert terminated and reward == info["evaluation"]["accuracy"]
    assert env.last_evaluation.latency_ms == pytest.approx(float(table.latencies["phone"][64]))
    with pytest.raises(ConfigurationError, match="unknown option epochs"):
        gym.make("nas_gym/Table-v0", epochs=3)
