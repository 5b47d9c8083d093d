"""What every layer of a network is worth: the record that `nas-gym inspect` writes and other commands read."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError
from nas_gym.winner.result import load_winner

INSPECTION = "inspection"  # folder of a run
LAYERS_FILE = "layers.json"
SCHEMA = 1


@dataclass(frozen=True)
class LayerImportance:
    """What accuracy is lost when a layer is replaced by something cheaper of the same shape, and nothing trained again.

    Attributes:
        position: Of the operation in ``Winner.candidate.trained.operations``, and of its module among the network's
            ``layers``.
        kind: Of the operation, a name of `nas_gym.operations.KINDS`.
        name: In words, such as ``"conv 3×3 to 32 + batch norm"``.
        lost_accuracy: Accuracy with the layer minus accuracy without it, in [-1, 1], on the same images.
        low: Lower end of its 95 % interval: a paired bootstrap over the images.
        high: Upper end.
        parameters: Of the layer, those of the normalisation that goes with it included.
        macs: Multiply-accumulates of the layer for one sample.
        substitute: What stands in for it, in words.
        matched_lost_accuracy: The same where the substitute is scaled and shifted, channel by channel, to the mean
            and the deviation that the layer's output has on training images: what is lost then is no matter of scale.
        matched_low: Lower end of its interval.
        matched_high: Upper end.
        replaced: Positions of all operations that the substitute stands for: the layer, and a normalisation behind it.
    """

    position: int
    kind: str
    name: str
    lost_accuracy: float
    low: float
    high: float
    parameters: int
    macs: int
    substitute: str
    matched_lost_accuracy: float
    matched_low: float
    matched_high: float
    replaced: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LayerImportance":
        """Return what `to_json` wrote; raises KeyError, TypeError or ValueError where a field is missing or no such."""
        fields = {name: float(data[name]) for name in _NUMBERS} | {name: str(data[name]) for name in _TEXTS}
        whole = {name: int(data[name]) for name in ("position", "parameters", "macs")}
        return cls(**whole, **fields, replaced=tuple(map(int, data["replaced"])))  # type: ignore[arg-type]


_NUMBERS = ("lost_accuracy", "low", "high", "matched_lost_accuracy", "matched_low", "matched_high")
_TEXTS = ("kind", "name", "substitute")


def layers_json(key: str, layers: Sequence[LayerImportance], **facts: Any) -> str:
    """Return the text of a ``layers.json``.

    Args:
        key: Of the network.
        layers: In the order of the network.
        **facts: What else the file says: plain data.
    """
    content = {"schema": SCHEMA, "key": key, **facts, "layers": [layer.to_json() for layer in layers]}
    return json.dumps(content, indent=1, ensure_ascii=False)


def layer_importances(run_path: str | os.PathLike[str]) -> list[LayerImportance]:
    """Return what the layers of a run's winner are worth as `nas-gym inspect` measured it, in the network's order.

    Raises:
        RunError: The run was not inspected, or it has another winner by now, or the file is damaged.
    """
    path = Path(run_path)
    file = path / INSPECTION / LAYERS_FILE
    winner = load_winner(path)
    if not file.exists():
        raise RunError(f"{str(path)!r} was not inspected yet; run nas-gym inspect {path} first")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        layers, key = [LayerImportance.from_json(layer) for layer in content["layers"]], content["key"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error!r}); remove it, then run nas-gym inspect again") from None
    if key != winner.candidate.key:
        raise RunError(f"{str(path)!r} has another winner since it was inspected; run nas-gym inspect {path} again")
    return layers
