"""Reading the winner of a run: what was trained for long, or, before that, the best network of the search."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from nas_gym.architecture import Candidate
from nas_gym.errors import NasGymError, RunError
from nas_gym.run import Run
from nas_gym.run_directory import WEIGHTS
from nas_gym.weights import BestWeights, read_module

if TYPE_CHECKING:
    from torch import nn

WINNER = "winner"  # folder of a run
WINNER_FILE = "winner.json"
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Winner:
    """The network that a run ends with, and all that is needed to use it.

    Attributes:
        candidate: What the weights are of: its architecture is the one that was trained (scaled up, where it was).
        class_names: One per output, in order.
        input_shape: Of one sample, (channels, height, width).
        mean: Per channel, of pixels scaled to 0..1: what inputs are normalised by, ``(x - mean) / std``.
        std: Likewise.
        metrics: What is known of it, JSON-ready. Always ``validation_accuracy`` and ``validation_standard_error`` (of
            the network as it was searched) and ``test_accuracy`` (None: not measured); after `nas-gym retrain` also
            ``test_standard_error``, ``macro_f1``, ``calibration_error``, ``test_images`` and more.
        retrained: Whether it was trained for long (`nas-gym retrain`); else these are the weights of the search.
        weights: One file per seed, readable by `nas_gym.weights.read_module`.
        content: What ``winner.json`` holds; empty before retraining.
    """

    candidate: Candidate
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    metrics: Mapping[str, Any]
    retrained: bool
    weights: tuple[Path, ...]
    content: Mapping[str, Any] = field(default_factory=dict)

    def module(self, place: int = 0) -> "nn.Module":
        """Return the trained module, on the CPU, in evaluation mode; it takes normalised inputs, ``(n, *input_shape)``.

        Args:
            place: Of several seeds, which; the first one by default, for no other reason than that it is the first.

        Raises:
            RunError: There are not that many, or the file is damaged.
        """
        if not 0 <= place < len(self.weights):
            raise RunError(f"the winner was trained with {len(self.weights)} seeds, number {place + 1} was asked for")
        file = self.weights[place]
        try:
            module: nn.Module = read_module(file)
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(
                f"the weights in {str(file)!r} can't be read ({reason}); run nas-gym retrain again"
            ) from None
        return module


def load_winner(run_path: str | os.PathLike[str]) -> Winner:
    """Return the winner of a run: retrained if it was, else the best network with the weights of the search.

    Raises:
        RunError: The directory is no run or holds no trained network, ``winner.json`` is damaged, or (before
            retraining) the data of the search can't be had any more.
    """
    path = Path(run_path)
    run = Run(path)
    if (path / WINNER / WINNER_FILE).exists():
        return _retrained(path / WINNER)
    return _of_the_search(run)


def read_winner_file(folder: Path) -> dict[str, Any]:
    """Return the content of a ``winner.json``.

    Raises:
        RunError: It is damaged or of another schema.
    """
    file = folder / WINNER_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error!r}); run nas-gym retrain again") from None


def _retrained(folder: Path) -> Winner:
    content = read_winner_file(folder)
    try:
        return Winner(
            candidate=Candidate.from_json(content["candidate"]),
            class_names=tuple(map(str, content["class_names"])),
            input_shape=tuple(map(int, content["input_shape"])),
            mean=tuple(map(float, content["mean"])),
            std=tuple(map(float, content["std"])),
            metrics=dict(content["metrics"]),
            retrained=True,
            weights=tuple(folder / name for name in content["weights"]),
            content=content,
        )
    except (KeyError, TypeError, ValueError, NasGymError) as error:
        raise RunError(f"{str(folder / WINNER_FILE)!r} is damaged ({error!r}); run nas-gym retrain again") from None


def _of_the_search(run: Run) -> Winner:
    from nas_gym.winner.searched import searched

    best = run.best(1)
    if not best:
        raise RunError(f"{str(run.path)!r} holds no evaluated network; search first")
    candidate = best[0].candidate
    file = BestWeights(run.path / WEIGHTS).find(candidate.key)
    if file is None:
        run.module()  # says why there are none
        raise RunError(f"the weights of the best network of {str(run.path)!r} are gone; run nas-gym retrain")
    data = searched(run).trainer.dataset
    named = (run.result or {}).get("best") or {}
    tested = named.get("test_accuracy") if named.get("key") == candidate.key else None
    return Winner(
        candidate=candidate,
        class_names=data.class_names,
        input_shape=data.input_shape,
        mean=data.mean,
        std=data.std,
        metrics={
            "validation_accuracy": best[0].accuracy,
            "validation_standard_error": best[0].standard_error,
            "test_accuracy": tested,
        },
        retrained=False,
        weights=(file,),
    )
