"""Pictures and tables: right, readable, and without traces in matplotlib's global state."""

import random
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

import nas_gym
from nas_gym.architecture import Architecture, Operation
from nas_gym.drawing import architecture_table, decision_figure, decision_picture, decision_table
from nas_gym.evaluation import Evaluation
from nas_gym.spaces import ChainSpace, Limits, Prefix, SearchSpace, Slot

DIGITS = ChainSpace((1, 8, 8), 10, limits=Limits(resolution=2))
LONGEST = ChainSpace((3, 32, 32), 10, hyperparameters=("learning_rate", "batch_size", "weight_decay"))
GOOD = Evaluation(key="k", accuracy=0.9722, parameters=123_456, macs=3_456_789)
BAD = Evaluation(key="k", status="diverged", reason="the loss became NaN in epoch 2 of 8, " * 4)
# relu, residual 64, max pool, 3×3 convolution 32, flat layers, then stop
SHORT: Prefix = (0, 12, 14, 1, 19, 17, 21)


class Odd:
    """A foreign space with no outline, no shapes, and names that nobody should use."""

    name = "odd"
    slots = (
        Slot("a slot name longer than any box " * 3, ("$\\frac$ " + "m" * 60 + " W" * 40, "b")),
        Slot("edge 1", ("none", "conv_3x3")),
        Slot("edge 2", ("0.5", "1e-05")),
        *(Slot(f"edge {i}", ("", "x")) for i in range(3, 16)),
    )

    def next_slot(self, prefix: Prefix) -> int | None:
        return len(prefix) if len(prefix) < len(self.slots) else None

    def legal(self, prefix: Prefix) -> NDArray[np.bool_]:
        return np.full(2, self.next_slot(prefix) is not None)

    def candidate(self, prefix: Prefix) -> Any:
        raise NotImplementedError


def walk(space: SearchSpace, generator: random.Random) -> Prefix:
    prefix: Prefix = ()
    while space.next_slot(prefix) is not None:
        prefix = (*prefix, generator.choice(np.flatnonzero(space.legal(prefix)).tolist()))
    return prefix


@pytest.mark.parametrize("env_id", nas_gym.IDS)
def test_pictures_of_one_space_have_one_size(env_id: str, cheaply: Callable[[str], dict[str, Any]]) -> None:
    env = gym.make(env_id, **cheaply(env_id), render_mode="rgb_array")
    _, info = env.reset()
    pictures = [env.render()]
    for _ in range(3):
        info = env.step(np.flatnonzero(info["action_mask"])[-1])[4]
        pictures.append(env.render())
    rows = 1 if len(env.unwrapped.space.slots) <= 6 else 2
    assert {picture.shape for picture in pictures} == {(296 + 204 * (rows - 1), 1000, 3)}
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    assert all((one != other).any() for one, other in pairwise(pictures))
    assert all(picture.flags.owndata and picture.flags.c_contiguous for picture in pictures)
    assert all((picture == 255).mean() > 0.5 for picture in pictures), "a light background"


def test_equal_states_have_equal_pictures() -> None:
    assert (decision_picture(DIGITS, SHORT, GOOD) == decision_picture(DIGITS, SHORT, GOOD)).all()
    assert (decision_picture(DIGITS, SHORT, GOOD) != decision_picture(DIGITS, SHORT, BAD)).any()
    assert not np.shares_memory(decision_picture(DIGITS, ()), decision_picture(DIGITS, ()))


@pytest.mark.parametrize("space", [DIGITS, LONGEST, Odd()], ids=["digits", "longest", "odd"])
def test_no_text_overlaps_another_or_leaves_the_picture(space: Any) -> None:
    generator = random.Random(1)
    states = [prefix[: generator.randint(0, len(prefix))] for prefix in (walk(space, generator) for _ in range(4))]
    for prefix, evaluation in [*((state, None) for state in states), (walk(space, generator), GOOD), (states[0], BAD)]:
        canvas: Any = FigureCanvasAgg(decision_figure(space, prefix, evaluation))
        renderer = canvas.get_renderer()
        width, height = canvas.get_width_height()
        texts = [text for text in canvas.figure.axes[0].texts if text.get_text()]
        assert len(texts) >= len(space.slots)
        boxes = [text.get_window_extent(renderer) for text in texts]
        for text, box in zip(texts, boxes, strict=True):
            assert box.x0 >= 0 <= box.y0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text
        for (one, first), (other, second) in combinations(zip(texts, boxes, strict=True), 2):
            apart = first.x1 <= second.x0 or second.x1 <= first.x0 or first.y1 <= second.y0 or second.y1 <= first.y0
            assert apart, (one, other)


