"""The evaluator that trains: equality bit for bit, nothing global touched, every failure typed."""

import json
import math
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import SHORT, branches, chain, conv, convnet, global_state, perceptron, trainer

from nas_gym.architecture import Candidate, Operation
from nas_gym.builder import Network
from nas_gym.data import Dataset, load_dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Fidelity, Recipe, evaluate, training
from nas_gym.evaluation.training import TrainingEvaluator, choose_device

Fault = Callable[..., None]
DROPOUT = convnet(width=8, dropout=0.3)


def one(evaluator: TrainingEvaluator, candidate: Candidate, **how: Any) -> Evaluation:
    (evaluation,) = evaluate(evaluator, [candidate], **how)
    return evaluation


@pytest.fixture(scope="module")
def reference(digits: Dataset) -> Evaluation:
    return one(trainer(digits), DROPOUT)


def test_an_evaluation_tells_all(digits: Dataset, reference: Evaluation) -> None:
    assert reference.ok and reference.reason == "" and reference.key == DROPOUT.key
    assert reference.accuracy == reference.curve[-1] and len(reference.curve) == SHORT.epochs
    assert reference.loss is not None and math.isfinite(reference.loss)
    assert reference.parameters == DROPOUT.architecture.parameters and reference.macs == DROPOUT.architecture.macs
    assert 0 < reference.train_seconds == reference.cost_seconds
    assert reference.device == "cpu" and torch.__version__ in reference.versions
    assert json.loads(json.dumps(reference.deterministic())) == {
        **reference.deterministic(),
        "curve": [*reference.curve],
    }


def test_same_question_same_answer_whatever_came_before(digits: Dataset, reference: Evaluation) -> None:
    evaluator = trainer(digits)
    others = evaluate(evaluator, [perceptron(), convnet(), DROPOUT, DROPOUT])
    assert [other.deterministic() for other in others[2:]] == [reference.deterministic()] * 2
    torch.rand(7)
    assert one(evaluator, DROPOUT).deterministic() == reference.deterministic()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_of_the_process_do_not_count(digits: Dataset, reference: Evaluation, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert one(trainer(digits), DROPOUT).deterministic() == reference.deterministic()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_state_of_the_process_does_not_count(digits: Dataset, reference: Evaluation) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            assert one(trainer(digits), DROPOUT).deterministic() == reference.deterministic()
        with torch.inference_mode():
            assert one(trainer(digits), DROPOUT).deterministic() == reference.deterministic()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert one(trainer(digits), DROPOUT).deterministic() == reference.deterministic()


def test_another_process_has_the_same_answer(reference: Evaluation) -> None:
    program = (
        "import json; from networks import *; from nas_gym.data import load_dataset;"
        "from nas_gym.evaluation import evaluate;"
        "torch.set_num_threads(2); evaluator = trainer(load_dataset('digits'));"
        "evaluation = evaluate(evaluator, [perceptron(), convnet(width=8, dropout=0.3)])[1];"
        "print(json.dumps(evaluation.deterministic()))"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{here}:{here.parents[1]}", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == json.loads(json.dumps(reference.deterministic()))


def test_networks_written_differently_are_one(digits: Dataset) -> None:
    first, second = branches(), branches(swapped=True)
    assert first.architecture != second.architecture
    evaluator = trainer(digits)
    assert one(evaluator, first).deterministic() == one(evaluator, second).deterministic()
    weights = [evaluator.train(candidate)[0].state_dict().values() for candidate in (first, second)]
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))


def test_what_does_change_the_answer(digits: Dataset, reference: Evaluation) -> None:
    answers = {
        "as it was": reference,
        "repeat": one(trainer(digits), DROPOUT, repeat=1),
        "seed": one(trainer(digits, evaluation_seed=1), DROPOUT),
        "recipe": one(trainer(digits, replace(SHORT, weight_decay=0.01)), DROPOUT),
        "hyper-parameter": one(trainer(digits), Candidate(DROPOUT.architecture, (("learning_rate", 0.05),))),
    }
    assert len({answer.loss for answer in answers.values()}) == len(answers)
    shorter = one(trainer(digits), DROPOUT, fidelity=Fidelity(epochs=1))
    assert shorter.fidelity == "epochs=1" and len(shorter.curve) == 1 and answers["repeat"].repeat == 1


