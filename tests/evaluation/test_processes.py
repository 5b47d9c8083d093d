"""Trainings in worker processes: the same answers, whatever happens to the workers."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from misbehaving import Misbehaving, Plain, Prepared, Suicidal, Unshareable, Unstartable
from networks import chain, conv

import nas_gym  # noqa: F401  registers the environments
from nas_gym.architecture import Candidate, Operation
from nas_gym.data import Dataset, Split, load_dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import (
    HandedOver,
    HashEvaluator,
    PlantedEvaluator,
    ProcessEvaluator,
    Recipe,
    StoredEvaluator,
    TrainingEvaluator,
    capacity_of,
    evaluate,
)
from nas_gym.store import ResultStore
from nas_gym.testing import random_walk
from nas_gym.testing_evaluators import check_evaluator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the faults are those of POSIX systems")


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    env: Any = gym.make("nas_gym/Chain-Digits-v0", evaluator="hash", max_macs=60_000).unwrapped
    generator = np.random.default_rng(5)
    found = {c.key: c for c in (env.space.candidate(random_walk(env.space, generator)) for _ in range(30))}
    return list(found.values())[:6]


@pytest.fixture()
def pools() -> Iterator[Callable[..., ProcessEvaluator]]:
    made: list[ProcessEvaluator] = []

    def make(factory: Any, *arguments: Any, **options: Any) -> ProcessEvaluator:
        made.append(ProcessEvaluator(factory, *arguments, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


Make = Callable[..., ProcessEvaluator]


def pids(folder: Path) -> set[int]:
    return {int(path.name.rsplit("-", 1)[1]) for path in folder.iterdir() if not path.name.startswith("threads")}


def test_trainings_equal_those_of_this_process(candidates: list[Candidate], pools: Make) -> None:
    trainer = TrainingEvaluator(load_dataset("digits"), Recipe(epochs=1, threads=1), device="cpu")
    expected = evaluate(trainer, candidates)
    pool = pools(HandedOver(trainer), 2)
    found = evaluate(pool, candidates)
    assert [a.deterministic() for a in found] == [a.deterministic() for a in expected]
    assert pool.identity == trainer.identity
    assert capacity_of(pool) == capacity_of(StoredEvaluator(pool, ResultStore())) == 2
    assert pool.lost == pool.replaced == 0


@pytest.mark.slow
def test_the_conformance_suite(candidates: list[Candidate]) -> None:
    trainer = TrainingEvaluator(load_dataset("digits"), Recipe(epochs=1, threads=1), device="cpu")
    made: list[ProcessEvaluator] = []

    def make() -> ProcessEvaluator:
        made.append(ProcessEvaluator(HandedOver(trainer), 1))
        return made[-1]

    check_evaluator(make, candidates[:3])
    for pool in made:
        pool.close()


def test_any_factory_and_pinned_threads(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    pool = pools(Plain(), 1)
    assert pool.identity == HashEvaluator().identity
    assert evaluate(pool, candidates) == evaluate(HashEvaluator(), candidates)
    planted = PlantedEvaluator(candidates[0])
    assert evaluate(pools(HandedOver(planted), 1), candidates) == evaluate(planted, candidates)
    evaluate(pools(HandedOver(Misbehaving("count_threads", tmp_path)), 1, 2), candidates[:1])
    assert (tmp_path / "threads-2").exists()


@pytest.mark.parametrize("deed", ["die", pytest.param("exit", marks=pytest.mark.slow)])
def test_a_lost_worker_is_replaced_and_its_candidate_tried_again(
    deed: str, candidates: list[Candidate], pools: Make, tmp_path: Path
) -> None:
    pool = pools(HandedOver(Misbehaving(deed, tmp_path, times=1)), 2)
    assert evaluate(pool, candidates[:3]) == evaluate(HashEvaluator(), candidates[:3])
    assert pool.lost == 3 and len(pids(tmp_path)) == 3


def test_a_candidate_that_keeps_losing_workers_is_crashed(
    candidates: list[Candidate], pools: Make, tmp_path: Path
) -> None:
    pool = pools(HandedOver(Misbehaving("exit", tmp_path, times=9)), 1, retries=1)
    (found,) = evaluate(pool, candidates[:1])
    assert (found.status, found.key) == ("crashed", candidates[0].key)
    assert "died 2 times" in found.reason and "7" in found.reason
    assert found.parameters == candidates[0].architecture.parameters
    assert pool.lost == 2


@pytest.mark.parametrize("deed", ["sleep", pytest.param("stop", marks=pytest.mark.slow)])
def test_a_training_over_its_time_limit_is_killed(
    deed: str, candidates: list[Candidate], pools: Make, tmp_path: Path
) -> None:
    pool = pools(HandedOver(Misbehaving(deed, tmp_path, times=1)), 1, time_limit_seconds=0.5)
    hung, fine = pool.submit(candidates[:2])
    found = hung.result(60)
    assert (found.status, found.cost_seconds) == ("timeout", 0.5) and "0.5 s" in found.reason
    assert fine.result(60).status == "timeout"  # every candidate hangs once
    assert all(a.ok for a in evaluate(pool, candidates[:2]))
    assert pool.lost == 0  # a time-out is no lost infrastructure
    for pid in pids(tmp_path):
        assert_gone(pid, but=pool)


def test_a_time_limit_holds_after_the_pool_was_idle(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    (tmp_path / f"{candidates[0].key}-0-0").touch()  # this one has had its turn, and answers
    pool = pools(HandedOver(Misbehaving("sleep", tmp_path, times=1)), 1, time_limit_seconds=0.5)
    assert evaluate(pool, candidates[:1])[0].ok
    time.sleep(0.5)
    (hung,) = pool.submit(candidates[1:2])
    assert hung.result(60).status == "timeout"


def test_a_clock_that_jumps_is_no_time_limit(
    candidates: list[Candidate], pools: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools(HandedOver(Misbehaving("nap", tmp_path, times=9)), 1, time_limit_seconds=30)
    (future,) = pool.submit(candidates[:1])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    assert future.result(60).ok


@pytest.mark.slow
def test_workers_killed_from_outside_at_any_time(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    pool = pools(HandedOver(Misbehaving("nap", tmp_path, times=99)), 2, retries=50)
    futures = pool.submit(candidates * 3)
    generator = np.random.default_rng(0)
    for _ in range(6):
        time.sleep(float(generator.uniform(0.2, 1.2)))
        victims = children()
        if victims:
            os.kill(int(generator.choice(victims)), signal.SIGKILL)
    assert [future.result(120) for future in futures] == evaluate(HashEvaluator(), candidates) * 3
    time.sleep(0.5)
    for pid in children():  # idle ones too
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    assert evaluate(pool, candidates) == evaluate(HashEvaluator(), candidates)


def test_a_worker_that_grows_is_replaced(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    pool = pools(HandedOver(Misbehaving("leak", tmp_path)), 1, leak_limit_mb=250)
    assert evaluate(pool, candidates) == evaluate(HashEvaluator(), candidates)
    assert len(pids(tmp_path)) >= 2
    assert pool.replaced >= 1 and pool.lost == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is on the address space")
def test_a_training_over_its_memory_limit_fails_and_the_next_one_does_not(pools: Make) -> None:
    trainer = TrainingEvaluator(noise(1024), Recipe(epochs=1, threads=1, batch_size=1024), device="cpu")
    pool = pools(HandedOver(trainer), 1, memory_limit_mb=300)
    tail = Operation("max_pool", (("kernel", 8),)), Operation("flatten"), Operation("linear", (("units", 2),))
    shape = (1, 64, 64)
    large, small = chain(shape, conv(64), *tail), chain(shape, *tail)  # activations of one gigabyte, and of none
    found = evaluate(pool, [large, small, large])
    assert [one.status for one in found] == ["out_of_memory", "ok", "out_of_memory"]
    assert found[0].reason == found[2].reason and "memory" in found[0].reason
    assert pool.lost == 0


def test_the_largest_candidates_are_begun_first(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    pool = pools(HandedOver(Misbehaving("remember", tmp_path)), 1)
    evaluate(pool, candidates)
    began = sorted(path.name.removeprefix("began-") for path in tmp_path.glob("began-*"))
    order = [name.split("-")[1] for name in began]
    assert (
        order
        == [c.key for c in sorted(candidates, key=lambda c: -c.architecture.macs)]
        != [candidate.key for candidate in candidates]
    )


def test_faults_of_an_evaluator_are_typed(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    pool = pools(HandedOver(Misbehaving("fail", tmp_path)), 1)
    (found,) = evaluate(pool, candidates[:1])
    assert (found.status, found.reason) == ("crashed", "ValueError: a fault of the evaluator")
    (future,) = pools(HandedOver(Misbehaving("refuse", tmp_path / "..")), 1).submit(candidates[:1])
    with pytest.raises(ConfigurationError, match="a mistake of the caller"):
        future.result(60)


def test_workers_that_can_not_come_up_are_no_fault_of_a_candidate(candidates: list[Candidate], pools: Make) -> None:
    store = ResultStore()
    for factory, sentence in (
        (Unstartable(), r"can't make the evaluator \(OSError: no such data\)"),
        (Suicidal(), r"die while they start \(2 times .*__main__"),
    ):
        (future,) = StoredEvaluator(pools(factory, 1, retries=1), store).submit(candidates[:1])
        with pytest.raises(ConfigurationError, match=sentence):
            future.result(60)
    assert len(store) == 0, "nobody takes a candidate for failed later"


def test_a_factory_that_refuses_to_be_pickled_ends_the_waiting(candidates: list[Candidate], pools: Make) -> None:
    pool = pools(Unshareable(), 1)
    for ask in (pool.start, lambda: pool.submit(candidates[:1]), lambda: pool.submit(candidates[:1])):
        with pytest.raises(
            ConfigurationError, match=r"can be started \(RuntimeError: Cowardly refusing to serialize\);"
        ):
            ask()
    with pytest.raises(ConfigurationError, match="Cowardly"):
        pools(Unshareable(), 1).submit(candidates[:1])
    assert pool.lost == 0


@pytest.mark.parametrize("faults", [1, 9])
def test_a_process_that_can_not_be_started_is_tried_again_but_not_for_ever(
    faults: int, candidates: list[Candidate], pools: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing.popen_spawn_posix import Popen

    real, started = Popen._launch, []  # type: ignore[attr-defined]

    def launch(self: Any, process: Any) -> None:
        started.append(process)
        if 2 <= len(started) < 2 + faults:
            raise OSError(12, "Cannot allocate memory")
        real(self, process)

    monkeypatch.setattr(Popen, "_launch", launch)
    (future,) = pools(HandedOver(Misbehaving("die", tmp_path)), 1).submit(candidates[:1])
    if faults == 1:
        assert future.result(60).ok
    else:
        with pytest.raises(ConfigurationError, match=r"no worker process can be started .*Cannot allocate memory"):
            future.result(60)


def test_a_script_without_a_guard_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
            from nas_gym.architecture import Architecture, Candidate, Operation
            from nas_gym.evaluation import HandedOver, HashEvaluator, ProcessEvaluator, evaluate

            candidate = Candidate(Architecture((2,), (Operation("linear", (("units", 2),)),)))
            with ProcessEvaluator(HandedOver(HashEvaluator()), 1, retries=0) as pool:
                print(evaluate(pool, [candidate]))
        """)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode and not done.stdout
    assert "this one starts a search while it is imported" in done.stderr, "the worker"
    assert "worker processes die while they start" in done.stderr.splitlines()[-1], "the script"


