"""The script that builds a table: an interrupted build continues, and the table says what was stored."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset, load_dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Recipe
from nas_gym.spaces import ChainSpace, FullyConnected, MaxPool
from nas_gym.store import ResultStore
from nas_gym.tables import Table, read_table, write_table

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import build_table

    return build_table


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import table_report

    return table_report


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", first_per_class=20)


@pytest.fixture(scope="module")
def space() -> ChainSpace:
    catalogue = (MaxPool(2), FullyConnected(4), FullyConnected(8))
    return ChainSpace((1, 8, 8), 10, catalogue=catalogue, max_layers=2, activations=("relu", "tanh"))


RECIPE = Recipe(epochs=2, batch_size=32)


class InterruptedBuildError(Exception):
    pass


class Interrupting:
    """An evaluator that lets so many trainings through, and counts them."""

    def __init__(self, evaluator: Any, most: float = float("inf")) -> None:
        self.evaluator, self.most, self.trained = evaluator, most, 0

    @property
    def identity(self) -> str:
        return str(self.evaluator.identity)

    def submit(self, candidates: Any, **question: Any) -> Any:
        if self.trained >= self.most:
            raise InterruptedBuildError
        self.trained += len(candidates)
        return self.evaluator.submit(candidates, **question)


def test_equal_networks_are_one_row(script: Any, space: ChainSpace) -> None:
    walked, rows = script.walk(space), script.distinct(space)
    # Two poolings and nothing else: the activation is never applied.
    assert len(rows) < len(walked)
    assert {candidate.key for candidate in walked.values()} == set(rows)
    assert all(space.candidate(prefix).key == key for key, (prefix, _) in rows.items())
    choices = [range(2), range(4), range(4)]
    legal = 0
    for prefix in itertools.chain.from_iterable(itertools.product(*choices[:n]) for n in range(1, 4)):
        legal += prefix in walked
    assert legal == len(walked)


def test_an_interrupted_build_continues_and_the_table_says_what_was_stored(
    script: Any, space: ChainSpace, digits: Dataset, tmp_path: Path
) -> None:
    place = str(tmp_path / "store.sqlite")
    n = 2 * len(script.distinct(space))
    first = Interrupting(script.trainer(digits, RECIPE, place), most=7)
    store = ResultStore(place)
    with pytest.raises(InterruptedBuildError):
        script.build(space, first, store, repeats=2)
    assert len(store) == 2 * 7  # with the accuracies on the test split
    arguments = {"name": "tiny", "repeats": 2, "facts": {"a": 1}}
    with pytest.raises(ConfigurationError, match="missing or failed"):
        script.assembled(space, store, first.identity, digits, **arguments)

    second = Interrupting(script.trainer(digits, RECIPE, place))
    script.build(space, second, store, repeats=2)
    assert second.trained == n - 7
    table = script.assembled(space, store, second.identity, digits, **arguments)
    write_table(table, tmp_path / "tiny.parquet")
    read = read_table(tmp_path / "tiny.parquet")
    stored = {(where, e.key, e.repeat): e for where, _, e in store}
    assert len(stored) == 2 * n
    for (where, key, repeat), evaluation in stored.items():
        row = read.rows[key]
        assert isinstance(evaluation, Evaluation)
        if where == second.identity:
            assert tuple(read.curves[row, repeat]) == evaluation.curve
            assert read.loss[row, repeat] == np.float32(evaluation.loss or 0)
            assert read.train_seconds[row, repeat] == np.float32(evaluation.train_seconds)
            assert (read.parameters[row], read.macs[row]) == (evaluation.parameters, evaluation.macs)
        else:
            assert read.test_accuracy[row, repeat] == evaluation.accuracy
    assert read.facts["a"] == 1


def test_the_test_accuracy_is_that_of_the_trained_network(
    script: Any, space: ChainSpace, digits: Dataset, tmp_path: Path
) -> None:
    from nas_gym.evaluation.training import TrainingEvaluator

    candidate = space.candidate((1, 2, 3))
    evaluator = TrainingEvaluator(digits, RECIPE, device="cpu")
    module, _ = evaluator.train(candidate, repeat=1)
    place = str(tmp_path / "store.sqlite")
    trainer = script.trainer(digits, RECIPE, place)
    (future,) = trainer.submit([candidate], repeat=1)
    store = ResultStore(place)
    tested = store.get(script.tests_of(trainer.identity), candidate.key, "full", 1)
    assert future.result().ok
    assert tested is not None
    assert tested.accuracy == evaluator.test_accuracy(module)


def made(accuracy: Any, walked: dict[Any, Candidate]) -> Table:
    keys = tuple(sorted({candidate.key for candidate in walked.values()}))
    counts = np.rint(np.asarray(accuracy) * 10_000).astype(np.uint16)[:, :, None]
    zeros = np.zeros(len(keys), dtype=np.int64)
    ones = np.ones(counts.shape[:2], dtype=np.float32)
    first = {candidate.key: prefix for prefix, candidate in reversed(walked.items())}
    actions = tuple(first[key] for key in keys)
    return Table("made", keys, actions, zeros, zeros, counts, counts[:, :, 0], ones, ones, 10_000, 10_000, {})


def test_variances_are_those_that_made_the_numbers(quality: Any) -> None:
    generator = np.random.default_rng(0)
    accuracy = 0.5 + generator.normal(0, 0.1, (4000, 1)) + generator.normal(0, 0.03, (4000, 3))
    told = quality.variances(accuracy)
    assert told["candidate_deviation"] == pytest.approx(0.1, rel=0.05)
    assert told["repeat_deviation"] == pytest.approx(0.03, rel=0.05)
    assert told["ratio"] == pytest.approx(0.09, rel=0.1)


def test_within_noise_are_those_within_two_standard_errors_of_the_difference(quality: Any) -> None:
    # Every row has the deviation 0.01 between its three repeats, so that the margin is 2 √(2/3) · 0.01 = 0.01633.
    means = np.array([0.9, 0.884, 0.883, 0.5, *[0.4] * 6])
    accuracy = means[:, None] + np.array([-0.01, 0.0, 0.01])
    assert quality.within_noise(accuracy).tolist() == [True, True, *[False] * 8]


def test_neighbours_differ_in_one_decision(quality: Any, script: Any, space: ChainSpace) -> None:
    walked = script.walk(space)
    table = made(np.full((len(script.distinct(space)), 3), 0.5), walked)
    found = quality.neighbourhood(table, walked)

    def near(prefix: tuple[int, ...]) -> set[int]:
        return set(found[table.rows[walked[prefix].key]].tolist())

    def rows(*prefixes: tuple[int, ...]) -> set[int]:
        return {table.rows[walked[prefix].key] for prefix in prefixes}

    # fully connected 4, stop: another activation, another first layer, a second layer (no pooling of a vector)
    assert near((0, 1, 3)) == rows((1, 1, 3), (0, 0, 3), (0, 2, 3), (0, 1, 1), (0, 1, 2))
    assert rows((0, 1, 3)) <= near((0, 1, 1))  # and back, by stopping earlier
    assert all(row not in near_ for row, near_ in enumerate(map(set, found)))


def test_local_search_climbs_and_counts_every_candidate_once(quality: Any) -> None:
    n = 40
    line = [np.array([i for i in (k - 1, k + 1) if 0 <= i < n]) for k in range(n)]
    means = np.linspace(0.1, 0.9, n)
    for seed in range(20):
        run = quality.local_search(line, means, n, np.random.default_rng(seed))
        assert sorted(run) == list(range(n))  # it restarts until nothing is left
        start, top = run[0], run.index(n - 1)
        assert set(run[: top + 1]) >= set(range(start, n))
        assert top <= 2 * (n - start)  # no more than both neighbours of every step
        assert run[:5] == quality.local_search(line, means, 5, np.random.default_rng(seed))


def test_the_report_finds_what_was_planted(quality: Any, script: Any, space: ChainSpace) -> None:
    walked = script.walk(space)
    n = len(script.distinct(space))
    accuracy = np.linspace(0.2, 0.8, n)[:, None] + np.array([-0.001, 0.0, 0.001])
    told = quality.report(made(accuracy, walked), walked)
    assert told["candidates"] == n
    assert told["best"]["within_noise"] == 1
    assert told["best"]["mean_accuracy"] == pytest.approx(0.8)
    assert told["searches"]["local search"]["30"]["found_best"] == 1.0  # fewer than 30 candidates
    assert told["searches"]["random search"]["30"]["median_regret"] == 0.0
