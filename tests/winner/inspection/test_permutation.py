"""Permutation importance: a planted network, scikit-learn's own answer on a table, and a shuffling by hand."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance

from nas_gym.winner.inspection.permutation import PatchImportances, feature_importances, patch_importances, patch_size
from nas_gym.winner.inspection.subject import logits
from nas_gym.winner.inspection.words import of_patches


def test_only_the_patch_that_is_read_is_worth_something(one_patch) -> None:
    found = patch_importances(one_patch.subject.network, one_patch.samples, size=2, repeats=3, seed=4)
    assert found.accuracy == 1.0 and found.lost.shape == (4, 4)
    others = np.ones((4, 4), dtype=bool)
    others[1, 2] = False
    assert (found.lost[others] == 0).all() and (found.standard_error[others] == 0).all()
    # Classes are balanced and a shuffled sign is a coin: half is lost, within four standard errors.
    assert found.lost[1, 2] == pytest.approx(0.5, abs=4 * found.standard_error[1, 2])
    assert 0 < found.standard_error[1, 2] < 0.05 and found.deviation[1, 2] > 0


def test_it_equals_a_shuffling_by_hand_at_the_edge_too(one_patch) -> None:
    network, samples = one_patch.subject.network, one_patch.samples
    found = patch_importances(network, samples, size=5, repeats=2, seed=9)
    assert found.lost.shape == (2, 2)  # patches of 5, and what is left of 8
    drops = []
    for repeat in range(2):
        order = np.random.default_rng([9, repeat]).permutation(len(samples))
        shuffled = samples.inputs.clone()
        for i, j in enumerate(order):
            shuffled[i, :, :5, 5:8] = samples.inputs[j, :, :5, 5:8]
        answers = logits(network, shuffled).argmax(1).numpy()
        drops.append((answers != samples.targets).astype(float))
    each = np.mean(drops, axis=0)
    assert found.lost[0, 1] == pytest.approx(each.mean(), abs=1e-12) and found.lost[0, 1] > 0
    assert found.standard_error[0, 1] == pytest.approx(each.std(ddof=1) / len(samples) ** 0.5, rel=1e-12)
    assert found.deviation[0, 1] == pytest.approx(np.std(np.mean(drops, axis=1), ddof=1), rel=1e-12)


def test_a_table_gets_what_scikit_learn_says(table) -> None:
    found = feature_importances(table.subject.network, table.samples, repeats=4, seed=7)

    class ByHand(BaseEstimator):
        def fit(self, x, y):
            return self

        def score(self, x, y):
            return ((x @ np.array([0.0, 1.0, 0.0, 0.5, 0.0]) < 0) == y).mean()

    rows = table.samples.inputs.numpy()
    wanted = permutation_importance(ByHand(), rows, table.samples.targets, n_repeats=4, random_state=7)
    np.testing.assert_array_equal(found.lost, wanted.importances_mean)
    np.testing.assert_array_equal(found.deviation, wanted.importances_std)
    np.testing.assert_allclose(found.standard_error, wanted.importances_std / 2)
    assert (found.lost[[0, 2, 4]] == 0).all() and found.lost[1] > found.lost[3] > 0


@pytest.mark.parametrize(
    ("height", "width", "size"), [(8, 8, 2), (28, 28, 4), (32, 32, 4), (1, 1, 1), (3, 1, 2), (16, 64, 8), (33, 20, 5)]
)
def test_an_image_has_at_most_eight_patches_along_a_side(height: int, width: int, size: int) -> None:
    assert patch_size(height, width) == size
    assert -(-max(height, width) // size) <= 8


def test_generators_are_left_alone(one_patch) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    patch_importances(one_patch.subject.network, one_patch.samples, size=4, repeats=1)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_what_can_t_be_told_from_chance_is_said_to_be() -> None:
    zeros = np.zeros((2, 2))
    nothing = PatchImportances(3, np.array([[0.03, 0.0], [0.0, -0.02]]), zeros + 0.02, zeros, 0.5, 1, 1)
    assert "None of the 4 patches alone" in of_patches(nothing) and "1 test image, 1 shuffling" in of_patches(nothing)
    lost = np.array([[0.03, 0.0], [0.01, -0.02]])
    clear = PatchImportances(3, lost, np.array([[0.02, 0.0], [0.001, 0.0]]), zeros, 0.5, 9, 2)
    assert "It needs rows 3 to 5, columns 0 to 2 most: 1.0 ± 0.1 points; 1 of 4" in of_patches(clear)
