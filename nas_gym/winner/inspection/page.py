"""The page that puts an inspection together."""

from collections.abc import Mapping, Sequence
from typing import Any

from nas_gym import standard_error
from nas_gym.document import Block, Heading, Items, Picture, Rows, Text
from nas_gym.winner.inspection.layers import LayerImportance
from nas_gym.winner.inspection.measured import Measured
from nas_gym.winner.inspection.words import findings
from nas_gym.winner.result import Winner

_CAUTION = (
    "All of it says what this network computes on these images, not why its architecture is good. Test images were "
    "looked at: whoever changes the network because of what is seen here has used them, and needs others for an "
    "unbiased number."
)


def page(winner: Winner, content: Mapping[str, Any], found: Measured) -> list[Block]:
    """Return the page as blocks.

    Args:
        winner: What was inspected.
        content: Of ``inspection.json``.
        found: All parts.
    """
    architecture = winner.candidate.trained
    accuracy = standard_error.shown(found.accuracy, content["test_standard_error"])
    state = "retrained (nas-gym retrain)" if winner.retrained else "with the weights of the search"
    blocks: list[Block] = [
        Heading("What the network has learned", 1),
        Text(
            f"The network {state}: {architecture.parameters:,} parameters, {architecture.macs:,} MACs, accuracy "
            f"{accuracy} on {found.images:,} test images, without mirrored ones. {_CAUTION}"
        ),
        Items(findings(content)),
    ]
    for part in found.parts:
        if not part.pictures and not part.layers:
            continue
        blocks.append(Heading(part.title))
        for name, (_, sentence) in part.pictures.items():
            blocks.append(Picture(name, sentence, alt=sentence.split(". ")[0]))
        if part.layers:
            blocks.append(layer_rows(part.layers))
    return blocks


def layer_rows(layers: Sequence[LayerImportance]) -> Rows:
    """Return a table of what layers are worth, in percentage points."""
    header = ("layer", "points lost", "95 % interval", "mean and deviation kept", "parameters", "MACs", "replaced by")
    rows = [
        (
            f"{number}. {one.name}",
            f"{100 * one.lost_accuracy:.1f}",
            f"{100 * one.low:.1f} to {100 * one.high:.1f}",
            f"{100 * one.matched_lost_accuracy:.1f}",
            f"{one.parameters:,}",
            f"{one.macs:,}",
            one.substitute,
        )
        for number, one in enumerate(layers, start=1)
    ]
    return Rows(header, rows)
