"""Confused classes against a count by hand; images to be shown; weights, filters and maps against torch."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import conv, network_of, operation
from sklearn.metrics import confusion_matrix

from nas_gym.winner.inspection.activations import feature_maps, first_filters, weights_by_layer
from nas_gym.winner.inspection.confusions import confusions, some_of_each


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_pairs_are_those_of_the_confusion_matrix(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), 40)
    targets = generator.integers(classes, size=40)
    answers = probabilities.argmax(1)
    matrix = confusion_matrix(targets, answers, labels=list(range(classes)))
    found = confusions(probabilities, targets, pairs=100, examples=2)
    assert {(one.true, one.answered): one.count for one in found} == {
        (i, j): int(n) for (i, j), n in np.ndenumerate(matrix) if i != j and n
    }
    assert [one.count for one in found] == sorted((one.count for one in found), reverse=True)
    for one in found:
        assert one.share == one.count / (targets == one.true).sum()
        sure = sorted(probabilities[(targets == one.true) & (answers == one.answered), one.answered])[::-1][:2]
        assert [example.probability for example in one.examples] == sure
        assert all(targets[e.position] == one.true and answers[e.position] == one.answered for e in one.examples)


def test_images_that_are_shown_are_spread_over_classes() -> None:
    targets = np.array([0] * 50 + [1] * 3 + [2] * 3)
    right = np.ones(56, dtype=bool)
    right[[0, 1, 50]] = False
    chosen = some_of_each(right, targets, True, 6, seed=0)
    assert np.bincount(targets[chosen]).tolist() == [2, 2, 2] and right[chosen].all()
    assert set(some_of_each(right, targets, False, 6, seed=0)) == {0, 1, 50}
    assert (chosen != some_of_each(right, targets, True, 6, seed=1)).any()
    assert len(some_of_each(np.zeros(3, dtype=bool), targets[:3], True, 6, seed=0)) == 0


NETWORK = (
    conv(5, (-1,)),
    operation("batch_norm", (0,)),
    operation("relu", (1,)),
    conv(4, (2,), kernel=1),
    operation("add", (3, 3)),
    operation("global_average_pool", (4,)),
    operation("linear", (5,), units=2),
)


def test_feature_maps_are_those_after_normalisation_and_activation() -> None:
    network, images = network_of(*NETWORK), torch.randn(3, 1, 8, 8)
    first, second = feature_maps(network, images, channels=2)
    with torch.no_grad():
        maps = network.layers[2](network.layers[1](network.layers[0](images)))
        then = network.layers[3](maps)
    assert first.name == "conv 3×3 to 5 + batch norm + relu" and second.name == "conv 1×1 to 4"
    torch.testing.assert_close(torch.from_numpy(first.maps), maps[:, list(first.channels)])
    torch.testing.assert_close(torch.from_numpy(second.maps), then[:, list(second.channels)])
    deviations = maps.std((2, 3), correction=0).mean(0)
    assert set(first.channels) == set(deviations.topk(2).indices.tolist()) and first.of == 5


def test_first_filters_are_all_there_largest_first() -> None:
    network = network_of(*NETWORK)
    found = first_filters(network)
    assert found is not None and found.shape == (5, 1, 3, 3)
    sizes = np.abs(found).sum((1, 2, 3))
    assert (np.diff(sizes) <= 0).all() and np.isclose(sizes.sum(), network.layers[0].weight.abs().sum().item())
    assert first_filters(network_of(operation("linear", (-1,), units=2), input_shape=(3,))) is None


def test_weights_before_a_training_are_as_they_were_drawn() -> None:
    network = network_of(
        conv(64, (-1,)),
        operation("flatten", (0,)),
        operation("linear", (1,), units=50),
        operation("linear", (2,), units=40),
    )
    found = weights_by_layer(network)
    assert [one.count for one in found] == [576, 64 * 64 * 50, 2_000]
    for one in found:
        # The standard error of a deviation is at most its size over sqrt(2 n) for both distributions.
        assert abs(one.deviation / one.drawn_with - 1) < 5 / (2 * one.count) ** 0.5
        assert one.quantiles[0] == one.values.min() and one.quantiles[-1] == one.values.max()
    assert [one.uniform for one in found] == [False, False, True]
