"""What a retraining came to, in words."""

import io
from typing import Any

import pytest
from rich.console import Console

from nas_gym.winner.telling import RetrainingTeller, print_winner


def content(*seeds: dict[str, Any]) -> dict[str, Any]:
    numbers = {"test_accuracy": 0.5, "test_standard_error": 0.1, "macro_f1": 0.4, "calibration_error": 0.2}
    row = {"precision": 0.5, "recall": 0.5, "f1-score": 0.5, "support": 10.0}
    return {
        "metrics": {**numbers, "plain_accuracy": 0.5},
        "recipe": {"learning_rate": 0.27, "flip_at_test": False},
        "test_touches": {"by_the_search": 1, "by_retrainings": 1},
        "minutes": 1.0,
        "over_seeds": {name: {"mean": 0.5, "sd": 0.1, "n": len(seeds)} for name in ("test_accuracy", "macro_f1")},
        "per_seed": list(seeds),
        "class_names": ["ant", "owl"],
        "classification_report": dict.fromkeys(("ant", "owl", "macro avg", "weighted avg"), row),
    }


def told(*seeds: dict[str, Any]) -> str:
    file = io.StringIO()
    print_winner(content(*seeds), Console(file=file, width=100), "here", plan=False)
    return file.getvalue()


def test_a_training_that_diverged_or_did_not_converge_is_said_to_have() -> None:
    assert "diverged" not in told({"training_loss": 0.69}) and "converge" not in told({"training_loss": 0.69})
    again = told({"training_loss": 0.3, "restarts": 1}, {"training_loss": 0.3, "restarts": 2})
    assert "The training diverged 2 times and began anew, at last with a learning rate of 0.03." in again
    bad = told({"training_loss": 0.7, "restarts": 1})
    assert "diverged once" in bad and "ended at 0.70 nats, no better than the 0.69 of guessing" in bad
    assert "--recipe-arg learning_rate=0.03." in bad
    assert "converge" not in told({}), "retrained before this was noted"


@pytest.mark.parametrize("diverged", [True, False])
def test_a_new_beginning_is_said_when_it_happens(diverged: bool) -> None:
    from nas_gym.winner.training import Step

    file = io.StringIO()
    teller = RetrainingTeller(Console(file=file, width=200), None)
    teller.epoch(0, 1, [], 3)
    teller.stepped(0, 1, Step(1, 9, []))
    if diverged:
        teller.epoch(0, 1, [], 3)
    assert ("begins anew with a third of the learning rate" in file.getvalue()) == diverged


def test_class_names_are_printed_as_they_are() -> None:
    odd = content({})
    row = odd["classification_report"].pop("ant")
    odd["class_names"], odd["classification_report"]["[old]"] = ["[old]", "[/x]"], row
    odd["classification_report"]["[/x]"] = row
    file = io.StringIO()
    print_winner(odd, Console(file=file, width=100), "here", plan=False)
    assert "[old]" in file.getvalue() and "[/x]" in file.getvalue()
