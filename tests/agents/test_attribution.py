"""Attributions against brute force in double precision, shap, planted reasons and closed forms."""

import random
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from explaining import (
    N_ACTIONS,
    SIZES,
    brute_force,
    drawn,
    either_policy,
    empty_of,
    exact_outputs,
    groups_of,
    linear_policy,
    make_policy,
    observation,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nas_gym.errors import ConfigurationError
from nas_gym_agents import attribution_problem, coalition_values, factorised, policy_paths
from nas_gym_agents.attribution import Options, attribute, attribute_interactions

EMPTY, GROUPS = empty_of(SIZES), groups_of(SIZES)
MIXED = [0, 1, 2, 3, 4, 5, 5, 3]


def explained(policy: Any, rows: Any, **options: Any) -> Any:
    return attribute(policy, *rows, baseline=EMPTY, groups=GROUPS, options=Options(**options))


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("factorise", [True, False], ids=["factorised", "generic"])
def test_all_actions_and_the_critic_equal_brute_force_over_all_orders(masked: bool, factorise: bool) -> None:
    policy = make_policy(MaskableActorCriticPolicy if masked else ActorCriticPolicy)
    observations, actions, masks = drawn(SIZES, MIXED)
    found = explained(policy, (observations, actions, masks if masked else None), factorise=factorise)
    assert found.path == ("factorised" if factorise else "generic")
    assert np.abs(found.phi).max() > 0.1, "the policy has opinions"
    for i, row in enumerate(observations):
        expected = brute_force(policy, row, masks[i] if masked else None, EMPTY, GROUPS)
        np.testing.assert_allclose(found.phi_actions[i], expected[:, :-1], atol=1e-5)
        np.testing.assert_allclose(found.value_phi[i], expected[:, -1], atol=1e-5)
        np.testing.assert_array_equal(found.phi[i], found.phi_actions[i][:, actions[i]])
        assert found.phi0[i] == found.phi0_actions[i, actions[i]]


def test_they_start_at_the_baseline_and_sum_to_what_the_policy_itself_says() -> None:
    policy = make_policy()
    observations, actions, masks = drawn(SIZES, MIXED)
    found = explained(policy, (observations, actions, masks))
    for i in range(len(MIXED)):
        start = exact_outputs(policy, EMPTY[None], masks[i])[0]
        np.testing.assert_allclose(found.phi0_actions[i][masks[i]], start[:-1][masks[i]], atol=1e-5)
        assert found.value0[i] == pytest.approx(start[-1], abs=1e-5)
    total = found.phi0_actions + found.phi_actions.sum(1)
    np.testing.assert_allclose(total[masks], found.log_probabilities[masks], atol=1e-5)
    np.testing.assert_allclose(found.value0 + found.value_phi.sum(1), found.value, atol=1e-5)
    assert not found.phi0_actions[~masks].any() and not found.phi_actions.swapaxes(1, 2)[~masks].any()
    assert found.n_players.tolist() == MIXED and found.n_evaluations.tolist() == [2**n for n in MIXED]
    assert set(found.explainer) == {"exact_shapley"} and found.baseline == "empty" and not found.std_err.any()


def test_undecided_slots_have_exactly_nothing() -> None:
    observations, actions, masks = drawn(SIZES, [1, 3, 4])
    found = explained(make_policy(), (observations, actions, masks))
    undecided = np.stack([observations[:, part.start] == 1 for _, part in GROUPS], axis=1)
    assert undecided.any()
    assert not found.phi_actions[undecided].any() and not found.value_phi[undecided].any()


def test_all_actions_equal_shaps_exact_explainer() -> None:
    import shap

    policy = make_policy(seed=3)
    observations, actions, masks = drawn(SIZES, [5, 5, 4], seed=4)
    found = explained(policy, (observations, actions, masks))
    for i, row in enumerate(observations):

        def value(switches: Any, row: Any = row, mask: Any = masks[i]) -> Any:
            mixed = np.repeat(EMPTY[None], len(switches), axis=0)
            for column, (_, part) in enumerate(GROUPS):
                mixed[np.ix_(switches[:, column] > 0.5, np.arange(part.start, part.stop))] = row[part]
            return exact_outputs(policy, mixed, mask)[:, [*np.flatnonzero(mask), N_ACTIONS]]

        oracle = shap.explainers.ExactExplainer(value, np.zeros((1, len(GROUPS))))(np.ones((1, len(GROUPS))))
        np.testing.assert_allclose(found.phi_actions[i][:, masks[i]], oracle.values[0][:, :-1], atol=1e-5)
        np.testing.assert_allclose(found.value_phi[i], oracle.values[0][:, -1], atol=1e-5)


SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"net_arch": []},
    "one layer": {"net_arch": [16]},
    "three layers": {"net_arch": [16, 8, 8]},
    "unlike": {"net_arch": {"pi": [16], "vf": [8, 8]}},
    "linear critic": {"net_arch": {"pi": [16]}},
    "relu": {"activation_fn": torch.nn.ReLU},
    "own features": {"share_features_extractor": False, "activation_fn": torch.nn.ELU},
}


