"""The checks pass for exact attributions, and each of them fails for an explainer that is broken in its way."""

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from explaining import SIZES, drawn, empty_of, groups_of, linear_policy, make_policy, observation

from nas_gym_agents.attribution import Attributions, Options, attribute
from nas_gym_agents.explanation_checks import Check, run_checks
from nas_gym_agents.faithfulness import (
    Explained,
    baseline_agreement,
    infidelity,
    randomised_policies,
    rank_correlations,
    unseen_share,
)

EMPTY, GROUPS = empty_of(SIZES), groups_of(SIZES)
PARTS: dict[str, Any] = {"baseline": EMPTY, "groups": GROUPS}
N = 40


def decisions() -> Any:
    observations, actions, masks = drawn(SIZES, [i % 6 for i in range(N)], seed=1)
    masks[:, :3] = True  # nothing is forced
    return observations, actions, masks


def checked(policy: Any, rows: Any, found: Attributions | None = None, **arguments: Any) -> dict[str, Check]:
    found = attribute(policy, *rows, **PARTS) if found is None else found
    return {check.name: check for check in run_checks(policy, *rows, found, **PARTS, **arguments)}


def acted(found: Attributions, rows: Any) -> Any:
    return found.log_probabilities[np.arange(len(rows[1])), rows[1]].astype(np.float32)


def test_exact_attributions_pass_and_every_check_is_a_sentence_and_json() -> None:
    policy, rows = make_policy(), decisions()
    found = attribute(policy, *rows, **PARTS)
    checks = checked(policy, rows, found, acted_logp=acted(found, rows))
    names = ["additivity", "log_probability_match", "fast_path", "infidelity", "randomisation"]
    assert list(checks) == [*names, "baseline_sensitivity", "off_manifold_share"]
    assert all(checks[name].passed is True for name in names), checks
    assert all(checks[name].passed is None for name in ("baseline_sensitivity", "off_manifold_share"))
    for check in checks.values():
        assert check.sentence.endswith((".", ".)")) and json.loads(json.dumps(check.to_json()))["name"] == check.name
    assert checks["additivity"].value < 1e-5 and checks["infidelity"].value < 0.1


def test_attributions_that_do_not_add_up_are_noticed() -> None:
    policy, rows = make_policy(), decisions()
    found = attribute(policy, *rows, **PARTS)
    check = checked(policy, rows, replace(found, phi=found.phi * 1.01))["additivity"]
    assert check.passed is False and check.value > 1e-3 and "do not add up" in check.sentence


def test_another_policy_than_the_one_that_acted_is_noticed() -> None:
    policy, rows = make_policy(), decisions()
    found = attribute(policy, *rows, **PARTS)
    check = checked(policy, rows, found, acted_logp=acted(attribute(make_policy(seed=1), *rows, **PARTS), rows))
    assert check["log_probability_match"].passed is False
    assert "not the policy that acted" in check["log_probability_match"].sentence
    assert "log_probability_match" not in checked(policy, rows, found)


def test_a_fast_way_that_was_given_up_is_told_of() -> None:
    policy, rows = make_policy(), decisions()
    found = attribute(policy, *rows, **PARTS)
    given_up = checked(policy, rows, replace(found, path="generic", path_error=0.5))["fast_path"]
    assert given_up.passed is None and given_up.value == 0.5 and "was not used" in given_up.sentence
    slow = checked(policy, rows, attribute(policy, *rows, **PARTS, options=Options(factorise=False)))["fast_path"]
    assert slow.passed is None and slow.value is None


def test_random_attributions_are_not_faithful() -> None:
    policy, rows = make_policy(), decisions()
    found = attribute(policy, *rows, **PARTS)
    noise = np.random.default_rng(3).normal(size=found.phi.shape) * (found.phi != 0)
    length = np.linalg.norm(found.phi, axis=1) / np.maximum(np.linalg.norm(noise, axis=1), 1e-12)
    check = checked(policy, rows, replace(found, phi=noise * length[:, None]))["infidelity"]
    assert check.passed is False and check.value == pytest.approx(1.0, abs=0.4)
    assert "do not foretell" in check.sentence