def test_identity_tells_what_decides(digits: Dataset) -> None:
    identity = trainer(digits).identity
    assert identity == trainer(load_dataset("digits")).identity
    assert digits.fingerprint in identity and "seed=0" in identity and "cpu" in identity
    changed = [
        trainer(digits, evaluation_seed=1),
        trainer(digits, replace(SHORT, epochs=3)),
        trainer(load_dataset("digits", split_seed=1)),
    ]
    assert len({identity, *(evaluator.identity for evaluator in changed)}) == 4
    assert trainer(digits, replace(SHORT, threads=None)).identity == identity  # the rule gives the same


def test_hyperparameters_override_the_recipe(digits: Dataset) -> None:
    evaluator = trainer(digits)
    overridden = one(evaluator, Candidate(DROPOUT.architecture, (("batch_size", 128), ("weight_decay", 0.0))))
    same = trainer(digits, replace(SHORT, batch_size=128, weight_decay=0.0))
    assert overridden.ok and overridden.key != DROPOUT.key  # so that the seed differs, and with it the number
    module, progress = evaluator.train(Candidate(DROPOUT.architecture, (("epochs", 1),)))
    assert len(progress.curve) == 1 and not module.training
    assert same.recipe == evaluator.recipe.overridden((("batch_size", 128), ("weight_decay", 0.0)))


def test_a_hyperparameter_the_recipe_lacks_is_the_caller_s_mistake(digits: Dataset) -> None:
    with pytest.raises(ConfigurationError, match="width"):
        trainer(digits).submit([Candidate(DROPOUT.architecture, (("width", 3),))])


def test_a_hyperparameter_out_of_range_is_a_failed_training(digits: Dataset) -> None:
    failed = one(trainer(digits), Candidate(DROPOUT.architecture, (("batch_size", 1),)))
    assert failed.status == "invalid" and "batch_size=1" in failed.reason


def test_every_batch_size_works(digits: Dataset) -> None:
    evaluator = trainer(digits, replace(SHORT, epochs=1))
    for batch in (2, 7, 1077, 1078, 5000):  # of 1,078 images
        candidate = Candidate(convnet(width=4).architecture, (("batch_size", batch),))
        assert one(evaluator, candidate).ok


def raising(error: BaseException) -> Callable[[torch.Tensor], torch.Tensor]:
    def fault(outputs: torch.Tensor) -> torch.Tensor:
        raise error

    return fault


def absurd(outputs: torch.Tensor) -> torch.Tensor:
    return outputs + torch.empty(2**46).sum()  # 256 TiB: the CPU's allocator refuses


def dawdling(outputs: torch.Tensor) -> torch.Tensor:
    time.sleep(0.3)
    return outputs


FAULTS = [
    (lambda outputs: outputs * math.nan, "diverged", "the training loss was not finite in epoch 1"),
    (lambda outputs: outputs * math.inf, "diverged", "the training loss was not finite in epoch 1"),
    (dawdling, "timeout", "the training took longer than 0.2 s"),
    (absurd, "out_of_memory", "does not fit into the memory of the device (cpu)"),
    (raising(MemoryError()), "out_of_memory", "does not fit into the memory"),
    (raising(torch.OutOfMemoryError("CUDA out of memory, 3.51 GiB free")), "out_of_memory", "does not fit"),
    (raising(RuntimeError("not enough memory: you tried to allocate 9 bytes")), "out_of_memory", "does not fit"),
    (raising(RuntimeError("could not create a primitive")), "out_of_memory", "does not fit"),
    (raising(RuntimeError("could not create a primitive descriptor for x")), "invalid", "primitive descriptor"),
    (raising(ValueError("wrong\nsecond line")), "invalid", "ValueError: wrong"),
    (raising(RuntimeError("at 0x7f12ab and 0X1")), "invalid", "RuntimeError: at 0x… and 0X1"),
    (raising(ZeroDivisionError()), "invalid", "ZeroDivisionError"),
    (lambda outputs: outputs[:, :5], "invalid", "Error"),
    (lambda outputs: outputs.detach(), "invalid", "RuntimeError"),
]