@pytest.mark.parametrize("kind", [ActorCriticPolicy, MaskableActorCriticPolicy], ids=["PPO", "MaskablePPO"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_factorised_way_equals_the_generic_one(kind: Any, shape: str) -> None:
    policy = make_policy(kind, **SHAPES[shape])
    observations, actions, masks = drawn(SIZES, MIXED)
    rows = observations, actions, masks if kind is MaskableActorCriticPolicy else None
    fast, slow = explained(policy, rows), explained(policy, rows, factorise=False)
    assert (fast.path, slow.path) == ("factorised", "generic")
    assert fast.path_error < 1e-5 and np.isnan(slow.path_error)
    for name in ("phi_actions", "phi0_actions", "value_phi", "value0", "phi", "phi0"):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), atol=2e-5, err_msg=name)


class Squares(torch.nn.Module):
    """Features that are no flat observation."""

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__()
        self.features_dim = 2 * observation_space.shape[0]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat((rows, rows * rows.sum(1, keepdim=True)), 1)


class Cooler(MaskableActorCriticPolicy):
    """A policy with a temperature that its modules don't tell of."""

    def _get_action_dist_from_latent(self, latent_pi: Any) -> Any:
        return self.action_dist.proba_distribution(action_logits=0.5 * self.action_net(latent_pi))


def generic_by_hand(policy: Any, row: Any, action: int, mask: Any) -> Any:
    """Shapley values from the policy's own log-probabilities at single observations, over coalitions by size."""
    from math import comb

    from nas_gym_agents.policy_outputs import log_probabilities

    def value(coalition: tuple[int, ...]) -> float:
        mixed = EMPTY.copy()
        for i in coalition:
            mixed[GROUPS[i][1]] = row[GROUPS[i][1]]
        return float(log_probabilities(policy, mixed[None], mask[None])[0, action])

    n, found = len(GROUPS), np.zeros(len(GROUPS))
    for player in range(n):
        others = [i for i in range(n) if i != player]
        for size in range(n):
            gains = [value((*some, player)) - value(some) for some in combinations(others, size)]
            found[player] += sum(gains) / (n * comb(n - 1, size))
    return found


def test_any_features_are_explained_the_generic_way() -> None:
    policy = make_policy(features_extractor_class=Squares)
    observations, actions, masks = drawn(SIZES, [5, 3])
    found = explained(policy, (observations, actions, masks))
    assert found.path == "generic" and np.isnan(found.path_error)
    for i in range(2):
        expected = generic_by_hand(policy, observations[i], int(actions[i]), masks[i])
        np.testing.assert_allclose(found.phi[i], expected, atol=1e-5)


def test_a_policy_that_is_not_what_its_modules_say_falls_back_and_says_so() -> None:
    policy = make_policy(Cooler)
    observations, actions, masks = drawn(SIZES, [5, 3])
    found = explained(policy, (observations, actions, masks))
    assert found.path == "generic" and found.path_error > 1e-4
    expected = generic_by_hand(policy, observations[0], int(actions[0]), masks[0])
    np.testing.assert_allclose(found.phi[0], expected, atol=1e-5)


