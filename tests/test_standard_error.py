"""Standard errors against what drawing again and again gives, and how they are written."""

import numpy as np
import pytest

from nas_gym import standard_error


@pytest.mark.parametrize(("share", "n"), [(0.5, 40), (0.98, 360), (0.1, 100)])
def test_of_a_share_is_the_spread_of_shares_drawn_again(share: float, n: int) -> None:
    drawn = np.random.default_rng(0).binomial(n, share, 200_000) / n
    assert standard_error.of_share(share, n) == pytest.approx(float(drawn.std()), rel=0.02)


def test_of_a_mean_is_the_spread_of_means_drawn_again() -> None:
    drawn = np.random.default_rng(0).normal(0.9, 0.02, (50_000, 4))
    squares = [standard_error.of_mean(list(values)) ** 2 for values in drawn[:5_000]]
    assert float(np.sqrt(np.mean(squares))) == pytest.approx(float(drawn.mean(axis=1).std()), rel=0.03)
    assert standard_error.of_mean([0.5, 0.5]) == 0


def test_accuracies_are_written_with_their_standard_error_where_it_is_known() -> None:
    assert standard_error.shown(0.98612, 0.00617) == "0.9861 ± 0.0062"
    assert standard_error.shown(0.98612) == "0.9861"
    assert standard_error.shown(None) == "none"
