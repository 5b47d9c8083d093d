"""What evaluators share around an evaluation: failures, timed scores, errors as sentences, telling whoever waits."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import Evaluation, Fidelity, Status, trained_architecture


def failed(
    candidate: Candidate, fidelity: Fidelity, repeat: int, status: Status, reason: str, seconds: float = 0.0
) -> Evaluation:
    """Return the evaluation of a candidate whose training did not end by itself.

    Args:
        candidate: What was asked about.
        fidelity: The same.
        repeat: The same.
        status: Kind of failure.
        reason: One sentence.
        seconds: Wall-clock seconds it took; also what it costs.
    """
    architecture = trained_architecture(candidate)
    return Evaluation(
        key=candidate.key,
        fidelity=str(fidelity),
        repeat=repeat,
        status=status,
        reason=reason,
        parameters=architecture.parameters,
        macs=architecture.macs,
        train_seconds=seconds,
        cost_seconds=seconds,
    )


def scored(
    candidate: Candidate, fidelity: Fidelity, repeat: int, device: Any, score: Callable[[], dict[str, Any]]
) -> Evaluation:
    """Return the evaluation of a candidate that is scored without training it; what the scoring raises is typed.

    Args:
        candidate: What was asked about.
        fidelity: The same.
        repeat: The same.
        device: The `torch.device` it happens on.
        score: Returns the fields of `Evaluation` that it finds out.
    """
    import torch

    from nas_gym.evaluation.failures import failure_of
    from nas_gym.evaluation.process import device_name

    architecture = trained_architecture(candidate)
    outcome: dict[str, Any]
    started = time.perf_counter()
    try:
        outcome = score()
    except Exception as error:
        outcome = dict(zip(("status", "reason"), failure_of(error, device.type), strict=True))
    return Evaluation(
        key=candidate.key,
        fidelity=str(fidelity),
        repeat=repeat,
        parameters=architecture.parameters,
        macs=architecture.macs,
        cost_seconds=time.perf_counter() - started,
        device=device_name(device),
        versions=f"torch {torch.__version__}",
        **outcome,
    )


def sentence(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__


def tell(answer: Future[Evaluation], outcome: Evaluation | BaseException) -> None:
    """Resolve a future that somebody waits for, unless it was cancelled."""
    if not answer.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Evaluation):
        answer.set_result(outcome)
    else:
        answer.set_exception(outcome)
