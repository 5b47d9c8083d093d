"""Trainings on a Ray cluster: the answers of a local run, whatever dies meanwhile."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import convnet, global_state, perceptron, trainer
from ray_evaluators import CANDIDATES, Anonymous, Failing, Sleeping, Training, Untouched

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Fidelity, HashEvaluator, StoredEvaluator, evaluate
from nas_gym.evaluation.rays import RayEvaluator
from nas_gym.randomness import isolated_generators
from nas_gym.store import ResultStore
from nas_gym.testing_evaluators import check_evaluator

HERE = Path(__file__).parent
# A search's driver: asks for everything through a store, and prints what it was given.
DRIVER = """
import random, sys
from pathlib import Path
import numpy
from nas_gym.evaluation import StoredEvaluator
from nas_gym.evaluation.rays import RayEvaluator
from nas_gym.store import ResultStore
from ray_evaluators import CANDIDATES, Sleeping
random.seed(0), numpy.random.seed(0)
with RayEvaluator(Sleeping(float(sys.argv[3]), Path(sys.argv[4])), address=sys.argv[1]) as rays:
    for future in StoredEvaluator(rays, ResultStore(sys.argv[2])).submit(CANDIDATES):
        print(future.result().key, flush=True)
drawn = random.random(), numpy.random.random()
random.seed(0), numpy.random.seed(0)
if drawn != (random.random(), numpy.random.random()):
    sys.exit("global generators were used")
