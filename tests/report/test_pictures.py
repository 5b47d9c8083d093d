"""The pictures of a report: readable wide and narrow, on light and dark pages, true to their numbers."""

import io
import math
import re
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image as Pictures

from nas_gym.architecture import Candidate
from nas_gym.evaluation.evaluation import Evaluation
from nas_gym.history import Episode
from nas_gym.report import canvas
from nas_gym.report.bar_figures import HeatMap, Interval, heat_figure, interval_figure
from nas_gym.report.canvas import AWAY, INK, NARROW, ON_DARK, TOWARDS, WIDE, Drawing, drawn
from nas_gym.report.search_figures import Front, Progress, front_figure, progress_figure, seconds_figure
from nas_gym.report.step_figures import Bar, Scale, Step, certainty_figure, chain_figure, step_figure
from nas_gym.run import Ranked
from nas_gym.spaces import ChainSpace

SLOTS = ("activation", *(f"layer {i}" for i in range(1, 9)))
HOSTILE = "<a & b> $x_1$ | `conv` 3×3"


def step(slot: int, choice: str = "conv 3×3 8", bars: tuple[Bar, ...] = (), policy: float = math.log(0.4)) -> Step:
    earlier = {i: f"choice {i}" for i in range(slot)}
    moved = {i: (-1.0) ** i * 0.2 for i in range(slot)}
    return Step(SLOTS, earlier, slot, choice, math.log(0.2), 5, policy, bars, ("pool", math.log(0.3)), moved)


BARS = (
    Bar("prior preference", 0.9, "prior"),
    Bar("layer 1 = fully connected 128", 0.2, "towards"),
    Bar("layer 2", -0.4, "away"),
)
STEPS = [step(0), step(3, HOSTILE, BARS), step(8, "fully connected 128", BARS)]
SCALE = Scale.of(STEPS)


def ranked(episode: int, accuracy: float, macs: int, error: float | None = 0.01, n: int = 1) -> Ranked:
    space = ChainSpace((1, 8, 8), 10)
    candidate: Candidate = space.candidate((0, 0, 21))
    evaluation = Evaluation(key=candidate.key, accuracy=accuracy, standard_error=error, macs=macs, parameters=10)
    return Ranked((0, 0, 21), candidate, evaluation, episode, (("activation", "relu"),), n)


def history(accuracies: list[float | None]) -> list[Episode]:
    return [
        Episode(i, (0,), (0,), f"k{i}", "ok" if accuracy is not None else "diverged", accuracy or 0.0, accuracy)
        for i, accuracy in enumerate(accuracies)
    ]


