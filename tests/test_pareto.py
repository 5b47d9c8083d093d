"""The Pareto front against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_gym.errors import ConfigurationError
from nas_gym.pareto import front

NUMBERS = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0])  # few, so that many are equal


def by_definition(points: list[list[float]]) -> list[bool]:
    def beats(one: list[float], other: list[float]) -> bool:
        return all(a >= b for a, b in zip(one, other, strict=True)) and one != other

    return [not any(beats(other, point) for other in points) for point in points]


@given(st.integers(1, 4).flatmap(lambda k: st.lists(st.lists(NUMBERS, min_size=k, max_size=k), max_size=12)))
def test_the_front_is_what_nothing_beats(points: list[list[float]]) -> None:
    found = front(np.array(points, dtype=float).reshape(len(points), len(points[0]) if points else 2))
    assert found.dtype == np.bool_ and found.tolist() == by_definition(points)


def test_the_front_of_many_points() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    assert front(points).tolist() == by_definition(points.tolist())


def test_equal_points_are_on_the_front_together() -> None:
    assert front([[0.5, -1.0], [0.5, -1.0], [0.5, -2.0]]).tolist() == [True, True, False]


@pytest.mark.parametrize("points", [[1.0, 2.0], [[np.nan, 1.0]], [[[1.0]]]])
def test_other_shapes_and_nan_are_refused(points: list[object]) -> None:
    with pytest.raises(ConfigurationError, match="Pareto"):
        front(points)  # type: ignore[arg-type]
