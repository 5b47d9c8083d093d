"""The order of a run's networks: luck is taken back, failures are not forgotten, nothing half-done counts."""

import random
import statistics
from dataclasses import replace

import pytest

from nas_gym.architecture import Architecture, Candidate, Operation
from nas_gym.evaluation import Evaluation
from nas_gym.objective import named_objective
from nas_gym.ranking import Answers, Plan, order, thoroughness

CANDIDATE = Candidate(Architecture((2,), (Operation("linear", (("units", 2),)),)))
BY_ACCURACY = named_objective("accuracy")
THREE = Plan(confirm=3, confirm_repeats=2)


def score(evaluation: Evaluation) -> float:
    return float(BY_ACCURACY(evaluation))


def answers(**accuracies: list[float | None]) -> dict[str, Answers]:
    """Return what a store holds, by key: the accuracies of the repeats, None for a failed one."""
    found = {}
    for key, values in accuracies.items():
        found[key] = Answers(CANDIDATE)
        for repeat, accuracy in enumerate(values):
            status = {"status": "diverged", "reason": "it did"} if accuracy is None else {}
            found[key].add(Evaluation(key=key, repeat=repeat, accuracy=accuracy, **status))  # type: ignore[arg-type]
    return found


def keys(found: dict[str, Answers], plan: Plan) -> str:
    return "".join(key for key, _, _ in order(found, plan, score))


def test_without_anything_evaluated_again_the_order_is_that_of_the_search() -> None:
    found = answers(a=[0.9], b=[0.95], c=[0.8], d=[None])
    assert keys(found, THREE) == keys(found, Plan()) == "bac"
    assert order({}, THREE, score) == []


def test_equal_scores_are_ordered_by_parameters() -> None:
    found = answers(a=[0.9], b=[0.9])
    found["a"].add(Evaluation(key="a", accuracy=0.9, parameters=10))
    assert keys(found, Plan()) == "ba"


def test_the_winner_is_the_best_by_the_mean_among_those_evaluated_again() -> None:
    found = answers(lucky=[0.99, 0.90, 0.90], steady=[0.96, 0.96, 0.96], third=[0.95, 0.91, 0.91], fourth=[0.945])
    ranked = order(found, THREE, score)
    assert [key for key, _, _ in ranked] == ["steady", "lucky", "third", "fourth"]
    assert [n for _, _, n in ranked] == [3, 3, 3, 1]
    mean = next(evaluation for key, evaluation, _ in ranked if key == "lucky")
    assert mean.accuracy == pytest.approx(0.93)
    assert mean.standard_error == pytest.approx(statistics.stdev([0.99, 0.90, 0.90]) / 3**0.5)


def test_one_lucky_training_does_not_beat_several() -> None:
    found = answers(a=[0.99, 0.90, 0.90], b=[0.95, 0.91, 0.91], c=[0.949])
    assert keys(found, Plan(confirm=2, confirm_repeats=2)) == "abc", "c's one training is above both means"


def test_a_confirmation_that_is_not_complete_changes_nothing() -> None:
    found = answers(a=[0.99, 0.5, 0.5], b=[0.95, 0.95], c=[0.9, 0.9, 0.9])
    assert keys(found, THREE) == "abc"
    found["b"].add(Evaluation(key="b", repeat=2, accuracy=0.95))
    assert keys(found, THREE) == "bca"


def test_more_repeats_than_planned_do_not_count() -> None:
    found = answers(a=[0.9, 0.9, 0.9, 1.0], b=[0.91, 0.91, 0.91, 0.0], c=[0.5, 0.5, 0.5])
    assert keys(found, THREE) == "bac"


def test_a_failure_of_an_evaluation_again_puts_a_network_behind_the_steady_ones() -> None:
    found = answers(a=[0.99, None, 0.99], b=[0.9, 0.9, 0.9], c=[0.8, 0.8, 0.8], d=[0.7])
    ranked = order(found, THREE, score)
    assert [key for key, _, _ in ranked] == ["b", "c", "a", "d"]
    assert ranked[2][1].accuracy == 0.99 and ranked[2][2] == 1
    assert keys(answers(a=[0.99, None], b=[0.9, None]), Plan(confirm=2, confirm_repeats=1)) == "ab"


