"""Networks and evaluators that the tests of evaluations share."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.data import Dataset
from nas_gym.evaluation import Recipe
from nas_gym.evaluation.training import TrainingEvaluator

SHORT = Recipe(epochs=2, batch_size=64, learning_rate=0.1, threads=1)


def conv(channels: int, *inputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> Operation:
    names = (("bias", 0), ("channels", channels), ("groups", groups), ("kernel", kernel), ("stride", stride))
    return Operation("conv", names, inputs)


def chain(shape: tuple[int, ...], *steps: Operation) -> Candidate:
    """Return the candidate whose operations follow one another."""
    operations = tuple(replace(step, inputs=(position - 1,)) for position, step in enumerate(steps))
    return Candidate(Architecture(shape, operations))


def perceptron(units: int = 32, shape: tuple[int, ...] = (1, 8, 8)) -> Candidate:
    linear = [Operation("linear", (("units", n),)) for n in (units, 10)]
    return chain(shape, Operation("flatten"), linear[0], Operation("relu"), linear[1])


def convnet(shape: tuple[int, ...] = (1, 8, 8), width: int = 16, dropout: float = 0.0) -> Candidate:
    """Return convolutions with batch normalisation, max pooling, global pooling and a classifier."""
    block = [Operation("batch_norm"), Operation("relu")]
    steps = [conv(width), *block, conv(2 * width), *block, Operation("max_pool", (("kernel", 2),)), conv(2 * width)]
    steps += [*block, Operation("global_average_pool")]
    steps += [Operation("dropout", (("rate", dropout),))] if dropout else []
    return chain(shape, *steps, Operation("linear", (("units", 10),)))


def branches(swapped: bool = False) -> Candidate:
    """Return a network of two different branches, written in one order or the other, with dead and idle operations."""
    three, one = conv(8, -1), conv(8, -1, kernel=1)
    first, second = (one, three) if swapped else (three, one)
    operations = [first, second, Operation("add", (), (1, 0) if swapped else (0, 1))]
    if swapped:
        operations += [Operation("identity", (), (2,)), conv(4, 2), Operation("global_average_pool", (), (3,))]
    else:
        operations += [Operation("global_average_pool", (), (2,))]
    last = len(operations) - 1
    return Candidate(Architecture((1, 8, 8), (*operations, Operation("linear", (("units", 10),), (last,)))))


def trainer(dataset: Dataset, recipe: Recipe = SHORT, **options: Any) -> TrainingEvaluator:
    return TrainingEvaluator(dataset, recipe, device="cpu", **options)


def global_state() -> tuple[Any, ...]:
    """Return what trainings must leave as they found it, comparable with ``==``."""
    cudnn = torch.backends.cudnn
    numpy_state = tuple(str(part) if isinstance(part, np.ndarray) else part for part in _numpy_state())
    return (
        random.getstate(),
        numpy_state,
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        (cudnn.deterministic, cudnn.benchmark),
    )


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return (name, keys.tobytes(), *rest)


class Faulty(nn.Module):
    """A classifier of digits that does something bad in its n-th training step.

    Args:
        fault: Called with the outputs of that step; returns the outputs to go on with.
        step: When, from 0.
    """

    def __init__(self, fault: Any, step: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.fault = fault
        self.step = step
        self.calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.linear(inputs.flatten(1))
        if self.training:
            self.calls += 1
            if self.calls == self.step + 1:
                random.random()
                np.random.random()  # noqa: NPY002
                torch.rand(1)
                outputs = self.fault(outputs)
        return outputs
