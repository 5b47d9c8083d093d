"""The evaluator that trains: on CUDA, MPS or the CPU, the same code on another device."""

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data.dataset import Dataset, SplitName
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.checkpoints import Checkpoints
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, resolved, trained_architecture
from nas_gym.evaluation.failures import failure_of
from nas_gym.evaluation.loop import Progress, Tensors, Training, score
from nas_gym.evaluation.process import TURN, device_name, prepared
from nas_gym.evaluation.recipe import Recipe
from nas_gym.evaluation.reduction import first_of_every_class, made_anew, scaled_down, scaled_shape
from nas_gym.latency import measure_latency
from nas_gym.operations import Shape
from nas_gym.randomness import derived_seed

# Called with every finished training before its evaluation is returned, and so before it is stored.
Keep = Callable[[Candidate, Evaluation, nn.Module], None]


def choose_device(device: str = "auto") -> torch.device:
    """Return the device of a name; ``"auto"`` is CUDA, then MPS, then the CPU.

    Raises:
        ConfigurationError: The name is unknown or this machine has no such device.
    """
    if device == "auto":
        mps = "mps" if torch.backends.mps.is_available() else "cpu"
        device = "cuda" if torch.cuda.is_available() else mps
    try:
        chosen = torch.device(device)
        place = torch.empty(1, device=chosen).device  # with its number
        torch.zeros(1, device=chosen).item()  # a device without memory, such as "meta", can't
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"device {device!r} can't be used here ({reason}); try --device auto") from None
    return place if place.type == "cuda" else chosen


def tensors_of(dataset: Dataset, name: SplitName, device: torch.device) -> Tensors:
    """Return a split of a data set as trainings take it, on a device."""
    inputs, targets = dataset.normalised(name, device=device)
    return Tensors(inputs.permute(0, 2, 3, 1).contiguous() if inputs.dim() == 4 else inputs, targets)


