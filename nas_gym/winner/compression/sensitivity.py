"""How much of every group of layers is pruned: less of those that matter more."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_gym.builder import Network
from nas_gym.errors import RunError
from nas_gym.winner.compression.pruning import Group, pruned

INSPECTED = Path("inspection") / "layers.json"  # what `nas-gym inspect` writes
PROBE = 0.5  # share of a group's channels that is taken out to see what it matters
SPREAD = 0.25  # the least important group is pruned by so much more of the ratio, the most important by so much less


@dataclass(frozen=True)
class Advice:
    """What the groups of a network matter.

    Attributes:
        groups: Those that can be pruned, in the order of the network.
        lost: What goes wrong without each of them: accuracy lost, in [-1, 1].
        source: Where that comes from, in words.
    """

    groups: tuple[Group, ...]
    lost: tuple[float, ...]
    source: str

    def ratios(self, ratio: float) -> dict[Group, float]:
        """Return the ratio of every group: ``ratio × (1 + SPREAD × (1 − 2 rank))``, at most 0.95.

        The rank of the least important group is 0, that of the most important one 1, others lie between them in even
        steps; equal ones share a rank. Ranks, as what one layer alone loses does not add up over layers.
        """
        most = max(1, len(self.lost) - 1)
        below = [sum(other < mine for other in self.lost) for mine in self.lost]
        same = [sum(other == mine for other in self.lost) - 1 for mine in self.lost]
        ranks = [(b + s / 2) / most if len(self.lost) > 1 else 0.5 for b, s in zip(below, same, strict=True)]
        return {
            group: min(0.95, ratio * (1 + SPREAD * (1 - 2 * rank)))
            for group, rank in zip(self.groups, ranks, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return {"source": self.source, "groups": [asdict(group) for group in self.groups], "lost": list(self.lost)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Advice":
        """Return what `to_json` wrote."""
        found = tuple(Group(tuple(map(int, one["layers"])), int(one["channels"])) for one in data["groups"])
        return cls(found, tuple(map(float, data["lost"])), str(data["source"]))


def inspected(run: Path, key: str, groups: Sequence[Group]) -> Advice | None:
    """Return the advice of ``inspection/layers.json``; None where there is none, or of another network.

    A group matters as much as the one of its layers that matters most.

    Args:
        run: The run directory.
        key: Of the network.
        groups: Of it.

    Raises:
        RunError: The file is damaged.
    """
    file = run / INSPECTED
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        lost = {int(layer["position"]): _lost(layer) for layer in content["layers"]}
        if content["key"] != key or content.get("split", "validation") != "validation":  # test images have no say
            return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error!r}); remove it, or run nas-gym inspect again") from None
    if not all(any(layer in lost for layer in group.layers) for group in groups):
        return None
    worth = tuple(max(lost[layer] for layer in group.layers if layer in lost) for group in groups)
    return Advice(tuple(groups), worth, "accuracy lost when a layer is replaced (nas-gym inspect)")


def probed(
    network: Network,
    groups: Sequence[Group],
    accuracy: Callable[[Network], float],
    done: Callable[[int, int], None] | None = None,
) -> Advice:
    """Return what is lost when half of one group alone is pruned and nothing is trained again.

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710, section 3.2.

    Args:
        network: Stays as it is.
        groups: Of it.
        accuracy: Of a network, on images that are no test images.
        done: Told how many groups are measured, and of how many.
    """
    whole, lost = accuracy(network), []
    for group in groups:
        lost.append(whole - accuracy(pruned(network, {group: PROBE})))
        if done is not None:
            done(len(lost), len(groups))
    return Advice(tuple(groups), tuple(lost), f"accuracy lost when {PROBE:.0%} of its channels alone are pruned")


def _lost(layer: Mapping[str, Any]) -> float:
    return float(layer.get("matched_lost_accuracy", layer["lost_accuracy"]))
