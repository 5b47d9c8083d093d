"""The script that compares views of credit and policies with tables: its measures by hand, and the whole of it once."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from nas_gym.envs import ArchitectureEnv
from nas_gym.evaluation import TabularEvaluator
from nas_gym.explain.prefixes import Truth, truth_of
from nas_gym.objective import Accuracy
from nas_gym.spaces import Prefix
from nas_gym.tables import load_benchmark
from nas_gym_agents.attribution import attribute
from nas_gym_agents.maskable_ppo import MaskablePPOSearch
from tests.explain.small_tables import full_table

SCRIPTS = Path(__file__).parents[2] / "scripts"
TABLE = full_table(sizes=(3, 3, 4))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the script, by name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_credit  # noqa: F401

    return sys.modules


@pytest.fixture
def alignment(scripts: Any) -> Any:
    return scripts["credit_alignment"]


@pytest.fixture
def agreement(scripts: Any) -> Any:
    return scripts["credit_agreement"]


@pytest.fixture(scope="module")
def told() -> Truth:
    return truth_of(TABLE.space(), TabularEvaluator(TABLE), Accuracy())


@pytest.fixture(scope="module")
def env() -> ArchitectureEnv:
    return ArchitectureEnv(TABLE.space(), TabularEvaluator(TABLE))


@pytest.fixture
def view(alignment: Any, env: ArchitectureEnv) -> Any:
    """What an untrained policy says."""
    return alignment.PolicyView(MaskablePPOSearch().make(env, 0), env)


def test_views_agree_with_themselves_and_disagree_with_their_opposite(agreement: Any, told: Truth) -> None:
    exact = agreement.Exact.of(told)
    same = {prefix: exact.credit(prefix) for prefix in told.prefixes}
    found = agreement.agreement(exact, same)
    assert (found["spearman"], found["top"], found["error"]) == pytest.approx((1.0, 1.0, 0.0))
    assert (found["chance"], found["networks"]) == (pytest.approx(1 / 3), len(told.prefixes))
    opposite = agreement.agreement(exact, {prefix: -credit for prefix, credit in same.items()})
    assert opposite["spearman"] == pytest.approx(-1.0) and opposite["top"] == 0.0


def test_decisions_that_a_view_can_not_tell_of_are_left_out(agreement: Any, told: Truth) -> None:
    exact = agreement.Exact.of(told)
    credit = exact.credit((0, 1, 2)).copy()
    credit[1] = np.nan
    assert agreement.agreement(exact, {(0, 1, 2): credit, (0, 0, 0): exact.credit((0, 0, 0))})["networks"] == 1.0


def test_rank_correlation_is_scipys(agreement: Any) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 4, (2, 9)).astype(float)
    assert agreement.spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert agreement.spearman(np.ones(3), np.arange(3.0)) == 0.0


def test_an_effect_is_what_knowing_a_slot_tells_of_an_action(agreement: Any, alignment: Any, told: Truth) -> None:
    effects = alignment.Effects(agreement.Exact.of(told), told.rewards)
    cube = told.rewards.reshape(3, 3, 4)
    known = (2, 1)
    nothing, first, second = cube.mean(axis=(0, 1)), cube[2].mean(axis=0), cube[:, 1].mean(axis=0)
    both = cube[known]
    wanted = [((first - nothing) + (both - second)) / 2, ((second - nothing) + (both - first)) / 2]
    np.testing.assert_allclose(effects(known), wanted)


def test_attributions_are_those_of_the_recorder(alignment: Any, view: Any, env: ArchitectureEnv) -> None:
    prefix, action = (2, 1), 3
    observation, legal = env.encoder.encode(prefix)[None], env.space.legal(prefix)[None]
    told = attribute(
        view.policy,
        observation,
        np.array([action]),
        legal,
        baseline=env.encoder.encode(()),
        groups=tuple(env.encoder.groups),
    )
    np.testing.assert_allclose(view.attributions(prefix)[:, action], told.phi[0][:2], atol=1e-6)


def test_going_on_with_a_policy_is_an_average_over_its_choices(view: Any, told: Truth) -> None:
    found = view.continued(told.prefixes, told.rewards)
    space = told.space

    def value(prefix: Prefix) -> float:
        if space.next_slot(prefix) is None:
            return float(told.rewards[told.rows[prefix]])
        logps = view.logps([prefix])[0]
        legal = np.flatnonzero(space.legal(prefix)).tolist()
        return sum(float(np.exp(logps[a])) * value((*prefix, a)) for a in legal)

    for prefix in [(), (1,), (2, 0)]:
        assert found[prefix] == pytest.approx(value(prefix), abs=1e-6)


class Planted:
    """A policy whose log-odds are what the table expects: its attributions are the effects, up to a constant."""

    def __init__(self, space: Any, effects: Any, sign: float) -> None:
        self.space, self._effects, self._sign = space, effects, sign

    def attributions(self, prefix: Prefix) -> Any:
        return self._sign * 5 * self._effects(prefix) + 1.0

    def logps(self, prefixes: list[Prefix]) -> Any:
        return np.stack([self._sign * self._effects(prefix).sum(axis=0) for prefix in prefixes])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_policy_that_is_moved_by_what_earns_is_found_to_be(
    agreement: Any, alignment: Any, told: Truth, sign: float
) -> None:
    effects = alignment.Effects(agreement.Exact.of(told), told.rewards)
    planted = Planted(told.space, effects, sign)
    visited = {(0, 1): 2, (2, 2): 1, (1, 0): 1, (0,): 4, (): 1}
    sides = alignment.attributed(planted, effects, visited)
    assert [one.weight for one in sides] == [2, 1, 1], "with two decided slots or more"
    for both in (sides, alignment.between_slots(sides)):
        aligned = alignment.Alignment(both)
        assert aligned.value == pytest.approx(sign)
        generator = np.random.default_rng(0)
        drawn = [aligned.permuted(generator, 3, 4) for _ in range(300)]
        assert abs(np.mean(drawn)) < 0.15 and max(drawn) <= 1.0 + 1e-9
        assert np.mean(np.abs(drawn) >= 1 - 1e-9) < 0.15, "of 24 ways to deal the actions out one is the true one"


def test_an_alignment_is_the_weighted_mean_of_rank_correlations(alignment: Any) -> None:
    generator = np.random.default_rng(3)
    sides = [
        alignment.Sides(slot, np.arange(4), generator.normal(size=(2, 4)), generator.normal(size=(2, 4)), weight)
        for slot, weight in ((0, 1), (0, 3), (1, 2))
    ]
    each = [spearmanr(one.policy.ravel(), one.table.ravel()).statistic for one in sides]
    assert alignment.Alignment(sides).value == pytest.approx(np.average(each, weights=[1, 3, 2]))


def test_dealing_out_anew_permutes_the_actions_of_a_slot_alike(alignment: Any) -> None:
    values = np.arange(12.0).reshape(1, 12)
    sides = [
        alignment.Sides(0, np.arange(12), values, values, 1),
        alignment.Sides(0, np.arange(12), values, -values, 1),
    ]
    aligned = alignment.Alignment(sides)
    generator = np.random.default_rng(0)
    assert all(aligned.permuted(generator, 1, 12) == pytest.approx(0.0) for _ in range(20)), "they cancel out each time"


@pytest.mark.slow
def test_the_whole_of_it(scripts: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    small = "--env nas_gym/Table-v0 --seeds 2 --evaluations 60 --sample 20 --permutations 20 --json"
    monkeypatch.setattr(sys, "argv", ["compare_credit.py", *small.split()])
    scripts["compare_credit"].main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["found"]["nas_gym/Table-v0"]
    assert found["rows"] == len(truth_of(load_benchmark().space(), TabularEvaluator(load_benchmark()), Accuracy()).rows)
    for told in found["agreement"].values():
        for value, low, high in told.values():
            assert low <= value <= high
    assert set(found["alignment"]) == set(found["chance"])
    assert all(0 < test["p"] <= 1 for test in found["chance"].values() if "p" in test)
