"""SHAP maps: closed form for a linear network, sums for any; and whether randomised weights change them."""

import numpy as np
import pytest
import torch
from planted import conv, network_of, operation

from nas_gym.winner.inspection.attribution import attribution, rank_correlation
from nas_gym.winner.inspection.sanity import HIGH, Sanity, Stage, cascade, randomised
from nas_gym.winner.inspection.words import verdict

DEEP = (
    conv(6, (-1,)),
    operation("batch_norm", (0,)),
    operation("relu", (1,)),
    conv(6, (2,), stride=2),
    operation("relu", (3,)),
    operation("flatten", (4,)),
    operation("linear", (5,), units=4),
)


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_of_a_linear_network_they_are_the_closed_form() -> None:
    """One background image: φ = w (x - x') with w centred over classes, whatever α is drawn (Erion et al. 2021)."""
    network = network_of(operation("flatten", (-1,)), operation("linear", (0,), units=3))
    image, background = images(2)
    weights = network.layers[1].weight.detach()
    found = attribution(network, image, 2, background[None], samples=3)
    wanted = ((weights[2] - weights.mean(0)).view(8, 8) * (image - background)[0]).double().numpy()
    np.testing.assert_allclose(found.values, wanted, atol=1e-5)
    assert found.gap == pytest.approx(0, abs=1e-4)


def test_they_sum_to_the_difference_of_outputs() -> None:
    """They are a mean over draws: with 2,000 of them, within a tenth of the difference, or of 1 where that is small."""
    network = network_of(*DEEP, seed=1)
    image, background = images(1, 3)[0], images(20, 4)
    found = attribution(network, image, 1, background, samples=2_000)
    assert abs(found.output - found.base) > 0.1
    assert abs(found.gap) < 0.1 * max(1.0, abs(found.output - found.base))
    assert (found.values == attribution(network, image, 1, background, samples=2_000).values).all()
    assert (found.values != attribution(network, image, 1, background, samples=2_000, seed=1).values).any()


def test_correlations_leave_out_what_is_nothing_in_both() -> None:
    first, second = np.array([0.0, 0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 9.0, 8.0, 7.0])
    assert rank_correlation(first, second) == pytest.approx(-1)
    assert rank_correlation(first, first**3) == pytest.approx(1)
    assert np.isnan(rank_correlation(first, np.array([0.0, 0.0, 5.0, 5.0, 5.0])))


def test_randomised_weights_change_maps_and_nothing_else() -> None:
    trained, background = network_of(*DEEP, seed=1), images(10, 5)
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    shown = images(3, 6)
    found = [attribution(trained, one, 1, background, samples=50) for one in shown]
    sanity, maps = cascade(trained, shown, found, background, samples=50, seed=7)
    assert [stage.layers for stage in sanity.stages] == [0, 1, 2, 3] and len(maps.values) == 4
    assert sanity.stages[0].correlation == pytest.approx(1) and sanity.stages[0].signed == pytest.approx(1)
    assert sanity.stages[-1].signed < HIGH and sanity.stages[-1].name == "conv 3×3 to 6 + batch norm"
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())


def test_layers_are_randomised_from_the_top() -> None:
    trained = network_of(*DEEP, seed=1)
    for count, kept in ((0, [0, 3, 6]), (1, [0, 3]), (2, [0]), (3, [])):
        random = randomised(trained, count, seed=2)
        same = [i for i in (0, 3, 6) if torch.equal(random.layers[i].weight, trained.layers[i].weight)]
        assert same == kept and not random.training


def test_the_same_network_again_is_warned_of() -> None:
    """A "randomisation" to the same weights: the maps stay, and that must be told."""
    trained, background, shown = network_of(*DEEP, seed=7), images(10, 5), images(2, 6)
    found = [attribution(trained, one, 1, background, samples=20) for one in shown]
    sanity, _ = cascade(trained, shown, found, background, samples=20, seed=7)  # built with the seed it is drawn with
    assert not sanity.passed and sanity.stages[-1].signed > 0.8
    assert verdict(sanity).startswith("Warning: a random network gives nearly the same maps")


@pytest.mark.parametrize(
    ("strengths", "signed", "words"),
    [(0.2, 0.1, "depend on what was learned"), (0.7, 0.1, "Warning: where"), (0.2, 0.9, "Warning: a random")],
)
def test_verdicts(strengths: float, signed: float, words: str) -> None:
    last = Stage(3, "conv", strengths, 0.1, signed)
    assert words in verdict(Sanity((last,), 0.5, 4))
