"""Tables as arrays and as Parquet files, and the table that is shipped."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.tables import Table, fashion_chain_dataset, fashion_chain_space, load_table, read_table, write_table
from nas_gym.tables.fashion_chain import RECIPE, REPEATS, halved
from nas_gym.testing import check_space


@pytest.fixture
def table() -> Table:
    generator = np.random.default_rng(0)
    n, repeats, epochs = 7, 3, 4
    return Table(
        name="random",
        keys=tuple(f"{i:032x}" for i in range(n)),
        actions=tuple(tuple(range(i % 3 + 1)) for i in range(n)),
        parameters=generator.integers(1, 10**6, n),
        macs=generator.integers(1, 2**40, n),
        curve_correct=generator.integers(0, 2000, (n, repeats, epochs)).astype(np.uint16),
        test_correct=generator.integers(0, 1000, (n, repeats)).astype(np.uint16),
        loss=generator.random((n, repeats), dtype=np.float32),
        train_seconds=generator.random((n, repeats), dtype=np.float32),
        n_validation=2000,
        n_test=1000,
        facts={"recipe": {"epochs": epochs}, "seeds": [0]},
    )


def same(one: Table, other: Table) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Table)]
    return all(
        (a.dtype, a.tolist()) == (b.dtype, b.tolist()) if isinstance(a, np.ndarray) else a == b for a, b in pairs
    )


def test_a_table_reads_as_it_was_written(table: Table, tmp_path: Path) -> None:
    write_table(table, tmp_path / "a.parquet")
    read = read_table(tmp_path / "a.parquet")
    assert same(read, table)
    assert not same(replace(read, n_test=999), table)
    write_table(read, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_what_a_table_tells_follows_from_its_counts(table: Table) -> None:
    for row, repeat in ((0, 0), (6, 2)):
        assert table.accuracy[row, repeat] == table.curve_correct[row, repeat, 3] / 2000
        assert table.test_accuracy[row, repeat] == table.test_correct[row, repeat] / 1000
    mine = [table.curve_correct[2, repeat, 3] / 2000 for repeat in range(3)]
    assert table.mean_accuracy[2] == pytest.approx(sum(mine) / 3)
    assert table.standard_error[2] == pytest.approx(np.std(mine, ddof=1) / 3**0.5)
    assert [table.rows[key] for key in table.keys] == list(range(len(table)))


def test_a_table_can_t_be_changed_by_accident(table: Table) -> None:
    with pytest.raises(ValueError, match="read-only"):
        table.curve_correct[0, 0, 0] = 1


def test_arrays_of_another_length_are_refused(table: Table) -> None:
    with pytest.raises(ConfigurationError, match="macs has 6"):
        replace(table, macs=table.macs[:-1])


@pytest.mark.parametrize("content", [None, b"no parquet", "foreign"])
def test_what_is_no_table_is_refused(content: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "x.parquet"
    if content == "foreign":
        pq.write_table(pa.table({"a": [1]}), path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no table of candidates"):
        read_table(path)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="one of fashion-chain, got 'nasbench'"):
        load_table("nasbench")


def test_the_space_of_the_table_keeps_the_contract() -> None:
    check_space(fashion_chain_space(), walks=20)


def test_pixels_are_means_of_four_rounded_half_up(real_data: Any) -> None:
    from nas_gym.data import load_dataset
    from nas_gym.tables.fashion_chain import DATA

    root = real_data("fashion_mnist")
    full, half = load_dataset("FashionMNIST", data_root=root, **DATA), fashion_chain_dataset(root)
    pixels = full.test.inputs.numpy().astype(np.float64)
    means = (pixels[:, :, ::2, ::2] + pixels[:, :, 1::2, ::2] + pixels[:, :, ::2, 1::2] + pixels[:, :, 1::2, 1::2]) / 4
    assert np.array_equal(half.test.inputs.numpy(), np.floor(means + 0.5))
    assert halved(full.train).targets.equal(half.train.targets)
    assert (len(half.train), len(half.validation), len(half.test)) == (3000, 10_000, 10_000)


def test_the_shipped_table_is_that_of_its_space_and_recipe() -> None:
    table = load_table()
    space = fashion_chain_space()
    assert len(table) >= 1000
    assert table.curve_correct.shape == (len(table), REPEATS, RECIPE.epochs)
    assert table.facts["space"]["name"] == space.name
    assert table.facts["identity"].endswith("seed=0 cpu")
    assert table.facts["recipe"]["learning_rate"] == RECIPE.learning_rate
    for row in range(len(table)):
        candidate = space.candidate(table.actions[row])
        assert candidate.key == table.keys[row]
        assert candidate.architecture.canonical().macs == table.macs[row]
        assert candidate.architecture.canonical().parameters == table.parameters[row]


def test_every_candidate_of_the_space_is_in_the_shipped_table() -> None:
    space, table = fashion_chain_space(), load_table()
    found, waiting = set(), [()]
    while waiting:
        prefix = waiting.pop()
        if space.next_slot(prefix) is None:
            found.add(space.candidate(prefix).key)
        waiting += [(*prefix, int(action)) for action in np.flatnonzero(space.legal(prefix))]
    assert found == set(table.keys)


def test_the_shipped_file_is_small_and_plain() -> None:
    path = Path(str(__import__("nas_gym.tables").tables.__file__)).with_name("fashion-chain.parquet")
    assert path.stat().st_size <= 10**6
    assert json.loads(pq.read_schema(path).metadata[b"nas_gym"])["n_validation"] == 10_000


def test_numbers_of_the_shipped_table_can_be_trained_again(real_data: Any) -> None:
    """Exact on the kind of CPU that trained it; elsewhere the order of additions differs, so only nearly."""
    from nas_gym.evaluation import evaluate
    from nas_gym.evaluation.training import TrainingEvaluator

    table, space = load_table(), fashion_chain_space()
    evaluator = TrainingEvaluator(fashion_chain_dataset(real_data("fashion_mnist")), RECIPE, device="cpu")
    row = int(np.argsort(table.macs)[len(table) // 4])
    (again,) = evaluate(evaluator, [space.candidate(table.actions[row])], repeat=1)
    assert again.accuracy == pytest.approx(table.accuracy[row, 1], abs=0.05)
    assert len(again.curve) == table.curves.shape[2]
