"""Advice: it drops what was planted as bad, fixes what was planted as needed, and says nothing of noise."""

from dataclasses import replace

import numpy as np
import pytest
from archives import drawn, made, planted
from scipy.stats import norm, rankdata, t

from nas_gym.explain.advice import BLOCK, Advice, advise
from nas_gym.explain.motifs import top_of


def bad_choice(decisions):
    return -2.0 * (decisions[:, 0] == 1) + 0.3 * decisions[:, 3]


def test_drops_the_planted_choice_and_nothing_else():
    for seed in range(5):
        advice = advise(planted(200, seed, bad_choice))
        assert ("drop", "s0 = s0c1") in [(item.kind, item.words) for item in advice.items]
        assert {item.slot for item in advice.items} <= {0, 3}


def test_fixes_the_planted_choice():
    advice = advise(planted(200, 0, lambda d: 5.0 * (d[:, 2] == 3) + 0.1 * d[:, 0]))
    assert [(item.kind, item.words) for item in advice.items] == [("fix", "s2 = s2c3")]
    (item,) = advice.items
    assert item.n_top == advice.top and item.low > advice.median


def test_evidence_is_what_it_says():
    archive = planted(120, 1, bad_choice)
    advice = advise(archive)
    item = next(item for item in advice.items if item.words == "s0 = s0c1")
    has = archive.decisions[:, 0] == 1
    rewards = archive.rewards[has]
    interval = t.interval(0.95, len(rewards) - 1, rewards.mean(), rewards.std(ddof=1) / np.sqrt(len(rewards)))
    assert (item.n, item.best, item.n_top) == (has.sum(), rewards.max(), 0)
    assert (item.mean, item.low, item.high) == pytest.approx((rewards.mean(), *interval))
    assert advice.median == np.median(archive.rewards) and advice.top == top_of(archive).sum()
    assert item.p <= 0.05 / advice.tests
    assert item.p == pytest.approx(van_elteren(has, archive.rewards), rel=1e-9)


def van_elteren(has, rewards):
    """The one-sided p that the marked rewards are lower, of the stratified rank sum test; no ties."""
    surplus = variance = 0.0
    for rows in np.array_split(np.arange(len(rewards)), len(rewards) // BLOCK):
        n, m = len(rows), has[rows].sum()
        if 0 < m < n:
            surplus += (rankdata(rewards[rows])[has[rows]].sum() - m * (n + 1) / 2) / (n + 1)
            variance += m * (n - m) / 12 / (n + 1)
    return norm.cdf(surplus / np.sqrt(variance))


@pytest.mark.parametrize("kind", ["normal", "rounded", "of a controller"])
def test_noise_gives_advice_in_at_most_five_per_cent_of_searches(kind):
    advised = 0
    searches = 100
    for seed in range(searches):
        generator = np.random.default_rng(seed)
        decisions = drawn(120, [4] * 6, seed)
        rewards = generator.normal(size=120)
        if kind == "rounded":
            rewards = np.round(rewards)
        elif kind == "of a controller":  # both the choices and the rewards drift, and have nothing else in common
            late = np.linspace(0, 1, 120)
            decisions[generator.random(120) < late, 0] = 3
            rewards += 4 * late
        advised += bool(advise(made(decisions, rewards, [4] * 6)).items)
    assert advised <= 0.05 * searches + 2 * np.sqrt(0.05 * 0.95 * searches)


def test_a_choice_of_the_early_search_is_not_blamed_for_the_early_search():
    late = np.linspace(0, 1, 200)
    decisions = drawn(200, [2, 3], 0)
    decisions[:, 0] = np.random.default_rng(1).random(200) < late  # choice 0 early, choice 1 late
    rewards = 10 * late + np.random.default_rng(2).normal(0, 0.5, 200)
    archive = made(decisions, rewards, [2, 3])
    has = decisions[:, 0] == 0
    assert rewards[has].mean() < np.median(rewards) - 1  # it looks bad
    assert advise(archive).items == ()


def test_a_rare_choice_gets_no_advice():
    archive = planted(200, 0, lambda d: np.zeros(len(d)))
    decisions, rewards = archive.decisions.copy(), archive.rewards.copy()
    decisions[decisions[:, 0] == 1, 0] = 0
    decisions[:140:20, 0] = 1  # seven of them, and all bad
    rewards[:140:20] -= 50
    assert advise(replace(archive, decisions=decisions, rewards=rewards)).items == ()
    decisions[150, 0], rewards[150] = 1, rewards[150] - 50  # an eighth
    (item,) = advise(replace(archive, decisions=decisions, rewards=rewards)).items
    assert (item.kind, item.words, item.n) == ("drop", "s0 = s0c1", 8)


def test_a_choice_of_a_good_network_is_not_dropped():
    archive = planted(200, 0, bad_choice)
    rewards = archive.rewards.copy()
    rewards[np.flatnonzero(archive.decisions[:, 0] == 1)[0]] = 100.0
    advice = advise(replace(archive, rewards=rewards))
    assert "s0 = s0c1" not in [item.words for item in advice.items]


def test_the_reduced_space_follows_the_advice():
    archive = planted(200, 0, lambda d: 5.0 * (d[:, 2] == 3) - 5.0 * (d[:, 0] == 1))
    advice = advise(archive)
    rows = drawn(500, [4] * 6, 9)
    rows[:50, 2] = -1
    fixed = {item.slot: item.action for item in advice.items if item.kind == "fix"}
    dropped = {(item.slot, item.action) for item in advice.items if item.kind == "drop"}
    assert fixed or dropped
    expected = [
        all(row[slot] in (action, -1) for slot, action in fixed.items())
        and not any(row[slot] == action for slot, action in dropped)
        for row in rows.tolist()
    ]
    assert advice.keeps(rows).tolist() == expected
    assert advice.keeps(archive.decisions)[archive.best]


@pytest.mark.parametrize("fault", ["few", "equal", "none", "one slot"])
def test_faults_are_told(fault):
    n = {"few": 29, "equal": 60, "none": 0, "one slot": 60}[fault]
    sizes = (3,) if fault == "one slot" else (3, 3)
    rewards = np.full(n, 0.5) if fault == "equal" else np.random.default_rng(0).random(n)
    advice = advise(made(drawn(n, sizes, 0), rewards, sizes))
    assert advice.items == ()
    assert bool(advice.note) == (fault != "one slot")


def test_json_round_trip():
    advice = advise(planted(150, 0, bad_choice))
    assert advice.items and Advice.from_json(advice.to_json()) == advice
