"""The picture of an architecture has every operation once and every connection."""

import numpy as np
import pytest

from nas_gym.architecture import INPUT, Architecture
from nas_gym.spaces import CellSpace, ChainSpace
from nas_gym.testing import random_walk
from nas_gym.winner.network_picture import architecture_figure, blocks


def drawn(space: ChainSpace | CellSpace, seed: int) -> Architecture:
    return space.candidate(random_walk(space, np.random.default_rng(seed))).trained


ARCHITECTURES = {
    **{f"chain {seed}": drawn(ChainSpace((3, 16, 16), 10), seed) for seed in range(12)},
    **{f"cell {seed}": drawn(CellSpace(), seed) for seed in range(2)},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_operation_and_connection_is_drawn_once(name: str) -> None:
    architecture = ARCHITECTURES[name]
    found = blocks(architecture)
    assert sorted(p for block in found for p in block.positions) == list(range(len(architecture.operations)))
    of = {INPUT: 0, **{p: number for number, block in enumerate(found) for p in block.positions}}
    wanted = {
        (of[source], of[position])
        for position, operation in enumerate(architecture.operations)
        for source in operation.inputs
        if of[source] != of[position]
    }
    assert {(source, number) for number, block in enumerate(found) for source in block.inputs} == wanted
    for block in found:  # within a box, one operation follows the other and nothing else takes what is in between
        for earlier, later in zip(block.positions, block.positions[1:], strict=False):
            assert architecture.operations[later].inputs == (earlier,)
            assert sum(earlier in operation.inputs for operation in architecture.operations) == 1
    assert of[len(architecture.operations) - 1] == len(found) - 1
    size = "×".join(map(str, architecture.output_shape))
    assert found[-1].lines[2].split(" · ")[0] == size
    told = sum(
        int(block.lines[2].split(" · ")[1].split()[0].replace(",", "")) for block in found if "par." in block.lines[2]
    )
    assert told == architecture.parameters


def test_the_figure_says_what_the_blocks_say() -> None:
    architecture = next(a for a in ARCHITECTURES.values() if any(o.kind == "add" for o in a.operations))
    figure = architecture_figure(architecture, "my network")
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[0].startswith("my network · ") and f"{architecture.macs:,} MACs" in texts[0]
    for block in blocks(architecture):
        assert set(block.lines) <= {*texts, ""}
    skips = sum(source != n - 1 for n, block in enumerate(blocks(architecture)) for source in block.inputs)
    arcs = [patch for patch in axes.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arcs) == skips > 0
