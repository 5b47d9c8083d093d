"""Imports: the authors' files give the published numbers; what can't be trusted is refused by its name."""

import bz2
import json
import os
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner, Result

from nas_gym.cli import app
from nas_gym.errors import ConfigurationError
from nas_gym.spaces import CategoricalSpace, CellSpace
from nas_gym.spaces.cell import EDGES, official_string, unique_string
from nas_gym.tables import load_benchmark, read_benchmark
from nas_gym.tables.importing import import_table

TSS, SSS = "NATS-tss-v1_0-3ffb9-simple", "NATS-sss-v1_0-50262-simple"
Data = Callable[[str], Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of imported tables; there is none yet."""
    monkeypatch.setenv("NAS_GYM_TABLES", str(tmp_path / "home"))
    return tmp_path / "home"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["table", *map(str, arguments)])


def assert_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    (sentence,) = result.stderr.strip().splitlines()
    assert sentence.startswith("error: ") and all(word in sentence for word in words), sentence


# --- the official NATS-Bench directories


@pytest.fixture(scope="module")
def sample(real_data: Data) -> Path:
    return real_data("natsbench_official_sample")


def last(curves: Any, **where: Any) -> list[float]:
    """Return the accuracies after the last epoch, one a seed in order, in [0, 1]."""
    chosen = curves
    for name, value in where.items():
        chosen = chosen[chosen[name] == value]
    chosen = chosen[chosen["epoch"] == chosen["epoch"].max()].sort_values("seed")
    return [float(value) / 100 for value in chosen["accuracy"]]


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
@pytest.mark.parametrize(("folder", "space", "schedules"), [
    (TSS, "tss", {"epochs=12": 12, "full": 200}),
    (SSS, "sss", {"epochs=1": 1, "epochs=12": 12, "full": 90}),
])  # fmt: skip
def test_official_directories_give_the_recorded_curves(
    sample: Path, dataset: str, folder: str, space: str, schedules: dict[str, int]
) -> None:
    curves = pq.read_table(sample / "curves.parquet").to_pandas()
    curves = curves[curves["space"] == space]
    table = import_table(sample / folder, dataset=dataset)
    assert len(table) == 3 and table.facts["rows"] == 3
    searched = "cifar10-valid" if dataset == "cifar10" else dataset
    test = "ori-test" if dataset == "cifar10" else "x-test"
    for row, index in enumerate((0, 11, 284)):
        for fidelity, epochs in schedules.items():
            where = {"index": index, "hp_epochs": epochs}
            wanted = last(curves, **where, dataset=searched, split="x-valid")
            assert sorted(table.accuracies[fidelity][row].tolist()) == pytest.approx(sorted(wanted), abs=1e-6)
        where = {"index": index, "hp_epochs": schedules["full"]}
        final = last(curves, **where, dataset=dataset, split=test)
        assert table.scores["test"][row] == pytest.approx(np.mean(final), abs=1e-6)
        assert table.scores["validation"][row] == pytest.approx(table.mean_accuracy("full")[row])
        texts = curves[curves["index"] == index]["arch"].unique()
        widths = ":".join(table.slots[i].choices[a] for i, a in enumerate(table.decisions[row]) if space == "sss")
        assert [widths or official_string(tuple(table.decisions[row]))] == list(texts)


def test_official_directories_agree_with_the_published_table(sample: Path, real_data: Data) -> None:
    table = import_table(sample / TSS)
    full = import_table(real_data("nasbench201") / "nasbench201_cifar10.parquet")
    assert full.kind == "nasbench201" and table.kind == "categorical"
    rows = [full.rows[key] for key in table.keys]
    assert rows == [0, 11, 284]
    for fidelity in ("epochs=12", "full"):
        assert table.mean_accuracy(fidelity) == pytest.approx(full.mean_accuracy(fidelity)[rows], abs=1e-6)
        assert table.costs[fidelity] == pytest.approx(full.costs[fidelity][rows], rel=1e-5)
    assert table.scores["test"] == pytest.approx(full.scores["test"][rows], abs=1e-6)
    assert table.parameters is not None and full.parameters is not None
    assert (table.parameters == full.parameters[rows]).all()
    space = table.space()
    assert isinstance(space, CategoricalSpace) and not isinstance(space, CellSpace)
    assert int(space.legal(()).sum()) == 3


def test_incomplete_directories_say_how_much_is_there(sample: Path, home: Path) -> None:
    result = call("import", sample / TSS, "--dataset", "cifar100")
    assert result.exit_code == 0, result.output
    assert "3 rows of 15,625" in result.stdout
    table = read_benchmark(home / "nasbench201-cifar100.parquet")
    assert table.facts["n_classes"] == 100 and table.facts["sha256"]


@pytest.fixture
def damaged(sample: Path, tmp_path: Path) -> Path:
    """A copy of the topology directory, to be damaged."""
    return Path(shutil.copytree(sample / TSS, tmp_path / "damaged"))


class Evil:
    """Asks for code when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickle_that_asks_for_code_is_refused_by_name(damaged: Path, home: Path, tmp_path: Path) -> None:
    evil = {"12": Evil(f"touch {tmp_path / 'ran'}")}
    (damaged / "000011.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(evil)))
    assert_refused(call("import", damaged), "system", "000011.pickle.pbz2")
    for protocol in range(6):
        (damaged / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(evil, protocol)))
        assert_refused(call("import", damaged), "system", "meta.pickle.pbz2")
    assert not (tmp_path / "ran").exists() and not home.exists()


@pytest.mark.parametrize(
    "asked",
    [eval, print, np.load, pickle.loads, torch.load, Path, type],
    ids=lambda one: f"{one.__module__}.{one.__qualname__}",
)
def test_any_other_name_is_refused_too(damaged: Path, home: Path, asked: Any) -> None:
    (damaged / "000000.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps([asked])))
    assert_refused(call("import", damaged), asked.__name__, "asks for")
    assert not home.exists()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def half_a_pickle(path: Path) -> None:
    path.write_bytes(bz2.compress(bz2.decompress(path.read_bytes())[:3000]))


def something_else(path: Path) -> None:
    path.write_bytes(bz2.compress(pickle.dumps({"12": {"all_results": {}, "dataset_seed": {}}})))


def no_record(path: Path) -> None:
    path.write_bytes(bz2.compress(pickle.dumps([1, 2])))


@pytest.mark.parametrize("damage", [truncated, emptied, half_a_pickle, something_else, no_record])
def test_damaged_records_are_refused(damaged: Path, home: Path, damage: Callable[[Path], None]) -> None:
    damage(damaged / "000011.pickle.pbz2")
    assert_refused(call("import", damaged))
    assert not home.exists()


def test_what_is_no_directory_of_the_benchmark_is_refused(damaged: Path, tmp_path: Path, home: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(call("import", tmp_path / "empty"), "meta.pickle.pbz2")
    for path in damaged.glob("0*"):
        path.unlink()
    assert_refused(call("import", damaged), "no architecture")
    assert_refused(call("import", damaged, "--dataset", "svhn"), "cifar100")
    assert_refused(call("import", tmp_path / "nothing"), "missing")
    assert not home.exists()


# --- the official NAS-Bench-201 file


def fabricated(records: dict[int, str]) -> dict[str, Any]:
    """Return what the official file holds, of a few cells with made-up numbers."""

    def training(name: str, epochs: int, sets: tuple[str, ...], accuracy: float) -> dict[str, Any]:
        at = {f"{images}@{epochs - 1}": accuracy for images in sets}
        return {
            "name": name, "epochs": epochs, "eval_acc1es": at, "eval_times": dict.fromkeys(at, 2.0),
            "train_times": OrderedDict((i, 3.0) for i in range(epochs)), "params": np.float64(0.5), "flop": 7.5,
            "latency": [np.float64(0.01)],
        }  # fmt: skip

    def trained(epochs: int, accuracy: float) -> dict[str, Any]:
        return {
            "dataset_seed": {"cifar10-valid": [777, 888], "cifar10": [777]},
            "all_results": {
                ("cifar10-valid", 777): training("cifar10-valid", epochs, ("x-valid", "ori-test"), accuracy),
                ("cifar10-valid", 888): training("cifar10-valid", epochs, ("x-valid", "ori-test"), accuracy + 2),
                ("cifar10", 777): training("cifar10", epochs, ("ori-test",), accuracy + 4),
            },
        }

    texts = [records.get(i, f"|none~0|+|none~0|none~1|+|none~0|none~1|none~{i}|") for i in range(max(records) + 1)]
    made = {i: {"less": trained(12, 50.0 + i), "full": trained(200, 80.0 + i)} for i in records}
    return {"meta_archs": texts, "arch2infos": made, "evaluated_indexes": list(records)}


CELLS = {0: official_string((3, 3, 3, 1, 3, 2)), 2: official_string((0, 1, 2, 3, 4, 0))}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_official_file(tmp_path: Path, home: Path, zipped: bool) -> None:
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(fabricated(CELLS), path, _use_new_zipfile_serialization=zipped)
    result = call("import", path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 2
    table = load_benchmark("nasbench201-cifar10")
    assert table.keys == ("3-3-3-1-3-2", "0-1-2-3-4-0")
    assert table.accuracies["epochs=12"].tolist() == pytest.approx(np.array([[0.50, 0.52], [0.52, 0.54]]))
    assert table.scores["test"].tolist() == pytest.approx([0.84, 0.86])
    assert table.costs["epochs=12"].tolist() == [38.0, 38.0]
    assert table.macs is not None and table.macs.tolist() == [7_500_000] * 2
    assert table.latencies["authors-gpu-256"].tolist() == pytest.approx([10, 10])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_an_archive_that_asks_for_code_is_refused_by_name(tmp_path: Path, home: Path, zipped: bool) -> None:
    path = tmp_path / "evil.pth"
    content = fabricated(CELLS) | {"more": Evil(f"touch {tmp_path / 'ran'}")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_refused(call("import", path), "system", "evil.pth")
    assert not (tmp_path / "ran").exists() and not home.exists()


def test_damaged_archives_are_refused(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "damaged.pth"
    torch.save(fabricated(CELLS), path)
    for content in (path.read_bytes()[:500], b"", b"text"):
        path.write_bytes(content)
        assert_refused(call("import", path), "damaged.pth")
    torch.save({"meta_archs": 5}, path)
    assert_refused(call("import", path), "arch2infos")
    assert not home.exists()


# --- NAS-Bench-Macro


def test_macro_json_equals_the_columns(real_data: Data, tmp_path: Path) -> None:
    source = real_data("nas_bench_macro") / "nas_bench_macro_cifar10.parquet"
    rows = pq.read_table(source).to_pylist()
    names = [f"cifar10_test_seed{i}" for i in range(3)]
    content = {
        row["arch"]: {"test_acc": [row[name] for name in names], "params": row["params"], "flops": row["flops"]}
        for row in rows
    }
    (tmp_path / "nas-bench-macro_cifar10.json").write_text(json.dumps(content))
    one, other = import_table(tmp_path / "nas-bench-macro_cifar10.json"), import_table(source)
    assert one.name == other.name == "nasbenchmacro-cifar10"
    assert one.keys == other.keys and one.slots == other.slots
    assert one.accuracies["full"].tolist() == other.accuracies["full"].tolist()
    assert one.scores["test"].tolist() == pytest.approx(other.scores["test"].tolist(), abs=1e-6)
    assert one.parameters is not None and (one.parameters == other.parameters).all()
    best = int(((one.accuracies["full"][:, 0] + 2 * one.scores["test"]) / 3).argmax())
    assert one.keys[best] in ("2-2-2-1-2-2-0-2", "2-2-2-1-2-2-2-0")


@pytest.mark.parametrize(
    ("content", "word"),
    [("{", "JSON"), ("[]", "object"), ("{}", "object"), ('{"0123": {}}', "digits"), ('{"00000000": {}}', "test_acc")],
)
def test_what_is_no_macro_json_is_refused(tmp_path: Path, home: Path, content: str, word: str) -> None:
    (tmp_path / "macro.json").write_text(content)
    assert_refused(call("import", tmp_path / "macro.json"), word, "macro.json")
    assert not home.exists()


# --- anybody's columns


OWN = ["--decision", "depth", "--decision", "act", "--reward", "full=a1,a2", "--score", "test=0.5*a1+0.5*a2"]


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    path.write_text(
        "depth,act,a1,a2,seconds,ms,size\n"
        "10,relu,70,72,3,1.5,100\n2,tanh,60,64,2,1.0,50\n2,relu,65,65,2,1.1,50\n10,tanh,55,57,3,1.4,100\n"
    )
    return path


def test_named_columns(csv: Path, home: Path) -> None:
    more = ["--cost", "full=2*seconds", "--device", "phone=ms", "--parameters", "size", "--choices", "act=tanh,relu"]
    result = call("import", csv, *OWN, *more, "--name", "mine", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) | {"path": ""} == {
        "name": "mine", "path": "", "rows": 4, "kind": "categorical", "fidelities": ["full"], "scores": ["test"],
    }  # fmt: skip
    table = load_benchmark("mine")
    assert [slot.choices for slot in table.slots] == [("2", "10"), ("tanh", "relu")]
    assert table.keys == ("1-1", "0-0", "0-1", "1-0")
    assert table.accuracies["full"][0].tolist() == pytest.approx([0.7, 0.72])
    assert table.scores["test"].tolist() == pytest.approx([0.71, 0.62, 0.65, 0.56])
    assert table.costs["full"].tolist() == [6, 4, 4, 6]
    assert table.latencies["phone"].tolist() == pytest.approx([1.5, 1.0, 1.1, 1.4])
    assert table.parameters is not None and table.parameters.tolist() == [100, 50, 50, 100]
    assert table.facts["source"] == "own.csv"


def test_slots_and_choices_can_have_names(csv: Path) -> None:
    options = ["--decision", "number of layers=depth", "--decision", "act", "--reward", "epochs=12=a1"]
    named = ["--score", "test=a2", "--choices", "depth=2:two,10:ten"]
    assert call("import", csv, *options, *named, "--name", "mine").exit_code == 0
    table = load_benchmark("mine")
    assert table.slots[0].name == "number of layers" and table.slots[0].choices == ("two", "ten")
    assert list(table.accuracies) == ["epochs=12"]


def test_equal_sources_give_equal_bytes(csv: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert call("import", csv, *OWN, "--name", "mine", "--out", tmp_path / f"{name}.parquet").exit_code == 0
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.parquet", "own.csv", "two.parquet"]


def test_fractions(csv: Path, tmp_path: Path) -> None:
    fractions = tmp_path / "fractions.csv"
    fractions.write_text("depth,act,a1,a2\n1,relu,0.7,0.5\n2,relu,0.6,0.5\n")
    assert call("import", fractions, *OWN, "--fraction", "--name", "mine").exit_code == 0
    assert load_benchmark("mine").accuracies["full"][0].tolist() == pytest.approx([0.7, 0.5])
    assert_refused(call("import", csv, *OWN, "--fraction"), "7000")


WRONG = {
    "no such column": (["--decision", "width", *OWN], "width"),
    "no column of rewards": (["--decision", "depth", "--reward", "full=b", "--score", "test=a1"], "'b'"),
    "no decision": (["--reward", "full=a1", "--score", "test=a1"], "--decision"),
    "no names at all": ([], "--decision"),
    "duplicate rows": (["--decision", "depth", "--reward", "full=a1", "--score", "test=a1"], "comes twice"),
    "no fidelity": (["--decision", "depth", "--decision", "act", "--reward", "much=a1", "--score", "t=a1"], "'much'"),
    "text for numbers": (
        ["--decision", "depth", "--decision", "act", "--reward", "full=act", "--score", "t=a1"],
        "act",
    ),
    "numbers for decisions": (["--decision", "ms", *OWN], "whole numbers or text"),
    "no sum": ([*OWN, "--cost", "full=x*seconds"], "weighted sum"),
    "no pair": ([*OWN, "--cost", "full"], "NAME=VALUE"),
    "wrong choices": ([*OWN, "--choices", "act=relu,gelu"], "tanh"),
    "equal choices": ([*OWN, "--choices", "act=relu,relu"], "differ"),
    "choices of nothing": ([*OWN, "--choices", "width=1,2"], "width"),
    "fractional parameters": ([*OWN, "--parameters", "ms"], "whole numbers"),
    "not all cells": ([*OWN, "--kind", "nasbench201"], "six decisions"),
    "unknown kind": ([*OWN, "--kind", "nasbench101"], "nasbench101"),
    "no such devices": ([*OWN, "--devices", "nowhere.csv"], "nowhere.csv"),
    "a name that leaves the folder": ([*OWN, "--name", "../mine"], "../mine"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_columns_are_refused(csv: Path, home: Path, mistake: str) -> None:
    options, word = WRONG[mistake]
    assert_refused(call("import", csv, *options), word)
    assert not home.exists()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("10,gelu,nan,72", "nan"),
        ("10,gelu,,72", "nan"),
        ("10,gelu,101,72", "101"),
        ("10,gelu,-1,72", "-1"),
        (",x,1,1", "missing"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, home: Path, line: str, word: str) -> None:
    (tmp_path / "own.csv").write_text(f"depth,act,a1,a2\n10,relu,70,72\n{line}\n")
    assert_refused(call("import", tmp_path / "own.csv", *OWN), word)
    assert not home.exists()


def test_what_is_neither_csv_nor_parquet_is_refused(tmp_path: Path, home: Path) -> None:
    for name, content in {"t.parquet": b"PAR1 no", "e.parquet": b"", "e.csv": b"", "x.txt": b"a,b"}.items():
        (tmp_path / name).write_bytes(content)
        assert_refused(call("import", tmp_path / name), name)
    assert not home.exists()


def test_devices_of_another_file(csv: Path, tmp_path: Path) -> None:
    indexed = pa.table({"index": [3, 4, 5], "act": ["a", "b", "c"], "a1": [1.0, 2, 3], "a2": [1.0, 2, 3]})
    pq.write_table(indexed, tmp_path / "t.parquet")
    pq.write_table(pa.table({"index": [5, 4, 3, 9], "phone_ms": [50, 40, 30, 90]}), tmp_path / "d.parquet")
    options = ["--decision", "act", "--reward", "full=a1", "--score", "test=a2", "--devices", tmp_path / "d.parquet"]
    assert call("import", tmp_path / "t.parquet", *options, "--name", "mine").exit_code == 0
    assert load_benchmark("mine").latencies["phone"].tolist() == [30, 40, 50]
    pq.write_table(pa.table({"index": [5, 3], "phone_ms": [50, 30]}), tmp_path / "d.parquet")
    assert_refused(call("import", tmp_path / "t.parquet", *options), "index")


# --- what is known by its columns, and by a longer command


def test_known_columns_need_a_name_only(real_data: Data, home: Path) -> None:
    source = real_data("nasbench201") / "nasbench201_cifar10.parquet"
    assert call("import", source, "--name", "nasbench201-cifar10").exit_code == 0
    short = (home / "nasbench201-cifar10.parquet").read_bytes()
    table = load_benchmark("nasbench201-cifar10")
    assert table.kind == "nasbench201" and table.default_fidelity == "epochs=12" and len(table.latencies) == 27
    assert int(table.scores["test"].argmax()) == int(table.scores["validation"].argmax()) == 6111
    cells = [tuple(row) for row in table.decisions.tolist()]
    assert len({unique_string(cell) for cell in cells}) == 6466
    options = [*(f"op_{start}to{end}" for start, end in EDGES)]
    command = [part for column in options for part in ("--decision", column)]
    seconds = "train_s_per_epoch_cifar10valid+2.5*eval_s_per_10k_images"
    command += ["--reward", "epochs=12=cifar10_val_12ep", "--reward", "full=cifar10_val_200ep"]
    command += ["--score", "test=cifar10_test_200ep", "--score", "validation=cifar10_val_200ep"]
    command += ["--cost", f"epochs=12=12*{seconds}", "--cost", f"full=200*{seconds}", "--kind", "nasbench201"]
    command += ["--parameters", "params_cifar10", "--macs", "flops_cifar10"]
    command += ["--devices", str(source.with_name("latency_help.parquet")), "--name", "nasbench201-cifar10"]
    assert call("import", source, *command).exit_code == 0
    longer = load_benchmark("nasbench201-cifar10")
    assert (longer.decisions == table.decisions).all() and longer.facts["columns"] == table.facts["columns"]
    assert all((longer.latencies[d] == table.latencies[d]).all() for d in table.latencies)
    assert all((longer.costs[f] == table.costs[f]).all() for f in table.costs)
    assert (home / "nasbench201-cifar10.parquet").stat().st_size < 1.1 * len(short)


def test_imports_without_a_terminal_say_what_they_made(csv: Path, home: Path) -> None:
    result = call("import", csv, *OWN, "--name", "mine")
    assert result.exit_code == 0 and result.stderr == ""
    assert "4 rows" in result.stdout and str(home / "mine.parquet") in result.stdout
    assert "nas-gym table describe mine" in result.stdout


def test_a_failed_write_leaves_the_old_table(csv: Path, tmp_path: Path) -> None:
    (tmp_path / "place").write_text("a file")
    assert_refused(call("import", csv, *OWN, "--out", tmp_path / "place" / "t.parquet"), "can't be written")
    with pytest.raises(ConfigurationError, match="missing"):
        load_benchmark("mine")
