"""The training loop: nothing but the network's own arithmetic, on tensors that live on the device."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.evaluation.augmentation import Draws, altered, draw
from nas_gym.evaluation.averaging import Averages
from nas_gym.evaluation.dropout import fast_dropout
from nas_gym.evaluation.in_place import relu_in_place
from nas_gym.evaluation.optimizer import FlatOptimizer, one_cycle
from nas_gym.evaluation.recipe import Recipe

# Values of the samples that are evaluated at once: on a CPU as many as keep the activations near its caches.
_EVALUATION_VALUES = {"cpu": 2**17}
_MORE_EVALUATION_VALUES = 2**22


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From images as a network takes them, its outputs for them and their classes to a mean loss."""


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


class Training:
    """A training that goes on epoch by epoch, and can be written down and taken up again.

    Dropout draws from torch's global generator of the device, which the caller isolates; that state is written down
    too. The module is trained in place: call `release` when done.

    Args:
        module: On the device of the data.
        train: Training split.
        validation: Validation split.
        recipe: Settled (`Recipe.settled`).
        generator: On the CPU, for order and augmentation, so that all devices see the same batches.
        averages: Of the module's weights; validation is then that of the averages. None: of the weights themselves.
        stepped: Called after every step with the number of steps done and that of the whole training.
        loss: What is made small; None: the cross-entropy, with the recipe's label smoothing.

    Attributes:
        curve: Validation accuracy after every finished epoch.
        loss: Mean validation cross-entropy in nats after the last of them; NaN before the first.
        training_loss: Mean loss in nats of the steps of the last of them (augmented, smoothed, before each step); NaN
            before the first.
    """

    def __init__(
        self,
        module: nn.Module,
        train: Tensors,
        validation: Tensors,
        recipe: Recipe,
        generator: torch.Generator,
        *,
        averages: Averages | None = None,
        stepped: Callable[[int, int], None] | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.curve: list[float] = []
        self.loss = self.training_loss = math.nan
        self._averages = averages
        self._stepped = stepped
        self._loss = loss or partial(_cross_entropy, recipe.label_smoothing)
        self._module = module
        self._train = train
        self._validation = validation
        self._recipe = recipe
        self._generator = generator
        self._optimizer = FlatOptimizer(module, recipe)
        self._forward: Callable[[Tensor], Tensor] = _compiled(module, train.targets) if recipe.compile else module

    def run(self, stop: int) -> Progress:
        """Train until so many epochs of the recipe's are done, in this call or before, or the curve is hopeless.

        The module is left in evaluation mode. The recipe's time limit is that of this call.

        Raises:
            DivergedError: A training or validation loss is not finite.
            TimeLimitError: The recipe's time limit has passed.
        """
        deadline = time.monotonic() + (self._recipe.time_limit_seconds or math.inf)
        with relu_in_place(self._module):
            while len(self.curve) < min(stop, self._recipe.epochs) and not self._recipe.is_hopeless(self.curve):
                self._epoch(deadline)
        self._module.eval()
        return Progress(tuple(self.curve), self.loss)

    def release(self) -> None:
        """Give the module's parameters memory of their own, and no gradient: the training can't go on."""
        self._optimizer.release()

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on: plain data and tensors, not copied."""
        return {
            "curve": list(self.curve),
            "loss": self.loss,
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state(),
            "order": self._generator.get_state(),
            "chance": [get() for get, _ in _chance(self._train.targets.device)],
            "averages": self._averages.state() if self._averages is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned: what follows equals the uninterrupted training, bit for bit.

        Raises:
            Exception: The state is not of this training; this object must not be used any more. Global generators
                are untouched then.
        """
        self._module.load_state_dict(state["module"])
        self._optimizer.restore(state["optimizer"])
        if self._averages is not None:
            self._averages.restore(state["averages"])
        self._generator.set_state(state["order"])
        self.curve, self.loss = [float(accuracy) for accuracy in state["curve"]], float(state["loss"])
        for (_, set_), saved in zip(_chance(self._train.targets.device), state["chance"], strict=True):
            set_(saved)

    def _epoch(self, deadline: float) -> None:
        number = len(self.curve) + 1
        self._module.train()
        # What compiles a network knows torch's own dropout.
        plain = self._recipe.compile or not self._train.targets.is_cpu
        with nullcontext() if plain else fast_dropout(self._module):
            losses = self._steps(deadline)
        self.training_loss = float(losses.mean())  # the epoch's only synchronisation with the device
        if not math.isfinite(self.training_loss):
            raise DivergedError(f"the training loss was not finite in epoch {number}")
        with nullcontext() if self._averages is None else self._averages.in_place():
            accuracy, self.loss = score(self._module, self._validation, self._recipe)
        if not math.isfinite(self.loss):
            raise DivergedError(f"the validation loss was not finite after epoch {number}")
        self.curve.append(accuracy)

    def _steps(self, deadline: float) -> Tensor:
        """Train for one epoch; return the losses of its steps, on the device."""
        recipe, train = self._recipe, self._train
        batch = min(recipe.batch_size, len(train))
        steps = len(train) // batch
        order, draws = self._drawn(steps * batch)
        targets = train.targets.index_select(0, order).view(steps, batch)
        losses = []
        for step in range(steps):
            here = slice(step * batch, (step + 1) * batch)
            inputs = train.inputs.index_select(0, order[here])
            if draws is not None:
                inputs = altered(inputs, draws[here])
            images = _channels_second(inputs, recipe)
            with _precision(recipe, targets):
                loss = self._loss(images, self._forward(images).float(), targets[step])
            done = len(self.curve) * steps + step
            self._optimizer.step(loss, one_cycle(done, recipe.epochs * steps, recipe.learning_rate, recipe.warmup))
            losses.append(loss.detach())
            if self._averages is not None:
                self._averages.update()
            if self._stepped is not None:
                self._stepped(done + 1, recipe.epochs * steps)
            if time.monotonic() > deadline:
                raise TimeLimitError(f"the training took longer than {recipe.time_limit_seconds:g} s")
        return torch.stack(losses)

    def _drawn(self, n: int) -> tuple[Tensor, Draws | None]:
        """Return an epoch's order and what happens to its images, drawn at once and on the device."""
        recipe, device = self._recipe, self._train.targets.device
        order = torch.randperm(len(self._train), generator=self._generator)[:n].to(device)
        if self._train.inputs.dim() != 4 or not (recipe.flip or recipe.crop or recipe.cutout):
            return order, None
        _, height, width, _ = self._train.inputs.shape
        options = {"crop": recipe.crop, "cutout": recipe.cutout}
        return order, draw(n, (height, width), self._generator, flip=recipe.flip, device=device, **options)


def fit(module: nn.Module, train: Tensors, validation: Tensors, recipe: Recipe, generator: torch.Generator) -> Progress:
    """Train a module in place and return its validation curve; the module is left in evaluation mode.

    Arguments and errors are those of `Training` and its `run`.
    """
    training = Training(module, train, validation, recipe, generator)
    progress = training.run(recipe.epochs)
    training.release()
    return progress


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


@torch.no_grad()
def outputs(module: nn.Module, inputs: Tensor, recipe: Recipe, *, mirrored: bool = False) -> Tensor:
    """Return the outputs of a module in evaluation mode, float32 (n, classes), on the device of the inputs.

    They are computed in float32 whatever the training was computed in: this is what an exported network answers.

    Args:
        module: On the device of the inputs.
        inputs: Of `Tensors`.
        recipe: Settled.
        mirrored: Whether images are mirrored left to right first.
    """
    module.eval()
    batch = max(16, _EVALUATION_VALUES.get(inputs.device.type, _MORE_EVALUATION_VALUES) // math.prod(inputs.shape[1:]))
    parts = (part.flip(2) if mirrored else part for part in torch.split(inputs, batch))
    return torch.cat([module(_channels_second(part, recipe)) for part in parts])


def _cross_entropy(smoothing: float, images: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, label_smoothing=smoothing)


def _compiled(module: nn.Module, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the module as a compiled function; the module itself stays what it is."""
    torch.compiler.reset()  # networks share one class, and after eight of them torch would silently stop compiling
    mode = "reduce-overhead" if targets.is_cuda else None  # CUDA only: CUDA graphs
    compiled: Callable[[Tensor], Tensor] = torch.compile(module, dynamic=False, mode=mode)
    return compiled


Chance = tuple[Callable[[], Tensor], Callable[[Tensor], None]]


def _chance(device: torch.device) -> list[Chance]:
    """Return how to get and set the states of the global generators that a training on a device draws from."""
    pairs: list[Chance] = [(torch.get_rng_state, torch.set_rng_state)]
    if device.type == "cuda":  # CUDA only
        pairs.append((partial(torch.cuda.get_rng_state, device), partial(torch.cuda.set_rng_state, device=device)))
    if device.type == "mps":
        pairs.append((torch.mps.get_rng_state, torch.mps.set_rng_state))
    return pairs


def _precision(recipe: Recipe, targets: Tensor) -> AbstractContextManager[object]:
    """Return the context in which a network computes: bfloat16 where the recipe and the device say so."""
    device = targets.device.type
    if recipe.mixed_precision and device != "mps":
        return torch.autocast(device, torch.bfloat16)
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
