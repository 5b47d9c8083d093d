"""How a candidate is trained: a plain value, part of every store key."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from numbers import Integral
from typing import Any, Literal

from nas_gym.errors import ConfigurationError
from nas_gym.operations import Number, Shape

SMALL_INPUT = 256  # values in one sample
_FLAGS = ("flip", "tf32", "compile")  # fields that are on or off
_FLAGS_OR_NONE = ("channels_last", "mixed_precision")  # None: a rule decides


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one training.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Samples in one step; the incomplete last batch of an epoch is left out.
        optimizer: ``"sgd"`` (Nesterov momentum) or ``"adam"``.
        learning_rate: Peak of the one-cycle schedule.
        momentum: Of SGD; first beta of Adam.
        weight_decay: L2 penalty on all weights.
        warmup: Share of the steps in which the learning rate rises, in [0, 1).
        label_smoothing: In [0, 1).
        flip: Whether images are mirrored left to right at random.
        crop: Images are shifted by up to this many pixels at random (zero padding).
        cutout: Side in pixels of a square at a random place in every image that is set to the mean colour; 0: none.
        threads: Threads of the training on a CPU; None: 1 for samples of up to 256 values, else 2.
        channels_last: Memory layout of images; None: on every device but MPS.
        mixed_precision: Whether convolutions and matrix products are computed in bfloat16 (`torch.autocast`), the rest
            in float32, which also holds weights and gradients (Kalamkar et al. 2019, arXiv 1905.12322). None: on CUDA.
            A CPU that has instructions for it (AVX-512 BF16, AMX) trains photographs faster with it; one that has none
            becomes slower (`nas_gym.evaluation.process.has_bfloat16`). MPS stays with float32.
        tf32: On CUDA, whether what is computed in float32 may use TensorFloat-32 in products.
        compile: Whether networks are compiled for their training (`torch.compile`); needs a C++ compiler on a CPU. It
            takes seconds to a minute a network and pays for long trainings only (``scripts/bench_evaluator.py
            --compile`` tells from how many epochs). Rounding and dropout masks differ from those without.
        hopeless_after: Epochs after which a training ends if its validation accuracy is then below
            ``hopeless_below``. Such a training is a success with a shorter curve: its length tells. None: never.
        hopeless_below: Validation accuracy in [0, 1].
        time_limit_seconds: Wall-clock limit of one training, or of the part of it that one call trains; None: no limit.
            Exempt from reproducibility.
    """

    epochs: int = 6
    batch_size: int = 64
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.3
    label_smoothing: float = 0.0
    flip: bool = False
    crop: int = 0
    cutout: int = 0
    threads: int | None = None
    channels_last: bool | None = None
    mixed_precision: bool | None = None
    tf32: bool = True
    compile: bool = False
    hopeless_after: int | None = None
    hopeless_below: float = 0.0
    time_limit_seconds: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, ok in (
                ("epochs", _whole(self.epochs, 1)),
                ("batch_size", _whole(self.batch_size, 2)),
                ("optimizer", self.optimizer in ("sgd", "adam")),
                ("learning_rate", 0 < self.learning_rate < inf),
                ("momentum", 0 <= self.momentum < 1),
                ("weight_decay", 0 <= self.weight_decay < inf),
                ("warmup", 0 <= self.warmup < 1),
                ("label_smoothing", 0 <= self.label_smoothing < 1),
                ("crop", _whole(self.crop, 0)),
                ("cutout", _whole(self.cutout, 0)),
                ("hopeless_after", self.hopeless_after is None or _whole(self.hopeless_after, 1)),
                ("hopeless_below", 0 <= self.hopeless_below <= 1),
                *((name, is_flag(getattr(self, name))) for name in _FLAGS),
                *((name, getattr(self, name) is None or is_flag(getattr(self, name))) for name in _FLAGS_OR_NONE),
                ("threads", self.threads is None or _whole(self.threads, 1)),
                ("time_limit_seconds", self.time_limit_seconds is None or self.time_limit_seconds > 0),
            )
            if not ok
        ]
        if wrong:
            shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            flags = "" if {*_FLAGS, *_FLAGS_OR_NONE}.isdisjoint(wrong) else "; write true or false"
            raise ConfigurationError(f"the training recipe is out of range: {shown}{flags}")

    def is_hopeless(self, curve: Sequence[float]) -> bool:
        """Return whether a training with this curve of validation accuracies ends before its last epoch."""
        after = self.hopeless_after
        return after is not None and len(curve) >= after and curve[after - 1] < self.hopeless_below

    def settled(self, input_shape: Shape, device_type: str) -> "Recipe":
        """Return the recipe with every None that a rule decides filled in, from shape and device alone."""
        size = 1
        for length in input_shape:
            size *= length
        threads, channels_last, mixed_precision = self.threads, self.channels_last, self.mixed_precision
        if threads is None:
            threads = 1 if size <= SMALL_INPUT else 2
        if channels_last is None:
            channels_last = len(input_shape) == 3 and device_type != "mps"
        if mixed_precision is None:
            mixed_precision = device_type == "cuda"
        return replace(self, threads=threads, channels_last=channels_last, mixed_precision=mixed_precision)

    def overridden(self, hyperparameters: Iterable[tuple[str, Number]]) -> "Recipe":
        """Return the recipe with a candidate's hyper-parameters in place.

        Raises:
            ConfigurationError: A hyper-parameter is no field of the recipe, or out of range.
        """
        values: dict[str, Any] = dict(hyperparameters)
        self.check_names(values.items())
        return replace(self, **values)

    def check_names(self, hyperparameters: Iterable[tuple[str, Number]]) -> None:
        """Refuse hyper-parameters that are no fields of the recipe.

        Raises:
            ConfigurationError: One is none; the message names it and the fields.
        """
        known = [f.name for f in fields(self)]
        unknown = sorted({name for name, _ in hyperparameters} - set(known))
        if unknown:
            raise ConfigurationError(
                f"hyper-parameters must be fields of the recipe ({', '.join(known)}), got {unknown}"
            )

    def __str__(self) -> str:
        """Return all settings as stable text."""
        return ",".join(f"{name}={value}" for name, value in asdict(self).items())


def is_flag(value: object) -> bool:
    """Return whether a value is True or False, or 1 or 0, which is how a candidate's hyper-parameters say it."""
    return value in (0, 1)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and int(value) >= least
