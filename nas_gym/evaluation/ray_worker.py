"""What happens inside a worker process of Ray: one evaluator, made once, asked one candidate at a time."""

import io
from dataclasses import dataclass
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Evaluator, Fidelity
from nas_gym.evaluation.outcome import sentence

_MADE: dict[str, Evaluator] = {}  # of this process: the evaluator, by the number of the RayEvaluator it belongs to


@dataclass(frozen=True)
class Question:
    """What a task is asked, beside the factory.

    Attributes:
        candidate: To be evaluated.
        fidelity: As for `Evaluator.submit`.
        repeat: The same.
        weights: Whether the trained weights are wanted too.
    """

    candidate: Candidate
    fidelity: Fidelity
    repeat: int
    weights: bool


Told = Evaluation | ConfigurationError | str


def answer(number: str, factory: list[Any], cuda: bool, question: Question) -> tuple[Told, bytes | None]:
    """Return the evaluator's answer, and the trained weights as `torch.save` writes them where they are wanted.

    Nothing is raised: a caller's mistake is returned as such, what the evaluator raised as its sentence.

    Args:
        number: Names the `RayEvaluator`; the worker makes one evaluator for each, and keeps the latest.
        factory: Holds the reference of a factory in Ray's object store (in a list, so that Ray hands on the reference).
        cuda: Whether the task has a GPU, which in its process is the first one.
        question: What is asked.
    """
    try:
        evaluator = _evaluator(number, factory, cuda)
    except Exception as error:
        return ConfigurationError(f"a Ray worker can't make the evaluator ({sentence(error)})"), None
    kept: list[Any] = []
    if hasattr(evaluator, "keep"):
        wanted = question.weights and question.fidelity == FULL and question.repeat == 0
        evaluator.keep = (lambda candidate, evaluation, module: kept.append(module)) if wanted else None
    try:
        (future,) = evaluator.submit([question.candidate], fidelity=question.fidelity, repeat=question.repeat)
        evaluation = future.result()
        return evaluation, _saved(kept[-1]) if kept else None
    except ConfigurationError as error:
        return error, None
    except Exception as error:
        return sentence(error), None


def _evaluator(number: str, factory: list[Any], cuda: bool) -> Evaluator:
    if number not in _MADE:
        import ray

        made: Evaluator = ray.get(factory[0])()
        if cuda and hasattr(made, "device"):  # CUDA only: the driver may call it by another number
            import torch

            made.device = torch.device("cuda:0")
        _MADE.clear()  # of one data set at a time
        _MADE[number] = made
    return _MADE[number]


def _saved(module: Any) -> bytes:
    import torch

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def loaded(candidate: Candidate, weights: bytes) -> Any:
    """Return the trained torch module of a candidate, on the CPU and in evaluation mode, from what `answer` saved."""
    import torch

    from nas_gym.builder import build

    with torch.device("meta"):  # takes no memory twice, and draws nothing from the global generator
        module = build(candidate.trained)
    state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    module.load_state_dict(state, assign=True)
    return module.eval()
