"""What a compression works on: the winner's network, the images it may learn from, and those it is measured on."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nas_gym.builder import Network
from nas_gym.data.dataset import Dataset
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.evaluation.process import has_bfloat16
from nas_gym.evaluation.recipe import Recipe
from nas_gym.operations import Number
from nas_gym.run import Run
from nas_gym.winner.data import final_data, without
from nas_gym.winner.exporting import facts_of
from nas_gym.winner.facts import Facts
from nas_gym.winner.long_recipe import long_recipe
from nas_gym.winner.packaged import Samples
from nas_gym.winner.result import Winner, load_winner
from nas_gym.winner.searched import Searched, searched
from nas_gym.winner.training import SLOWER

FINE_TUNING_RATE = 0.3  # of the learning rate, where a network begins with trained weights


@dataclass(frozen=True, eq=False)
class Material:
    """The winner and its images.

    Attributes:
        run: The run.
        winner: Of it.
        network: Its trained network, on the CPU, in evaluation mode.
        search: What trained the networks of the search.
        dataset: ``train``: the images that the winner was trained on, but those of validation: variants are trained
            on these; ``validation``: those of the search, which only a retrained winner has seen; ``test``. Mean and
            deviation are the winner's.
        digest: Of the winner's weights.
    """

    run: Run
    winner: Winner
    network: Network
    search: Searched
    dataset: Dataset
    digest: str

    @property
    def device(self) -> torch.device:
        """Where networks are trained."""
        return self.search.trainer.device

    def samples(self, name: str, most: int | None = None) -> Samples:
        """Return the images of a split as files take them, all or so many in even distances."""
        split = {"train": self.dataset.train, "validation": self.dataset.validation, "test": self.dataset.test}[name]
        return Samples.of_split(split, name, len(split) if most is None else most)

    def facts(self, variant: str, **metrics: float | int) -> Facts:
        """Return what is written into the file of a variant: what is known of it, and not what is of the winner."""
        return replace(facts_of(self.winner, self.dataset.name, variant=variant), metrics=metrics)

    def recipe(self, epochs: int, hyperparameters: Iterable[tuple[str, Number]] | None = None) -> Recipe:
        """Return how a network is trained for so many epochs: as the winner, or with other hyper-parameters.

        Where the training of the winner diverged, the learning rate is smaller by as much as it was at last.

        Args:
            epochs: Passes over the training images.
            hyperparameters: Of the candidate that is trained from scratch; None: fine-tuning of the winner's weights,
                with 0.3 of its learning rate.
        """
        own = self.winner.candidate.hyperparameters if hyperparameters is None else hyperparameters
        changes = dict((self.winner.content.get("request") or {}).get("recipe") or {})
        recipe = long_recipe(
            self.search.trainer.recipe,
            self.dataset.input_shape,
            n_images=len(self.dataset.train),
            epochs=epochs,
            processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            bfloat16=has_bfloat16(self.search.trainer.device),
            hyperparameters=own,
            changes=changes,
        ).recipe
        rate = recipe.learning_rate * (FINE_TUNING_RATE if hyperparameters is None else 1.0)
        restarts = int((self.winner.content.get("per_seed") or [{}])[0].get("restarts") or 0)
        rate /= SLOWER**restarts
        batch = min(recipe.batch_size, len(self.dataset.train))
        return replace(recipe, learning_rate=rate, batch_size=batch)


def material(path: Path) -> Material:
    """Return what a run's winner is compressed with.

    Raises:
        RunError: It is no run, holds no trained network, or its data can't be had any more or have changed.
    """
    run = Run(path)
    if not run.best(1):
        raise RunError(f"{str(path)!r} holds no evaluated network; search first")
    search = searched(run)
    if run.content["namespace"] != search.namespace:
        raise RunError(
            f"the data or the training recipe of {str(path)!r} have changed since it was searched "
            f"({run.content['namespace']!r}, now {search.namespace!r}); restore them"
        )
    winner = load_winner(path)
    network = winner.module()
    assert isinstance(network, Network), "weights are those of one"
    if len(network.architecture.input_shape) != 3:
        raise ConfigurationError(f"images are compressed for, got samples of {network.architecture.input_shape}")
    assert winner.digest is not None, "its weights were just read"
    return Material(run, winner, network, search, _dataset(run, winner, search.trainer.dataset), winner.digest)


def _dataset(run: Run, winner: Winner, searched: Dataset) -> Dataset:
    if not winner.retrained:
        return searched
    told = winner.content["data"]
    root = run.settings.get("env_args", {}).get("data_root")
    final = final_data(searched, [one["source"] for one in told["also"]], data_root=root)
    if final.facts["fingerprint"] != told["fingerprint"]:
        raise RunError(
            f"the images are not those that the winner of {str(run.path)!r} was trained on; restore them, or retrain"
        )
    train = without(final.dataset.train, searched.validation)
    return replace(final.dataset, train=train, validation=searched.validation)
