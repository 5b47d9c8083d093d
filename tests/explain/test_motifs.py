"""Motifs: planted ones are found, noise is not, and the numbers are scipy's."""

from dataclasses import replace

import numpy as np
import pytest
from archives import drawn, made
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, fisher_exact

from nas_gym.explain.archive import Archive
from nas_gym.explain.motifs import END, Motifs, fisher, motifs, top_of
from nas_gym.spaces import Slot

LAYERS = ("conv", "pool", "dense", "stop")


def chains(n, seed, length=4):
    """Random chains: a layer or stop per slot, undecided after stop, and rewards that are noise."""
    decisions = drawn(n, [4] * length, seed)
    for row in decisions:
        (stops,) = np.nonzero(row == 3)
        if len(stops):
            row[stops[0] + 1 :] = -1
    slots = tuple(Slot(f"layer {i + 1}", LAYERS) for i in range(length))
    rewards = np.random.default_rng(seed + 1).random(n)
    return Archive(slots, decisions, rewards, tuple(map(str, range(n))), np.arange(n))


def layers_of(archive, network):
    names = [archive.choice(slot, int(action)) for slot, action in enumerate(archive.decisions[network])]
    return [name for name in names if name not in ("stop", "not decided")]


def test_a_planted_row_of_layers_is_found_at_any_place():
    archive = chains(300, 0)
    planted = ["conv → dense" in " → ".join(layers_of(archive, i)) for i in range(300)]
    found = motifs(replace(archive, rewards=archive.rewards + np.array(planted)))
    first = found.motifs[0]
    assert (first.words, first.kind) == ("conv → dense", "in a row")
    assert first.found and first.odds > 10 and first.in_top == found.top


def test_every_motif_is_counted_as_brute_force_counts_it():
    archive = chains(120, 3)
    top = top_of(archive)
    found = motifs(archive)
    assert found.top == top.sum() and found.rest == (~top).sum()
    assert found.threshold == archive.rewards[top].min() > archive.rewards[~top].max()
    for motif in found.motifs:
        members = np.array([_has(archive, i, motif) for i in range(len(archive))])
        assert (motif.in_top, motif.in_rest) == (members[top].sum(), members[~top].sum())
        table = [[motif.in_top, found.top - motif.in_top], [motif.in_rest, found.rest - motif.in_rest]]
        assert motif.p == pytest.approx(fisher_exact(table)[1])
        assert 3 <= members.sum() <= len(archive) - 3


def _has(archive, network, motif):
    layers = [*layers_of(archive, network), END]
    if motif.kind == "in a row":
        wanted = motif.words.split(" → ")
        return any(layers[i : i + len(wanted)] == wanted for i in range(len(layers)))
    if motif.kind == "anywhere":
        chosen = [archive.choice(s, int(a)) for s, a in enumerate(archive.decisions[network])]
        return motif.words.removesuffix(" anywhere") in chosen
    slot, choice = motif.words.split(" = ")
    return (
        archive.choice(archive.names.index(slot), int(archive.decisions[network][archive.names.index(slot)])) == choice
    )


def test_q_is_benjamini_hochberg_over_all_that_were_tested():
    found = motifs(chains(60, 4, length=2))
    assert found.tested == len(found.motifs)  # few enough to be all kept
    np.testing.assert_allclose(
        [motif.q for motif in found.motifs], false_discovery_control([motif.p for motif in found.motifs])
    )


@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 30), st.integers(0, 60))
def test_fisher_is_scipys(n_top, n_rest, a, b):
    a, b = min(a, n_top), min(b, n_rest)
    got = fisher(np.array([[a, b], [a, b]]), n_top, n_rest)
    assert got[0] == got[1] == pytest.approx(fisher_exact([[a, b], [n_top - a, n_rest - b]])[1])


def test_noise_gives_hardly_any_findings():
    searches = [motifs(chains(200, seed)) for seed in range(15)]
    assert sum(bool(found.found) for found in searches) <= 3  # 5 % of 15, and what chance adds to that
    assert all(found.tested > 20 for found in searches)


def test_slots_that_are_no_layers_have_no_rows():
    decisions = drawn(100, (3, 3), 0)
    found = motifs(made(decisions, decisions[:, 0] + np.random.default_rng(0).random(100)))
    assert {motif.kind for motif in found.motifs} == {"slot"}
    assert found.motifs[0].words == "s0 = s0c2" and found.motifs[0].found


def test_ties_with_the_last_of_the_top_belong_to_it():
    rewards = np.arange(100.0)
    rewards[85:95] = 90.0
    top = top_of(made(drawn(100, (3, 3), 0), rewards))
    assert np.flatnonzero(top).tolist() == list(range(85, 100))


@pytest.mark.parametrize("fault", ["few", "equal", "none"])
def test_faults_are_told(fault):
    n = {"few": 19, "equal": 50, "none": 0}[fault]
    rewards = np.full(n, 0.5) if fault == "equal" else np.arange(n)
    found = motifs(made(drawn(n, (3, 3), 0), rewards, (3, 3)))
    assert found.motifs == () and found.note


def test_json_round_trip():
    found = motifs(chains(100, 0))
    assert Motifs.from_json(found.to_json()) == found
