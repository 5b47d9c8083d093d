"""Trainings that stop and go on: equal to uninterrupted ones bit for bit, whatever lies in the folder."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import SHORT, convnet, global_state, perceptron, trainer

from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Fidelity, Recipe, evaluate
from nas_gym.evaluation.checkpoints import Checkpoints
from nas_gym.evaluation.loop import Training
from nas_gym.evaluation.training import TrainingEvaluator

NETWORK = convnet(width=4, dropout=0.3)
SGD = replace(SHORT, epochs=4, batch_size=128, flip=True, crop=1, cutout=2)
ADAM = replace(SGD, optimizer="adam", learning_rate=0.01)
PLAIN = replace(SGD, momentum=0.0)


def stop(epochs: int) -> Fidelity:
    return Fidelity(stop=epochs)


def one(evaluator: TrainingEvaluator, fidelity: Fidelity | None = None, candidate: Candidate = NETWORK) -> Evaluation:
    return evaluate(evaluator, [candidate], fidelity=fidelity)[0]


def numbers(evaluation: Evaluation) -> dict[str, Any]:
    """Return all that must not depend on where a training was interrupted."""
    return evaluation.deterministic() | {"fidelity": None}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of all epochs that are trained from now on."""
    epochs: list[int] = []
    epoch = Training._epoch
    monkeypatch.setattr(
        Training, "_epoch", lambda self, deadline: epochs.append(len(self.curve) + 1) or epoch(self, deadline)
    )
    return epochs


