"""The surrogate of an archive: what it recovers, how it says that it is weak, and scikit-learn's and shap's numbers."""

from dataclasses import replace

import numpy as np
import pytest
from archives import drawn, made, planted
from scipy.stats import spearmanr
from sklearn.model_selection import KFold

from nas_gym.explain.archive_surrogate import ArchiveModel, Trust, fit, permutation_importance


def additive(decisions):
    return 1.0 * (decisions[:, 0] == 2) + 0.5 * (decisions[:, 1] > 1)


@pytest.fixture(scope="module")
def fitted():
    archive = planted(150, 0, additive)
    return archive, fit(archive)


def test_planted_slots_are_the_important_ones(fitted):
    archive, model = fitted
    assert (
        model.trust.reliable and model.trust.rank_correlation > 0.8 and model.trust.error < 0.5 * model.trust.deviation
    )
    rises = permutation_importance(archive, model)
    means, deviations = np.array(rises).T
    assert list(np.argsort(-means)[:2]) == [0, 1]
    assert means[1] > 0.1 > np.abs(means[2:]).max()
    assert (deviations >= 0).all()


def test_held_out_numbers_are_those_of_models_that_did_not_see_the_fold(fitted):
    archive, model = fitted
    held_out = np.empty(len(archive))
    for train, test in KFold(5, shuffle=True, random_state=0).split(archive.decisions):
        alone = ArchiveModel((4,) * 6, 0).fit(archive.decisions[train], archive.rewards[train])
        held_out[test] = alone.predict(archive.decisions[test])
    assert model.trust.rank_correlation == pytest.approx(spearmanr(held_out, archive.rewards)[0])
    assert model.trust.error == pytest.approx(np.sqrt(((held_out - archive.rewards) ** 2).mean()))
    rows = np.concatenate([rows for _, rows in model.folds])
    assert sorted(rows.tolist()) == list(range(len(archive)))


def test_permutation_importance_is_a_rise_of_the_held_out_error(fitted):
    archive, model = fitted
    rises = permutation_importance(archive, model, seed=3)
    expected = []
    generator = np.random.default_rng(5)  # other shuffles, many of them: the same expectation
    for one, rows in model.folds:
        decisions, rewards = archive.decisions[rows], archive.rewards[rows]
        before = ((one.predict(decisions) - rewards) ** 2).mean()
        for _ in range(30):
            shuffled = decisions.copy()
            shuffled[:, 0] = generator.permutation(shuffled[:, 0])
            expected.append((((one.predict(shuffled) - rewards) ** 2).mean() - before) / archive.rewards.var())
    mean, deviation = rises[0]
    assert mean == pytest.approx(np.mean(expected), abs=4 * deviation / np.sqrt(50))
    assert deviation == pytest.approx(np.std(expected), rel=0.5)


def test_attributions_sum_to_the_prediction(fitted):
    archive, model = fitted
    values, start = model.model.attributions(archive.decisions)
    np.testing.assert_allclose(start + values.sum(axis=1), model.predict(archive.decisions), atol=1e-6)
    assert list(np.argsort(-np.abs(values).mean(axis=0))[:2]) == [0, 1]


def test_unknown_choices_count_as_the_mean():
    decisions = np.array([[0], [0], [1], [1]] * 5, dtype=np.int16)
    model = ArchiveModel((3,), 0).fit(decisions, np.array([0.0, 0.0, 1.0, 1.0] * 5))
    columns = model.columns(np.array([[-1], [0], [1], [2]], dtype=np.int16))[:, 0]
    assert columns[0] == columns[3] == pytest.approx(0.5)
    assert columns[1] == pytest.approx(0.5 / 11) and columns[2] == pytest.approx(10.5 / 11)


def test_noise_is_said_to_be_too_weak():
    trusts = [fit(planted(100, seed, lambda d: np.zeros(len(d)))).trust for seed in range(2)]
    assert not any(trust.reliable for trust in trusts)


def test_few_networks_are_too_weak_however_good():
    assert not Trust(29, 0.99, 0.1, 1.0).reliable
    assert not Trust(30, 0.29, 0.1, 1.0).reliable
    assert Trust(30, 0.3, 0.1, 1.0).reliable


@pytest.mark.parametrize("fault", ["nine networks", "equal rewards", "equal decisions", "no networks"])
def test_no_model_where_there_is_nothing_to_learn(fault):
    archive = planted(40, 0, additive)
    if fault == "nine networks":
        archive = made(archive.decisions[:9], archive.rewards[:9])
    elif fault == "equal rewards":
        archive = replace(archive, rewards=np.full(40, 0.5))
    elif fault == "equal decisions":
        archive = replace(archive, decisions=np.zeros_like(archive.decisions))
    else:
        archive = made(archive.decisions[:0], archive.rewards[:0], [4] * 6)
    assert fit(archive) is None


def test_one_slot_is_enough():
    decisions = drawn(60, (3,), 0)
    model = fit(made(decisions, decisions[:, 0] + np.random.default_rng(0).normal(0, 0.1, 60)))
    assert model.trust.reliable
    assert permutation_importance(made(decisions, decisions[:, 0].astype(float)), model)[0][0] > 1


def test_same_seed_same_numbers(fitted):
    archive, model = fitted
    again = fit(archive)
    assert again.trust == model.trust
    assert permutation_importance(archive, again, 1) == permutation_importance(archive, model, 1)
    assert Trust.from_json(model.trust.to_json()) == model.trust
