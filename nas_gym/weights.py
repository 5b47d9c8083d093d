"""Weights of the best networks of a run, as files."""

import os
from pathlib import Path
from typing import Any

from nas_gym.architecture import Candidate
from nas_gym.errors import RunError
from nas_gym.evaluation.evaluation import Evaluation


def rank(accuracy: float, parameters: int, key: str) -> tuple[float, int, str]:
    """Return the sort key of networks: higher accuracy first, then fewer parameters, then the key."""
    return (-accuracy, parameters, key)


class BestWeights:
    """Keeps the weights of the best networks; an evaluator calls it before an evaluation is committed.

    So a committed evaluation among the best always has its weights; a kill between the two leaves a file that
    the resumed search writes again.

    Args:
        folder: One file per network; made when the first one is kept.
        most: How many networks to keep.
    """

    def __init__(self, folder: Path, most: int = 5) -> None:
        self.folder = folder
        self.most = most

    def __call__(self, candidate: Candidate, evaluation: Evaluation, module: Any) -> None:
        """Keep a trained module if it is among the best, and drop what no longer is.

        Raises:
            RunError: The weights can't be written, which is no failure of the training.
        """
        if evaluation.fidelity != "full" or evaluation.repeat or evaluation.accuracy is None:
            return
        name = _name(evaluation)
        kept = sorted({*(path.name for path in self.folder.glob("*.pt")), name}, key=_rank_of_name)
        try:
            if name in kept[: self.most]:
                self.write(candidate, evaluation, module)
            for dropped in kept[self.most :]:
                (self.folder / dropped).unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:  # what torch raises when the disk is full
            reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
            raise RunError(
                f"the weights of a network can't be written to {str(self.folder)!r} ({reason}); "
                "make room there, then go on with nas-gym resume"
            ) from None

    def find(self, key: str) -> Path | None:
        """Return the file of a network, or None."""
        return next(iter(self.folder.glob(f"*-{key}.pt")), None)

    def write(self, candidate: Candidate, evaluation: Evaluation, module: Any) -> None:
        """Keep a trained module, whether or not it is among the best."""
        self.folder.mkdir(exist_ok=True)
        write_module(self.folder / _name(evaluation), candidate, module, evaluation=evaluation.to_json())


def write_module(path: Path, candidate: Candidate, module: Any, **facts: Any) -> None:
    """Write a trained module into a file, whole or not at all.

    Args:
        path: The file; its folder exists.
        candidate: What the module was built from: ``candidate.trained``.
        module: On any device.
        **facts: What else the file says: plain data.

    Raises:
        OSError: It can't be written.
        RuntimeError: Likewise, as torch says it.
    """
    import torch

    state = {n: tensor.detach().cpu().contiguous() for n, tensor in module.state_dict().items()}
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("wb") as file:
        torch.save({"candidate": candidate.to_json(), **facts, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_module(path: Path) -> Any:
    """Return the trained torch module of a weights file, on the CPU, in evaluation mode."""
    import torch

    from nas_gym.builder import build

    content = torch.load(path, map_location="cpu", weights_only=True)
    module = build(Candidate.from_json(content["candidate"]).trained)
    module.load_state_dict(content["state"])
    return module.eval()


def _name(evaluation: Evaluation) -> str:
    return f"{evaluation.accuracy:.9f}-{evaluation.parameters:012d}-{evaluation.key}.pt"


def _rank_of_name(name: str) -> tuple[float, int, str]:
    accuracy, parameters, key = name.removesuffix(".pt").split("-")
    return rank(float(accuracy), int(parameters), key)
