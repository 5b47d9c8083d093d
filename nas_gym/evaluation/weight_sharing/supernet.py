"""The training of a supernet: every step trains one path, drawn uniformly, on one batch."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.sgd import sgd

from nas_gym.architecture import Candidate
from nas_gym.evaluation.augmentation import augmented
from nas_gym.evaluation.loop import Tensors
from nas_gym.evaluation.optimizer import one_cycle
from nas_gym.evaluation.recipe import Recipe
from nas_gym.evaluation.weight_sharing.places import Widths
from nas_gym.evaluation.weight_sharing.weights import Path, SharedWeights
from nas_gym.randomness import derived_seed
from nas_gym.spaces.chain import ChainSpace
from nas_gym.testing import random_walk

LONGEST_GRADIENT = 5.0  # Euclidean norm; paths differ so much that single ones would throw the others' weights about


class Supernet:
    """Shared weights in training. Everything random in a step is seeded by seed and step alone.

    Uniform sampling of single paths is after Guo et al. 2020 (arXiv 1904.00420), section 3.2: every decision is drawn
    uniformly from those that the space's own masks allow. A step changes what its path uses and nothing else, neither
    the other weights nor their momenta, and the unused channels of a wider weight as little.

    Args:
        space: Whose networks are trained.
        train: Training split on the device.
        recipe: Settled; epochs are passes over the training split in all, by all paths together.
        seed: Of weights, paths, batches, augmentation and dropout.
    """

    def __init__(self, space: ChainSpace, train: Tensors, recipe: Recipe, seed: int) -> None:
        self.space = space
        self.train = train
        self.recipe = recipe
        self.seed = seed
        self.weights = SharedWeights(Widths.of(space), derived_seed(seed, "weights"), train.targets.device)
        self.batch_size = min(recipe.batch_size, len(train))
        self.steps = recipe.epochs * (len(train) // self.batch_size)
        self.step = 0
        self.skipped = 0
        self.seconds = 0.0
        self._order: tuple[int, Tensor] = (-1, train.targets)

    def fit(self, after_step: Callable[["Supernet"], None] | None = None) -> None:
        """Train from the step that was reached to the last one; the caller isolates global generators.

        Args:
            after_step: Called after every step.
        """
        while self.step < self.steps:
            started = time.perf_counter()
            self._train_step()
            self.step += 1
            self.seconds += time.perf_counter() - started
            if after_step is not None:
                after_step(self)

    def state(self) -> dict[str, Any]:
        """Return everything that the steps so far have changed, on the CPU."""
        facts = {"step": self.step, "skipped": self.skipped, "seconds": self.seconds}
        tensors = {"values": self.weights.values, "momenta": self.weights.momenta}
        return facts | {kind: {n: t.detach().cpu() for n, t in named.items()} for kind, named in tensors.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a supernet made with the same arguments."""
        self.step, self.skipped, self.seconds = int(state["step"]), int(state["skipped"]), float(state["seconds"])
        device = self.weights.device
        self.weights.values = {name: tensor.to(device, copy=True) for name, tensor in state["values"].items()}
        self.weights.momenta = {name: tensor.to(device, copy=True) for name, tensor in state["momenta"].items()}

    def _train_step(self) -> None:
        path = self.weights.path(self._drawn().architecture.canonical(), trained=True)
        images, targets = self._batch()
        torch.manual_seed(derived_seed(self.seed, "dropout", self.step))
        outputs = path.network.train()(channels_second(images, self.recipe))
        loss = functional.cross_entropy(outputs, targets, label_smoothing=self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(path.parameters, LONGEST_GRADIENT)
        if math.isfinite(float(norm)):
            self._move(path)
        else:
            self.skipped += 1

    def _drawn(self) -> Candidate:
        """Return the candidate whose path is trained in this step."""
        rng = np.random.default_rng(derived_seed(self.seed, "path", self.step))
        return self.space.candidate(random_walk(self.space, rng))

    @torch.no_grad()
    def _move(self, path: Path) -> None:
        """Take one step of SGD on the weights of a path, with the momenta that belong to them."""
        # The function behind torch's SGD takes views as momenta, and takes less time than its class would.
        sgd(
            list(path.parameters),
            [parameter.grad for parameter in path.parameters if parameter.grad is not None],  # all have one
            list(path.momenta),
            foreach=False,
            lr=one_cycle(self.step, self.steps, self.recipe.learning_rate, self.recipe.warmup),
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
            dampening=0.0,
            nesterov=self.recipe.momentum > 0,
            maximize=False,
        )

    def _batch(self) -> tuple[Tensor, Tensor]:
        per_epoch = self.steps // self.recipe.epochs
        epoch, place = divmod(self.step, per_epoch)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
            self._order = epoch, torch.randperm(len(self.train), generator=generator).to(self.train.targets.device)
        chosen = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        images = self.train.inputs.index_select(0, chosen)
        if images.dim() == 4:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "augmentation", self.step))
            images = augmented(
                images, generator, flip=self.recipe.flip, crop=self.recipe.crop, cutout=self.recipe.cutout
            )
        return images, self.train.targets.index_select(0, chosen)


def channels_second(images: Tensor, recipe: Recipe) -> Tensor:
    """Return images (n, height, width, channels) as (n, channels, height, width), in the recipe's memory layout."""
    turned = images.permute(0, 3, 1, 2)
    return turned if recipe.channels_last else turned.clone(memory_format=torch.contiguous_format)