def test_every_decision_is_in_the_figure() -> None:
    texts = [text.get_text().replace("\n", " ") for text in decision_figure(DIGITS, SHORT, GOOD).axes[0].texts]
    for shown in ("relu", "residual 64", "max pool 2", "stop", "64×4×4", "128", "validation accuracy 0.9722"):
        assert shown in texts
    assert {slot.name for slot in DIGITS.slots} <= set(texts)
    assert "Complete network" in texts
    assert "input 1×8×8 · 7 decisions" in texts
    assert "?" not in texts
    growing = [text.get_text() for text in decision_figure(DIGITS, SHORT[:3]).axes[0].texts]
    assert "input 1×8×8 · 3 decisions · next: layer 3" in growing
    assert growing.count("?") == 1


def test_names_are_never_taken_for_formulas() -> None:
    texts = [text.get_text() for text in decision_figure(Odd(), (0,)).axes[0].texts]
    assert any(text.startswith("$\\frac$") for text in texts)
    assert decision_picture(Odd(), (0,)).shape[1] == 1000


def test_table_of_a_growing_network() -> None:
    lines = decision_table(DIGITS, SHORT[:3]).splitlines()
    assert lines[0].split() == ["slot", "choice", "network", "after", "it"]
    assert lines[2].split() == ["activation", "relu"]
    assert lines[3] == "layer 1     residual 64  64×8×8 · 37,888 parameters"
    assert lines[4].startswith("layer 2     max pool 2   64×4×4")
    assert (
        lines[5] == f"next: layer 3 ({int(DIGITS.legal(SHORT[:3]).sum())} choices are legal), then layer 4 to layer 8"
    )
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("prefix", "ending"),
    [((0,) * 6, ", then layer 7 to layer 8"), ((0,) * 7, ", then layer 8"), ((0,) * 9, "are legal)")],
)
def test_table_summarises_what_is_open(prefix: Prefix, ending: str) -> None:
    space = ChainSpace((1, 8, 8), 10, hyperparameters=() if len(prefix) < 9 else ("batch_size",))
    assert decision_table(space, prefix).splitlines()[-1].endswith(ending)


def test_table_of_a_result() -> None:
    lines = decision_table(DIGITS, SHORT, GOOD).splitlines()
    assert lines[-2] == "complete: nothing is left to decide"
    assert lines[-1] == "result: validation accuracy 0.9722, 123,456 parameters, 3,456,789 MACs"
    assert decision_table(DIGITS, SHORT, BAD).splitlines()[-1].startswith("result: diverged (the loss became NaN")


def test_table_of_a_foreign_space() -> None:
    table = decision_table(Odd(), (0, 1))
    assert "conv_3x3" in table
    assert table.endswith("next: edge 2 (2 choices are legal), then edge 3 to edge 15")


def test_architecture_table_adds_up() -> None:
    generator = random.Random(2)
    for _ in range(20):
        architecture = LONGEST.candidate(walk(LONGEST, generator)).architecture
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in architecture_table(architecture).split("\n")
        ]
        body = rows[2:-1]
        assert {len(row) for row in rows} == {6}
        assert [row[0] for row in body] == [str(position) for position in range(len(architecture.operations))]
        for column, total in ((4, architecture.parameters), (5, architecture.macs)):
            assert sum(int(row[column].replace(",", "")) for row in body) == total
            assert rows[-1][column] == f"**{total:,}**"
        assert [row[3] for row in body] == ["×".join(map(str, shape)) for shape in architecture.shapes]


def test_architecture_table_names_the_inputs() -> None:
    operations = (Operation("relu"), Operation("tanh"), Operation("add", (), (0, 1, -1)))
    rows = architecture_table(Architecture((3, 2, 2), operations)).splitlines()
    assert rows[2] == "| 0 | relu | input | 3×2×2 | 0 | 0 |"
    assert rows[4] == "| 2 | add | 0, 1, input | 3×2×2 | 0 | 0 |"


def test_drawing_needs_no_pyplot_and_leaves_no_trace() -> None:
    script = """
import sys, matplotlib
before = matplotlib.rcParams.copy()  # looking at one of them by name could import pyplot
from nas_gym.drawing import decision_picture
from nas_gym.spaces import ChainSpace
decision_picture(ChainSpace((1, 8, 8), 10), (0, 1, 21))
assert "matplotlib.pyplot" not in sys.modules
assert "torch" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
