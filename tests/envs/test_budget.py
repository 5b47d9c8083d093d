"""The budget: what is charged when, and what happens once it is spent."""

import random
from typing import Any

import numpy as np
import pytest
from episodes import FAILED, CountingEvaluator, finish, play, tiny_env, tiny_space

from nas_gym.errors import BudgetError
from nas_gym.evaluation import Evaluation, HashEvaluator, Repeated, StoredEvaluator
from nas_gym.store import ResultStore
from nas_gym_envs import ArchitectureEnv, ArchitectureVectorEnv, Budget

FIRST = [0, 2, 3, 1]  # relu, fully connected, stop, batch size 64
SECOND = [0, 2, 3, 0]
ALIKE = [0, 0, 3, 1], [1, 0, 3, 1]  # max pooling alone: the activation is never used, so it is the same network


def episode(env: ArchitectureEnv, actions: list[int]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    env.reset()
    return play(env, actions)[-1]


def assert_spent(env: ArchitectureEnv, evaluator: CountingEvaluator) -> None:
    """Whatever the agent does now, every step is truncated and nothing is evaluated."""
    asked = len(evaluator.keys)
    for action in (0, 2, 3, 1, -1, 99, 0):
        before = env.prefix
        observation, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert info["budget_spent"] is True
        assert info["actions"] == list(before) == list(env.prefix)
        assert observation in env.observation_space
        assert "evaluation" not in info
        assert "failure" not in info
    env.reset()
    assert env.step(0)[2:4] == (False, True)
    assert len(evaluator.keys) == asked


def test_the_episode_that_spends_the_last_unit_ends_normally(generator: random.Random) -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator, budget=Budget(evaluations=3))
    for _ in range(3):
        env.reset()
        _, reward, terminated, truncated, info = finish(env, generator)
        assert (terminated, truncated) == (True, False)
        assert reward == info["evaluation"]["accuracy"]
        assert "budget_spent" not in info
    assert env.budget is not None
    assert env.budget.exhausted
    assert env.budget.spent["evaluations"] == 3
    assert len(evaluator.keys) == 3
    assert_spent(env, evaluator)


def test_repeats_cost_evaluations_but_no_unique_ones() -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator, budget=Budget(unique=2))
    for _ in range(5):
        assert episode(env, FIRST)[2]
    assert env.budget is not None
    assert env.budget.spent == {
        "evaluations": 5,
        "unique": 1,
        "epochs": 1,
        "cost_seconds": 1.0,
        "simulated_seconds": 5.0,
    }
    assert not env.budget.exhausted
    assert episode(env, SECOND)[2]
    assert env.budget.spent["unique"] == 2
    assert_spent(env, evaluator)


def test_unique_goes_by_the_key_and_not_by_the_actions() -> None:
    env = tiny_env(budget=Budget(unique=5))
    for actions in ALIKE:
        episode(env, actions)
    assert env.budget is not None
    assert env.budget.spent["unique"] == 1


def test_unique_counts_first_appearances_whoever_trained_them() -> None:
    evaluator = CountingEvaluator()
    store = ResultStore()
    for _ in range(2):  # the second search finds everything in the store
        env = tiny_env(StoredEvaluator(evaluator, store), budget=Budget(unique=2))
        episode(env, FIRST)
        episode(env, SECOND)
        assert env.budget is not None
        assert env.budget.spent == {
            "evaluations": 2,
            "unique": 2,
            "epochs": 2,
            "cost_seconds": 2.0,
            "simulated_seconds": 2.0,
        }
        assert env.budget.exhausted
    assert len(evaluator.keys) == 2


@pytest.mark.parametrize(
    ("limits", "fields", "episodes"),
    [
        ({"epochs": 7}, {"curve": (0.1, 0.2, 0.3)}, 3),
        ({"epochs": 6}, {"curve": (0.1, 0.2, 0.3)}, 2),
        ({"epochs": 4}, {"curve": (0.1, 0.2), **FAILED}, 2),
        ({"cost_seconds": 5.0}, {"cost_seconds": 2.0}, 3),
        ({"cost_seconds": 5.0}, {"cost_seconds": 2.5}, 2),
        ({"evaluations": 9, "cost_seconds": 5.0}, {"cost_seconds": 2.5}, 2),
        ({"evaluations": 2, "cost_seconds": 50.0}, {"cost_seconds": 2.5}, 2),
    ],
)
def test_epochs_and_seconds_of_first_appearances(limits: dict[str, Any], fields: dict[str, Any], episodes: int) -> None:
    evaluator = CountingEvaluator(**fields)
    env = tiny_env(evaluator, budget=Budget(**limits))
    distinct = [[0, 2, 3, size] for size in range(4)]
    assert env.budget is not None
    for actions in distinct[:episodes]:
        assert not env.budget.exhausted
        for _ in range(1 if "evaluations" in limits else 2):  # the second time is free
            outcome = episode(env, actions)
            if env.budget.exhausted:
                break
        assert outcome[2]
    assert env.budget.exhausted
    assert_spent(env, evaluator)


