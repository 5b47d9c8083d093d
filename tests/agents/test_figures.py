"""Figures of a search: what they show, and that they leave pyplot and the random generators alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.patches import FancyArrow, Rectangle

from nas_gym.evaluation import HashEvaluator
from nas_gym.explain import pictures
from nas_gym.explain.record import Header, read_decisions, read_header
from nas_gym.spaces import ChainSpace
from nas_gym_agents import figures
from nas_gym_agents.agent import SearchAgent
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from nas_gym_agents.random_search import RandomSearch
from nas_gym_agents.recorder import DecisionRecorder
from nas_gym_envs import ArchitectureEnv, Budget

SPACE = ChainSpace((1, 8, 8), 10, max_layers=3, hyperparameters=("learning_rate",))


def _log(agent: SearchAgent, folder: Path) -> tuple[pd.DataFrame, Header]:
    env = ArchitectureEnv(SPACE, HashEvaluator(), budget=Budget(evaluations=40))
    agent.search(env, seed=0, recorder=DecisionRecorder(folder))
    return read_decisions(folder), read_header(folder)


@pytest.fixture(scope="module")
def explained_log(tmp_path_factory):
    return _log(MaskablePPOSearch(n_steps=32, batch_size=16, learning_rate=0.01), tmp_path_factory.mktemp("log"))


@pytest.fixture(params=["maskable-ppo", "random"])
def log(request, tmp_path):
    if request.param == "random":
        return _log(RandomSearch(), tmp_path / "log")
    return request.getfixturevalue("explained_log")


@contextmanager
def untouched() -> Iterator[None]:
    """pyplot and the global generators are as before."""
    mine = pyplot.figure()
    pyplot.ion()
    before = (pyplot.get_fignums(), matplotlib.get_backend(), dict(matplotlib.rcParams))
    states = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # noqa: NPY002
    try:
        yield
        assert (pyplot.get_fignums(), matplotlib.get_backend(), dict(matplotlib.rcParams)) == before
        assert pyplot.gcf() is mine
        assert pyplot.isinteractive()
        now = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()  # noqa: NPY002
        assert now == states
    finally:
        pyplot.ioff()
        pyplot.close(mine)


def test_shares_are_means_of_free_decisions(log):
    decisions, header = log
    shares = figures.action_shares(decisions, header)
    assert shares.shape == (len(SPACE.slots), header.n_actions)
    for slot, row in enumerate(shares):
        mine = decisions[(decisions["slot"] == slot) & (decisions["n_valid"] > 1)]
        if mine["probabilities"].isna().any():
            expected = mine["action"].value_counts(normalize=True).reindex(range(header.n_actions), fill_value=0.0)
        else:
            expected = pd.DataFrame(mine["probabilities"].to_list()).mean()
        legal = ~np.isnan(row)
        np.testing.assert_allclose(row[legal], expected[legal], atol=1e-3)
        assert np.allclose(expected[~legal], 0.0)
        assert np.nansum(row) == pytest.approx(1.0, abs=5e-3)  # probabilities are logged as float16


def test_heat_map_of_steps_names_every_slot_and_choice(log):
    figure = figures.step_action_heatmap(*log)
    written = {label.get_text() for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    assert written >= {slot.name for slot in SPACE.slots}
    assert written >= {choice for slot in SPACE.slots for choice in slot.choices}
    assert pictures.png(figure).startswith(b"\x89PNG")


def test_heat_map_of_groups_shows_means_per_slot(explained_log):
    decisions, header = explained_log
    figure = figures.group_step_heatmap(decisions, header)
    shown = figure.axes[0].collections[0].get_array()
    free = decisions[(decisions["n_valid"] > 1) & decisions["phi"].notna()]
    phi = pd.DataFrame(free["phi"].to_list(), index=free.index).abs().groupby(free["slot"]).mean()
    for (group, slot), value in np.ndenumerate(shown.filled(np.nan)):
        assert (np.isnan(value) and group >= slot) or value == pytest.approx(phi.loc[slot, group], abs=1e-6)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(header.groups)


def test_waterfalls_lead_from_chance_to_the_policy(explained_log):
    decisions, header = explained_log
    episode = decisions[decisions["episode"] == 7].sort_values("step")
    with untouched():
        drawn = figures.attribution_waterfalls(episode, header)
    free = episode[episode["n_valid"] > 1]
    assert [name for name, _ in drawn] == [header.slots[slot] for slot in free["slot"]]
    for (_, figure), row in zip(drawn, free.to_dict("records"), strict=True):
        axes, start, end = figure.axes
        assert start.get_xticks()[0] == pytest.approx(row["log_uniform"])
        assert end.get_xticks()[0] == pytest.approx(row["logp"], abs=1e-4)
        spans = [np.ptp(p.get_xy()[:, 0]) for p in axes.patches if isinstance(p, FancyArrow)]
        bars = [
            p.get_width() for p in axes.patches if isinstance(p, Rectangle) and p.get_y() < -1 and p.get_alpha() != 0
        ]
        prior = row["phi0"] - row["log_uniform"]
        phi = [value for value, choice in zip(row["phi"], row["observation"], strict=True) if choice]
        assert sorted(spans) == pytest.approx(sorted(map(abs, phi or [prior])), abs=1e-6)
        assert bars == pytest.approx([prior] if phi else [])
        labels = {label.get_text() for label in axes.get_yticklabels()}
        for slot, choice in zip(header.slots, row["observation"], strict=True):
            if choice:
                chosen = header.choices[header.slots.index(slot)][choice - 1]
                assert f"{chosen} = {slot}" in labels
        assert any(figures.PRIOR in label for label in labels)


def test_names_between_dollars_are_drawn_as_they_are(explained_log):
    decisions, header = explained_log
    named = replace(header, choices=tuple(tuple(f"$a_${name}" for name in names) for names in header.choices))
    episode = decisions[decisions["episode"] == 7].sort_values("step")
    drawn = [figure for _, figure in figures.attribution_waterfalls(episode, named.for_figures())]
    heat = figures.step_action_heatmap(episode, named.for_figures())
    assert all(pictures.png(figure) for figure in (*drawn, heat))


def test_arrows_point_where_their_values_go(explained_log):
    decisions, header = explained_log
    row = figures.explained(decisions).iloc[[-1]].copy()
    n = int(np.count_nonzero(row["observation"].iloc[0]))
    values = np.zeros(len(header.groups), np.float32)
    values[:n] = np.array([1.0, 0.001, -0.002, 0.02])[:n]  # far shorter than an arrow head
    row["phi"] = [values]
    (_, figure), *_ = figures.attribution_waterfalls(row, header)
    place = float(row["phi0"].iloc[0])
    arrows = sorted(
        (p for p in figure.axes[0].patches if isinstance(p, FancyArrow)), key=lambda p: p.get_xy()[:, 1].mean()
    )
    for value, arrow in zip(sorted(values[:n], key=abs), arrows, strict=True):
        ends = arrow.get_xy()[:, 0].min(), arrow.get_xy()[:, 0].max()
        assert ends == pytest.approx(sorted((place, place + value)), abs=1e-5)
        place += value


def test_decisions_without_any_preference_can_be_drawn(explained_log):
    decisions, header = explained_log
    rows = figures.explained(decisions).iloc[:3].copy()
    rows["phi0"] = rows["log_uniform"]
    rows["phi"] = [np.zeros(len(header.groups), np.float32)] * len(rows)
    assert len([pictures.png(figure) for _, figure in figures.attribution_waterfalls(rows, header)]) == len(rows)


def test_bar_and_beeswarm_leave_no_trace_and_are_deterministic(explained_log):
    for draw in (figures.attribution_bar, figures.attribution_beeswarm):
        with untouched():
            first, second = (pictures.png(draw(*explained_log)) for _ in range(2))
        assert first == second
        labels = [label.get_text() for label in draw(*explained_log).axes[0].get_yticklabels()]
        assert set(labels) == set(explained_log[1].groups)


def test_best_curve_stands_out():
    curves = {1: (0.1, 0.4), 2: (0.3, 0.9, 0.95), 5: (0.2,)}
    axes = figures.curves_figure(curves, best=2).axes[0]
    (line,) = axes.get_lines()
    assert list(line.get_ydata()) == [0.3, 0.9, 0.95]
    assert axes.get_legend().get_texts()[0].get_text() == "evaluation 2: 0.950"
    assert [len(path) for path in axes.collections[0].get_segments()] == [2, 3, 1]
    assert not figures.curves_figure({}).axes[0].get_lines()
