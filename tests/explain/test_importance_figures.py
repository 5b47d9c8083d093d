"""Pictures of what mattered: they name slots and choices, show the numbers, and leave no trace in matplotlib."""

import random
from contextlib import contextmanager

import matplotlib
import numpy as np
import pytest
from archives import planted
from matplotlib import pyplot

from nas_gym.explain import importance_figures, search_pictures
from nas_gym.explain.importance import importance
from nas_gym.explain.pictures import png


@pytest.fixture(scope="module")
def found():
    return importance(planted(160, 0, lambda d: 2.0 * (d[:, 0] == 2) - 4.0 * (d[:, 4] == 1) * (d[:, 0] != 2)))


@contextmanager
def untouched():
    """Check that pyplot's figures, matplotlib's settings and the global generators are as before."""
    mine = pyplot.figure()
    try:
        before = dict(matplotlib.rcParams), pyplot.get_fignums(), pyplot.gcf()
        states = random.getstate(), np.random.get_state()[1].tobytes()  # noqa: NPY002
        yield
        assert (dict(matplotlib.rcParams), pyplot.get_fignums(), pyplot.gcf()) == before
        assert (random.getstate(), np.random.get_state()[1].tobytes()) == states  # noqa: NPY002
    finally:
        pyplot.close(mine)


def written(figure):
    texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return " ".join(texts)


def test_all_are_drawn_the_same_twice_and_leave_no_trace(found):
    with untouched():
        first = {name: png(figure) for name, figure in importance_figures.figures(found).items()}
        again = {name: png(figure) for name, figure in importance_figures.figures(found).items()}
    assert set(first) == {"importance", "beeswarm", "dependence", "ablation", "motifs"}
    assert first == again


def test_bars_are_the_numbers_the_most_important_on_top(found):
    figure = importance_figures.importance_figure(found)
    left, middle, right = figure.axes[:3]
    order = found.order[::-1]
    assert [label.get_text() for label in left.get_yticklabels()] == [f"s{slot}" for slot in order]
    widths = [[bar.get_width() for bar in axes.patches] for axes in (left, middle, right)]
    np.testing.assert_allclose(widths[0], 100 * np.array(found.surrogate.main)[order])
    np.testing.assert_allclose(widths[1], np.array(found.permutation)[order, 0])
    np.testing.assert_allclose(widths[2], found.attributions.mean[order])
    shown = figure.axes[3].collections[0].get_array()
    pairs = 100 * np.array(found.surrogate.pairs)
    for (row, column), value in np.ndenumerate(shown):
        assert value is np.ma.masked or value == pytest.approx(pairs[row + 1, column])
    assert shown.count() == 15
    assert "rank correlation" in written(figure)


def test_beeswarm_has_a_dot_per_network_and_slot(found):
    figure = importance_figures.beeswarm_figure(found)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert set(labels) == {f"s{slot}" for slot in range(6)}
    dots = np.concatenate([dots.get_offsets()[:, 0] for dots in figure.axes[0].collections])
    np.testing.assert_allclose(np.sort(dots), np.sort(found.attributions.values.ravel()), atol=1e-9)


def test_dependence_puts_every_network_at_its_choice(found):
    figure = importance_figures.dependence_figure(found)
    slots = np.argsort(-found.attributions.mean, kind="stable")[:4]
    for axes, slot in zip(figure.axes, slots, strict=True):
        assert axes.get_title(loc="left") == f"The choice for s{slot}"
        assert [label.get_text() for label in axes.get_xticklabels()] == [f"s{slot}c{i}" for i in range(4)]
        dots = np.concatenate([group.get_offsets() for group in axes.collections if len(group.get_offsets())])
        expected = sorted(
            zip(found.archive.decisions[:, slot].tolist(), found.attributions.values[:, slot].tolist(), strict=True)
        )
        got = sorted((round(x), y) for x, y in dots.tolist())
        np.testing.assert_allclose(got, expected, atol=1e-9)
    partner = figure.axes[0].get_legend().get_title().get_text()
    assert {partner, f"s{slots[0]}"} == {"s0", "s4"}  # what was planted together


def test_path_goes_from_start_to_end(found):
    figure = search_pictures.ablation_figure(found)
    (axes,) = figure.axes
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert bars[0][0] == pytest.approx(found.path.start_value)
    assert [width for _, width in bars] == pytest.approx([step.gain for step in found.path.steps])
    assert sum(bars[-1]) == pytest.approx(found.path.end_value)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[-1] == "The best network" and len(labels) == len(found.path.steps) + 2
    change = found.path.steps[0].changes[0]
    assert labels[1] == f"{change.slot}: {change.old} → {change.new}"


def test_motifs_show_both_shares(found):
    figure = search_pictures.motifs_figure(found)
    (axes,) = figure.axes
    shown = found.motifs.found
    assert shown
    markers = [line for line in axes.get_lines() if line.get_marker() != "None"]
    for row, motif in enumerate(shown):
        rest, top = (float(line.get_xdata()[0]) for line in markers if line.get_ydata()[0] == row)
        assert (top, rest) == pytest.approx(
            (100 * motif.in_top / found.motifs.top, 100 * motif.in_rest / found.motifs.rest)
        )
    assert f"{len(shown)} of {found.motifs.tested} motifs pass" in written(figure)
    assert [label.get_text().replace("\u00a0", " ") for label in axes.get_yticklabels()] == [m.words for m in shown]


def test_texts_do_not_overlap(found):
    for name, figure in importance_figures.figures(found).items():
        png(figure)
        renderer = figure.canvas.get_renderer()
        for axes in figure.axes:
            for labels in (axes.get_yticklabels(), [axes.title, axes._left_title, *axes.get_yticklabels()]):
                boxes = [text.get_window_extent(renderer) for text in labels if text.get_text().strip()]
                for i, one in enumerate(boxes):
                    assert not any(one.overlaps(other) for other in boxes[:i]), (name, [t.get_text() for t in labels])