def test_a_faulty_fast_way_is_noticed_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before: on a few players. After: where all players are in, which the few did not tell."""
    rows = drawn(SIZES, MIXED)
    sound, whole = explained(make_policy(), rows), factorised.all_subsets

    def reversed_order(combine: Any, first: Any, terms: Any) -> Any:
        return whole(combine, first, terms).flip(1)

    def wrong_with_five(combine: Any, first: Any, terms: Any) -> Any:
        return whole(combine, first, terms) * (1.5 if terms.shape[1] > 4 else 1.0)

    for fault, alone in ((reversed_order, True), (wrong_with_five, False)):
        monkeypatch.setattr(factorised, "all_subsets", fault)
        found = explained(make_policy(), rows)
        assert found.path == "generic" and found.path_error > 1e-4
        np.testing.assert_allclose(found.phi_actions, sound.phi_actions, atol=1e-5)
        problem = attribution_problem.Problem(make_policy(), rows[0], rows[2], EMPTY, GROUPS, Options())
        assert (policy_paths.choose_path(problem).error > 1e-4) is alone


def test_a_faulty_fast_way_of_sampled_coalitions_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (3,) * 15
    rows, parts = drawn(sizes, [15]), {"baseline": empty_of(sizes), "groups": groups_of(sizes)}
    sums = factorised._sums
    monkeypatch.setattr(factorised, "_sums", lambda first, terms, members: sums(first, terms, 1 - members))
    assert attribute(make_policy(sizes=sizes), *rows, **parts, options=Options(sampled=100)).path == "generic"


@pytest.mark.parametrize("times", [1e3, 1e30], ids=["large", "huge"])
def test_saturated_networks_have_attributions_too(times: float) -> None:
    policy = make_policy()
    with torch.no_grad():
        for net in (policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net):
            net[0].weight.mul_(times)
    observations, actions, masks = drawn(SIZES, MIXED)
    found = explained(policy, (observations, actions, masks))
    expected = brute_force(policy, observations[-1], masks[-1], EMPTY, GROUPS)
    assert found.path == "factorised"
    np.testing.assert_allclose(found.phi_actions[-1], expected[:, :-1], atol=1e-4)


def test_logits_too_far_apart_for_exp() -> None:
    weights = np.zeros((3, sum(SIZES)), np.float32)
    weights[0, GROUPS[0][1].start + 1] = 3_000.0
    weights[1, GROUPS[1][1].start + 1] = -3_000.0
    policy, row = linear_policy(weights, SIZES), observation(SIZES, {0: 0, 1: 0})
    for mask in ([True, True, True], [False, True, False], [False, True, True]):
        masks = np.array([mask])
        found = attribute(policy, row[None], np.array([1]), masks, baseline=EMPTY, groups=GROUPS)
        expected = brute_force(policy, row, masks[0], EMPTY, GROUPS)
        np.testing.assert_allclose(found.phi_actions[0], expected[:, :-1], rtol=1e-5, atol=1e-3)


# Planted reasons


def test_a_policy_that_reads_two_slots_is_moved_by_these_alone() -> None:
    sizes = (4,) * 8
    groups, weights = groups_of(sizes), np.zeros((N_ACTIONS, 32), np.float32)
    for i in (2, 5):
        weights[:, groups[i][1]] = np.random.default_rng(i).normal(size=(N_ACTIONS, 4))
    rows = drawn(sizes, [8, 8, 7, 6])
    for kind in (MaskableActorCriticPolicy, ActorCriticPolicy):
        parts = rows if kind is MaskableActorCriticPolicy else (*rows[:2], None)
        policy = linear_policy(weights, sizes, kind)
        found = attribute(policy, *parts, baseline=empty_of(sizes), groups=groups)
        shares = np.abs(found.phi_actions).sum(axis=(0, 2))
        assert shares[[2, 5]].sum() / shares.sum() > 0.99
        assert np.abs(found.phi).max() > 0.1


def test_two_slots_of_which_either_is_enough_share_the_credit() -> None:
    policy = either_policy(3.0, SIZES, 1, 3)
    row = observation(SIZES, {0: 1, 1: 2, 3: 4, 4: 0})
    found = attribute(policy, row[None], np.array([1]), np.array([[True, True]]), baseline=EMPTY, groups=GROUPS)
    gained = np.log(2 / (1 + np.exp(-3.0)))  # from probability 1/2 to sigmoid(3)
    np.testing.assert_allclose(found.phi[0], [0, gained / 2, 0, gained / 2, 0], atol=1e-6)
    pairs = attribute_interactions(policy, row, 1, np.array([True, True]), baseline=EMPTY, groups=GROUPS)
    expected = np.zeros((5, 5))
    expected[1, 3] = expected[3, 1] = -gained
    np.testing.assert_allclose(pairs, expected, atol=1e-6)


def test_a_linear_critic_gives_back_its_terms() -> None:
    weights = np.random.default_rng(0).normal(size=(N_ACTIONS, sum(SIZES))).astype(np.float32)
    observations, actions, masks = drawn(SIZES, [5, 4, 2])
    found = explained(linear_policy(weights, SIZES), (observations, actions, masks))
    terms = np.stack([(observations - EMPTY)[:, part] @ weights[0, part] for _, part in GROUPS], axis=1)
    np.testing.assert_allclose(found.value_phi, terms, atol=1e-5)


# Baselines


def test_a_sample_of_observations_as_baseline_is_the_mean_over_them() -> None:
    policy, rows = make_policy(), drawn(SIZES, [3, 3, 4])
    background = np.concatenate((drawn(SIZES, [3, 3, 3], seed=7)[0], rows[0][:1]))
    found = attribute(policy, *rows, baseline=background, groups=GROUPS)
    single = [attribute(policy, *rows, baseline=one, groups=GROUPS) for one in background]
    for name in ("phi", "phi0", "phi_actions", "value_phi", "value0"):
        expected = np.mean([getattr(one, name) for one in single], axis=0)
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-5, err_msg=name)
    assert found.baseline == "same_step"
    np.testing.assert_allclose(found.phi0 + found.phi.sum(1), single[0].phi0 + single[0].phi.sum(1), atol=1e-5)


def test_a_slot_that_is_as_in_all_of_the_sample_has_exactly_nothing() -> None:
    background = np.stack([observation(SIZES, {0: 1, 1: choice}) for choice in (0, 1, 2)])
    row = observation(SIZES, {0: 1, 1: 1})[None]
    parts = row, np.array([2]), np.ones((1, N_ACTIONS), bool)
    found = attribute(make_policy(), *parts, baseline=background, groups=GROUPS)
    assert found.n_players.tolist() == [1] and found.n_evaluations.tolist() == [6]
    assert found.phi[0, 1] != 0 and not found.phi_actions[0, [0, 2, 3, 4]].any()


# Too many players


def test_beyond_fourteen_groups_orders_are_sampled_and_the_error_is_told() -> None:
    sizes = (3,) * 16
    groups, empty = groups_of(sizes), empty_of(sizes)
    policy, rows = make_policy(sizes=sizes), drawn(sizes, [16, 15, 14, 2])
    found = attribute(policy, *rows, baseline=empty, groups=groups)
    assert found.explainer == ("permutation_sampling",) * 2 + ("exact_shapley",) * 2
    assert (found.std_err[:2][found.phi[:2] != 0] > 0).all() and not found.std_err[2:].any()
    assert (found.n_evaluations[:2] <= 4_096).all() and found.n_evaluations[2] == 2**14
    masks = rows[2]
    total = found.phi0_actions + found.phi_actions.sum(1)
    np.testing.assert_allclose(total[masks], found.log_probabilities[masks], atol=1e-5)
    alone = attribute(policy, *(part[1:2] for part in rows), baseline=empty, groups=groups)
    np.testing.assert_allclose(alone.phi, found.phi[1:2], atol=1e-6, err_msg="whatever else is in the batch")
    other = attribute(policy, *rows, baseline=empty, groups=groups, options=Options(seed=1))
    apart = np.abs(found.phi - other.phi)[:2]
    assert apart.max() > 1e-3 and (apart < 6 * (found.std_err + other.std_err)[:2] + 1e-6).all()


def test_sampled_attributions_are_near_a_closed_form() -> None:
    sizes = (3,) * 16
    policy, row = either_policy(3.0, sizes, 2, 9), observation(sizes, dict.fromkeys(range(16), 0))
    parts = row[None], np.array([1]), np.ones((1, 2), bool)
    found = attribute(policy, *parts, baseline=empty_of(sizes), groups=groups_of(sizes))
    gained = np.log(2 / (1 + np.exp(-3.0)))
    expected = np.where(np.isin(np.arange(16), (2, 9)), gained / 2, 0.0)
    # A pair of an order and its reverse has each of the two first once: no error is left.
    np.testing.assert_allclose(found.phi[0], expected, atol=1e-6)
    np.testing.assert_allclose(found.std_err[0], 0, atol=1e-6)


def test_too_few_coalitions_to_sample_and_too_many_groups_for_pairs_are_refused() -> None:
    sizes = (3,) * 16
    policy, (observations, actions, masks) = make_policy(sizes=sizes), drawn(sizes, [16])
    parts = {"baseline": empty_of(sizes), "groups": groups_of(sizes)}
    with pytest.raises(ConfigurationError, match="at least 60 coalitions"):
        attribute(policy, observations, actions, masks, **parts, options=Options(sampled=59))
    with pytest.raises(ConfigurationError, match="up to 14 groups"):
        attribute_interactions(policy, observations[0], int(actions[0]), masks[0], **parts)


# What is supported, and what is refused in one sentence


def test_normalised_observations_are_explained_in_terms_of_the_raw_ones() -> None:
    class Shell(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(0.0, 1.0, (sum(SIZES),), np.float32)
        action_space = gym.spaces.Discrete(N_ACTIONS)

    normaliser = VecNormalize(DummyVecEnv([Shell]), training=False, clip_obs=2.0)
    observations, actions, masks = drawn(SIZES, MIXED)
    normaliser.obs_rms.update(observations)
    policy, rows = make_policy(), (observations, actions, masks)
    fast = explained(policy, rows, preprocess=normaliser.normalize_obs)
    slow = explained(policy, rows, preprocess=normaliser.normalize_obs, factorise=False)
    assert fast.path == "factorised" and slow.path == "generic"
    np.testing.assert_allclose(fast.phi_actions, slow.phi_actions, atol=2e-5)
    expected = brute_force(
        policy, normaliser.normalize_obs(observations[-1]), masks[-1], normaliser.normalize_obs(EMPTY), GROUPS
    )
    np.testing.assert_allclose(fast.phi_actions[-1], expected[:, :-1], atol=1e-5)
    assert fast.n_players.tolist() == MIXED, "null players are those of the raw observation"


def test_preprocessing_that_mixes_columns_takes_the_generic_way() -> None:
    def ranks(rows: Any) -> Any:
        return rows * (rows[:, :1] + rows[:, 8:9])

    found = explained(make_policy(), drawn(SIZES, MIXED), preprocess=ranks)
    assert found.path == "generic" and found.path_error > 1e-4


def box(n: int) -> Any:
    return gym.spaces.Box(0.0, 1.0, (n,), np.float32)


def test_what_cannot_be_explained_is_refused_in_one_sentence() -> None:
    rows, parts = drawn(SIZES, [3, 2]), {"baseline": EMPTY, "groups": GROUPS}
    heads = ActorCriticPolicy(box(sum(SIZES)), gym.spaces.MultiDiscrete([2, 3]), lambda _: 1e-3)
    with pytest.raises(ConfigurationError, match="Discrete actions"):
        attribute(heads, *rows, **parts)
    space = gym.spaces.Dict({"a": box(2), "b": box(3)})
    named = MultiInputActorCriticPolicy(space, gym.spaces.Discrete(N_ACTIONS), lambda _: 1e-3)
    with pytest.raises(ConfigurationError, match=r"one flat observation.*a, b.*FlattenObservation"):
        attribute(named, *rows, **parts)
    recurrent = RecurrentActorCriticPolicy(box(sum(SIZES)), gym.spaces.Discrete(N_ACTIONS), lambda _: 1e-3)
    with pytest.raises(ConfigurationError, match="recurrent"):
        attribute(recurrent, *rows, **parts)


def test_illegal_actions_and_what_does_not_fit_are_refused() -> None:
    policy, (observations, actions, masks) = make_policy(), drawn(SIZES, [3, 2])
    parts = {"baseline": EMPTY, "groups": GROUPS}
    with pytest.raises(ConfigurationError, match="illegal"):
        attribute(policy, observations, actions, masks & (np.arange(N_ACTIONS) != actions[:, None]), **parts)
    with pytest.raises(ConfigurationError, match="illegal"):
        attribute_interactions(policy, observations[0], int(actions[0]), np.zeros(N_ACTIONS, bool), **parts)
    with pytest.raises(ConfigurationError, match="same length"):
        attribute(policy, observations, actions, masks, baseline=EMPTY[:-1], groups=GROUPS)
    with pytest.raises(ConfigurationError, match="flat"):
        attribute(policy, observations[:, None], actions, masks, **parts)
    for wrong in (GROUPS[:-1], (*GROUPS, GROUPS[0])):
        with pytest.raises(ConfigurationError, match="cover each"):
            attribute(policy, observations, actions, masks, baseline=EMPTY, groups=wrong)


# Batches


def test_equal_observations_share_their_work_and_not_their_actions() -> None:
    observations, _, masks = drawn(SIZES, [4, 3])
    masks[:] = True
    which = np.array([0, 1, 0, 0, 1])
    actions = np.array([0, 1, 2, 0, 3])
    other = masks[which].copy()
    other[3, 1] = False
    found = explained(make_policy(), (observations[which], actions, other))
    for i in range(5):
        alone = explained(make_policy(), (observations[which[i : i + 1]], actions[i : i + 1], other[i : i + 1]))
        np.testing.assert_allclose(found.phi[i], alone.phi[0], atol=1e-6)
        np.testing.assert_allclose(found.phi_actions[i], alone.phi_actions[0], atol=1e-6)
    assert not found.phi_actions[3, :, 1].any() and found.phi_actions[0, :, 1].any()


def test_the_size_of_batches_and_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn(SIZES, MIXED * 3)
    whole = explained(make_policy(), rows)
    for module in (attribution_problem, coalition_values):
        monkeypatch.setattr(module, "MIXTURES_AT_ONCE", 7)
    monkeypatch.setattr(factorised, "BLOCK", 5)
    for factorise in (True, False):
        found = explained(make_policy(), rows, factorise=factorise)
        np.testing.assert_allclose(found.phi_actions, whole.phi_actions, atol=1e-5)
        np.testing.assert_allclose(found.value_phi, whole.value_phi, atol=1e-5)


def test_no_decisions_have_no_attributions() -> None:
    found = explained(make_policy(), tuple(part[:0] for part in drawn(SIZES, [3])))
    assert found.phi.shape == (0, 5) and found.phi_actions.shape == (0, 5, N_ACTIONS) and found.explainer == ()


def test_without_the_critic_the_rest_is_the_same() -> None:
    rows = drawn(SIZES, MIXED)
    for factorise in (True, False):
        found = explained(make_policy(), rows, critic=False, factorise=factorise)
        np.testing.assert_allclose(found.phi_actions, explained(make_policy(), rows).phi_actions, atol=1e-5)
        assert np.isnan(found.value_phi[-1]).any() and np.isnan(found.value).all()
        assert found.path == ("factorised" if factorise else "generic")


def test_some_decisions_can_be_taken_out() -> None:
    rows = drawn(SIZES, MIXED)
    found = explained(make_policy(), rows)
    part = found.rows(np.array([6, 2]))
    np.testing.assert_array_equal(part.phi_actions, found.phi_actions[[6, 2]])
    assert part.explainer == ("exact_shapley",) * 2 and part.path == found.path
    assert part.n_players.tolist() == [5, 2]


def test_explaining_leaves_policy_and_global_generators_alone() -> None:
    def generators() -> Any:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    policy = make_policy()
    policy.set_training_mode(True)
    weights, before = [w.clone() for w in policy.parameters()], generators()
    explained(policy, drawn(SIZES, MIXED))
    assert generators() == before
    assert policy.training and policy.mlp_extractor.training
    assert all(torch.equal(a, b) for a, b in zip(weights, policy.parameters(), strict=True))