def test_infidelity_of_an_additive_policy_is_nothing_and_of_random_attributions_known() -> None:
    """One group decided: the error of undoing it is 0, and of the random attribution ±phi it is 0 or (2 phi)**2."""
    policy = make_policy()
    rows = tuple(np.repeat(part, 20, axis=0) for part in drawn(SIZES, [1], seed=2))
    found = attribute(policy, *rows, **PARTS)
    own, other = infidelity(Explained(policy, *rows, EMPTY, GROUPS, found), np.random.default_rng(0), n_subsets=200)
    assert own < 1e-10
    assert other == pytest.approx((found.phi**2).sum(1)[0] * 4 / 4, rel=0.3)  # half of the signs, half of the sets


def test_an_explainer_that_ignores_the_policy_is_noticed() -> None:
    policy, rows = make_policy(), decisions()

    def stubborn(_: Any, *what: Any, **how: Any) -> Attributions:
        return attribute(policy, *what, **how)

    honest = checked(policy, rows)["randomisation"]
    check = checked(policy, rows, explainer=stubborn)["randomisation"]
    assert check.passed is False and check.value == pytest.approx(1.0)
    assert "do not depend enough" in check.sentence
    assert honest.passed is True and abs(honest.value) < 0.5


def test_randomised_policies_keep_the_size_of_their_weights_and_leave_the_policy_alone() -> None:
    policy = make_policy()
    before = [weights.detach().clone() for weights in policy.parameters()]
    drawn = randomised_policies(policy, 2, np.random.default_rng(0))
    first, second = ([weights.detach().clone() for weights in other.parameters()] for other in drawn)
    for old, now, a, b in zip(before, policy.parameters(), first, second, strict=True):
        assert torch.equal(old, now)
        if old.numel() > 100:
            assert not torch.allclose(old, a) and not torch.allclose(a, b)
            assert float(a.std()) == pytest.approx(float(old.std()), rel=0.25)


def test_an_answer_that_depends_on_the_baseline_carries_a_warning() -> None:
    """Slot 0 has the largest weight, but all have it decided alike: against the same step it has nothing."""
    weights = np.zeros((3, sum(SIZES)), np.float32)
    weights[0, GROUPS[0][1].start + 1] = 5.0
    weights[0, GROUPS[1][1].start + 1 : GROUPS[1][1].stop] = (1.0, -1.0, 0.5, 2.0)
    weights[0, GROUPS[2][1].start + 1 : GROUPS[2][1].stop] = (0.1, -0.1)
    policy = linear_policy(weights, SIZES)
    rng = np.random.default_rng(0)
    rows = (
        np.stack([observation(SIZES, {0: 0, 1: int(rng.integers(4)), 2: int(rng.integers(2))}) for _ in range(N)]),
        np.zeros(N, np.int64),
        np.ones((N, 3), bool),
    )
    check = checked(policy, rows)["baseline_sensitivity"]
    assert check.passed is None and check.value == 0.0 and "depends on what is compared with" in check.sentence
    weights[0, GROUPS[0][1].start + 1] = 0.0
    same = checked(linear_policy(weights, SIZES), rows)["baseline_sensitivity"]
    assert same.value > 0.7 and "depends on what is compared with" not in same.sentence


def test_baselines_are_of_the_same_step_only() -> None:
    policy, rows = make_policy(), drawn(SIZES, [3] * 6)
    asked: list[Any] = []

    def noting(policy: Any, *what: Any, **how: Any) -> Attributions:
        asked.append(how["baseline"])
        return attribute(policy, *what, **how)

    explained = Explained(policy, *rows, EMPTY, GROUPS, attribute(policy, *rows, **PARTS), noting)
    pool = np.concatenate((rows[0], drawn(SIZES, [2, 4, 5, 3, 3] * 10, seed=9)[0]))
    baseline_agreement(explained, pool, np.random.default_rng(0))
    (background,) = asked
    assert background.shape == (16, sum(SIZES))
    assert ((background != EMPTY).sum(1) == 2 * 3).all()


