"""The evaluator that trains: on CUDA, MPS or the CPU, the same code on another device."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nas_gym.architecture import Candidate
from nas_gym.builder import build
from nas_gym.data.dataset import Dataset, SplitName
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, Status, resolved, trained_architecture
from nas_gym.evaluation.loop import DivergedError, Progress, Tensors, TimeLimitError, fit, score
from nas_gym.evaluation.recipe import Recipe
from nas_gym.latency import measure_latency
from nas_gym.operations import Shape
from nas_gym.randomness import derived_seed, isolated_generators

# Called with every finished training before its evaluation is returned, and so before it is stored.
Keep = Callable[[Candidate, Evaluation, nn.Module], None]

# One training at a time in a process: threads, kernels and generators are the whole process's.
_TURN = threading.RLock()
_LONGEST_REASON = 300
_OUT_OF_MEMORY = re.compile(
    "out of memory|not enough memory|can.t allocate memory|bad_alloc|alloc_failed"
    # What oneDNN says when it gets no memory for its compiled kernels.
    "|could not (create|execute) a (primitive|memory object)(?! descriptor)",
    re.IGNORECASE,
)


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
        latency: bool = False,
    ) -> None:
        self.dataset = dataset
        self.device = choose_device(device)
        self.recipe = (recipe or Recipe()).settled(dataset.input_shape, self.device.type)
        self.evaluation_seed = evaluation_seed
        self.keep = keep
        self.latency = bool(latency)
        self._splits: dict[str, Tensors] = {}

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
            ConfigurationError: A candidate's hyper-parameter is no field of the recipe.
        """
        return [resolved(self._evaluated(candidate, fidelity or FULL, int(repeat))) for candidate in candidates]

    def train(self, candidate: Candidate, *, fidelity: Fidelity = FULL, repeat: int = 0) -> tuple[nn.Module, Progress]:
        """Return the trained module of a candidate, on the device and in evaluation mode, and its progress.

        The module is that of the canonical architecture, so equal keys give equal weights. Failures raise.
        """
        recipe = self.recipe.overridden(candidate.hyperparameters)
        if fidelity.epochs is not None:
            recipe = replace(recipe, epochs=fidelity.epochs)
        seed = derived_seed(self.evaluation_seed, candidate.key, str(fidelity.trajectory), int(repeat))
        with self._prepared(seed, recipe.threads):
            module = build(candidate.architecture.canonical(), seed=seed).to(self.device)
            if recipe.channels_last:
                module = module.to(memory_format=torch.channels_last)
            generator = torch.Generator().manual_seed(seed)
            return module, fit(module, self._split("train"), self._split("validation"), recipe, generator)

    def test_accuracy(self, module: nn.Module) -> float:
        """Return the accuracy in [0, 1] of a module on the test split."""
        with self._prepared(0, self.recipe.threads):
            return score(module.to(self.device), self._split("test"), self.recipe)[0]

    def _evaluated(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Evaluation:
        self.recipe.check_names(candidate.hyperparameters)
        architecture = trained_architecture(candidate)
        outcome: dict[str, Any] = {}
        module: nn.Module | None = None
        with _TURN:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)  # CUDA only
            started = time.perf_counter()
            try:
                module, progress = self.train(candidate, fidelity=fidelity, repeat=repeat)
                outcome = {"accuracy": progress.curve[-1], "loss": progress.loss, "curve": progress.curve}
            except Exception as error:
                outcome = dict(zip(("status", "reason"), self._failure(error), strict=True))
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
                device=self._device_name(),
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
            mixed_precision=recipe.mixed_precision,
        )
        return {"latency_ms": measured.median_ms, "latency_iqr_ms": measured.iqr_ms}

    def _split(self, name: SplitName) -> Tensors:
        if name not in self._splits:
            inputs, targets = self.dataset.normalised(name, device=self.device)
            last = inputs.permute(0, 2, 3, 1).contiguous() if inputs.dim() == 4 else inputs
            self._splits[name] = Tensors(last, targets)
        return self._splits[name]

    @contextmanager
    def _prepared(self, seed: int, threads: int | None) -> Iterator[None]:
        """Put this process into the state in which trainings happen, whatever it was; restore it on the way out."""
        cudnn = torch.backends.cudnn
        with _TURN, isolated_generators(seed), ExitStack() as stack:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            stack.callback(setattr, cudnn, "deterministic", cudnn.deterministic)
            stack.callback(setattr, cudnn, "benchmark", cudnn.benchmark)
            torch.set_num_threads(threads or 1)
            torch.set_default_dtype(torch.float32)
            cudnn.deterministic, cudnn.benchmark = True, False
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            yield

    def _failure(self, error: Exception) -> tuple[Status, str]:
        """Return status and reason of a failed training; the same failure has the same reason, without addresses."""
        if isinstance(error, DivergedError):
            return "diverged", str(error)
        if isinstance(error, TimeLimitError):
            return "timeout", str(error)
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(str(error)):
            return "out_of_memory", f"the training does not fit into the memory of the device ({self.device.type})"
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        return "invalid", re.sub("0x[0-9a-fA-F]+", "0x…", reason)[:_LONGEST_REASON]

    def _peak_memory_mb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / 1e6  # CUDA only

    def _device_name(self) -> str:
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device} {torch.cuda.get_device_name(self.device)}"  # CUDA only
