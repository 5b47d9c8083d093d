"""The script that compares cheap rewards with full training: its statistics against brute force, and the whole run."""

import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nas_gym.data import Dataset, load_dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Recipe
from nas_gym.spaces import ChainSpace, FullyConnected, MaxPool
from nas_gym.store import ResultStore
from nas_gym.tables import Table

SCRIPTS = Path(__file__).parents[2] / "scripts"
RECIPE = Recipe(epochs=3, batch_size=32, threads=1, channels_last=True)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_rewards

    return compare_rewards


@pytest.fixture
def statistics(script: Any) -> Any:
    return sys.modules["rewards_statistics"]


@pytest.fixture
def page(script: Any) -> Any:
    return sys.modules["rewards_page"]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", first_per_class=20)


@pytest.fixture(scope="module")
def space() -> ChainSpace:
    catalogue = (MaxPool(2), FullyConnected(4), FullyConnected(8))
    return ChainSpace((1, 8, 8), 10, catalogue=catalogue, max_layers=2, activations=("relu", "tanh"))


@pytest.fixture(scope="module")
def table(space: ChainSpace, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import build_table

    place = str(tmp_path_factory.mktemp("table") / "store.sqlite")
    trainer = build_table.trainer(digits, RECIPE, place)
    store = ResultStore(place)
    build_table.build(space, trainer, store, repeats=2)
    facts = build_table.facts_of(space, digits, trainer)
    made = build_table.assembled(space, store, trainer.identity, digits, name="tiny", repeats=2, facts=facts)
    assert isinstance(made, Table)
    return made


def samples() -> Any:
    generator = np.random.default_rng(0)
    smooth = generator.normal(size=(2, 6, 11))
    return [(smooth[0], smooth[1]), (np.round(smooth[0]), np.round(smooth[1])), (smooth[0], -smooth[0])]


@pytest.mark.parametrize("number", range(3))
def test_correlations_are_those_of_scipy(statistics: Any, number: int) -> None:
    x, y = samples()[number]
    for row, (one, other) in enumerate(zip(x, y, strict=True)):
        assert statistics.spearman(x, y)[row] == pytest.approx(stats.spearmanr(one, other).statistic)
        assert statistics.kendall(x, y)[row] == pytest.approx(stats.kendalltau(one, other).statistic)


def test_kendall_is_the_share_of_ordered_pairs(statistics: Any) -> None:
    x, y = (generator.permutation(9).astype(float) for generator in map(np.random.default_rng, (1, 2)))
    signs = [np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in itertools.combinations(range(9), 2)]
    assert statistics.kendall(x[None], y[None])[0] == pytest.approx(np.mean(signs))


def test_a_failure_is_the_worst_value_and_a_constant_says_nothing(statistics: Any) -> None:
    y = np.array([[0.1, 0.2, 0.3, 0.4]])
    failed, worst = np.array([[-math.inf, 2.0, 3.0, 4.0]]), np.array([[1.0, 2.0, 3.0, 4.0]])
    for statistic in (statistics.spearman, statistics.kendall, statistics.regret):
        assert statistic(failed, y) == pytest.approx(statistic(worst, y))
    assert np.isnan(statistics.spearman(np.zeros((1, 4)), y)).all()
    told = statistics.agreement(np.zeros((1, 4)), y, resamples=10, seed=0)
    assert told["spearman"] is told["kendall"] is told["spearman_95"][0] is None
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("levels", [2, 3, 100])
def test_the_regret_is_the_mean_over_all_ways_to_break_ties(statistics: Any, levels: int) -> None:
    generator = np.random.default_rng(levels)
    x, y = np.floor(generator.random(6) * levels), generator.random(6)
    best = np.sort(y)[-2:].mean()
    regrets = []
    for order in itertools.permutations(range(6)):  # ties go to who comes first
        ranked = sorted(order, key=lambda i: -x[i])
        regrets.append(best - y[ranked[:2]].mean())
    assert statistics.regret(x[None], y[None], 1 / 3)[0] == pytest.approx(np.mean(regrets))
    assert statistics.regret(y, y) == 0
    assert statistics.regret(np.zeros(6), y, 1 / 3) == pytest.approx(best - y.mean())


def test_the_interval_is_that_of_resampled_networks(statistics: Any) -> None:
    generator = np.random.default_rng(3)
    y = generator.normal(size=(2, 30))
    x = y + generator.normal(size=(2, 30))
    found = [
        np.mean([stats.spearmanr(x[k][chosen], y[k][chosen]).statistic for k in range(2)])
        for chosen in np.random.default_rng(5).integers(30, size=(200, 30))
    ]
    told = statistics.interval(statistics.spearman, x, y, resamples=200, seed=5)
    assert told == pytest.approx(tuple(np.quantile(found, (0.025, 0.975))))


def test_the_interval_covers_the_truth_about_as_often_as_it_says(statistics: Any) -> None:
    truth = 6 / math.pi * math.asin(0.8 / 2)  # Spearman's of a normal pair that correlates by 0.8
    covered = 0
    for seed in range(200):
        x, noise = np.random.default_rng(seed).normal(size=(2, 1, 100))
        low, high = statistics.interval(statistics.spearman, x, 0.8 * x + 0.6 * noise, resamples=200, seed=seed)
        covered += low <= truth <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_others_are_those_that_are_left_out(statistics: Any) -> None:
    values = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    assert statistics.others(values).tolist() == [[4.0, 1.5], [3.5, 1.5], [1.5, 0.0]]


def test_a_run_on_a_tiny_table(script: Any, page: Any, table: Table, space: ChainSpace, digits: Dataset) -> None:
    settings = script.Settings(subset=6, supernet_epochs=1, resamples=50)
    told = script.measure(table, space, digits, RECIPE, settings)
    rows = {row["name"]: row for row in told["rewards"]}
    assert {"fidelity=epochs=1", "fidelity=data=0.25", "fidelity=resolution=4", "fidelity=stop=2"} <= set(rows)
    assert (rows["evaluator=proxy:macs"]["networks"], rows["fidelity=epochs=1"]["networks"]) == (len(table), 6)
    by_scipy = stats.spearmanr(table.macs, table.mean_accuracy).statistic
    assert rows["evaluator=proxy:macs"]["spearman"] == pytest.approx(by_scipy, abs=1e-5)
    one = [stats.spearmanr(table.curves[:, k, 0], table.accuracy[:, 1 - k]).statistic for k in range(2)]
    assert rows["fidelity=stop=1"]["spearman"] == pytest.approx(np.mean(one), abs=1e-5)
    assert [net["learning_rate"] for net in told["supernets"]] == [0.2, RECIPE.learning_rate]
    for net in told["supernets"]:
        row, shared = rows[net["name"]], net["training_seconds"] / len(table)
        assert row["seconds"] == pytest.approx(row["inference_seconds"] + shared, abs=1e-3)
    assert rows["one full training"]["share_of_full_training"] == 1
    assert rows["fidelity=stop=1"]["seconds"] < rows["fidelity=stop=2"]["seconds"]
    # Pooling twice and nothing else has no activation to look at: such failures are counted.
    assert rows["evaluator=proxy:naswot"]["failed"] > 0
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_nothing_has_a_seed_of_the_table(
    script: Any, table: Table, space: ChainSpace, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeats: list[int] = []
    asked = script.evaluate

    def noted(*arguments: Any, **question: Any) -> Any:
        repeats.append(question["repeat"])
        return asked(*arguments, **question)

    monkeypatch.setattr(script, "evaluate", noted)
    script.measure(table, space, digits, RECIPE, script.Settings(subset=2, networks=3, supernet_epochs=1, resamples=5))
    assert set(repeats) == {table.accuracy.shape[1]}


def test_an_interrupted_run_goes_on_to_the_same_numbers(
    script: Any, table: Table, space: ChainSpace, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, limit = script.answer, [math.inf, 0]

    def counted(*arguments: Any) -> Any:
        limit[1] += 1
        if limit[1] > limit[0]:
            raise KeyboardInterrupt
        return asked(*arguments)

    monkeypatch.setattr(script, "answer", counted)
    settings = script.Settings(subset=3, networks=9, supernet_epochs=1, resamples=5)
    whole = script.measure(table, space, digits, RECIPE, settings)
    n, kept = int(limit[1]), tmp_path / "kept.jsonl"
    warmed = n_of_subset(script, digits)  # the first network, in nobody's time
    for most in (warmed + 5, warmed + 30):
        limit[:] = [most, 0]
        with pytest.raises(KeyboardInterrupt):
            script.measure(table, space, digits, RECIPE, settings, kept)
    with kept.open("a", encoding="utf-8") as lines:
        lines.write('["cut off')
    limit[:] = [math.inf, 0]
    resumed = script.measure(table, space, digits, RECIPE, settings, kept)
    assert limit[1] < n
    assert (whole["resumed"], resumed["resumed"]) == (False, True)
    for one, other in zip(whole["rewards"], resumed["rewards"], strict=True):
        same = [{name: value for name, value in row.items() if not is_time(name)} for row in (one, other)]
        assert same[0] == same[1]
    limit[1] = 0
    script.measure(table, space, digits, RECIPE, replace(settings, seed=1), kept)  # another question: all anew
    assert limit[1] == n


def n_of_subset(script: Any, digits: Dataset) -> int:
    """How many answers a network of the subset needs."""
    return (
        len(script.PROXIES)
        + len(script.supernet_recipes(RECIPE))
        + len(script.fidelities(RECIPE, digits))
        + 1
        + RECIPE.epochs
        - 1
    )


def is_time(name: str) -> bool:
    return "seconds" in name or name == "share_of_full_training"


def test_another_recipe_is_refused(script: Any, table: Table, space: ChainSpace, digits: Dataset) -> None:
    with pytest.raises(ConfigurationError, match="differ in epochs 3 and 4"):
        script.check(table, space, digits, replace(RECIPE, epochs=4))


def test_the_page_keeps_what_is_around_the_markers(
    script: Any, page: Any, table: Table, space: ChainSpace, digits: Dataset, tmp_path: Path
) -> None:
    settings = script.Settings(subset=3, supernet_epochs=1, resamples=20)
    told = script.measure(table, space, digits, RECIPE, settings) | script.surroundings()
    place = tmp_path / "page.md"
    with pytest.raises(ConfigurationError, match="no page with the markers"):
        page.write_page(told, place)
    place.write_text(f"before\n{page.BEGIN}\nout of date\n{page.END}\nafter\n", encoding="utf-8")
    page.write_page(told, place)
    first = place.read_text(encoding="utf-8")
    page.write_page(told, place)
    assert place.read_text(encoding="utf-8") == first
    assert first.startswith("before\n")
    assert first.endswith("\nafter\n")
    assert "out of date" not in first
    assert all(f"| `{row['name']}` |" in first for row in told["rewards"] if row["name"] != "one full training")
    page.draw(told, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_unbeaten_are_those_that_nothing_cheaper_equals(page: Any) -> None:
    pairs = [(1, 0.2), (2, 0.9), (3, 0.5), (4, 0.9), (5, 0.95)]
    rows = [{"seconds": seconds, "spearman_on_subset": spearman} for seconds, spearman in reversed(pairs)]
    assert [row["seconds"] for row in page.unbeaten(rows)] == [1, 2, 5]


@pytest.mark.slow
def test_the_whole_script(
    script: Any, page: Any, real_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    root = real_data("fashion_mnist")
    place, out = tmp_path / "page.md", tmp_path / "rewards.png"
    place.write_text(f"{page.BEGIN}\n{page.END}\n", encoding="utf-8")
    common = ["compare_rewards", "--out", str(out), "--page", str(place), "--json"]
    few = ["--subset", "3", "--networks", "20", "--supernet-epochs", "1", "--resamples", "50"]
    monkeypatch.setattr(sys, "argv", [*common, *few, "--data-root", str(root)])
    script.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["table"]["looked_at"] == 20
    assert {"hardware", "versions", "seeds", "part_seconds"} <= set(told)
    written = place.read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [*common, "--redraw"])
    script.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told
    assert place.read_text(encoding="utf-8") == written