def test_what_can_be_prepared_is_prepared_before_any_time_limit(candidates: list[Candidate], pools: Make) -> None:
    pool = pools(HandedOver(Prepared()), 2, time_limit_seconds=0.5)
    assert all(found.ok for found in evaluate(pool, candidates))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"workers": 0}, "workers is a whole number, at least 1"),
        ({"workers": 2.5}, "workers is a whole number"),
        ({"threads_per_worker": 0}, "threads_per_worker is a whole number, at least 1"),
        ({"retries": -1}, "retries is a whole number, at least 0"),
        ({"time_limit_seconds": 0}, "time_limit_seconds must be a positive number"),
        ({"memory_limit_mb": float("inf")}, "memory_limit_mb must be a positive number"),
        ({"leak_limit_mb": -1}, "leak_limit_mb must be a positive number"),
        ({"trainings_per_gpu": 2}, "no GPU"),
    ],
)
def test_impossible_wishes(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ProcessEvaluator(Plain(), **options)


def test_what_cannot_be_pickled_is_refused(candidates: list[Candidate], pools: Make) -> None:
    with pytest.raises(ConfigurationError, match="can't be pickled"):
        pools(lambda: HashEvaluator(), 1).submit(candidates[:1])


def test_closing_stops_everything(candidates: list[Candidate], pools: Make, tmp_path: Path) -> None:
    pool = pools(HandedOver(Misbehaving("sleep", tmp_path)), 1)
    futures = pool.submit(candidates)
    while not pids(tmp_path):
        time.sleep(0.05)
    pool.close()
    assert all(future.cancelled() for future in futures)
    for pid in pids(tmp_path):
        assert_gone(pid)
    with pytest.raises(ConfigurationError, match="closed"):
        pool.submit(candidates)
    pool.close()


def test_workers_end_with_a_killed_driver(tmp_path: Path) -> None:
    """A SIGKILL leaves no trainings behind that would write into a run another process has resumed."""
    (tmp_path / "driver.py").write_text(
        textwrap.dedent("""
            import sys
            from pathlib import Path
            from misbehaving import Misbehaving
            from nas_gym.architecture import Architecture, Candidate, Operation
            from nas_gym.evaluation import HandedOver, ProcessEvaluator

            if __name__ == "__main__":
                candidate = Candidate(Architecture((2,), (Operation("linear", (("units", 2),)),)))
                pool = ProcessEvaluator(HandedOver(Misbehaving("sleep", Path(sys.argv[1]))), 1)
                pool.submit([candidate])[0].result()
        """)
    )
    marks = tmp_path / "marks"
    marks.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    driver = subprocess.Popen([sys.executable, tmp_path / "driver.py", marks], env=environment)
    deadline = time.monotonic() + 60
    while not pids(marks):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    for pid in pids(marks):
        assert_gone(pid)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_data_set_is_shared_by_the_workers(pools: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages are mapped from one place: a worker's own memory does not hold a copy."""
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):  # glibc gives back what is free, not up to 64 MB
        monkeypatch.setenv(name, str(2**18))  # later; mallopt(3)
    few, many = 512, 8192
    own = []
    for n in (few, many):
        trainer = TrainingEvaluator(noise(n), Recipe(epochs=1, threads=1, batch_size=64), device="cpu")
        pool = pools(HandedOver(trainer), 1)
        layers = Operation("max_pool", (("kernel", 8),)), Operation("flatten"), Operation("linear", (("units", 2),))
        assert evaluate(pool, [chain((1, 64, 64), *layers)])[0].ok
        (worker,) = children()
        own.append(private_mb(worker))
        pool.close()
    data_mb = (many - few) * 64 * 64 * 4 / 1e6
    assert own[1] - own[0] < 0.15 * data_mb, own


def noise(n: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (n, 1, 64, 64), generator=generator, dtype=torch.uint8)
    part, few = Split(inputs, torch.arange(n) % 2), Split(inputs[:8], torch.arange(8) % 2)
    return Dataset(f"noise-{n}", part, few, few, ("a", "b"), mean=(0.5,), std=(0.25,))


def private_mb(pid: int) -> float:
    """Memory of no file, where a copy would lie; smaps' `Private` counts shared pages that one process maps."""
    (line,) = re.findall(r"^RssAnon:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(line) * 1024 / 1e6


def children() -> list[int]:
    """Return the worker processes of this process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent = path.read_text().rsplit(")", 1)
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent.split()[1]) == os.getpid() and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def assert_gone(pid: int, but: ProcessEvaluator | None = None) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z" or (but is not None and pid in children()):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")