@pytest.mark.parametrize(("fault", "status", "reason"), FAULTS)
def test_failures_are_typed_and_leave_nothing_behind(
    digits: Dataset, faulty: Fault, fault: Any, status: str, reason: str
) -> None:
    faulty(fault)
    evaluator = trainer(digits, replace(SHORT, time_limit_seconds=0.2 if status == "timeout" else None))
    before = global_state()
    failed = one(evaluator, perceptron())
    assert failed.status == status and reason in failed.reason and "\n" not in failed.reason
    assert failed.accuracy is None and failed.loss is None and failed.curve == ()
    assert failed.train_seconds > 0 and failed.parameters == perceptron().architecture.parameters
    assert global_state() == before
    assert one(evaluator, perceptron()).deterministic() == failed.deterministic()


def test_a_long_reason_is_cut(digits: Dataset, faulty: Fault) -> None:
    faulty(raising(ValueError("x" * 5000)))
    assert len(one(trainer(digits), perceptron()).reason) == 300


def test_the_next_training_is_none_the_worse(digits: Dataset, faulty: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = trainer(digits)
    whole = one(evaluator, DROPOUT)
    with monkeypatch.context() as changed:
        changed.setattr("nas_gym.evaluation.training.build", raising(ValueError("no")))
        assert one(evaluator, DROPOUT).status == "invalid"
    assert one(evaluator, DROPOUT).deterministic() == whole.deterministic()


def test_a_network_that_really_diverges(digits: Dataset) -> None:
    linear = Operation("linear", (("units", 64),))
    deep = chain((1, 8, 8), Operation("flatten"), *[linear] * 9, Operation("linear", (("units", 10),)))
    failed = one(trainer(digits, replace(SHORT, learning_rate=1e6)), deep)
    assert failed.status == "diverged" and "not finite" in failed.reason


def test_success_leaves_global_state_alone(digits: Dataset) -> None:
    evaluator = trainer(digits, replace(SHORT, epochs=1, batch_size=512, flip=True, crop=1, threads=2))
    before = global_state()
    assert one(evaluator, DROPOUT).ok
    module, _ = evaluator.train(convnet(width=2, dropout=0.5))
    evaluator.test_accuracy(module)
    assert global_state() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interruptions_pass_through(digits: Dataset, faulty: Fault, error: type[BaseException]) -> None:
    faulty(raising(error()), step=3)
    kept: list[Any] = []
    evaluator = trainer(digits, keep=lambda *told: kept.append(told))
    before = global_state()
    with pytest.raises(error):
        evaluator.submit([perceptron()])
    assert global_state() == before and kept == []


def test_threads_take_turns(digits: Dataset) -> None:
    evaluator = trainer(digits)
    candidates = [perceptron(), DROPOUT, convnet(width=4), perceptron(16)]
    alone = [one(evaluator, candidate).deterministic() for candidate in candidates]
    before = global_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda candidate: one(evaluator, candidate).deterministic(), candidates))
    assert together == alone and global_state() == before


def test_two_evaluators_in_threads_do_not_meet(digits: Dataset) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def keep(*told: Any) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    first, second = trainer(digits, keep=keep), trainer(digits, evaluation_seed=1, keep=keep)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda evaluator: one(evaluator, perceptron()), [first, second] * 2))
    assert most[0] == 1