ACCURACIES = [0.9, None, 0.92, 0.1, 0.95, 0.94, 0.2, 0.93]
PROGRESS = Progress.of(history(ACCURACIES), ranked(4, 0.94, 100, n=3))
FRONT = Front([ranked(0, 0.9, 100), ranked(1, 0.8, 50), ranked(2, 0.1, 60)], [ranked(1, 0.8, 50), ranked(0, 0.9, 100)])
HEAT = HeatMap(np.array([[0.1, np.nan], [0.5, 1.0]]), ["0", "1"], ["a", HOSTILE], "rows", "columns", "unit", 1.0)
DRAWINGS: dict[str, tuple[Drawing, tuple[str, ...]]] = {
    "step": (lambda width: step_figure(STEPS[1], SCALE, width), ("prior preference", "× 2.46", "instead: pool")),
    "first step": (lambda width: step_figure(STEPS[0], SCALE, width), ("chance: one of 5", "20 %", "40 %")),
    "certainty": (lambda width: certainty_figure(STEPS, width), ("chance", "40 %", "activation = conv 3×3 8")),
    "chain": (lambda width: chain_figure(SLOTS, {0: "relu"}, {0: 1.0}, width), ("activation", "relu")),
    "progress": (lambda width: progress_figure(PROGRESS, width), ("best so far", "evaluations", "winner's mean")),
    "front": (lambda width: front_figure(FRONT, width), ("validation accuracy", "multiply-accumulates of one sample")),
    "seconds": (lambda width: seconds_figure([0.5, 1.0, 3.0], width), ("trainings",)),
    "intervals": (
        lambda width: interval_figure([Interval("a", 1.0, 0.5, 1.5), Interval("b", -2.0)], "points", width),
        ("points", "+1.00", "-2.00"),
    ),
    "heat": (lambda width: heat_figure(HEAT, width), ("unit", "0.50", "rows", "columns")),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_pictures_have_all_forms(name: str) -> None:
    drawing, words = DRAWINGS[name]
    before = dict(matplotlib.rcParams)
    picture = drawn(drawing)
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
    image = picture.image
    assert image.dark is not None and image.narrow is not None and image.narrow_dark is not None
    light = image.light.decode()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", light)
    assert set(words) <= set(texts), "words are words, not outlines"
    assert INK in light
    for dark in (image.dark.decode(), image.narrow_dark.decode()):
        assert not any(colour in dark for colour in set(ON_DARK) - set(ON_DARK.values()))
    for svg, width in ((light, WIDE), (image.narrow.decode(), NARROW)):
        found = re.search(r'<svg[^>]* width="([\d.]+)pt"', svg, re.DOTALL)
        assert found is not None
        assert float(found[1]) == pytest.approx(72 * width, abs=0.5)
    assert drawn(drawing) == picture
    assert Pictures.open(io.BytesIO(picture.png)).size[0] == pytest.approx(120 * WIDE, abs=1)


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", DRAWINGS)
def test_nothing_is_written_beyond_the_edge(name: str, width: float) -> None:
    with canvas._style():
        figure = DRAWINGS[name][0](width)
        figure.canvas.draw()
        box = figure.get_tightbbox()
    assert box.x0 >= -0.02
    assert box.x1 <= width + 0.02
    assert box.y0 >= -0.02
    assert box.y1 <= figure.get_size_inches()[1] + 0.02


def axes_of_bars(figure: Figure) -> Any:
    return figure.axes[1]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_equal_lengths_are_equal_factors_in_all_steps(width: float) -> None:
    lengths = set()
    for one in STEPS:
        axes = axes_of_bars(step_figure(one, SCALE, width))
        low, high = axes.get_xlim()
        lengths.add((round(axes.get_position().width * width / (high - low), 9), round(axes.get_position().x0, 9)))
    assert len(lengths) == 1


def test_bars_begin_where_the_one_before_ends() -> None:
    axes = axes_of_bars(step_figure(STEPS[1], SCALE, WIDE))
    at = math.log(0.2)
    for patch, bar in zip(axes.patches, BARS, strict=True):
        ends = sorted((patch.get_x(), patch.get_x() + patch.get_width()))
        assert ends == pytest.approx(sorted((at, at + bar.nats)))
        at += bar.nats
    colours = [matplotlib.colors.to_hex(patch.get_facecolor()) for patch in axes.patches]
    assert colours[1:] == [TOWARDS, AWAY]


def test_narrow_steps_leave_out_the_lines_of_slots_that_are_not_reached() -> None:
    def slots(one: Step, width: float) -> set[str]:
        texts = {text.get_text() for text in step_figure(one, SCALE, width).axes[0].texts}
        return texts & set(SLOTS)

    assert slots(STEPS[0], WIDE) == set(SLOTS)
    assert slots(STEPS[0], NARROW) == set(SLOTS[:4])
    assert slots(STEPS[2], NARROW) == set(SLOTS)


def test_progress_is_the_largest_so_far() -> None:
    known = [value for value in ACCURACIES if value is not None]
    assert PROGRESS.best_so_far[-1] == max(known)
    assert PROGRESS.best_so_far == [max(v for v in ACCURACIES[: i + 1] if v is not None) for i in range(8)]
    assert PROGRESS.winner == (5, 0.94, 0.01)
    proxies = [Episode(i, (), (), "k", "ok", reward) for i, reward in enumerate([3.0, 7.0, 5.0])]
    assert Progress.of(proxies, ranked(1, 0.5, 1)).best_so_far == [3.0, 7.0, 7.0]
    assert Progress.of(proxies, ranked(1, 0.5, 1)).measure == "reward"


def test_what_a_cropped_picture_leaves_out_is_counted() -> None:
    axes = progress_figure(PROGRESS, WIDE).axes[0]
    low, high = axes.get_ylim()
    hidden = sum(value is not None and value < low for value in ACCURACIES)
    assert hidden
    assert [text.get_text() for text in axes.texts] == [f"{hidden} further below"]
    assert high > max(PROGRESS.best_so_far)
    assert low < np.nanmedian(PROGRESS.values)


def test_losses_are_orange_and_the_untrusted_grey() -> None:
    def colours(**style: bool) -> list[str]:
        rows = [Interval("a", 1.0), Interval("b", -1.0)]
        patches = interval_figure(rows, "points", WIDE, **style).axes[0].patches
        return [matplotlib.colors.to_hex(patch.get_facecolor()) for patch in patches]

    assert colours() == [TOWARDS, AWAY]
    assert colours(loss=True) == [AWAY, TOWARDS]
    assert len(set(colours(pale=True))) == 1
    assert not set(colours(pale=True)) & {TOWARDS, AWAY}
