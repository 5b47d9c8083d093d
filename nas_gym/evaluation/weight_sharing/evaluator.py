"""The evaluator that trains one supernet and then scores candidates by inference."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_gym.architecture import Candidate
from nas_gym.builder import Network
from nas_gym.data.dataset import Dataset, SplitName
from nas_gym.errors import ConfigurationError, OutOfSpaceError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, resolved
from nas_gym.evaluation.loop import DivergedError, Tensors, score
from nas_gym.evaluation.outcome import scored
from nas_gym.evaluation.process import prepared
from nas_gym.evaluation.recipe import Recipe
from nas_gym.evaluation.training import choose_device
from nas_gym.evaluation.weight_sharing.checkpoint import read_checkpoint, write_checkpoint
from nas_gym.evaluation.weight_sharing.supernet import Supernet, channels_second
from nas_gym.randomness import derived_seed
from nas_gym.spaces.chain import ChainSpace

SUPERNET_RECIPE = Recipe(epochs=100, learning_rate=0.2, warmup=0.1)
CALIBRATION_BATCHES, CALIBRATION_BATCH = 2, 256  # batches and samples in each, for the statistics of a path


class SupernetEvaluator:
    """Answers with the validation accuracy of a candidate under weights that all candidates share.

    The supernet is trained once, by `prepare` or at the first candidate. An accuracy is then a matter of inference:
    the statistics of batch normalisation are computed anew for the path on some training batches (Guo et al. 2020,
    arXiv 1904.00420, section 3.4), and the validation split is classified. Such accuracies are lower than those of
    networks trained alone, and it is their order that is of use.

    Answers depend on nothing but the canonical architecture: fidelity and repeat are told and change nothing, for there
    is one supernet; another evaluation seed gives another one. `cost_seconds` of an answer are those of the inference;
    those of the supernet's training, interrupted or not, are in `training_seconds`. A candidate with layers that no
    path of the training had is scored with their first, random values.

    Args:
        dataset: Training and validation split are used.
        space: Whose networks share weights; it must leave hyper-parameters alone.
        recipe: How the supernet is trained: epochs (passes over the training split by all paths together), batch
            size, learning rate, momentum, weight decay, warm-up, label smoothing, flip, crop, threads and memory
            layout. Its other settings are not used. None: `SUPERNET_RECIPE`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        evaluation_seed: Seeds the supernet.
        checkpoint: A file that keeps the supernet; if it is there, the training goes on from it, bit for bit.
        checkpoint_every: Steps of the training after which the file is written, besides the end.

    Raises:
        ConfigurationError: Data set and space don't fit, the space decides hyper-parameters, the recipe's optimiser is
            not SGD, the device is unknown, or the checkpoint's folder is missing. A checkpoint that is damaged or
            another supernet's is refused with this error too, when it is read (`prepare`, `submit`).
    """

    def __init__(
        self,
        dataset: Dataset,
        space: ChainSpace,
        recipe: Recipe | None = None,
        *,
        device: str = "auto",
        evaluation_seed: int = 0,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 500,
    ) -> None:
        self.dataset = dataset
        self.space = space
        self.device = choose_device(device)
        settled = (recipe or SUPERNET_RECIPE).settled(dataset.input_shape, self.device.type)
        self.recipe = replace(settled, mixed_precision=False, time_limit_seconds=None)
        self.evaluation_seed = evaluation_seed
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.checkpoint_every = checkpoint_every
        self._splits: dict[str, Tensors] = {}
        self._supernet: Supernet | None = None
        self._check()

    def _check(self) -> None:
        if not isinstance(self.space, ChainSpace):
            raise ConfigurationError(f"weights are shared between the networks of a ChainSpace, got {self.space!r}")
        wanted = (self.space.input_shape, self.space.n_classes)
        given = (self.dataset.input_shape, self.dataset.n_classes)
        if wanted != given:
            raise ConfigurationError(f"the space is for images and classes {wanted}, the data set has {given}")
        if self.space.hyperparameters:
            raise ConfigurationError(
                "shared weights can't compare hyper-parameters; use a space without them, got "
                f"{', '.join(self.space.hyperparameters)}"
            )
        if self.recipe.optimizer != "sgd":
            raise ConfigurationError(f"a supernet is trained by optimizer='sgd', got {self.recipe.optimizer!r}")
        every: object = self.checkpoint_every
        if not isinstance(every, Integral) or every < 1:
            raise ConfigurationError(f"checkpoint_every is a whole number of steps, at least 1, got {every!r}")
        if self.checkpoint is not None and not self.checkpoint.parent.is_dir():
            raise ConfigurationError(
                f"{str(self.checkpoint.parent)!r}, the checkpoint's folder, is none; make it first"
            )

    @property
    def identity(self) -> str:
        """Data, space, recipe, seed and kind of device."""
        data = f"{self.dataset.name}:{self.dataset.fingerprint}"
        return f"supernet/1 {data} {self.space.name} {self.recipe} seed={self.evaluation_seed} {self.device.type}"

    @property
    def training_seconds(self) -> float:
        """Wall-clock seconds of the supernet's training; 0 before it."""
        return 0.0 if self._supernet is None else self._supernet.seconds

    def prepare(self) -> Supernet:
        """Return the trained supernet; trains it, or what is left of the training, at the first call.

        Raises:
            ConfigurationError: The checkpoint is damaged, another supernet's, or can't be written.
        """
        with prepared(derived_seed(self.evaluation_seed, "supernet"), self.recipe.threads or 1):
            if self._supernet is None:
                supernet = Supernet(self.space, self._split("train"), self.recipe, self.evaluation_seed)
                state = read_checkpoint(self.checkpoint, self.identity) if self.checkpoint is not None else None
                if state is not None:
                    supernet.restore(state)
                supernet.fit(self._keep)
                self._supernet = supernet  # only a whole one: an interrupted step may have changed some weights
            return self._supernet

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Score the candidates one after the other; the futures are resolved.

        Raises:
            ConfigurationError: A candidate has hyper-parameters, or as `prepare` says.
        """
        for candidate in candidates:
            if candidate.hyperparameters:
                raise ConfigurationError(
                    f"shared weights can't compare hyper-parameters, got {dict(candidate.hyperparameters)}"
                )
        if candidates:
            self.prepare()
        return [resolved(self._evaluated(candidate, fidelity or FULL, int(repeat))) for candidate in candidates]

    def module(self, candidate: Candidate) -> nn.Module:
        """Return a candidate's network with its own copy of the shared weights, calibrated, in evaluation mode.

        Raises:
            OutOfSpaceError: The candidate is none of the space.
        """
        supernet = self.prepare()
        architecture = candidate.architecture.canonical()
        if architecture.input_shape != self.space.input_shape or architecture.output_shape != (self.space.n_classes,):
            raise OutOfSpaceError(
                f"the supernet's space maps {self.space.input_shape} to {self.space.n_classes} classes, the candidate "
                f"{architecture.input_shape} to {architecture.output_shape}; evaluate candidates of that space"
            )
        network = supernet.weights.path(architecture, trained=False).network
        for parameter in network.parameters():
            parameter.data = parameter.data.clone()
        self._calibrate(network)
        return network.eval()

    def _evaluated(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Evaluation:
        return scored(candidate, fidelity, repeat, self.device, lambda: self._scored(candidate))

    def _scored(self, candidate: Candidate) -> dict[str, Any]:
        with prepared(derived_seed(self.evaluation_seed, candidate.key), self.recipe.threads or 1):
            validation = self._split("validation")
            accuracy, loss = score(self.module(candidate), validation, self.recipe)
        if not math.isfinite(loss):
            raise DivergedError("the validation loss with shared weights was not finite")
        error = math.sqrt(accuracy * (1 - accuracy) / len(validation))  # binomial, of a share
        return {"accuracy": accuracy, "standard_error": error, "loss": loss, "curve": (accuracy,)}

    @torch.no_grad()
    def _calibrate(self, network: Network) -> None:
        """Compute the statistics of batch normalisation for a path: the mean over batches of the training split."""
        train = self._split("train")
        size = min(CALIBRATION_BATCH, len(train))
        generator = torch.Generator().manual_seed(derived_seed(self.evaluation_seed, "calibration"))
        order = torch.randperm(len(train), generator=generator).to(train.targets.device)
        network.eval()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.train().momentum = None  # all batches count the same
        for chosen in torch.split(order, size)[: min(CALIBRATION_BATCHES, len(train) // size)]:
            network(channels_second(train.inputs.index_select(0, chosen), self.recipe))

    def _keep(self, supernet: Supernet) -> None:
        due = supernet.step % self.checkpoint_every == 0 or supernet.step == supernet.steps
        if self.checkpoint is not None and due:
            write_checkpoint(self.checkpoint, self.identity, supernet.state())

    def _split(self, name: SplitName) -> Tensors:
        if name not in self._splits:
            inputs, targets = self.dataset.normalised(name, device=self.device)
            self._splits[name] = Tensors(inputs.permute(0, 2, 3, 1).contiguous(), targets)
        return self._splits[name]
