"""The training loop: nothing but the network's own arithmetic, on tensors that live on the device."""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.evaluation.augmentation import augmented
from nas_gym.evaluation.dropout import fast_dropout
from nas_gym.evaluation.optimizer import FlatOptimizer, one_cycle
from nas_gym.evaluation.recipe import Recipe

# Values of the samples that are evaluated at once: on a CPU as many as keep the activations near its caches.
_EVALUATION_VALUES = {"cpu": 2**17}
_MORE_EVALUATION_VALUES = 2**22


class DivergedError(Exception):
    """The loss is not finite."""


class TimeLimitError(Exception):
    """The training's wall-clock limit has passed."""


@dataclass(frozen=True)
class Tensors:
    """A split on the device.

    Attributes:
        inputs: float32, normalised; (n, height, width, channels) for images, else (n, features): batches of images
            are views with the channels second, which torch calls channels_last.
        targets: int64 (n,).
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.targets)


@dataclass(frozen=True)
class Progress:
    """What a training reached: validation accuracy after every epoch, and the last validation loss in nats."""

    curve: tuple[float, ...]
    loss: float


def fit(module: nn.Module, train: Tensors, validation: Tensors, recipe: Recipe, generator: torch.Generator) -> Progress:
    """Train a module in place and return its validation curve; the module is left in evaluation mode.

    Args:
        module: On the device of the data.
        train: Training split.
        validation: Validation split.
        recipe: Settled (`Recipe.settled`).
        generator: On the CPU, for order and augmentation, so that all devices see the same batches; dropout draws
            from torch's global generator, which the caller isolates.

    Raises:
        DivergedError: A training or validation loss is not finite.
        TimeLimitError: The recipe's time limit has passed.
    """
    optimizer = FlatOptimizer(module, recipe)
    deadline = time.monotonic() + (recipe.time_limit_seconds or math.inf)
    curve: list[float] = []
    loss = math.nan
    for epoch in range(recipe.epochs):
        module.train()
        with nullcontext() if train.targets.is_cuda else fast_dropout(module):
            losses = _epoch(module, optimizer, train, recipe, generator, epoch, deadline)
        if not math.isfinite(float(losses.sum())):  # the epoch's only synchronisation with the device
            raise DivergedError(f"the training loss was not finite in epoch {epoch + 1}")
        accuracy, loss = score(module, validation, recipe)
        curve.append(accuracy)
        if not math.isfinite(loss):
            raise DivergedError(f"the validation loss was not finite after epoch {epoch + 1}")
    optimizer.release()
    return Progress(tuple(curve), loss)


def _epoch(
    module: nn.Module,
    optimizer: FlatOptimizer,
    train: Tensors,
    recipe: Recipe,
    generator: torch.Generator,
    epoch: int,
    deadline: float,
) -> Tensor:
    """Train for one epoch; return the losses of its steps, on the device."""
    batch = min(recipe.batch_size, len(train))
    steps = len(train) // batch
    order = torch.randperm(len(train), generator=generator)[: steps * batch].view(steps, batch)
    losses = []
    for step, chosen in enumerate(order.to(train.targets.device)):
        images = train.inputs.index_select(0, chosen)
        if images.dim() == 4:
            images = augmented(images, generator, flip=recipe.flip, crop=recipe.crop)
        targets = train.targets.index_select(0, chosen)
        with _precision(recipe, targets):
            outputs = module(_channels_second(images, recipe))
            loss = functional.cross_entropy(outputs, targets, label_smoothing=recipe.label_smoothing)
        rate = one_cycle(epoch * steps + step, recipe.epochs * steps, recipe.learning_rate, recipe.warmup)
        optimizer.step(loss, rate)
        losses.append(loss.detach())
        if time.monotonic() > deadline:
            raise TimeLimitError(f"the training took longer than {recipe.time_limit_seconds:g} s")
    return torch.stack(losses)


@torch.no_grad()
def score(module: nn.Module, data: Tensors, recipe: Recipe) -> tuple[float, float]:
    """Return accuracy in [0, 1] and mean cross-entropy in nats of a module on a split, in evaluation mode."""
    module.eval()
    device = data.targets.device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    total = torch.zeros((), dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    values = _EVALUATION_VALUES.get(device.type, _MORE_EVALUATION_VALUES)
    batch = max(16, values // math.prod(data.inputs.shape[1:]))
    with _precision(recipe, data.targets):
        for inputs, targets in zip(torch.split(data.inputs, batch), torch.split(data.targets, batch), strict=True):
            outputs = module(_channels_second(inputs, recipe)).float()
            correct += (outputs.argmax(1) == targets).sum()
            total += functional.cross_entropy(outputs, targets, reduction="sum")
    return int(correct) / len(data), float(total) / len(data)


def _precision(recipe: Recipe, targets: Tensor) -> AbstractContextManager[object]:
    """Return the context in which a network computes: bfloat16 where the recipe and the device say so."""
    if recipe.mixed_precision and targets.is_cuda:
        return torch.autocast("cuda", torch.bfloat16)  # CUDA only
    return nullcontext()


def _channels_second(inputs: Tensor, recipe: Recipe) -> Tensor:
    """Return (n, channels, height, width), as a channels_last view or as a contiguous copy; vectors unchanged."""
    if inputs.dim() != 4:
        return inputs
    images = inputs.permute(0, 3, 1, 2)
    if recipe.channels_last:
        return images
    # `contiguous()` would return a single channel as it is, with strides that mean channels_last to convolutions.
    return images.clone(memory_format=torch.contiguous_format)
