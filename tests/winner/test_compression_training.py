"""Learning from a teacher: the loss against its formula, and trainings that go on after a kill."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor, nn

from nas_gym.architecture import Architecture, Operation
from nas_gym.builder import Network, build
from nas_gym.evaluation.loop import Tensors
from nas_gym.evaluation.recipe import Recipe
from nas_gym.run import Run
from nas_gym.winner.compression import making, tuning
from nas_gym.winner.compression.material import Material
from nas_gym.winner.compression.plan import Plan, Step
from nas_gym.winner.compression.request import Request
from nas_gym.winner.compression.students import students
from nas_gym.winner.compression.tuning import Lesson, distillation_loss, train


class Told(nn.Module):
    """A teacher that tells the same logits whatever it is shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (4.0, 0.9), (2.0, 0.0)])
def test_the_loss_is_that_of_hinton(temperature: float, weight: float) -> None:
    teacher, outputs, targets = drawn(5, 7, seed=0), drawn(5, 7, seed=1), torch.arange(5)
    loss = distillation_loss(Told(teacher), temperature, weight)(torch.zeros(5), outputs, targets)
    classes = -np.mean(log_softmax(outputs.numpy(), 1)[np.arange(5), targets.numpy()])
    mine, told = (log_softmax(one.numpy() / temperature, 1) for one in (outputs, teacher))
    likeness = np.mean(np.sum(np.exp(told) * (told - mine), 1))
    assert float(loss) == pytest.approx((1 - weight) * classes + weight * temperature**2 * likeness)


def test_hot_distillation_matches_logits() -> None:
    # Equation 4 of the paper: for high temperatures and logits of mean zero, T² dL/dz → (z − v) / N.
    teacher, outputs = (one - one.mean(1, keepdim=True) for one in (drawn(1, 7, seed=0), drawn(1, 7, seed=1)))
    outputs.requires_grad_()
    distillation_loss(Told(teacher), 1e4, 1.0)(torch.zeros(1), outputs, torch.zeros(1, dtype=torch.int64)).backward()
    assert outputs.grad is not None
    torch.testing.assert_close(outputs.grad, ((outputs - teacher) / 7).detach(), atol=1e-4, rtol=1e-3)


def test_who_agrees_with_the_teacher_has_nothing_to_learn() -> None:
    logits = drawn(5, 7, seed=0).requires_grad_()
    loss = distillation_loss(Told(logits.detach()), 4.0, 1.0)(torch.zeros(5), logits, torch.arange(5))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12) and logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-12


def lesson(epochs: int = 2) -> Lesson:
    conv = {"channels": 4, "kernel": 3, "stride": 1, "groups": 1, "bias": 1}
    operations = (
        Operation("conv", tuple(sorted(conv.items()))), Operation("relu", (), (0,)),
        Operation("global_average_pool", (), (1,)), Operation("linear", (("units", 3),), (2,)),
    )  # fmt: skip
    networks = [build(Architecture((1, 6, 6), operations), seed=seed) for seed in (0, 1)]
    assert isinstance(networks[0], Network)
    images = torch.randn((40, 6, 6, 1), generator=torch.Generator().manual_seed(0))
    data = Tensors(images, torch.arange(40) % 3)
    recipe = Recipe(epochs=epochs, batch_size=8, flip=True).settled((1, 6, 6), "cpu")
    return Lesson(networks[0], networks[1].eval(), recipe, data, data, 4.0, 0.9, 7, "a test")


def test_a_training_goes_on_after_a_kill_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, curve = train(lesson(), tmp_path / "a")
    steps = list[tuple[int, int]]()

    def stepped(done: int, total: int) -> None:
        if done > 7:
            raise KeyboardInterrupt
        steps.append((done, total))

    with pytest.raises(KeyboardInterrupt):
        train(lesson(), tmp_path / "b", stepped)
    again = list[int]()
    resumed, same = train(lesson(), tmp_path / "b", lambda done, total: again.append(done))
    assert steps[-1] == (7, 10) and again == [6, 7, 8, 9, 10], "the finished epoch is not made again"
    assert curve == same and len(curve) == 2
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_warm_up_that_diverges_is_timed_and_a_training_that_does_says_so(tmp_path: Path) -> None:
    wild = replace(lesson(), recipe=replace(lesson().recipe, learning_rate=1e30))
    assert tuning.seconds_per_epoch(wild) > 0
    wild = replace(wild, network=lesson().network)
    with pytest.raises(tuning.UntrainableError, match=r"diverged .*not finite.*smaller learning rate"):
        train(wild, tmp_path)