def test_repeats_of_the_search_count_from_the_start() -> None:
    found = answers(a=[1.0, 0.8], b=[0.92, 0.92])
    assert keys(found, Plan(repeats=2)) == "ba"
    confirmed = answers(a=[1.0, 0.8, 1.0], b=[0.92, 0.92, 0.0])
    assert keys(confirmed, Plan(repeats=2, confirm=2, confirm_repeats=1)) == "ab"


def test_another_objective_orders_by_its_reward() -> None:
    found = answers(a=[0.9], b=[0.8])
    objective = named_objective("soft-parameters:100:0:-1")
    found["a"].add(Evaluation(key="a", accuracy=0.9, parameters=200))
    found["b"].add(Evaluation(key="b", accuracy=0.8, parameters=100))
    assert [key for key, _, _ in order(found, Plan(), lambda one: float(objective(one)))] == ["b", "a"]


def test_whole_trainings_come_before_those_that_were_stopped() -> None:
    found = answers(a=[0.5], b=[0.4])
    stopped = Evaluation(key="c", fidelity="stop=10", accuracy=0.9)
    found["c"] = Answers(CANDIDATE)
    found["c"].add(stopped)
    found["c"].add(replace(stopped, fidelity="stop=9", accuracy=0.99))
    found["d"] = Answers(CANDIDATE)
    found["d"].add(Evaluation(key="d", fidelity="data=0.5", accuracy=0.99))
    assert keys(found, Plan()) == "abc"
    assert order(found, Plan(), score)[2][1].accuracy == 0.9, "of several stops the last counts"
    assert thoroughness("full") > thoroughness("stop=10") > thoroughness("stop=9") > thoroughness("epochs=5") == 0


def test_of_successive_halving_counts_how_far_this_search_let_a_network_go() -> None:
    """Others, with the same store, may have trained it in full, to other stops, or further than this search did."""
    plan = Plan(confirm=1, confirm_repeats=1, stops=(1, 3))
    found = {key: Answers(CANDIDATE, told=told) for key, told in (("a", 0.5), ("b", 0.4), ("c", 0.6))}
    for key, fidelity, accuracy in (
        ("a", "stop=1", 0.3),
        ("a", "stop=3", 0.5),
        ("b", "stop=1", 0.4),
        ("b", "stop=3", 0.9),  # by another search: this one stopped it after one epoch
        ("b", "full", 0.95),
        ("c", "stop=1", 0.6),
        ("c", "stop=2", 0.99),
    ):
        found[key].add(Evaluation(key=key, fidelity=fidelity, accuracy=accuracy))
    ranked = order(found, plan, score)
    assert [(key, one.fidelity) for key, one, _ in ranked] == [("a", "stop=3"), ("c", "stop=1"), ("b", "stop=1")]
    for repeat in range(2):
        found["a"].add(Evaluation(key="a", repeat=repeat, accuracy=0.7))
    key, one, n = order(found, plan, score)[0]
    assert (key, one.fidelity, n) == ("a", "full", 2)


def test_at_a_fidelity_nothing_else_counts() -> None:
    found = answers(a=[0.1], b=[0.9])
    for key, accuracy in (("a", 0.6), ("b", 0.5)):
        found[key].add(Evaluation(key=key, fidelity="epochs=2", accuracy=accuracy))
        found[key].add(Evaluation(key=key, fidelity="stop=3", accuracy=1 - accuracy))
    assert keys(found, Plan(fidelity="epochs=2")) == "ab"


@pytest.mark.parametrize("seed", range(20))
def test_the_order_against_its_definition(seed: int) -> None:
    chance = random.Random(seed)
    values = {key: [chance.random() for _ in range(3)] for key in "abcdefg"}
    found = answers(**{key: list(row) for key, row in values.items()})
    searched = sorted(values, key=lambda key: -values[key][0])
    again = sorted(searched[:3], key=lambda key: -statistics.mean(values[key]))
    assert keys(found, THREE) == "".join([*again, *searched[3:]])
