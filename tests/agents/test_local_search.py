"""Local search: the neighbours there are, the first that is better, and nothing evaluated twice."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from searching import Cells, chain_env, chain_space, searched

from nas_gym.randomness import derived_seed
from nas_gym_agents.agent import Played, play
from nas_gym_agents.changes import Inheriting, changed, changes, mutated
from nas_gym_agents.local_search import LocalSearch
from nas_gym_agents.memory import Memory


def hashed(chosen: tuple[int, ...]) -> float:
    return derived_seed(*chosen) / 2**63


def played(env: Any, seed: int = 0) -> Played:
    return play(env, Inheriting(np.random.default_rng(seed).random))


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


# Neighbours


def test_the_24_neighbours_of_a_cell_are_all_that_differ_in_one_decision() -> None:
    env = Cells(100)
    centre = played(env)
    neighbours = [play(env, changed(centre, one, lambda: 0.0)).actions for one in changes(centre)]
    everything = itertools.product(range(5), repeat=6)
    assert sorted(neighbours) == [one for one in everything if distance(one, centre.actions) == 1]
    assert len(neighbours) == 24


@pytest.mark.parametrize("seed", range(6))
def test_the_changes_of_a_chain_are_all_that_keep_it_legal_up_to_there(seed: int) -> None:
    space = chain_space(hyperparameters=("learning_rate",))
    env = chain_env(1000, space)
    centre = played(env, seed)
    expected = [
        (place, int(action))
        for place, own in enumerate(centre.actions)
        for action in np.flatnonzero(space.legal(centre.actions[:place]))
        if action != own
    ]
    assert changes(centre) == expected
    for place, action in expected[::7]:
        neighbour = play(env, changed(centre, (place, action), np.random.default_rng(1).random))
        assert neighbour.actions[: place + 1] == (*centre.actions[:place], action)
        inherited = dict(zip(centre.slots, centre.actions, strict=True))
        for position in range(place + 1, len(neighbour.actions)):
            slot, prefix = neighbour.slots[position], neighbour.actions[:position]
            kept = inherited.get(slot)
            if kept is not None and space.legal(prefix)[kept]:
                assert neighbour.actions[position] == kept


def test_a_mutation_changes_one_decision_to_any_other_value() -> None:
    env, draw = Cells(10_000), np.random.default_rng(0).random
    centre = played(env)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(2400):
        child = play(env, mutated(centre, draw)).actions
        assert distance(child, centre.actions) == 1
        counts[child] = counts.get(child, 0) + 1
    assert len(counts) == 24
    assert min(counts.values()) > 60 and max(counts.values()) < 140


# The search


def climbs(history: list[tuple[tuple[int, ...], float]], ends: list[int]) -> Iterator[Any]:
    yield from (history[start:end] for start, end in zip([0, *ends], ends, strict=False))


def test_equals_the_plain_local_search_of_the_notes() -> None:
    """Replayed against the rule: every evaluation is a neighbour of the best of its climb, or starts a climb."""
    _, notes = searched(LocalSearch(), Cells(400, rewards=hashed))
    assert len(set(notes.sequences)) == 400
    known: dict[tuple[int, ...], float] = {}
    assert len(notes.ends) > 5
    for climb in climbs(notes.history, notes.ends):
        (current, reward), *others = climb
        known[current] = reward
        for actions, found in others:
            # Remembered rewards may have moved the climb on without an evaluation.
            while distance(actions, current) != 1:
                current, reward = max(
                    ((one, known[one]) for one in known if distance(one, current) == 1 and known[one] > reward),
                    key=lambda pair: -distance(pair[0], actions),
                )
            known[actions] = found
            if found > reward:
                current, reward = actions, found
    tops = [max(climb, key=lambda episode: episode[1]) for climb in climbs(notes.history, notes.ends)]
    for top, reward in tops[:3]:
        near = [one for one in itertools.product(range(5), repeat=6) if distance(one, top) == 1]
        assert all(hashed(one) < reward or one in known for one in near)


def test_an_additive_task_is_climbed_to_its_optimum() -> None:
    for seed in range(5):
        env = Cells(100, seed)
        result, _ = searched(LocalSearch(), env, seed)
        assert result.reward == pytest.approx(env.best)


def test_equal_rewards_are_no_reason_to_move() -> None:
    """On a plain, a climb is its start and its 24 neighbours."""
    _, notes = searched(LocalSearch(), Cells(120, rewards=lambda chosen: 0.5))
    first = notes.sequences[: notes.ends[0]]
    assert len(first) == 25
    assert all(distance(one, first[0]) == 1 for one in first[1:])


def test_neighbours_come_in_random_order() -> None:
    starts = {tuple(searched(LocalSearch(), Cells(3), seed)[1].sequences[1]) for seed in range(10)}
    assert len(starts) == 10


def test_a_space_that_is_known_ends_the_search_and_nothing_comes_twice() -> None:
    env = Cells(10_000, slots=3, choices=4, rewards=hashed)
    _, notes = searched(LocalSearch(), env)
    assert sorted(notes.sequences) == list(itertools.product(range(4), repeat=3))
    assert env.left == 10_000 - 64
    space = chain_space(max_layers=2, activations=("relu", "tanh"))
    _, notes = searched(LocalSearch(), chain_env(100_000, space))
    assert len(notes.sequences) == len(set(notes.sequences)) > 300
    assert set(notes.sequences) == set(complete(space, ()))


def complete(space: Any, prefix: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    if space.next_slot(prefix) is None:
        yield prefix
        return
    for action in np.flatnonzero(space.legal(prefix)):
        yield from complete(space, (*prefix, int(action)))


# Memory


def test_memory_foresees_what_was_played_and_nothing_else() -> None:
    memory, env = Memory(), chain_env(200)
    draw = np.random.default_rng(0).random
    episodes = [play(env, Inheriting(draw)) for _ in range(30)]
    for episode in episodes:
        memory.add(episode)
        memory.add(episode)  # twice is once
    for episode in episodes:
        way = dict(zip(episode.slots, episode.actions, strict=True))
        known, _ = memory.foreseen(Inheriting(draw, way))
        assert known is not None and known.actions == episode.actions and known.reward == episode.reward
    seen = {episode.actions for episode in episodes}
    for _ in range(30):
        known, choose = memory.foreseen(Inheriting(draw))
        episode = play(env, choose)
        assert (known is not None) == (episode.actions in seen)
        fresh = play(env, memory.new(draw))
        assert fresh.actions not in seen
    assert not memory.complete
