"""Cheaper trainings: fewer images and fewer pixels, against what they mean pixel by pixel."""

import math
from typing import Any

import pytest
import torch
from networks import SHORT, chain, conv, convnet, perceptron, trainer

from nas_gym.architecture import Candidate, Operation
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Evaluation, Fidelity, Recipe, evaluate
from nas_gym.evaluation.loop import Tensors
from nas_gym.evaluation.reduction import first_of_every_class, scaled_down, scaled_shape
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.testing_evaluators import check_evaluator

POOLED = chain((1, 8, 8), conv(4), *[Operation("max_pool", (("kernel", 2),))] * 3, Operation("flatten"))
POOLED = chain((1, 8, 8), *POOLED.architecture.operations, Operation("linear", (("units", 10),)))


def one(evaluator: TrainingEvaluator, candidate: Candidate, **fidelity: Any) -> Evaluation:
    return evaluate(evaluator, [candidate], fidelity=Fidelity(**fidelity))[0]


def test_the_first_of_every_class_in_the_old_order() -> None:
    targets = torch.tensor([2, 0, 2, 1, 2, 0, 2, 0, 2, 2, 2])  # 3 of class 0, 1 of class 1, 7 of class 2
    data = Tensors(torch.arange(11.0).view(11, 1, 1, 1), targets)
    places = {0.01: [0, 1, 3], 0.5: [0, 1, 2, 3, 4, 5, 6], 0.34: [0, 1, 2, 3], 1.0: list(range(11))}
    for share, expected in places.items():  # round(3.5) is 4 and round(1.5) is 2: to even
        found = first_of_every_class(data, share)
        assert found.inputs.flatten().tolist() == expected, share
        assert torch.equal(found.targets, targets[expected])


@pytest.mark.parametrize(("size", "resolution"), [((8, 8), 4), ((8, 8), 3), ((6, 9), 3), ((8, 8), 8), ((28, 28), 10)])
def test_scaled_down_by_area(size: tuple[int, int], resolution: int) -> None:
    images = torch.randn(3, *size, 2, generator=torch.Generator().manual_seed(0))
    shape = scaled_shape((2, *size), resolution)
    assert max(shape[1:]) == resolution and shape[1] * size[1] == shape[2] * size[0]
    found = scaled_down(Tensors(images, torch.zeros(3).long()), shape)
    for y in range(shape[1]):
        for x in range(shape[2]):
            rows = slice(y * size[0] // shape[1], -(-(y + 1) * size[0] // shape[1]))
            columns = slice(x * size[1] // shape[2], -(-(x + 1) * size[1] // shape[2]))
            torch.testing.assert_close(found.inputs[:, y, x], images[:, rows, columns].mean((1, 2)))
    assert found.inputs.is_contiguous() and found.inputs.shape == (3, *shape[1:], 2)


def test_what_is_trained_and_validated(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    evaluator = trainer(digits, Recipe(epochs=1, threads=1))

    def watched(module: Any, train: Tensors, validation: Tensors, *rest: Any) -> Any:
        seen.append((tuple(train.inputs.shape), tuple(validation.inputs.shape), train, module.architecture))
        return training(module, train, validation, *rest)

    from nas_gym.evaluation import training as module_of

    training = module_of.Training
    monkeypatch.setattr(module_of, "Training", watched)
    full, less, small, both, again = (
        one(evaluator, convnet(width=2), **how)
        for how in ({}, {"data": 0.1}, {"resolution": 4}, {"data": 0.1, "resolution": 4}, {"data": 0.1})
    )
    n, held, tenth = len(digits.train), len(digits.validation), seen[1][0][0]
    counts = torch.bincount(digits.train.targets)
    assert tenth == sum(max(1, round(0.1 * int(count))) for count in counts)
    assert [shapes[:2] for shapes in seen] == [
        ((n, 8, 8, 1), (held, 8, 8, 1)),
        ((tenth, 8, 8, 1), (held, 8, 8, 1)),
        ((n, 4, 4, 1), (held, 4, 4, 1)),
        ((tenth, 4, 4, 1), (held, 4, 4, 1)),
        ((tenth, 8, 8, 1), (held, 8, 8, 1)),
    ]
    assert seen[4][2] is seen[1][2]  # made once
    assert seen[2][3].input_shape == (1, 4, 4) and seen[1][3].input_shape == (1, 8, 8)
    assert again.deterministic() == less.deterministic()
    assert len({answer.loss for answer in (full, less, small, both)}) == 4
    told = {(answer.parameters, answer.macs) for answer in (full, less, small, both)}
    assert told == {(convnet(width=2).architecture.parameters, convnet(width=2).architecture.macs)}
    assert [answer.fidelity for answer in (less, both)] == ["data=0.1", "data=0.1,resolution=4"]


def test_the_perceptron_s_parameters_are_those_at_full_resolution(digits: Dataset) -> None:
    found = one(trainer(digits, SHORT), perceptron(), resolution=4)
    assert found.ok and found.parameters == perceptron().architecture.parameters


def test_a_network_that_does_not_fit_is_invalid(digits: Dataset) -> None:
    evaluator = trainer(digits, SHORT)
    assert one(evaluator, POOLED, resolution=8).ok
    failed = one(evaluator, POOLED, resolution=4)
    assert failed.status == "invalid" and "does not fit images of 4×4: operation 1" in failed.reason
    assert failed.parameters == POOLED.architecture.parameters


def test_what_can_t_be_asked_for(digits: Dataset) -> None:
    evaluator = trainer(digits, SHORT)
    for wrong, words in (({"resolution": 9}, "resolution=9"), ({"stop": 3}, "2 epochs can't stop after 3")):
        with pytest.raises(ConfigurationError, match=words):
            one(evaluator, perceptron(), **wrong)
        with pytest.raises(ConfigurationError, match=words):
            evaluator.train(perceptron(), fidelity=Fidelity(**wrong))
    assert len(one(evaluator, perceptron(), stop=3, epochs=4).curve) == 3
    longer = Candidate(perceptron().architecture, (("epochs", 4),))
    assert len(one(evaluator, longer, stop=3).curve) == 3
    shorter = Candidate(perceptron().architecture, (("epochs", 1),))
    assert len(one(evaluator, shorter, stop=3).curve) == 1


def test_standard_error_by_hand(digits: Dataset) -> None:
    found = one(trainer(digits, SHORT), perceptron())
    assert found.accuracy is not None and found.standard_error is not None
    right = round(found.accuracy * len(digits.validation))
    outcomes = torch.tensor([1.0] * right + [0.0] * (len(digits.validation) - right), dtype=torch.float64)
    assert found.standard_error == pytest.approx(float(outcomes.std(correction=0)) / math.sqrt(len(outcomes)))
    failed = one(trainer(digits, SHORT), Candidate(perceptron().architecture, (("batch_size", 1),)))
    assert failed.standard_error is None


@pytest.mark.parametrize("fidelity", [Fidelity(stop=1), Fidelity(data=0.2, resolution=4)], ids=str)
def test_contract(digits: Dataset, fidelity: Fidelity) -> None:
    recipe = Recipe(epochs=2, batch_size=256, threads=1)
    check_evaluator(lambda: trainer(digits, recipe), [perceptron(8), convnet(width=2)], fidelity=fidelity)