class TrainingEvaluator:
    """Trains every candidate and reports its validation accuracy.

    The data set lives on the device as tensors; batches are taken by indexing. The test split is not loaded.
    One training is seeded by evaluation seed, key, fidelity and repeat, and by nothing else: on one kind of CPU the
    same question has the same answer, bit for bit. On CUDA deterministic kernels are asked of cuDNN, but some
    operations (atomic additions) may still differ in the last bits.

    Args:
        dataset: Training and validation split are used.
        recipe: How to train; candidates' hyper-parameters override it.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        evaluation_seed: Seeds trainings; separate from the search's seed, so that searches share a store.
        keep: Called with candidate, evaluation and trained module (on the device, in evaluation mode) of
            every successful training before its evaluation is returned.
        checkpoints: Folder for trainings that `Fidelity.stop` interrupts: a later one of the same training goes on
            from there, to exactly what an uninterrupted one becomes. None: every training starts anew. Seconds are
            those of the call that spent them.
        latency: Whether the latency of every trained network is measured (`nas_gym.latency`), beside its training
            time, at full resolution only. It is wall-clock time on this machine, and so not reproducible bit for bit.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe | None = None,
        *,
        device: str = "auto",
        evaluation_seed: int = 0,
        keep: Keep | None = None,
        checkpoints: str | os.PathLike[str] | None = None,
        latency: bool = False,
    ) -> None:
        self.dataset = dataset
        self.device = choose_device(device)
        self.recipe = (recipe or Recipe()).settled(dataset.input_shape, self.device.type)
        self.evaluation_seed = evaluation_seed
        self.keep = keep
        self.checkpoints = None if checkpoints is None else Checkpoints(checkpoints)
        self.latency = bool(latency)
        self._splits: dict[str, Tensors] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker process gets: on a CPU with the splits, which are put into shared memory."""
        if self.device.type == "cpu":
            self._split("train"), self._split("validation")
        state = self.__dict__.copy()
        state["_splits"] = {name: data for name, data in self._splits.items() if not data.targets.is_cuda}
        return state

    @property
    def identity(self) -> str:
        """Data, recipe, seed and kind of device."""
        data = f"{self.dataset.name}:{self.dataset.fingerprint}"
        measured = " latency" if self.latency else ""
        return f"training/1 {data} {self.recipe} seed={self.evaluation_seed} {self.device.type}{measured}"

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Train the candidates one after the other; the futures are resolved.

        Raises:
            ConfigurationError: A candidate's hyper-parameter is no field of the recipe, or the fidelity asks for a
                later stop or a higher resolution than there is.
        """
        for candidate in candidates:
            self._check(candidate, fidelity or FULL)
        return [resolved(self._evaluated(candidate, fidelity or FULL, int(repeat))) for candidate in candidates]

    def train(self, candidate: Candidate, *, fidelity: Fidelity = FULL, repeat: int = 0) -> tuple[nn.Module, Progress]:
        """Return the trained module of a candidate, on the device and in evaluation mode, and its progress.

        The module is that of the canonical architecture, so equal keys give equal weights. Failures raise.
        """
        self._check(candidate, fidelity)
        recipe = self.recipe.overridden(candidate.hyperparameters)
        recipe = replace(recipe, epochs=fidelity.epochs or recipe.epochs)
        stop = min(fidelity.stop or recipe.epochs, recipe.epochs)
        # Where a training stops is no part of its seed: the one that goes on is the one that was interrupted.
        facts = (candidate.key, str(fidelity.trajectory), int(repeat))
        seed = derived_seed(self.evaluation_seed, *facts)
        question = "\n".join(("checkpoint/1", self.identity, *map(str, facts), torch.__version__))
        with prepared(seed, recipe.threads or 1, tf32=recipe.tf32):
            module, training = self._begun(candidate, fidelity, recipe, seed)
            saved = self.checkpoints.latest(question, stop) if self.checkpoints else None
            if saved is not None:
                try:
                    training.restore(saved)
                except Exception:  # a state that does not fit counts as none
                    module, training = self._begun(candidate, fidelity, recipe, seed)
            progress = training.run(stop)
            if self.checkpoints and stop < recipe.epochs:
                self.checkpoints.write(question, len(progress.curve), training.state())
            elif self.checkpoints:
                self.checkpoints.remove(question)
            training.release()
        return module, progress

    def test_accuracy(self, module: nn.Module) -> float:
        """Return the accuracy in [0, 1] of a module on the test split."""
        with prepared(0, self.recipe.threads or 1, tf32=self.recipe.tf32):
            return score(module.to(self.device), self._split("test"), self.recipe)[0]

    def check_fidelity(self, fidelity: Fidelity, *, epochs_decided: bool = False) -> None:
        """Refuse a fidelity that no training here can have.

        Args:
            fidelity: What is to be asked for.
            epochs_decided: Whether the candidate has a number of epochs of its own, when a training just ends there.

        Raises:
            ConfigurationError: It asks for a later stop or a higher resolution than there is.
        """
        shape, epochs = self.dataset.input_shape, fidelity.epochs or self.recipe.epochs
        if fidelity.stop is not None and fidelity.stop > epochs and not epochs_decided:
            raise ConfigurationError(
                f"a training of {epochs} epochs can't stop after {fidelity.stop}; "
                "stop earlier or raise the recipe's epochs"
            )
        if fidelity.resolution is not None and (len(shape) != 3 or fidelity.resolution > max(shape[1:])):
            raise ConfigurationError(
                f"a resolution scales images down, and {self.dataset.name!r} has samples of {shape}, "
                f"got resolution={fidelity.resolution}"
            )

    def _check(self, candidate: Candidate, fidelity: Fidelity) -> None:
        self.recipe.check_names(candidate.hyperparameters)
        self.check_fidelity(fidelity, epochs_decided="epochs" in dict(candidate.hyperparameters))

    def _begun(self, candidate: Candidate, fidelity: Fidelity, recipe: Recipe, seed: int) -> tuple[nn.Module, Training]:
        architecture = candidate.trained
        if fidelity.resolution is not None:
            architecture = made_anew(architecture, scaled_shape(architecture.input_shape, fidelity.resolution))
        module = build(architecture, seed=seed).to(self.device)
        if recipe.channels_last:
            module = module.to(memory_format=torch.channels_last)
        data = self._reduced("train", fidelity), self._reduced("validation", fidelity)
        return module, Training(module, *data, recipe, torch.Generator().manual_seed(seed))

    def _evaluated(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Evaluation:
        architecture = trained_architecture(candidate)
        outcome: dict[str, Any] = {}
        module: nn.Module | None = None
        with TURN:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)  # CUDA only
            started = time.perf_counter()
            try:
                module, progress = self.train(candidate, fidelity=fidelity, repeat=repeat)
                outcome = {"accuracy": progress.curve[-1], "loss": progress.loss, "curve": progress.curve}
                outcome["standard_error"] = self._standard_error(progress.curve[-1])
            except Exception as error:
                outcome = dict(zip(("status", "reason"), failure_of(error, self.device.type), strict=True))
            seconds = time.perf_counter() - started
            if self.latency and module is not None and fidelity.resolution is None:
                outcome |= self._latency(module, architecture.input_shape)
            evaluation = Evaluation(
                key=candidate.key,
                fidelity=str(fidelity),
                repeat=repeat,
                parameters=architecture.parameters,
                macs=architecture.macs,
                peak_memory_mb=self._peak_memory_mb(),
                train_seconds=seconds,
                cost_seconds=seconds,
                device=device_name(self.device),
                versions=f"torch {torch.__version__}",
                **outcome,
            )
            if module is None and self.device.type == "cuda":
                torch.cuda.empty_cache()  # CUDA only; what a failed training leaves may be in the next one's way
            if self.keep is not None and module is not None:
                self.keep(candidate, evaluation, module)
        return evaluation

    def _latency(self, module: nn.Module, input_shape: Shape) -> dict[str, float]:
        """Return the latency fields of an evaluation, for one sample, in the layout and precision of the training."""
        recipe = self.recipe
        measured = measure_latency(
            module,
            input_shape,
            device=self.device,
            threads=recipe.threads or 1,
            channels_last=bool(recipe.channels_last),
            mixed_precision=bool(recipe.mixed_precision),
        )
        return {"latency_ms": measured.median_ms, "latency_iqr_ms": measured.iqr_ms}

    def _split(self, name: SplitName) -> Tensors:
        if name not in self._splits:
            self._splits[name] = tensors_of(self.dataset, name, self.device)
        return self._splits[name]

    def _reduced(self, name: SplitName, fidelity: Fidelity) -> Tensors:
        """Return a split as a fidelity has it; what was made once is kept."""
        share = fidelity.data if name == "train" else None  # all are validated on the same images
        known = f"{name} data={share} resolution={fidelity.resolution}"
        if share is fidelity.resolution is None:
            return self._split(name)
        if known not in self._splits:
            data = self._split(name)
            if share is not None:
                data = first_of_every_class(data, share)
            if fidelity.resolution is not None:
                data = scaled_down(data, scaled_shape(self.dataset.input_shape, fidelity.resolution))
            self._splits[known] = data
        return self._splits[known]

    def _standard_error(self, accuracy: float) -> float:
        """Return sqrt(p (1 - p) / n), the standard error of a share p of n independent images."""
        return math.sqrt(accuracy * (1 - accuracy) / len(self.dataset.validation))

    def _peak_memory_mb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / 1e6  # CUDA only
