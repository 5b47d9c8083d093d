"""The evaluator that trains: on CUDA, MPS or the CPU, the same code on another device."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data.dataset import Dataset, SplitName
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, Status, resolved
from nas_gym.evaluation.loop import DivergedError, Progress, Tensors, TimeLimitError, fit, score
from nas_gym.evaluation.recipe import Recipe
from nas_gym.randomness import derived_seed

# Called with every finished training before its evaluation is returned, and so before it is stored.
Keep = Callable[[Candidate, Evaluation, nn.Module], None]


def choose_device(device: str = "auto") -> torch.device:
    """Return the device of a name; ``"auto"`` is CUDA, then MPS, then the CPU.

    Raises:
        ConfigurationError: The name is unknown or this machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)  # CUDA only
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"device {device!r} can't be used here ({reason}); try --device auto") from None
    return chosen


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
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe | None = None,
        *,
        device: str = "auto",
        evaluation_seed: int = 0,
        keep: Keep | None = None,
    ) -> None:
        self.dataset = dataset
        self.device = choose_device(device)
        self.recipe = (recipe or Recipe()).settled(dataset.input_shape, self.device.type)
        self.evaluation_seed = evaluation_seed
        self.keep = keep
        self._splits: dict[str, Tensors] = {}

    @property
    def identity(self) -> str:
        """Data, recipe, seed and kind of device."""
        data = f"{self.dataset.name}:{self.dataset.fingerprint}"
        return f"training/1 {data} {self.recipe} seed={self.evaluation_seed} {self.device.type}"

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Train the candidates one after the other; the futures are resolved."""
        return [resolved(self._evaluated(candidate, fidelity or FULL, repeat)) for candidate in candidates]

    def train(self, candidate: Candidate, *, fidelity: Fidelity = FULL, repeat: int = 0) -> tuple[nn.Module, Progress]:
        """Return the trained module of a candidate, on the device, and its progress; failures raise.

        The module is that of the canonical architecture, so equal keys give equal weights.
        """
        recipe = self.recipe.overridden(candidate.hyperparameters)
        if fidelity.epochs is not None:
            recipe = replace(recipe, epochs=fidelity.epochs)
        seed = derived_seed(self.evaluation_seed, candidate.key, str(fidelity), repeat)
        with self._prepared(seed):
            module = build(candidate.architecture.canonical(), seed=seed).to(self.device)
            if recipe.channels_last:
                module = module.to(memory_format=torch.channels_last)
            generator = torch.Generator().manual_seed(seed)
            return module, fit(module, self._split("train"), self._split("validation"), recipe, generator)

    def test_accuracy(self, module: nn.Module) -> float:
        """Return the accuracy in [0, 1] of a module on the test split."""
        with self._prepared(0):
            return score(module.to(self.device), self._split("test"), self.recipe)[0]

    def _evaluated(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Evaluation:
        started = time.perf_counter()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)  # CUDA only
        outcome: dict[str, Any] = {}
        module: nn.Module | None = None
        try:
            module, progress = self.train(candidate, fidelity=fidelity, repeat=repeat)
            outcome = {"accuracy": progress.curve[-1], "loss": progress.loss, "curve": progress.curve}
        except Exception as error:
            outcome = {"status": _status(error), "reason": _sentence(error)}
        seconds = time.perf_counter() - started
        evaluation = Evaluation(
            key=candidate.key,
            fidelity=str(fidelity),
            repeat=repeat,
            parameters=candidate.architecture.parameters,
            macs=candidate.architecture.macs,
            peak_memory_mb=self._peak_memory_mb(),
            train_seconds=seconds,
            cost_seconds=seconds,
            device=self._device_name(),
            versions=f"torch {torch.__version__}",
            **outcome,
        )
        if self.keep is not None and module is not None and evaluation.ok:
            self.keep(candidate, evaluation, module)
        return evaluation

    def _split(self, name: SplitName) -> Tensors:
        if name not in self._splits:
            inputs, targets = self.dataset.normalised(name, device=self.device)
            last = inputs.permute(0, 2, 3, 1).contiguous() if inputs.dim() == 4 else inputs
            self._splits[name] = Tensors(last, targets)
        return self._splits[name]

    @contextmanager
    def _prepared(self, seed: int) -> Iterator[None]:
        """Set threads, kernels and torch's generator for one training, and restore all of them."""
        threads = torch.get_num_threads()
        cudnn = torch.backends.cudnn
        before = cudnn.deterministic, cudnn.benchmark
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            try:
                torch.set_num_threads(self.recipe.threads or 1)
                cudnn.deterministic, cudnn.benchmark = True, False
                torch.manual_seed(seed)
                yield
            finally:
                torch.set_num_threads(threads)
                cudnn.deterministic, cudnn.benchmark = before

    def _peak_memory_mb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / 1e6  # CUDA only

    def _device_name(self) -> str:
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device} {torch.cuda.get_device_name(self.device)}"  # CUDA only


def _status(error: Exception) -> Status:
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, TimeLimitError):
        return "timeout"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error):
        return "out_of_memory"
    return "invalid"


def _sentence(error: Exception) -> str:
    if isinstance(error, DivergedError | TimeLimitError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
