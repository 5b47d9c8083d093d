"""Training a winner with given hyper-parameters: on training images, watched on validation images."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas_gym.architecture import Candidate
from nas_gym.operations import Shape
from nas_gym.randomness import derived_seed
from nas_gym.winner.long_recipe import LongRecipe, long_recipe
from nas_gym.winner.tuning.space import Space, Value, Values, recipe_space
from nas_gym.winner.tuning.trials import Report

if TYPE_CHECKING:
    from nas_gym.evaluation.loop import Tensors
    from nas_gym.evaluation.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains one network as `nas-gym retrain` would, but on training images alone; it can be sent to another process.

    Attributes:
        candidate: What is trained.
        searched: The recipe of its search, settled.
        input_shape: Of one sample.
        train: Training images.
        validation: Validation images.
        epochs: Of every training.
        processors: For one training.
    """

    candidate: Candidate
    searched: "Recipe"
    input_shape: Shape
    train: "Tensors"
    validation: "Tensors"
    epochs: int
    processors: int = 1

    def recipe(self, values: Mapping[str, Value] | None = None) -> LongRecipe:
        """Return the recipe with these hyper-parameters, or without tuning."""
        from nas_gym.evaluation.process import has_bfloat16

        return long_recipe(
            self.searched,
            self.input_shape,
            n_images=len(self.train),
            epochs=self.epochs,
            processors=self.processors,
            bfloat16=has_bfloat16(self.train.targets.device),
            hyperparameters=self.candidate.hyperparameters,
            changes=values,
        )

    @cached_property
    def space(self) -> Space:
        """What can be tuned."""
        return recipe_space(self.recipe().recipe, self.input_shape, len(self.train))

    def untuned(self) -> Values:
        """Return the values of the recipe without tuning."""
        recipe: Any = self.recipe().recipe
        return {name: getattr(recipe, name) for name in self.space.free}

    def __call__(self, values: Mapping[str, Value], seed: int, report: Report) -> str | None:
        """Train until the last epoch or until the report says no; see `nas_gym.winner.tuning.trials.Train`."""
        import torch

        from nas_gym.builder import build
        from nas_gym.evaluation.averaging import Averages
        from nas_gym.evaluation.failures import failure_of
        from nas_gym.evaluation.loop import Training
        from nas_gym.evaluation.process import prepared

        long = self.recipe(values)
        recipe, mine = long.recipe, derived_seed("tune/1", self.candidate.key, seed)
        device = self.train.targets.device
        with prepared(mine, recipe.threads or 1, tf32=recipe.tf32):
            module = build(self.candidate.trained, seed=mine).to(device)
            if recipe.channels_last:
                module = module.to(memory_format=torch.channels_last)
            generator, averages = torch.Generator().manual_seed(mine), Averages(module, long.average_decay)
            training = Training(module, self.train, self.validation, recipe, generator, averages=averages)
            try:
                for epoch in range(1, recipe.epochs + 1):
                    training.run(epoch)
                    if not report(epoch, training.curve[-1]):
                        break
            except Exception as error:
                status, reason = failure_of(error, device.type)
                if status not in ("diverged", "out_of_memory"):
                    raise
                return reason
            finally:
                training.release()
        return None