@pytest.mark.parametrize("way", ["scalar", "late", "vector", "vector in turn"])
def test_an_evaluation_is_all_of_its_trainings_and_their_epochs_are_charged(way: str) -> None:
    repeated = Repeated(StoredEvaluator(CountingEvaluator(curve=(0.1, 0.5), cost_seconds=1.5), ResultStore()), 3)
    budget = Budget(epochs=60) if way == "vector in turn" else Budget(evaluations=9)
    env = tiny_env(repeated, budget=budget)
    if way.startswith("vector"):
        vector = ArchitectureVectorEnv.like(env, num_envs=2)
        vector.reset()
        for action in FIRST:
            vector.step(np.array([action, action]))
    else:
        env.late_rewards = way == "late"
        episode(env, FIRST)
        list(env.settle(0) if way == "late" else ())
        episode(env, FIRST)
        list(env.settle(0) if way == "late" else ())
    assert budget.spent == {"evaluations": 2, "unique": 1, "epochs": 6, "cost_seconds": 4.5, "simulated_seconds": 9.0}


def test_searches_that_never_spend_anything_end() -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator, budget=Budget(evaluations=5, idle_episodes=4))
    for _ in range(3):
        assert episode(env, [0, -1])[2]
    assert episode(env, FIRST)[2]  # an evaluation: idleness starts anew
    for _ in range(4):
        assert episode(env, [0, -1])[2]
    assert_spent(env, evaluator)


def test_repeats_are_idle_under_a_budget_of_unique_candidates_alone() -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator, budget=Budget(unique=5, idle_episodes=3))
    for _ in range(4):
        assert episode(env, FIRST)[2]
    assert_spent(env, evaluator)
    env = tiny_env(evaluator, budget=Budget(unique=5, evaluations=50, idle_episodes=3))
    for _ in range(10):
        assert episode(env, FIRST)[2]
    assert env.budget is not None
    assert not env.budget.exhausted


def test_steps_after_the_end_are_idle_too() -> None:
    evaluator = CountingEvaluator()
    env = tiny_env(evaluator, budget=Budget(evaluations=5, idle_episodes=10))
    episode(env, FIRST)
    outcomes = [env.step(0) for _ in range(12)]
    assert [outcome[3] for outcome in outcomes] == [False] * 10 + [True] * 2


def test_environments_share_a_budget() -> None:
    budget, evaluator = Budget(evaluations=1), CountingEvaluator()
    one, other = (ArchitectureEnv(tiny_space(), evaluator, budget=budget) for _ in range(2))
    one.reset()
    other.reset()
    for action in FIRST[:-1]:
        one.step(action)
        other.step(action)
    assert one.step(FIRST[-1])[2:4] == (True, False)
    assert other.step(FIRST[-1])[2:4] == (False, True)
    assert len(evaluator.keys) == 1


def test_without_a_budget_nothing_ends(generator: random.Random) -> None:
    env = tiny_env()
    for _ in range(50):
        env.reset()
        assert finish(env, generator)[2:4] == (True, False)


def test_charges_are_those_of_the_evaluation() -> None:
    budget = Budget(evaluations=10)
    evaluation = Evaluation(key="a", accuracy=0.5, curve=(0.1, 0.5), cost_seconds=1.5, train_seconds=9.0)
    budget.charge(evaluation)
    budget.charge(evaluation)
    assert budget.spent == {"evaluations": 2, "unique": 1, "epochs": 2, "cost_seconds": 1.5, "simulated_seconds": 3.0}


@pytest.mark.parametrize(("limit", "queries"), [(5.0, 4), (4.5, 3), (1.5, 1), (0.1, 1), (6.0, 4)])
def test_simulated_seconds_are_charged_every_time_and_the_last_query_may_overshoot(limit: float, queries: int) -> None:
    """As NATS-Bench counts: ``while total_cost < budget: total_cost += cost of the query``, whatever was known."""
    env = tiny_env(
        CountingEvaluator(cost_seconds=1.5), budget=Budget(simulated_seconds=limit)
    )  # the same candidate again and again
    assert env.budget is not None
    assert not env.budget.foreseeable
    for query in range(1, queries + 1):
        assert not env.budget.exhausted
        assert episode(env, FIRST)[2]
        assert env.budget.spent["simulated_seconds"] == 1.5 * query
    assert env.budget.exhausted
    assert env.budget.spent["cost_seconds"] == 1.5
    env.reset()
    assert env.step(0)[4]["budget_spent"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"simulated_seconds": 0},
        {"idle_episodes": 5},
        {"evaluations": 0},
        {"unique": -1},
        {"epochs": 0},
        {"cost_seconds": 0.0},
        {"cost_seconds": float("nan")},
        {"evaluations": 5, "unique": 0},
        {"evaluations": 5, "idle_episodes": 0},
        {"evaluations": "5"},
    ],
)
def test_a_budget_that_buys_nothing_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(BudgetError, match="budget"):
        Budget(**arguments)


def test_numbers_of_numpy_are_numbers() -> None:
    assert Budget(evaluations=np.int64(3), cost_seconds=np.float64(2)).limits == {"evaluations": 3, "cost_seconds": 2}


def test_hash_evaluator_costs_a_second() -> None:
    env = tiny_env(HashEvaluator(), budget=Budget(cost_seconds=1.0))
    episode(env, FIRST)
    assert env.budget is not None
    assert env.budget.exhausted