"""


def deterministic(answers: list[Evaluation]) -> list[dict[str, Any]]:
    return [answer.deterministic() for answer in answers]


def until(true: Callable[[], Any], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing and a node with two processors and two pretended GPUs."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs Ray")
    context = pytest.MonkeyPatch()
    context.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))  # what workers import
    context.setenv("RAY_USAGE_STATS_ENABLED", "0")
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    import ray

    ray.init(
        address=cluster.address, log_to_driver=False, logging_level="error"
    )  # once: each driver has its own workers
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    context.undo()


@pytest.fixture
def rays(cluster: Any) -> Iterator[Callable[..., RayEvaluator]]:
    """A function that makes an evaluator on the cluster; all are closed at the end."""
    made: list[RayEvaluator] = []

    def make(factory: Any = None, **options: Any) -> RayEvaluator:
        made.append(RayEvaluator(factory or Sleeping(), address=cluster.address, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.slow
def test_contract(rays: Callable[..., RayEvaluator]) -> None:
    check_evaluator(rays, CANDIDATES[:3], fidelity=Fidelity(epochs=3))


@pytest.mark.slow
def test_answers_are_those_of_the_factorys_evaluator(rays: Callable[..., RayEvaluator], tmp_path: Path) -> None:
    evaluator = rays(Sleeping(diary=tmp_path))
    assert evaluator.identity == "sleeping" and evaluator.capacity == 2
    found = evaluate(evaluator, CANDIDATES) + evaluate(evaluator, CANDIDATES[:2], repeat=1)
    local = evaluate(HashEvaluator(), CANDIDATES) + evaluate(HashEvaluator(), CANDIDATES[:2], repeat=1)
    assert found == local and evaluator.lost == 0
    made = [page.name.split("-")[1] for page in tmp_path.glob("made-*")]
    assert len(made) == len(set(made))  # one evaluator per process, whatever it was asked


@pytest.mark.slow
def test_identity_without_one_of_the_factory(rays: Callable[..., RayEvaluator]) -> None:
    assert rays(Anonymous()).identity == HashEvaluator().identity


@pytest.mark.slow
def test_capacity(rays: Callable[..., RayEvaluator]) -> None:
    asked = ((1, 0.0, 2), (0.25, 0.0, 8), (2, 0.0, 1), (0, 0.1, 20), (0.5, 0.25, 4), (0, 2, 1))
    for cpus, gpus, held in asked:
        assert rays(cpus_per_training=cpus, gpus_per_training=gpus).capacity == held
    assert rays(capacity=5).capacity == 5
    for cpus, gpus, word in ((3, 0.0, "3 CPUs, but.* 2 CPUs"), (1, 3, "1 CPUs and 3 GPUs, but.* 2 CPUs and 2 GPUs")):
        with pytest.raises(ConfigurationError, match=word) as caught:
            rays(cpus_per_training=cpus, gpus_per_training=gpus)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_worker_that_dies(rays: Callable[..., RayEvaluator], tmp_path: Path) -> None:
    accidents = ((CANDIDATES[1].key, "dies once"), (CANDIDATES[2].key, "dies"))
    evaluator = rays(Sleeping(diary=tmp_path, accidents=accidents), retries=1)
    answers = evaluate(evaluator, CANDIDATES[:5])
    local = evaluate(HashEvaluator(), CANDIDATES[:5])
    assert [answer.status for answer in answers] == ["ok", "ok", "crashed", "ok", "ok"]
    assert answers[:2] + answers[3:] == local[:2] + local[3:]
    assert "lost 2 times" in answers[2].reason and answers[2].parameters == local[2].parameters
    assert evaluator.lost == 3
    assert len(list(tmp_path.glob(f"training-*-{CANDIDATES[2].key}-*"))) == 2


@pytest.mark.slow
def test_what_the_evaluator_raises(rays: Callable[..., RayEvaluator]) -> None:
    evaluator = rays(Sleeping(accidents=((CANDIDATES[0].key, "raises"), (CANDIDATES[1].key, "mistake"))))
    raised, mistake, good = evaluator.submit(CANDIDATES[:3])
    answer = raised.result(timeout=60)
    assert answer.status == "crashed" and answer.reason == "OSError: the disk is wet"
    with pytest.raises(ConfigurationError, match="no such setting"):
        mistake.result(timeout=60)
    assert good.result(timeout=60).ok and evaluator.lost == 0


@pytest.mark.slow
def test_nodes_that_cannot_make_the_evaluator(rays: Callable[..., RayEvaluator]) -> None:
    for factory, word in ((Failing(), "not on this node"), (Untouched(), "No module named 'missing'")):
        (future,) = rays(factory).submit(CANDIDATES[:1])
        with pytest.raises(ConfigurationError, match=word) as caught:
            future.result(timeout=60)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="can't be pickled"):
        rays(lambda: open(HERE))  # noqa: PTH123, SIM115
        rays(sys.stdout)


@pytest.mark.slow
def test_trainings_and_their_weights(rays: Callable[..., RayEvaluator], digits: Dataset) -> None:
    kept: list[tuple[Candidate, Evaluation, Any]] = []
    evaluator = rays(Training(digits))
    local = trainer(digits)
    assert evaluator.identity == local.identity
    asked = [perceptron(), convnet()]
    assert evaluate(evaluator, asked[:1])[0].ok  # without `keep`
    evaluator.keep = lambda *what: kept.append(what)
    before = global_state()
    answers = evaluate(evaluator, asked)
    assert global_state() == before
    assert deterministic(answers) == deterministic(evaluate(local, asked))
    evaluate(evaluator, asked[:1], repeat=1)
    evaluate(evaluator, asked[:1], fidelity=Fidelity(epochs=1))
    assert {candidate.key: evaluation for candidate, evaluation, _ in kept} == dict(
        zip((candidate.key for candidate in asked), answers, strict=True)
    )
    for candidate, _, module in kept:
        trained, _ = local.train(candidate)
        state, expected = module.state_dict(), trained.state_dict()
        assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
        assert not module.training and all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.slow
def test_a_keep_that_fails_is_told(rays: Callable[..., RayEvaluator], digits: Dataset) -> None:
    def keep(*what: Any) -> None:
        raise OSError("the disk is full")

    (future,) = rays(Training(digits), keep=keep).submit([perceptron()])
    with pytest.raises(OSError, match="full"):
        future.result(timeout=60)


@pytest.mark.slow
def test_closing(rays: Callable[..., RayEvaluator], tmp_path: Path) -> None:
    first = rays()
    evaluator = rays(Sleeping(seconds=600, diary=tmp_path))
    futures = evaluator.submit(CANDIDATES[:4])
    until(lambda: len(list(tmp_path.glob("training-*"))) == 2)
    evaluator.close()
    evaluator.close()
    assert all(future.cancelled() for future in futures)
    until(lambda: not any(alive(page) for page in tmp_path.glob("training-*")))
    with pytest.raises(ConfigurationError, match="closed"):
        evaluator.submit(CANDIDATES[:1])
    assert evaluate(first, CANDIDATES[:1])[0].ok and evaluator.lost == 0


def alive(page: Path) -> bool:
    """Return whether the process of a training is there and no zombie."""
    try:
        state = Path(f"/proc/{page.name.split('-')[1]}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def drive(cluster: Any, store: Path, seconds: float, diary: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    program = [sys.executable, "-c", DRIVER, cluster.address, str(store), str(seconds), str(diary)]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_nothing_and_leaves_nothing(cluster: Any, tmp_path: Path) -> None:
    process = drive(cluster, tmp_path / "results.sqlite", 0.3, tmp_path)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(4)]
    process.send_signal(signal.SIGKILL)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None) and "(raylet" not in errors and "INFO" not in errors
    told += rest.split()
    until(lambda: not any(alive(page) for page in tmp_path.glob("training-*")))
    with closing(ResultStore(tmp_path / "results.sqlite")) as store:
        committed = {evaluation.key for _, _, evaluation in store}
        assert set(told) <= committed < {candidate.key for candidate in CANDIDATES}
    for page in tmp_path.glob("training-*"):
        page.unlink()
    process = drive(cluster, tmp_path / "results.sqlite", 0.0, tmp_path)
    told = process.communicate(timeout=120)[0].split()
    assert process.returncode == 0 and told == [candidate.key for candidate in CANDIDATES]
    trained = {page.name.split("-")[2] for page in tmp_path.glob("training-*")}
    assert trained == {candidate.key for candidate in CANDIDATES} - committed


@pytest.mark.slow
def test_a_node_that_dies_during_a_search(cluster: Any, rays: Callable[..., RayEvaluator], tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    evaluator = rays(Sleeping(seconds=1.0, diary=tmp_path))
    assert evaluator.capacity == 4
    with closing(ResultStore()) as store:
        futures = StoredEvaluator(evaluator, store).submit(CANDIDATES)
        until(lambda: any(tmp_path.glob(f"training-*-{doomed.node_id}-*")))
        cluster.remove_node(doomed, allow_graceful=False)
        answers = [future.result(timeout=120) for future in futures]
        assert answers == evaluate(HashEvaluator(), CANDIDATES)
        assert evaluator.lost >= 1 and len(store) == len(CANDIDATES)


@pytest.mark.slow
def test_a_search_whose_node_dies_has_the_history_of_a_local_one(cluster: Any, tmp_path: Path) -> None:
    from nas_gym_agents import runner
    from nas_gym_agents import workers as placing
    from nas_gym_agents.settings import SearchSettings

    settings = SearchSettings(agent="genetic", evaluations=24, seed=3, env_args={"epochs": 1}, explain="none")
    runner.search(settings, tmp_path / "local")
    doomed = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    alive_nodes = [doomed]

    def watch(tally: Any) -> None:
        if alive_nodes and tally.evaluations >= 6:
            with isolated_generators(0):  # it draws from them, as nobody does who dies elsewhere
                cluster.remove_node(alive_nodes.pop(), allow_graceful=False)

    spread = placing.Workers(workers="ray", ray_address=cluster.address)
    runner.search(settings, tmp_path / "ray", workers=spread, watch=watch)
    assert not alive_nodes
    local, ray = tmp_path / "local", tmp_path / "ray"
    assert (ray / "history.jsonl").read_text() == (local / "history.jsonl").read_text()
    weights = [{path.name for path in (run / "weights").glob("*.pt")} for run in (local, ray)]
    assert weights[0] == weights[1] and weights[0]


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r'pip install "nas-gym\[ray\]"'):
        RayEvaluator(Sleeping())


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1:1", "no Ray cluster at '127.0.0.1:1'"),
        ("127.0.0.1:nonsense", "no Ray cluster"),
        ("127.0.0.1:99999999", "no Ray cluster"),
        ("nonsense", "no Ray cluster"),
        ("ray://127.0.0.1:10001", "client addresses"),
    ],
)
def test_nobody_at_the_address(address: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs Ray")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ConfigurationError, match=word) as caught:
        RayEvaluator(Sleeping(), address=address)
    assert "\n" not in str(caught.value)


def test_a_cluster_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray")

    def refuse(**options: Any) -> None:
        random.random()  # as Ray does
        raise RuntimeError("Version mismatch: the cluster was started with Ray 2.0\nThis process has ...")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    before = random.getstate()
    with pytest.raises(ConfigurationError, match=r"can't be joined \(RuntimeError: Version mismatch") as caught:
        RayEvaluator(Sleeping())
    assert "\n" not in str(caught.value) and random.getstate() == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cpus_per_training": 1.5}, "cpus_per_training"),
        ({"cpus_per_training": -1}, "cpus_per_training"),
        ({"gpus_per_training": float("nan")}, "gpus_per_training"),
        ({"gpus_per_training": float("inf")}, "gpus_per_training"),
        ({"cpus_per_training": 0}, "0 of both"),
        ({"capacity": 0}, "capacity"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
    ],
)
def test_numbers_out_of_range(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        RayEvaluator(Sleeping(), address="127.0.0.1:1", **options)


def test_gpus_for_whom_they_are_of_use() -> None:
    class Factory:
        def __init__(self, device: str) -> None:
            self.evaluator = type("Trainer", (), {"device": torch.device(device)})

    with pytest.raises(ConfigurationError, match="trains on cpu"):
        RayEvaluator(Factory("cpu"), gpus_per_training=0.25)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="ask for no GPU"):
        RayEvaluator(Factory("cuda:1"))  # type: ignore[arg-type]