def test_a_variant_that_diverges_is_left_out_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = replace(lesson(), recipe=replace(lesson().recipe, learning_rate=1e30))
    monkeypatch.setattr(making, "lesson", lambda *_: wild)
    monkeypatch.setattr(making, "begun", lambda *_: wild.network)
    monkeypatch.setattr(making, "training_data", lambda _: None)
    step = Step("pruned-50", "pruned", 2, 0.5)
    maker = making.Maker(tmp_path, Plan((step,), None, {}), cast(Any, None), Request())
    notes = maker.made(step)
    assert [note["name"] for note in notes] == ["pruned-50", "pruned-50-int8"] and maker.is_done(step)
    assert "its training diverged" in notes[0]["refused"] and notes[1]["refused"] == "pruned-50 was left out"
    assert {file.name for file in tmp_path.iterdir()} == {"pruned-50.json", "pruned-50-int8.json"}


def test_learning_is_as_slow_as_the_training_of_the_winner_was_at_last() -> None:
    def rate(content: dict[str, Any], *hyperparameters: Any) -> float:
        winner = SimpleNamespace(candidate=SimpleNamespace(hyperparameters=()), content=content)
        search = SimpleNamespace(
            trainer=SimpleNamespace(recipe=Recipe().settled((1, 6, 6), "cpu"), device=torch.device("cpu"))
        )
        data = SimpleNamespace(input_shape=(1, 6, 6), train=range(1000))
        parts: Any = {"run": None, "winner": winner, "network": None, "search": search, "dataset": data, "digest": ""}
        return Material(**parts).recipe(2, *hyperparameters).learning_rate

    diverged = {"per_seed": [{"restarts": 2}, {"restarts": 0}]}
    assert rate(diverged) == pytest.approx(rate({}) / 9) and rate(diverged, ()) == pytest.approx(rate({}, ()) / 9)
    assert rate({"per_seed": [{"seed": 0}]}) == rate({}), "retrained before this was noted"


def test_another_teacher_is_another_training() -> None:
    one = lesson()
    assert tuning._question(one) != tuning._question(lesson(3))
    assert tuning._question(one) == tuning._question(lesson())


def test_students_are_the_best_of_what_is_cheap_enough(searched_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    least = "nas_gym.winner.compression.students.LEAST_LEARNED"
    monkeypatch.setattr(least, -math.inf)  # trainings of a fraction of a second: most have learned nothing
    run = Run(searched_run)
    ranked = run.best(99)
    teacher = max((one.candidate.trained for one in ranked), key=lambda one: (one.macs, one.parameters))
    chosen = students(run, teacher, 2)
    first = [
        r
        for r in ranked
        if r.candidate.trained.macs <= teacher.macs / 2 and r.candidate.trained.parameters < teacher.parameters
    ]
    assert first and chosen[0].accuracy == max(r.accuracy or 0 for r in first)
    assert all(one.candidate.trained.macs <= teacher.macs / 2 for one in chosen)
    assert len({one.candidate.key for one in chosen}) == len(chosen)
    assert students(run, teacher, 0) == []
    cheapest = min((one.candidate.trained for one in ranked), key=lambda one: one.parameters)
    assert students(run, cheapest, 2) == []
    best, guessing = ranked[0].accuracy or 0.0, 1 / teacher.output_shape[0]
    learned = [((one.accuracy or 0.0) - guessing) / (best - guessing) for one in chosen]
    monkeypatch.setattr(least, max(learned) + 0.01)
    assert students(run, teacher, 2) == [], "none of them learned that much"
    monkeypatch.setattr(least, max(learned) - 0.01)
    assert students(run, teacher, 1) == [chosen[int(np.argmax(learned))]]