def test_partial_states_that_were_never_seen_are_counted() -> None:
    policy, rows = make_policy(), drawn(SIZES, [2] * 8)
    explained = Explained(policy, *rows, EMPTY, GROUPS, attribute(policy, *rows, **PARTS))
    generator = np.random.default_rng(0)
    assert unseen_share(explained, rows[0], generator) == pytest.approx(0.75, abs=0.08)  # only "both" was seen
    parts = [explained.mixtures(np.eye(5, dtype=bool)[None].repeat(8, 0)).reshape(-1, sum(SIZES)), EMPTY[None]]
    assert unseen_share(explained, np.concatenate((rows[0], *parts)), generator) == 0.0


def test_forced_decisions_are_left_out() -> None:
    policy, (observations, actions, masks) = make_policy(), decisions()
    found = attribute(policy, observations, actions, masks, **PARTS)
    broken = replace(found, phi=found.phi.copy())
    broken.phi[: N // 2] += 7.0
    rows = observations, actions, masks.copy()
    assert checked(policy, rows, broken)["additivity"].passed is False
    rows[2][: N // 2] = np.arange(masks.shape[1]) == actions[: N // 2, None]
    assert checked(policy, rows, broken)["additivity"].passed is True


def test_with_nothing_to_check_the_checks_say_so() -> None:
    policy, (observations, actions, masks) = make_policy(), decisions()
    first = tuple(part[observations[:, GROUPS[0][1].start] == 9] for part in (observations, actions, masks))
    undecided = np.repeat(EMPTY[None], 3, axis=0), actions[:3], masks[:3]
    for rows in (first, undecided):
        checks = checked(policy, rows)
        for name in ("infidelity", "randomisation", "baseline_sensitivity", "off_manifold_share"):
            assert checks[name].value is None and checks[name].passed is None
            assert "nothing to check" in checks[name].sentence


def test_sampled_attributions_tell_their_error() -> None:
    sizes = (3,) * 16
    policy, rows = make_policy(sizes=sizes), drawn(sizes, [16, 16, 3, 4, 5])
    rows[2][:] = True
    parts: dict[str, Any] = {"baseline": empty_of(sizes), "groups": groups_of(sizes)}
    options = Options(sampled=200)
    found = attribute(policy, *rows, **parts, options=options)
    checks = {check.name: check for check in run_checks(policy, *rows, found, **parts, options=options)}
    assert checks["sampling_error"].value == pytest.approx(found.std_err.max())
    assert "2 of 5" in checks["sampling_error"].sentence and checks["additivity"].passed is True


def test_policies_without_masks_are_checked_too() -> None:
    from stable_baselines3.common.policies import ActorCriticPolicy

    observations, actions, _ = decisions()
    checks = checked(make_policy(ActorCriticPolicy), (observations, actions, None))
    assert checks["infidelity"].passed is True and checks["additivity"].passed is True


def test_rank_correlation_equals_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    first, second = rng.integers(5, size=(2, 40, 7)).astype(float)
    counts = np.sort(rng.random((40, 7)) < 0.7)[:, ::-1] | (np.arange(7) < 4)
    expected = [spearmanr(a[c], b[c]).statistic for a, b, c in zip(first, second, counts, strict=True)]
    np.testing.assert_allclose(rank_correlations(first, second, counts), expected)
    everything = np.ones((1, 3), dtype=bool)
    assert np.isnan(rank_correlations(np.ones((1, 3)), np.arange(3.0)[None], everything)).all()


def test_checking_leaves_policy_and_global_generators_alone_and_repeats_itself() -> None:
    def generators() -> Any:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    policy, rows, before = make_policy(), decisions(), generators()
    weights = [w.clone() for w in policy.parameters()]
    first, second = checked(policy, rows), checked(policy, rows)
    assert generators() == before and first == second
    assert all(torch.equal(a, b) for a, b in zip(weights, policy.parameters(), strict=True))
