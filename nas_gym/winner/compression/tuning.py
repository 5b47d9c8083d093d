"""The training of a compressed network: it learns from the classes and from the winner, and survives kills."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.builder import Network
from nas_gym.errors import RunError
from nas_gym.evaluation.averaging import Averages
from nas_gym.evaluation.checkpoints import Checkpoints
from nas_gym.evaluation.loop import DivergedError, Loss, Tensors, Training
from nas_gym.evaluation.process import TURN, prepared
from nas_gym.evaluation.recipe import Recipe
from nas_gym.winner.long_recipe import AVERAGED_STEPS
from nas_gym.winner.schedule import timed


class UntrainableError(RunError):
    """The training of a compressed network diverged; another one may not."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One training.

    Attributes:
        network: Where it begins; it is trained in place.
        teacher: In evaluation mode.
        recipe: Settled.
        train: Images.
        watched: Some of them, on which the progress is measured.
        temperature: Of the distillation.
        teacher_weight: In [0, 1].
        seed: Of order, augmentation and dropout.
        question: Everything else that decides the weights, as text.
    """

    network: Network
    teacher: nn.Module
    recipe: Recipe
    train: Tensors
    watched: Tensors
    temperature: float
    teacher_weight: float
    seed: int
    question: str


def distillation_loss(teacher: nn.Module, temperature: float, weight: float) -> Loss:
    """Return the loss of a network that learns from classes and from a teacher.

    ``(1 − w) CE(targets, softmax(z)) + w T² KL(softmax(v / T) ‖ softmax(z / T))`` for logits z of the network and v of
    the teacher: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531,
    section 2. T² keeps the gradients of both parts at one size. Both see the same augmented images (Beyer et al. 2022,
    arXiv 2106.05237, section 3).

    Args:
        teacher: In evaluation mode, on the device of the images.
        temperature: T.
        weight: w.
    """

    def loss(images: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            told = teacher(images).to(outputs.dtype)
        classes = functional.cross_entropy(outputs, targets)
        logs = [functional.log_softmax(logits / temperature, 1) for logits in (outputs, told)]
        likeness = functional.kl_div(logs[0], logs[1], reduction="batchmean", log_target=True)
        return (1 - weight) * classes + weight * temperature**2 * likeness

    return loss


def train(
    lesson: Lesson, checkpoints: Path, stepped: Callable[[int, int], None] | None = None
) -> tuple[Network, list[float]]:
    """Return the trained network, on the CPU and in evaluation mode, and its accuracy on the watched images by epoch.

    After every epoch a checkpoint is written; the same call goes on from the last one, on one kind of CPU to the same
    weights bit for bit.

    Args:
        lesson: What to do.
        checkpoints: Folder for them.
        stepped: Called after every step with the steps done and those of the whole training.

    Raises:
        UntrainableError: The training diverged.
    """
    kept, recipe = Checkpoints(checkpoints), lesson.recipe
    question = _question(lesson)
    with TURN, prepared(lesson.seed, recipe.threads or 1, tf32=recipe.tf32):
        saved = kept.latest(question, recipe.epochs)
        training, averages = _begun(lesson, stepped)
        if saved is not None:
            training.restore(saved)
        try:
            for epoch in range(len(training.curve) + 1, recipe.epochs + 1):
                training.run(epoch)
                kept.write(question, epoch, training.state())
        except DivergedError as error:
            raise UntrainableError(f"its training diverged ({error}); retrain with a smaller learning rate") from None
        averages.take()
        training.release()
    return lesson.network.cpu().to(memory_format=torch.contiguous_format).eval(), training.curve


def seconds_per_epoch(lesson: Lesson) -> float:
    """Return how long an epoch takes here and now, by a few steps; the lesson's network is used up."""
    recipe = lesson.recipe

    def run(stepped: Callable[[int, int], None]) -> None:
        with suppress(DivergedError):  # seen at the end of an epoch, whose steps have been timed then
            _begun(replace(lesson, recipe=replace(recipe, epochs=1)), stepped)[0].run(1)

    with TURN, prepared(0, recipe.threads or 1, tf32=recipe.tf32):
        return timed(run) * max(1, len(lesson.train) // recipe.batch_size)


def _begun(lesson: Lesson, stepped: Callable[[int, int], None] | None) -> tuple[Training, Averages]:
    recipe, device = lesson.recipe, lesson.train.targets.device
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    network, teacher = (
        module.to(device).to(memory_format=layout) for module in (lesson.network, lesson.teacher.eval())
    )
    steps = recipe.epochs * max(1, len(lesson.train) // recipe.batch_size)
    averages = Averages(network, max(0.0, 1 - 1 / max(1.0, AVERAGED_STEPS * steps)))
    training = Training(
        network,
        lesson.train,
        lesson.watched,
        recipe,
        torch.Generator().manual_seed(lesson.seed),
        averages=averages,
        stepped=stepped,
        loss=distillation_loss(teacher, lesson.temperature, lesson.teacher_weight),
    )
    return training, averages


def _question(lesson: Lesson) -> str:
    device = lesson.train.targets.device.type
    facts = [lesson.question, str(lesson.recipe), lesson.temperature, lesson.teacher_weight, lesson.seed, device]
    return json.dumps(["compress/1", lesson.network.architecture.to_json(), *facts, torch.__version__])