def test_keep_sees_every_success_before_it_is_returned(digits: Dataset) -> None:
    kept: list[tuple[Candidate, Evaluation, torch.nn.Module]] = []
    evaluator = trainer(digits, keep=lambda *told: kept.append(told))
    bad = Candidate(DROPOUT.architecture, (("batch_size", 1),))
    good, _ = evaluate(evaluator, [DROPOUT, bad])
    ((candidate, evaluation, module),) = kept
    assert candidate is DROPOUT and evaluation is good and not module.training
    fresh, progress = evaluator.train(DROPOUT)
    assert progress.curve == good.curve
    assert all(
        torch.equal(*pair) for pair in zip(module.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    assert all("forward" not in layer.__dict__ for layer in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_test_accuracy_by_hand(digits: Dataset) -> None:
    evaluator = trainer(digits)
    module, _ = evaluator.train(DROPOUT)
    inputs, targets = digits.normalised("test")
    with torch.no_grad():
        expected = float((module(inputs).argmax(1) == targets).double().mean())
    assert evaluator.test_accuracy(module.train()) == pytest.approx(expected)
    assert not module.training


def test_the_test_split_is_not_touched(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    normalised = Dataset.normalised
    monkeypatch.setattr(
        Dataset, "normalised", lambda self, name, **k: asked.append(name) or normalised(self, name, **k)
    )
    evaluator = trainer(digits)
    module, _ = evaluator.train(perceptron())
    one(evaluator, perceptron())
    assert asked == ["train", "validation"]
    evaluator.test_accuracy(module)
    assert asked == ["train", "validation", "test"]


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cuda", "mps", "cpu")
    for wrong in ("cuda:97", "tpu", "meta", "", "cpu cpu"):
        with pytest.raises(ConfigurationError, match="try --device auto") as caught:
            choose_device(wrong)
        assert "\n" not in str(caught.value)


def test_auto_prefers_the_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch, "device", lambda name: asked.append(name) or "cpu")
    for cuda, mps in ((True, True), (True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        with pytest.raises(AttributeError):  # a name is no device
            choose_device("auto").type  # noqa: B018
    assert asked == ["cuda", "cuda", "mps", "cpu"]


def test_learning(digits: Dataset) -> None:
    """A small network learns the digits with the recipe of Chain-Digits."""
    from nas_gym_envs.presets import PRESETS

    recipe = Recipe(**PRESETS["nas_gym/Chain-Digits-v0"].recipe)
    evaluator = trainer(digits, recipe)
    answers = evaluate(evaluator, [convnet(), convnet(dropout=0.2)])
    assert min(answer.accuracy or 0 for answer in answers) >= 0.95
    module, _ = evaluator.train(convnet())
    assert evaluator.test_accuracy(module) >= 0.93


def test_real_photographs_of_clothes(real_data: Callable[[str], Path]) -> None:
    clothes = load_dataset("FashionMNIST", data_root=real_data("fashion_mnist"), first_per_class=100)
    recipe = Recipe(epochs=3, batch_size=32, learning_rate=0.1, flip=True, crop=1, threads=1)
    small = chain(
        (1, 28, 28),
        conv(16, stride=2),
        Operation("batch_norm"),
        Operation("relu"),
        conv(32, stride=2),
        Operation("batch_norm"),
        Operation("relu"),
        Operation("flatten"),
        Operation("linear", (("units", 10),)),
    )
    first, second = (one(trainer(clothes, recipe), small) for _ in range(2))
    assert first.accuracy is not None and first.accuracy > 0.7
    assert first.deterministic() == second.deterministic()


def test_float32_of_cuda_is_set_and_restored(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]
    before = [place.fp32_precision for place in places]
    seen: list[list[str]] = []
    built = training.build
    monkeypatch.setattr(
        training, "build", lambda *a, **k: seen.append([place.fp32_precision for place in places]) or built(*a, **k)
    )
    for tf32 in (True, False):
        assert one(trainer(digits, replace(SHORT, epochs=1, tf32=tf32)), perceptron()).ok
        assert [place.fp32_precision for place in places] == before
    assert seen == [["tf32", "tf32"], ["ieee", "ieee"]]


def test_without_a_compiler_a_compiled_training_fails_clearly(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    def refuses(*told: Any, **options: Any) -> Any:
        return raising(InvalidCxxCompiler())

    monkeypatch.setattr(torch, "compile", refuses)
    failed = one(trainer(digits, replace(SHORT, compile=True)), perceptron())
    assert failed.status == "invalid" and "train with compile=False (InvalidCxxCompiler" in failed.reason


@pytest.mark.slow
def test_compiled_trainings(digits: Dataset, tmp_path: Path) -> None:
    """Compiled: nearly the numbers of the plain one, the same ones again and after an interruption, a plain module."""
    recipe = replace(SHORT, epochs=3, compile=True)
    plain = convnet(width=4)
    with_dropout, without = (one(trainer(digits, recipe), candidate) for candidate in (DROPOUT, plain))
    before = global_state()
    interrupted = trainer(digits, recipe, checkpoints=tmp_path)
    one(interrupted, DROPOUT, fidelity=Fidelity(stop=1))
    module, progress = interrupted.train(DROPOUT)
    assert progress.curve == with_dropout.curve and progress.loss == with_dropout.loss and global_state() == before
    assert type(module) is Network and type(pickle.loads(pickle.dumps(module))) is Network
    other = one(trainer(digits, replace(recipe, compile=False)), plain)
    assert without.loss == pytest.approx(other.loss, rel=0.05) and with_dropout.ok
