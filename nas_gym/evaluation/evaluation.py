"""What a training tells, and the seam of everything that spends compute."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any, Literal, Protocol, get_args

from nas_gym.architecture import Architecture, Candidate
from nas_gym.errors import ConfigurationError

Status = Literal["ok", "diverged", "invalid", "out_of_memory", "timeout", "crashed"]
STATUSES: tuple[Status, ...] = get_args(Status)

# The fields that depend on nothing but candidate, fidelity, repeat and recipe: only they may enter ``info``.
DETERMINISTIC = (
    "key",
    "fidelity",
    "repeat",
    "status",
    "reason",
    "accuracy",
    "standard_error",
    "loss",
    "curve",
    "proxy",
    "parameters",
    "macs",
)


@dataclass(frozen=True)
class Fidelity:
    """How thoroughly a candidate is evaluated; None means as the recipe says.

    Attributes:
        epochs: Training epochs, at least 1; the learning-rate schedule spans them.
        stop: Of these epochs only the first so many are trained, on the same schedule: a training that was stopped
            early, and that can be continued to exactly what it would have become.
        data: Share of the training split, in (0, 1]: its first images of every class.
        resolution: Side length in pixels to which images are scaled down.
    """

    epochs: int | None = None
    stop: int | None = None
    data: float | None = None
    resolution: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("stop", 1), ("resolution", 2)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Integral) and int(value) >= least):
                raise ConfigurationError(f"a fidelity's {name} is a whole number, at least {least}, got {value!r}")
        if self.epochs is not None and self.stop is not None and self.stop > self.epochs:
            raise ConfigurationError(f"a fidelity stops within its {self.epochs} epochs, got stop={self.stop}")
        if self.data is not None and not 0 < self.data <= 1:
            raise ConfigurationError(f"a fidelity's data is a share in (0, 1], got {self.data!r}")

    def __str__(self) -> str:
        """Return ``"full"`` or the settings that differ from it; part of every store key."""
        set_ = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) is not None]
        return ",".join(set_) or "full"

    @classmethod
    def from_text(cls, text: str) -> "Fidelity":
        """Return the fidelity that `str` wrote: ``"full"``, or such as ``"epochs=3,data=0.25"``.

        Raises:
            ConfigurationError: The text names no fidelity, or one that is out of range.
        """
        kinds = {"epochs": int, "stop": int, "data": float, "resolution": int}
        pairs = [] if text == "full" else [part.partition("=")[::2] for part in text.split(",")]
        try:
            return cls(**{name.strip(): kinds[name.strip()](value) for name, value in pairs})
        except (KeyError, ValueError):
            raise ConfigurationError(
                f"a fidelity is 'full' or some of epochs=N, stop=N, data=SHARE, resolution=PIXELS, parted by commas, "
                f"got {text!r}"
            ) from None

    @property
    def trajectory(self) -> "Fidelity":
        """The fidelity without `stop`: what seeds a training, so that a continued one goes on as it began."""
        return replace(self, stop=None)


FULL = Fidelity()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of one training: success or a typed failure, never an exception.

    Attributes:
        key: Of the candidate.
        fidelity: Of the evaluation, as text.
        repeat: Which repetition; each has its own training seed.
        status: ``"ok"`` or the kind of failure.
        reason: One sentence for a failure, empty for success.
        accuracy: Validation accuracy in [0, 1] after the last epoch; None for a failure or a proxy.
        standard_error: Of the accuracy: of one training, that of a share measured on the validation split,
            sqrt(p (1 - p) / n); of several repeats, that of their mean. None where it is not known.
        loss: Mean validation cross-entropy in nats after the last epoch; None for a failure.
        curve: Validation accuracy after every finished epoch.
        proxy: A number that stands in for the accuracy without training (`ProxyEvaluator`); None elsewhere.
        parameters: Trainable parameters.
        macs: Multiply-accumulates for one sample.
        latency_ms: Median milliseconds for one sample on the device, where measured.
        latency_iqr_ms: Interquartile range of the same measurement.
        peak_memory_mb: Peak memory of the training in MB, where the device tells.
        train_seconds: Wall-clock seconds of training and validation.
        cost_seconds: What a budget in seconds is charged; a replay charges the stored value.
        device: Such as ``"cpu"`` or ``"cuda:0 NVIDIA A100"``.
        versions: Such as ``"torch 2.14.1"``.
    """

    key: str
    fidelity: str = "full"
    repeat: int = 0
    status: Status = "ok"
    reason: str = ""
    accuracy: float | None = None
    standard_error: float | None = None
    loss: float | None = None
    curve: tuple[float, ...] = ()
    proxy: float | None = None
    parameters: int = 0
    macs: int = 0
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    peak_memory_mb: float | None = None
    train_seconds: float = 0.0
    cost_seconds: float = 0.0
    device: str = ""
    versions: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ConfigurationError(f"an evaluation's status is one of {STATUSES}, got {self.status!r}")
        if (self.status == "ok") != (self.accuracy is not None or self.proxy is not None):
            raise ConfigurationError(
                f"an evaluation has an accuracy or a proxy if and only if it is ok, got {self.status}, {self.accuracy} "
                f"and {self.proxy}"
            )
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise ConfigurationError(f"an accuracy lies in [0, 1], got {self.accuracy}")

    @property
    def ok(self) -> bool:
        """Whether the training succeeded."""
        return self.status == "ok"

    def deterministic(self) -> dict[str, Any]:
        """Return the deterministic fields, fresh at every call."""
        return {name: getattr(self, name) for name in DETERMINISTIC}

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        # Not dataclasses.asdict, which copies every number and takes most of the time of storing an evaluation.
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"curve": list(self.curve)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Evaluation":
        """Return the evaluation that `to_json` wrote; unknown fields of later versions are dropped."""
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        return cls(**values | {"curve": tuple(values.get("curve", ()))})


class Evaluator(Protocol):
    """Turns candidates into evaluations. Wrappers (a store, a pool of workers) are evaluators too.

    An evaluator that works on several candidates at once says on how many in an attribute ``capacity``
    (`capacity_of`); agents then submit their candidates together.
    """

    @property
    def identity(self) -> str:
        """Everything beside candidate, fidelity and repeat that decides the number, as stable text: a store key."""

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Return one future per candidate, in order.

        A failed training resolves to an evaluation with a status. Only a store that can't be written makes a
        future raise (StoreError), and only a caller's mistake makes this method raise (ConfigurationError).
        """


def evaluate(
    evaluator: Evaluator, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
) -> list[Evaluation]:
    """Return the evaluations of the candidates, in order, once all are there."""
    return [future.result() for future in evaluator.submit(candidates, fidelity=fidelity, repeat=repeat)]


def capacity_of(evaluator: object) -> int:
    """Return how many candidates an evaluator works on at once; 1 unless it says otherwise."""
    return int(getattr(evaluator, "capacity", 1))


def trained_architecture(candidate: Candidate) -> Architecture:
    """Return the architecture that stands for all with the candidate's key: whose sizes an evaluation tells."""
    architecture = candidate.architecture
    if candidate.row:
        return architecture
    changed = len(architecture.canonical_operations) != len(architecture.operations)
    return architecture.canonical() if changed else architecture  # without a change in number the sizes are the same


def resolved(evaluation: Evaluation) -> Future[Evaluation]:
    """Return a future that already holds the evaluation."""
    future: Future[Evaluation] = Future()
    future.set_result(evaluation)
    return future