@pytest.mark.parametrize("recipe", [SGD, PLAIN, ADAM], ids=["nesterov", "plain", "adam"])
def test_going_on_equals_an_uninterrupted_training(
    digits: Dataset, tmp_path: Path, trained: list[int], recipe: Recipe
) -> None:
    module, progress = trainer(digits, recipe).train(NETWORK)
    assert trained == [1, 2, 3, 4]
    trained.clear()
    before = global_state()
    for epochs in (1, 2):  # every call by another object, as another process would
        found = one(trainer(digits, recipe, checkpoints=tmp_path), stop(epochs))
        assert found.curve == progress.curve[:epochs] and found.fidelity == f"stop={epochs}"
        torch.rand(3)
        assert global_state() != before
        before = global_state()
    continued, whole = trainer(digits, recipe, checkpoints=tmp_path).train(NETWORK)
    assert trained == [1, 2, 3, 4] and whole == progress and global_state() == before
    for (name, mine), theirs in zip(continued.state_dict().items(), module.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert list(tmp_path.iterdir()) == []


def test_a_stop_at_the_end_is_the_whole_training(digits: Dataset, tmp_path: Path) -> None:
    full = one(trainer(digits, SGD))
    for options in ({}, {"checkpoints": tmp_path}):
        last = one(trainer(digits, SGD, **options), stop(4))
        assert last.fidelity == "stop=4" and numbers(last) == numbers(full)
    assert list(tmp_path.iterdir()) == []
    assert one(trainer(digits, SGD), stop(3)).curve == full.curve[:3]
    assert one(trainer(digits, SGD), Fidelity(epochs=3)).curve != full.curve[:3]  # another schedule


def test_the_latest_checkpoint_with_few_enough_epochs(digits: Dataset, tmp_path: Path, trained: list[int]) -> None:
    evaluator = trainer(digits, SGD, checkpoints=tmp_path)
    third = one(evaluator, stop(3))
    (kept,) = tmp_path.iterdir()
    trained.clear()
    assert one(evaluator, stop(3)).deterministic() == third.deterministic() and trained == []
    first = one(evaluator, stop(1))  # what the checkpoint lies beyond starts anew
    assert trained == [1] and first.curve == third.curve[:1]
    one(evaluator, stop(2))
    assert trained == [1, 2]
    one(evaluator)
    assert trained == [1, 2, 4] and kept.exists() is False


def test_what_is_kept_apart(digits: Dataset, tmp_path: Path, trained: list[int]) -> None:
    evaluator = trainer(digits, SGD, checkpoints=tmp_path)
    one(evaluator, stop(1))
    trained.clear()
    others: list[Callable[[], object]] = [
        lambda: evaluate(evaluator, [NETWORK], fidelity=stop(2), repeat=1),
        lambda: one(evaluator, Fidelity(stop=2, epochs=3)),
        lambda: one(evaluator, Fidelity(stop=2, data=0.5)),
        lambda: one(evaluator, stop(2), perceptron()),
        lambda: one(trainer(digits, replace(SGD, crop=2), checkpoints=tmp_path), stop(2)),
        lambda: one(trainer(digits, SGD, checkpoints=tmp_path, evaluation_seed=1), stop(2)),
    ]
    for ask in others:
        ask()
        assert trained == [1, 2]
        trained.clear()
    assert len(list(tmp_path.iterdir())) == 1 + len(others)
    one(evaluator, stop(2))
    assert trained == [2]


def spoilt(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return {"empty": b"", "cut": content[:middle], "bit": flipped, "other": b"PK" * 100, "longer": content + b"x"}


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "other", "longer"])
def test_damaged_files_are_ignored(digits: Dataset, tmp_path: Path, trained: list[int], damage: str) -> None:
    evaluator = trainer(digits, replace(SGD, epochs=2), checkpoints=tmp_path)
    one(evaluator, stop(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoilt(path.read_bytes())[damage])
    trained.clear()
    assert one(evaluator).ok and trained == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_unfit_files_are_ignored(digits: Dataset, tmp_path: Path, trained: list[int]) -> None:
    evaluator = trainer(digits, replace(SGD, epochs=3), checkpoints=tmp_path)
    whole = one(trainer(digits, replace(SGD, epochs=3)))
    one(evaluator, stop(1))
    (mine,) = tmp_path.iterdir()
    one(evaluator, stop(2), perceptron())
    (theirs,) = set(tmp_path.iterdir()) - {mine}
    mine.with_name(mine.name.replace("000001", "000002")).write_bytes(theirs.read_bytes())
    mine.with_name(mine.name.replace("000001", "later")).write_bytes(b"")
    trained.clear()
    assert one(evaluator, stop(2)).curve == whole.curve[:2] and trained == [2]  # the foreign one passed over
    question = "the question"
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(question, 1, {"curve": [0.5], "module": {}, "optimizer": {}})
    evaluator.checkpoints.latest = lambda *asked: checkpoints.latest(question, 3)  # type: ignore[union-attr,method-assign]
    trained.clear()
    assert numbers(one(evaluator)) == numbers(whole) and trained == [1, 2, 3]


def test_a_folder_that_can_t_be_written_is_a_warning(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    evaluator = trainer(digits, SGD, checkpoints=tmp_path / "file" / "below")
    with pytest.warns(UserWarning, match="can't be written"):
        assert one(evaluator, stop(1)).ok
    with pytest.raises(ConfigurationError, match="a folder"):
        trainer(digits, SGD, checkpoints=tmp_path / "file")


def test_an_interrupted_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write("q", 1, {"value": torch.ones(2)})

    def killed(*told: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as changed, pytest.raises(KeyboardInterrupt):
        changed.setattr("os.fsync", killed)
        checkpoints.write("q", 2, {"value": torch.zeros(2)})
    found = checkpoints.latest("q", 9)
    assert found is not None and torch.equal(found["value"], torch.ones(2)) and len(list(tmp_path.iterdir())) == 1
    checkpoints.write("q", 2, {"value": torch.zeros(2)})
    assert [path.stem[-1] for path in tmp_path.iterdir()] == ["2"]
    assert checkpoints.latest("q", 1) is None and checkpoints.latest("other", 2) is None


def test_failures_write_nothing(digits: Dataset, tmp_path: Path, faulty: Callable[..., None]) -> None:
    faulty(lambda outputs: outputs * float("nan"))
    assert one(trainer(digits, SGD, checkpoints=tmp_path), stop(1)).status == "diverged"
    assert list(tmp_path.iterdir()) == []


def test_hopeless_trainings_end_and_do_not_go_on(digits: Dataset, tmp_path: Path, trained: list[int]) -> None:
    whole = one(trainer(digits, SGD))
    hopeless = replace(SGD, hopeless_after=2, hopeless_below=whole.curve[1] + 1e-9)
    impatient = trainer(digits, hopeless)
    trained.clear()
    ended = one(impatient)
    assert ended.ok and ended.curve == whole.curve[:2] and ended.accuracy == whole.curve[1] and trained == [1, 2]
    hopeful = replace(hopeless, hopeless_below=whole.curve[1])
    assert one(trainer(digits, hopeful)).curve == whole.curve
    evaluator = trainer(digits, hopeless, checkpoints=tmp_path)
    trained.clear()
    for epochs in (1, 3, 4):
        assert one(evaluator, stop(epochs)).curve == whole.curve[: min(epochs, 2)]
    assert trained == [1, 2] and list(tmp_path.iterdir()) == []


def test_threads_with_one_folder(digits: Dataset, tmp_path: Path) -> None:
    evaluator = trainer(digits, replace(SGD, epochs=2), checkpoints=tmp_path)
    candidates = [NETWORK, perceptron(4), perceptron(5)]
    alone = [numbers(answer) for answer in evaluate(trainer(digits, replace(SGD, epochs=2)), candidates)]
    with ThreadPoolExecutor(3) as pool:
        for fidelity in (stop(1), None):
            found = list(pool.map(lambda candidate, how=fidelity: one(evaluator, how, candidate), candidates))
    assert [numbers(answer) for answer in found] == alone and list(tmp_path.iterdir()) == []
