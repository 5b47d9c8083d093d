"""The training loop: nothing but the network's own arithmetic, on tensors that live on the device."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.evaluation.recipe import Recipe

EVALUATION_BATCH = 1_000


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


def one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate of a step: a linear rise to the peak, then half a cosine down to zero.

    After Smith and Topin 2018 (arXiv 1708.07120), with the cosine of torch's OneCycleLR.
    """
    rise = warmup * steps
    if step < rise:
        return peak * (step + 1) / (rise + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, steps - rise)))


def fit(module: nn.Module, train: Tensors, validation: Tensors, recipe: Recipe, generator: torch.Generator) -> Progress:
    """Train a module in place and return its validation curve.

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
    device = train.targets.device
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=recipe.mixed_precision and device.type == "cuda")
    optimizer = _optimizer(module, recipe)
    batch = min(recipe.batch_size, len(train))
    per_epoch = len(train) // batch
    deadline = time.monotonic() + (recipe.time_limit_seconds or math.inf)
    losses = torch.zeros(per_epoch, device=device)
    curve: list[float] = []
    loss = math.nan
    for epoch in range(recipe.epochs):
        module.train()
        order = torch.randperm(len(train), generator=generator).to(device)
        for i in range(per_epoch):
            rate = one_cycle(epoch * per_epoch + i, recipe.epochs * per_epoch, recipe.learning_rate, recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            chosen = order[i * batch : (i + 1) * batch]
            inputs = _augmented(train.inputs[chosen], recipe, generator)
            with autocast:
                value = functional.cross_entropy(
                    module(_channels_second(inputs, recipe)),
                    train.targets[chosen],
                    label_smoothing=recipe.label_smoothing,
                )
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses[i] = value.detach()
            if time.monotonic() > deadline:
                raise TimeLimitError(f"the training took longer than {recipe.time_limit_seconds:g} s")
        if not math.isfinite(float(losses.sum())):  # the epoch's only synchronisation with the device
            raise DivergedError(f"the training loss was not finite in epoch {epoch + 1}")
        accuracy, loss = score(module, validation, recipe)
        curve.append(accuracy)
        if not math.isfinite(loss):
            raise DivergedError(f"the validation loss was not finite after epoch {epoch + 1}")
    return Progress(tuple(curve), loss)


@torch.no_grad()
def score(module: nn.Module, data: Tensors, recipe: Recipe) -> tuple[float, float]:
    """Return accuracy in [0, 1] and mean cross-entropy in nats of a module on a split, in evaluation mode."""
    module.eval()
    device = data.targets.device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    total = torch.zeros((), dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    with torch.autocast("cuda", torch.bfloat16, enabled=recipe.mixed_precision and device.type == "cuda"):
        for start in range(0, len(data), EVALUATION_BATCH):
            targets = data.targets[start : start + EVALUATION_BATCH]
            outputs = module(_channels_second(data.inputs[start : start + EVALUATION_BATCH], recipe)).float()
            correct += (outputs.argmax(1) == targets).sum()
            total += functional.cross_entropy(outputs, targets, reduction="sum")
    return int(correct) / len(data), float(total) / len(data)


def _optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = list(module.parameters())
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            parameters,
            lr=recipe.learning_rate,
            betas=(recipe.momentum, 0.999),
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        fused=True,
    )


def _channels_second(inputs: Tensor, recipe: Recipe) -> Tensor:
    """Return (n, channels, height, width), as a channels_last view or as a contiguous copy; vectors unchanged."""
    if inputs.dim() != 4:
        return inputs
    images = inputs.permute(0, 3, 1, 2)
    return images if recipe.channels_last else images.contiguous()


def _augmented(inputs: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return images (n, height, width, channels), each mirrored and shifted at random as the recipe says."""
    if inputs.dim() != 4 or not (recipe.flip or recipe.crop):
        return inputs
    n, height, width, _ = inputs.shape
    rows = torch.arange(height, device=inputs.device).expand(n, height)
    columns = torch.arange(width, device=inputs.device).expand(n, width)
    if recipe.crop:
        shift = torch.randint(0, 2 * recipe.crop + 1, (2, n, 1), generator=generator).to(inputs.device)
        rows, columns = rows + shift[0], columns + shift[1]
        inputs = functional.pad(inputs, (0, 0, recipe.crop, recipe.crop, recipe.crop, recipe.crop))
    if recipe.flip:
        mirrored = (torch.rand(n, 1, generator=generator) < 0.5).to(inputs.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    samples = torch.arange(n, device=inputs.device)
    return inputs[samples[:, None, None], rows[:, :, None], columns[:, None, :]]
