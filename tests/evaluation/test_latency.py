"""Latency: what is timed, and what stays as it was."""

import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from networks import perceptron, trainer
from torch import Tensor, nn

from nas_gym import latency
from nas_gym.architecture import Candidate
from nas_gym.data import Dataset
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import Fidelity, Recipe, evaluate, training
from nas_gym.latency import measure_latency

QUICK = Recipe(epochs=1, batch_size=64, threads=1)


class Watched(nn.Module):
    """Notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3))
        self.calls: list[dict[str, Any]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls.append(
            {
                "shape": tuple(inputs.shape),
                "last": inputs.is_contiguous(memory_format=torch.channels_last),
                "training": any(part.training for part in self.modules()),
                "gradients": torch.is_grad_enabled(),
                "inference": torch.is_inference_mode_enabled(),
                "threads": torch.get_num_threads(),
            }
        )
        return self.inner(inputs)  # type: ignore[no-any-return]


@pytest.mark.parametrize("channels_last", [True, False])
def test_passes_are_in_evaluation_mode_and_of_the_shape_and_layout_asked_for(channels_last: bool) -> None:
    module = Watched()
    measured = measure_latency(
        module,
        (3, 4, 4),
        device="cpu",
        batch_size=5,
        warmup=2,
        repetitions=7,
        threads=2,
        channels_last=channels_last,
    )
    assert measured.repetitions == 7 and len(module.calls) == 9
    assert measured.median_ms > 0 and measured.iqr_ms >= 0
    wanted = {"shape": (5, 3, 4, 4), "last": channels_last, "training": False, "gradients": False}
    assert all(call == wanted | {"inference": True, "threads": 2} for call in module.calls)


def test_everything_stays_as_it_was() -> None:
    module = Watched()
    module.inner[0].eval()
    modes = [part.training for part in module.modules()]
    weights = [value.clone() for value in module.state_dict().values()]
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    threads = torch.get_num_threads()
    measure_latency(module, (3, 4, 4), device="cpu", threads=threads + 1, repetitions=3)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(weights, module.state_dict().values(), strict=True))
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()


def test_a_module_that_fails_leaves_everything_as_it_was_too() -> None:
    module, threads = Watched(), torch.get_num_threads()
    with pytest.raises(RuntimeError):
        measure_latency(module, (2, 4, 4), device="cpu", threads=threads + 1)
    assert module.training and torch.get_num_threads() == threads


def clock(seconds: list[float]) -> Callable[[], int]:
    """Return a clock by which the passes take these seconds."""
    ticks = [t for i, taken in enumerate(seconds) for t in (10**12 * i, 10**12 * i + int(taken * 1e9))]
    return lambda: ticks.pop(0)


def test_the_median_and_the_quartiles_of_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [0.005, 0.001, 0.002, 0.100, 0.003]
    monkeypatch.setattr(latency.time, "perf_counter_ns", clock(taken))
    measured = measure_latency(nn.Identity(), (1,), device="cpu", warmup=3, repetitions=5)
    assert measured.median_ms == pytest.approx(3.0)
    assert measured.iqr_ms == pytest.approx(5.0 - 2.0)


def test_a_sleeping_module_takes_at_least_as_long_as_it_sleeps() -> None:
    class Sleeping(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            time.sleep(0.01)
            return inputs

    assert measure_latency(Sleeping(), (2,), device="cpu", warmup=0, repetitions=3).median_ms >= 10


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"warmup": -1}, {"repetitions": 0}, {"threads": 0}])
def test_numbers_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        measure_latency(nn.Identity(), (2,), device="cpu", **wrong)  # type: ignore[arg-type]


def test_the_training_evaluator_measures_on_request_and_says_so_in_its_identity(digits: Dataset) -> None:
    plain, measuring = (trainer(digits, QUICK, latency=latency) for latency in (False, True))
    assert measuring.identity == f"{plain.identity} latency"
    (without,), (measured,) = (evaluate(evaluator, [perceptron()]) for evaluator in (plain, measuring))
    assert without.latency_ms is None and without.latency_iqr_ms is None
    assert measured.latency_ms is not None and measured.latency_iqr_ms is not None
    assert measured.latency_ms > 0 and measured.latency_iqr_ms >= 0
    assert measured.deterministic() == without.deterministic()


def test_a_network_at_a_lower_resolution_tells_no_latency(digits: Dataset) -> None:
    (evaluation,) = evaluate(trainer(digits, QUICK, latency=True), [perceptron()], fidelity=Fidelity(resolution=4))
    assert evaluation.ok and evaluation.latency_ms is None


def test_latency_is_measured_beside_the_training_and_for_successes_alone(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    seconds = 0.0
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: seconds, monotonic=time.monotonic))

    def slow(module: nn.Module, shape: tuple[int, ...], **options: Any) -> latency.Latency:
        nonlocal seconds
        seconds += 100.0
        asked.append({"shape": shape, **options})
        return latency.Latency(2.0, 0.5, 1)

    monkeypatch.setattr(training, "measure_latency", slow)
    failing = Candidate(perceptron().architecture, (("batch_size", 1),))
    measured, failed = evaluate(trainer(digits, QUICK, latency=True), [perceptron(), failing])
    assert (measured.latency_ms, measured.latency_iqr_ms) == (2.0, 0.5)
    assert measured.train_seconds == measured.cost_seconds == 0.0
    assert not failed.ok and failed.latency_ms is None
    assert len(asked) == 1
    assert asked[0]["shape"] == (1, 8, 8) and asked[0]["channels_last"] and asked[0]["threads"] == 1
