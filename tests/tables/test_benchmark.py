"""Benchmark tables as files and arrays, what they refuse, how they are described, and the shipped one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import nas_gym
from nas_gym.cli import app
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.spaces import Slot
from nas_gym.tables import BenchmarkTable, load_benchmark, load_table, read_benchmark, write_benchmark
from nas_gym.tables.describing import description
from nas_gym.testing import check_space


@pytest.fixture
def table() -> BenchmarkTable:
    generator = np.random.default_rng(0)
    decisions = np.array([[i, j] for i in range(3) for j in range(12)], dtype=np.int16)
    return BenchmarkTable(
        name="made up",
        slots=(Slot("depth", ("1", "2", "3")), Slot("width", tuple(map(str, range(12))))),
        decisions=decisions,
        accuracies={n: generator.random((36, k), dtype=np.float32) for n, k in (("full", 3), ("epochs=3", 1))},
        scores={"test": generator.random(36, dtype=np.float32), "other": generator.random(36, dtype=np.float32)},
        costs={"full": generator.random(36, dtype=np.float32)},
        latencies={"phone": generator.random(36, dtype=np.float32)},
        parameters=generator.integers(1, 2**40, 36),
        facts={"default_score": "other", "licence": "none"},
    )


def same(one: BenchmarkTable, other: BenchmarkTable) -> bool:
    plain = ("name", "slots", "kind", "facts", "keys")
    groups = ("accuracies", "scores", "costs", "latencies")
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(
        list(getattr(one, name)) == list(getattr(other, name))
        and all(np.array_equal(v, getattr(other, name)[n]) for n, v in getattr(one, name).items())
        for name in groups
    )


def test_round_trip(table: BenchmarkTable, tmp_path: Path) -> None:
    write_benchmark(table, tmp_path / "t.parquet")
    read = read_benchmark(tmp_path / "t.parquet")
    assert same(read, table)
    assert np.array_equal(read.decisions, table.decisions) and read.decisions.dtype == np.int16
    assert read.parameters is not None and read.macs is None
    assert np.array_equal(read.parameters, table.parameters)
    assert (read.default_fidelity, read.default_score) == ("full", "other")
    write_benchmark(read, tmp_path / "again.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.parquet", "t.parquet"]


def test_the_space_of_a_table(table: BenchmarkTable) -> None:
    check_space(table.space(), walks=30)
    rows = slice(3, 17)
    groups = {
        n: {k: v[rows] for k, v in getattr(table, n).items()} for n in ("accuracies", "scores", "costs", "latencies")
    }
    part = replace(table, decisions=table.decisions[rows], keys=(), parameters=None, **groups)
    space = part.space()
    check_space(space, walks=30)
    assert {space.candidate(tuple(row)).key for row in part.decisions.tolist()} == set(part.keys)
    assert np.flatnonzero(space.legal((0,))).tolist() == list(range(3, 12))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"decisions": np.zeros((0, 2), np.int16), "keys": ()}, "rows"),
    "a row twice": ({"decisions": np.zeros((36, 2), np.int16), "keys": ()}, "twice"),
    "no reward": ({"accuracies": {}}, "reward"),
    "no score": ({"scores": {}}, "score"),
    "no fidelity": ({"accuracies": {"soon": np.zeros((36, 1), np.float32)}}, "soon"),
    "too few": ({"scores": {"test": np.zeros(35, np.float32)}}, "36 rows"),
    "NaN": ({"scores": {"test": np.full(36, np.nan, np.float32)}}, "nan"),
    "above 100 %": ({"accuracies": {"full": np.full((36, 1), 1.5, np.float32)}}, "150 %"),
    "below 0": ({"scores": {"test": np.full(36, -0.1, np.float32)}}, "-10 %"),
    "negative cost": ({"costs": {"full": np.full(36, -1, np.float32)}}, "at least 0"),
    "endless latency": ({"latencies": {"x": np.full(36, np.inf, np.float32)}}, "finite"),
    "no choice": ({"decisions": np.full((36, 2), 99, np.int16)}, "no choice"),
    "unknown kind": ({"kind": "nasbench101"}, "nasbench101"),
    "no cells": ({"kind": "nasbench201"}, "edges"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_what_is_no_table_is_refused(table: BenchmarkTable, mistake: str) -> None:
    changes, word = WRONG[mistake]
    with pytest.raises(ConfigurationError, match=word) as caught:
        replace(table, **changes)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused(table: BenchmarkTable, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_benchmark(table, path)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:-20], whole[: len(whole) // 2], whole[:50] + b"\xff" * 200 + whole[250:]):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"t\.parquet"):
            read_benchmark(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ConfigurationError, match="no benchmark table"):
        read_benchmark(path)


def test_gaps_and_missing_columns_are_refused(table: BenchmarkTable, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_benchmark(table, path)
    read = pq.read_table(path)
    for changed in (
        read.drop_columns(["slot:width"]),
        read.set_column(read.column_names.index("score:test"), "score:test", pa.array([None] * 36, pa.float32())),
    ):
        pq.write_table(changed, path)
        with pytest.raises(ConfigurationError, match="no benchmark table"):
            read_benchmark(path)


def test_a_missing_table_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_GYM_TABLES", str(tmp_path))
    with pytest.raises(ConfigurationError, match="nas-gym table import SOURCE --name nasbench201-cifar10"):
        gym.make("nas_gym/NB201-CIFAR10-v0")
    arguments = ["search", "--env", "nas_gym/NB201-CIFAR10-v0", "--run-dir", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "table import" in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_shipped_table_has_its_numbers() -> None:
    table, shipped = load_benchmark(), load_table()
    assert table.keys == shipped.keys and len(table) == len(shipped)
    assert table.accuracies["full"] == pytest.approx(shipped.accuracy, abs=1e-6)
    assert table.accuracies["stop=1"] == pytest.approx(shipped.curves[:, :, 0], abs=1e-6)
    assert table.scores["test"] == pytest.approx(shipped.mean_test_accuracy, abs=1e-6)
    assert table.parameters is not None and np.array_equal(table.parameters, shipped.parameters)
    space = table.space()
    for row in range(0, len(table), 50):
        candidate = space.candidate(shipped.actions[row])
        assert candidate.key == table.keys[row]
        assert candidate.architecture.parameters == table.parameters[row]


def test_a_description(table: BenchmarkTable) -> None:
    told = description(table)
    json.dumps(told, allow_nan=False)
    best = {one["by"]: one for one in told["best"]}
    row = int(table.mean_accuracy("full").argmax())
    assert best["reward full"]["key"] == table.keys[row]
    assert best["score other"]["scores"]["other"] == pytest.approx(table.scores["other"].max())
    assert told["fidelities"]["epochs=3"]["noise"] is None
    assert told["fidelities"]["full"]["noise"] == pytest.approx(12**-0.5, rel=0.2)  # of uniform numbers
    assert told["spearman"]["reward full"]["reward full"] == pytest.approx(1)
    generator = np.random.default_rng(0)
    draws = generator.integers(0, 36, (20_000, 10))
    mean = table.mean_accuracy()
    assert told["random_search"]["10"]["reward"] == pytest.approx(mean[draws].max(axis=1).mean(), abs=0.003)
    chosen = draws[np.arange(20_000), mean[draws].argmax(axis=1)]
    assert told["random_search"]["10"]["score"] == pytest.approx(table.scores["other"][chosen].mean(), abs=0.01)


def test_describe_and_list(table: BenchmarkTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_GYM_TABLES", str(tmp_path))
    write_benchmark(table, tmp_path / "mine.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"")
    told = json.loads(CliRunner().invoke(app, ["table", "describe", "mine", "--json"]).stdout)
    assert told["rows"] == 36
    for name in ("mine", "fashion-chain", str(tmp_path / "mine.parquet")):
        text = CliRunner().invoke(app, ["table", "describe", name]).stdout
        for title in ("Decisions", "Accuracies", "The best", "random search", "Spearman"):
            assert title in text
    rows = json.loads(CliRunner().invoke(app, ["table", "list", "--json"]).stdout)["tables"]
    assert [row["name"] for row in rows] == ["fashion-chain", "broken", "mine"]
    assert "can't be read" in rows[1]["rewards"]
    result = CliRunner().invoke(app, ["table", "describe", "broken"])
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1


def test_a_whole_search_on_the_shipped_table(tmp_path: Path) -> None:
    path = tmp_path / "run"
    options = [
        "--env",
        "nas_gym/Table-v0",
        "--agent",
        "random",
        "--evaluations",
        "30",
        "--run-dir",
        str(path),
        "--json",
    ]
    result = CliRunner().invoke(app, ["search", *options])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    table = load_benchmark()
    row = table.rows[summary["best"]["key"]]
    assert summary["best"]["validation_accuracy"] == pytest.approx(table.mean_accuracy()[row])
    assert summary["best"]["test_accuracy"] == pytest.approx(table.scores["test"][row])
    assert summary["best"]["score"] == "test" and summary["confirmation"] is None
    history = [episode.key for episode in nas_gym.load(path).history]
    state = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(state | {"result": None, "state": "running"}))
    resumed = json.loads(CliRunner().invoke(app, ["resume", str(path), "--json"]).stdout)
    assert resumed | {"seconds": 0} == summary | {"seconds": 0}
    assert [episode.key for episode in nas_gym.load(path).history] == history
    assert "Best networks" in CliRunner().invoke(app, ["show", str(path)]).stdout
    with pytest.raises(RunError, match="trained nothing"):
        nas_gym.load(path).module()


def test_a_search_sees_the_fidelity_of_its_table(tables: Callable[[str], Path], tmp_path: Path) -> None:
    table = load_benchmark(tables("nasbench201-cifar10"))
    path = tmp_path / "run"
    options = ["--env", "nas_gym/NB201-CIFAR10-v0", "--env-arg", "device=raspi4", "--agent", "random", "--workers", "2"]
    result = CliRunner().invoke(app, ["search", *options, "--evaluations", "8", "--run-dir", str(path)])
    assert result.exit_code == 0, result.output
    assert "test accuracy in the table" in " ".join(result.stdout.split())
    best = nas_gym.load(path).best(8)
    assert len(best) == 8
    for one in best:
        row = table.rows[one.candidate.key]
        assert one.evaluation.fidelity == "epochs=12"
        assert one.accuracy == pytest.approx(table.accuracies["epochs=12"][row, 0])
        assert one.evaluation.latency_ms == pytest.approx(table.latencies["raspi4"][row])
        assert one.evaluation.cost_seconds == pytest.approx(table.costs["epochs=12"][row])


def test_loading_needs_no_pandas_and_no_torch(table: BenchmarkTable, tmp_path: Path) -> None:
    write_benchmark(table, tmp_path / "t.parquet")
    script = (
        "import sys; from nas_gym.tables import load_benchmark; load_benchmark(sys.argv[1]); load_benchmark();"
        "sys.exit(' '.join(m for m in ('pandas', 'torch', 'scipy', 'pyarrow.dataset') if m in sys.modules) or None)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path / "t.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
