"""Accounts in words: what they say follows from the numbers, and chance comes first."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from nas_gym.explain.record import FORCED, ILLEGAL, OUT_OF_BUDGET, UNEXPLAINED, Decision, DecisionLog, Header
from nas_gym.explain.words import LIMIT, UNTOLD, account

HEADER = Header(("activation", "layer 1"), (("relu", "tanh"), ("conv", "pool", "stop")), ("activation", "layer 1"), 3)


def frame(*decisions: Decision) -> pd.DataFrame:
    log = DecisionLog()
    log.write_header(HEADER)
    log.append(decisions)
    return log.frame()


def decision(**changes: Any) -> Decision:
    """A decision for "conv" after "tanh", with probability 1/2 among three: 0.33 × 0.75 (prior) × 2 (tanh)."""
    values: dict[str, Any] = {
        "episode": 0,
        "step": 1,
        "global_step": 1,
        "slot": 1,
        "observation": np.array([2, 0], np.uint8),
        "action": 0,
        "legal": np.array([True, True, True]),
        "probabilities": np.array([0.5, 0.4, 0.1]),
        "runner_up": 1,
        "logp": np.log(0.5),
        "log_uniform": -np.log(3),
        "phi0": np.log(0.25),
        "phi": np.array([np.log(2), 0.0]),
        "entropy": 0.943,
        "flags": 0,
    }
    return Decision(**values | changes)


def test_factors_and_probabilities_are_those_of_the_record() -> None:
    *_, paragraph, limit = account(frame(decision()), HEADER)
    assert paragraph.startswith("layer 1 = conv: probability 50 % among 3 legal choices (uniform: 33 %).")
    assert "prior preference, before any decision, made it 0.75 times as likely" in paragraph
    assert "activation = tanh made it 2.00 times as likely" in paragraph
    assert "Runner-up: pool (40 %)" in paragraph
    assert "not what makes the network good" in limit


def test_close_to_chance_is_said_first() -> None:
    near = decision(probabilities=np.array([0.35, 0.33, 0.32]), logp=np.log(0.35), entropy=1.0976)
    opening, paragraph, _ = account(frame(near), HEADER)
    assert opening.startswith("All free decisions were close to chance")
    assert paragraph.startswith("layer 1 = conv: close to chance, probability 35 %")
    mixed = account(frame(decision(step=0, slot=0), near), HEADER)
    assert mixed[0].startswith("1 of 2 free decisions were close to chance")


def test_forced_illegal_and_less_probable_choices_are_named_as_such() -> None:
    forced = decision(legal=np.array([True, False, False]), logp=0.0, log_uniform=0.0, entropy=0.0, flags=FORCED)
    assert "forced, the only legal choice" in account(frame(forced), HEADER)[0]
    assert "(illegal)" in account(frame(decision(flags=ILLEGAL)), HEADER)[0]
    unlikely = decision(action=2, runner_up=0, logp=np.log(0.1))
    assert "More probable was: conv (50 %)" in account(frame(unlikely), HEADER)[0]


def test_what_was_left_out_for_time_is_said_to_be_and_no_factors_are_promised() -> None:
    later = decision(phi=None, phi0=None, flags=UNEXPLAINED | OUT_OF_BUDGET)
    paragraph, closing = account(frame(later), HEADER)
    assert "explaining had used its share of the time; nas-gym explain RUN makes up for it" in paragraph
    assert closing == UNTOLD and "factors" not in closing
    mixed = account(frame(decision(step=0, slot=0), later), HEADER)
    assert mixed[-1] == LIMIT and "makes up for it" in mixed[-2] and "makes up for it" not in mixed[-3]


def test_without_a_policy_the_choices_are_listed() -> None:
    plain = decision(probabilities=None, logp=None, phi0=None, phi=None, entropy=None, flags=UNEXPLAINED)
    assert account(frame(plain), HEADER) == [
        "No policy of this agent is on record, so no preference can be explained: its choices are listed only.",
        "layer 1 = conv.",
    ]


def test_nothing_on_record_is_said() -> None:
    assert account(frame(), HEADER) == ["No decision of this network is on record."]


@pytest.mark.parametrize("note", ["no attributions: the space has 15 slots, exact values take 14"])
def test_the_headers_note_is_passed_on(note: str) -> None:
    header = Header(HEADER.slots, HEADER.choices, (), 3, note)
    assert account(frame(decision(phi=None, phi0=None, flags=UNEXPLAINED)), header)[0].startswith("No attributions: ")
