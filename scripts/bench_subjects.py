"""What `bench_evaluator.py` measures: the script, the bare loop, the layers alone, and evaluators side by side."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data import Dataset
from nas_gym.evaluation import Recipe, evaluate
from nas_gym.evaluation.augmentation import altered, draw
from nas_gym.evaluation.in_place import relu_in_place
from nas_gym.evaluation.optimizer import FlatOptimizer, one_cycle
from nas_gym.evaluation.training import TrainingEvaluator
from nas_gym.spaces import ChainSpace

LAYERS = ("relu", "conv 3×3 16 bn", "conv 3×3/2 32 bn", "conv 3×3 32 bn", "max pool 2", "conv 3×3 64 bn", "stop")


class Images(TorchDataset[Any]):
    """A split as PIL images, as torchvision's data sets hand them out."""

    def __init__(self, dataset: Dataset, name: str, flip: bool) -> None:
        part = getattr(dataset, name)
        pixels = part.inputs if part.inputs.dtype == torch.uint8 else (part.inputs * 255).byte()
        arrays = pixels.permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.images = [Image.fromarray(array) for array in arrays]
        self.targets = part.targets.tolist()
        steps = [transforms.RandomHorizontalFlip()] if flip else []
        steps += [transforms.ToTensor(), transforms.Normalize(dataset.mean, dataset.std)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.images[index]), self.targets[index]


def fixed(space: ChainSpace) -> Candidate:
    """Return the network that all three train."""
    prefix: tuple[int, ...] = ()
    for name in LAYERS:
        slot = space.next_slot(prefix)
        assert slot is not None, "the network leaves room"
        prefix += (space.slots[slot].choices.index(name),)
    return space.candidate(prefix)


def script(dataset: Dataset, candidate: Candidate, recipe: Recipe, seed: int) -> float:
    """Train as most people do; return the validation accuracy."""
    torch.manual_seed(seed)
    module = build(candidate.architecture, seed=0)
    loader = DataLoader(Images(dataset, "train", recipe.flip), batch_size=recipe.batch_size, shuffle=True)
    validation = DataLoader(Images(dataset, "validation", False), batch_size=recipe.batch_size)
    optimizer = torch.optim.Adam(module.parameters())
    running, correct = 0.0, 0
    for _ in range(recipe.epochs):
        module.train()
        for images, targets in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(module(images), targets)
            loss.backward()
            optimizer.step()
            running += loss.item()
        module.eval()
        with torch.no_grad():
            correct = sum(int((module(images).argmax(1) == targets).sum()) for images, targets in validation)
    return correct / len(dataset.validation)


def precision(recipe: Recipe) -> AbstractContextManager[object]:
    """Return the context in which a recipe's network computes on a CPU."""
    return torch.autocast("cpu", torch.bfloat16) if recipe.mixed_precision else nullcontext()


def bare(tensors: dict[str, Any], candidate: Candidate, recipe: Recipe) -> float:
    """Train with nothing but the arithmetic; return the validation accuracy."""
    module = build(candidate.architecture, seed=0).to(memory_format=torch.channels_last)
    optimizer, generator = FlatOptimizer(module, recipe), torch.Generator().manual_seed(0)
    (images, targets), (others, answers) = tensors["train"], tensors["validation"]
    per_epoch, correct = len(images) // recipe.batch_size, 0
    with relu_in_place(module):
        for epoch in range(recipe.epochs):
            module.train()
            order = torch.randperm(len(images), generator=generator)
            options = {"crop": recipe.crop, "cutout": recipe.cutout}
            draws = draw(len(images), images.shape[1:3], generator, flip=recipe.flip, **options)
            for i in range(per_epoch):
                here = slice(i * recipe.batch_size, (i + 1) * recipe.batch_size)
                chosen = order[here]
                batch = altered(images.index_select(0, chosen), draws[here]).permute(0, 3, 1, 2)
                step, steps = epoch * per_epoch + i, recipe.epochs * per_epoch
                with precision(recipe):
                    outputs = module(batch)
                loss = functional.cross_entropy(outputs.float(), targets[chosen])
                optimizer.step(loss, one_cycle(step, steps, recipe.learning_rate, recipe.warmup))
            module.eval()
            with torch.no_grad(), precision(recipe):
                size = max(16, 2**17 // others[0].numel())
                outputs = torch.cat([module(part.permute(0, 3, 1, 2)) for part in torch.split(others, size)])
                correct = int((outputs.argmax(1) == answers).sum())
    return correct / len(others)


class LayersAlone:
    """The convolutions and linear layers of a network, each on an input of the shape that it sees in training.

    Args:
        module: The network, in channels_last.
        inputs: A batch, (n, channels, height, width).
        recipe: Says in which precision.
    """

    def __init__(self, module: nn.Module, inputs: Tensor, recipe: Recipe) -> None:
        self.recipe = recipe
        self.work: list[tuple[nn.Module, Tensor, Tensor, list[Tensor]]] = []
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(self._seen)
        with precision(recipe):
            module(inputs)

    def _seen(self, layer: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        values = given[0].detach().clone()  # in the same layout
        wanted = list(layer.parameters())
        if self.work:  # nobody needs the gradient of the images
            wanted.append(values.requires_grad_())
        self.work.append((layer, values, torch.randn_like(output), wanted))

    def __call__(self, steps: int) -> float:
        """Compute forward and backward; return 0."""
        for _ in range(steps):
            for layer, values, gradient, wanted in self.work:
                with precision(self.recipe):
                    output = layer.forward(values)
                torch.autograd.grad(output, wanted, gradient)
        return 0.0


def evaluator_s_tensors(dataset: Dataset, part: str) -> tuple[Tensor, Tensor]:
    """Return images (n, height, width, channels) and targets of a part."""
    inputs, targets = dataset.normalised(part)  # type: ignore[arg-type]
    return inputs.permute(0, 2, 3, 1).contiguous(), targets


_worker: list[Any] = []  # of a worker process: its evaluator and its candidate


def begin_worker(dataset: Dataset, recipe: Recipe, seed: int) -> None:
    """Make a worker process's evaluator, once."""
    torch.set_num_threads(1)
    evaluator = TrainingEvaluator(dataset, replace(recipe, threads=1), device="cpu", evaluation_seed=seed)
    _worker[:] = [evaluator, fixed(ChainSpace(dataset.input_shape, dataset.n_classes))]


def train_in_worker(repeat: int) -> float:
    """Train in a worker process; return the accuracy."""
    evaluator, candidate = _worker
    return evaluate(evaluator, [candidate], repeat=repeat)[0].accuracy or 0.0


def workers_of(dataset: Dataset, recipe: Recipe, n: int, seed: int) -> ProcessPoolExecutor:
    """Return a pool of n worker processes with an evaluator each."""
    return ProcessPoolExecutor(
        n,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
        initargs=(dataset, recipe, seed),
    )
