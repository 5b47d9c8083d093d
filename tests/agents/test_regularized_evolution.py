"""Regularised evolution: who may be a parent, and that the oldest dies however good it is."""

from typing import Any

import pytest
from searching import Cells, chain_env, searched

from nas_gym.errors import ConfigurationError
from nas_gym_agents.regularized_evolution import RegularizedEvolution


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("population", "sample"), [(10, 3), (4, 2), (1, 1)])
def test_every_child_differs_in_one_decision_from_somebody_alive(population: int, sample: int) -> None:
    agent = RegularizedEvolution(population=population, sample=sample)
    result, notes = searched(agent, Cells(150))
    assert notes.ends == list(range(population + 1, 151))
    assert result.updates == 150 - population
    for born in range(population, 150):
        alive = notes.sequences[born - population : born]
        assert 1 in {distance(one, notes.sequences[born]) for one in alive}


def test_the_oldest_dies_however_good() -> None:
    """The first episode is the best by far, and samples hold everybody: its line ends with it."""
    rewards = iter([100.0, *range(200)])
    agent = RegularizedEvolution(population=5, sample=100)
    _, notes = searched(agent, Cells(40, rewards=lambda chosen: float(next(rewards))))
    first = notes.sequences[0]
    assert distance(notes.sequences[5], first) == 1  # its only child: the one born while it lived
    for born in range(6, 40):  # then rewards rise with age, so that the youngest is the parent
        assert distance(notes.sequences[born], notes.sequences[born - 1]) == 1


def test_the_parent_is_the_best_of_the_sample() -> None:
    rewards = iter(range(200, 0, -1))
    agent = RegularizedEvolution(population=5, sample=100)
    _, notes = searched(agent, Cells(60, rewards=lambda chosen: float(next(rewards))))
    for born in range(5, 60):  # rewards fall with time: the oldest alive is the best
        assert distance(notes.sequences[born], notes.sequences[born - 5]) == 1


def test_repeats_are_evaluated_again() -> None:
    _, notes = searched(RegularizedEvolution(), Cells(100, choices=2, slots=3))
    assert len(notes.history) == 100 and len(set(notes.sequences)) == 8


def test_children_of_chains_are_repaired() -> None:
    _, notes = searched(RegularizedEvolution(population=3), chain_env(100))
    assert all(one.legal[one.action] for one in notes.taken)


@pytest.mark.parametrize(("name", "value"), [("population", 0), ("population", 2.5), ("sample", 0), ("sample", True)])
def test_invalid_settings_get_one_sentence(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is a whole number, at least 1, got {value}"):
        RegularizedEvolution(**{name: value})
