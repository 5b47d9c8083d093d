"""Targets against Shapley values of the target itself: of a table of margins, of contrasts."""

from typing import Any

import numpy as np
import pytest

from nas_gym.errors import ConfigurationError
from nas_gym.explain import Decision, DecisionLog, shapley_values
from nas_gym.explain.targets import TARGET_NAMES, contrast, log_probability, margin, of_row

N_GROUPS, N_ACTIONS = 4, 6
LEGAL = np.array([True, True, False, True, True, False])


def games() -> Any:
    """Log-probabilities of coalitions, (2**n, n_actions), with what is stored of them: at nobody, and shares."""
    logits = np.random.default_rng(0).normal(size=(2**N_GROUPS, N_ACTIONS))
    logp = logits - np.log(np.exp(logits[:, LEGAL]).sum(1, keepdims=True))
    phi = shapley_values(logp.T).T
    return logits, logp, np.where(LEGAL, logp[0], 0.0), np.where(LEGAL, phi, 0.0)


def test_targets_equal_shapley_values_of_the_target_and_lose_the_normaliser() -> None:
    logits, logp, phi0, phi = games()
    action, other = np.array(3), np.array(1)
    tables = {
        "log_probability": logp[:, 3],
        "margin": logits[:, 3] - logits[:, LEGAL].mean(1),
        "contrast": logits[:, 3] - logits[:, 1],
    }
    found = {
        "log_probability": log_probability(phi0, phi, action),
        "margin": margin(phi0, phi, action, LEGAL),
        "contrast": contrast(phi0, phi, action, other),
    }
    for name, table in tables.items():
        start, shares = found[name]
        assert float(start) == pytest.approx(table[0], abs=1e-12), name
        np.testing.assert_allclose(shares, shapley_values(table), atol=1e-12, err_msg=name)


def test_margins_of_all_legal_actions_cancel_and_a_contrast_turns_its_sign() -> None:
    _, _, phi0, phi = games()
    total = sum(margin(phi0, phi, np.array(a), LEGAL)[1] for a in np.flatnonzero(LEGAL))
    np.testing.assert_allclose(total, 0, atol=1e-12)
    there, back = contrast(phi0, phi, np.array(0), np.array(4)), contrast(phi0, phi, np.array(4), np.array(0))
    np.testing.assert_allclose(there[1], -back[1])
    assert there[0] == -back[0]


def test_many_decisions_at_once_equal_one_after_the_other() -> None:
    rng = np.random.default_rng(1)
    phi0, phi = rng.normal(size=(5, N_ACTIONS)), rng.normal(size=(5, N_GROUPS, N_ACTIONS))
    actions, others = np.array([0, 1, 3, 4, 0]), np.array([1, 0, 4, 3, 3])
    legal = np.tile(LEGAL, (5, 1))
    legal[2, 0] = False
    for i in range(5):
        for many, one in (
            (log_probability(phi0, phi, actions), log_probability(phi0[i], phi[i], actions[i])),
            (margin(phi0, phi, actions, legal), margin(phi0[i], phi[i], actions[i], legal[i])),
            (contrast(phi0, phi, actions, others), contrast(phi0[i], phi[i], actions[i], others[i])),
        ):
            np.testing.assert_allclose(many[0][i], one[0])
            np.testing.assert_allclose(many[1][i], one[1])


def decision(**changes: Any) -> Decision:
    _, _, phi0, phi = games()
    fields: dict[str, Any] = {
        "episode": 0,
        "step": 2,
        "global_step": 2,
        "slot": 2,
        "observation": np.array([1, 2, 0, 0], np.uint8),
        "action": 3,
        "legal": LEGAL,
        "runner_up": 1,
        "log_uniform": -np.log(4),
        "phi0": phi0[3],
        "phi": phi[:, 3],
        "phi0_actions": phi0,
        "phi_actions": phi,
        "value0": 0.25,
        "value_phi": np.array([0.5, 0, 0, -0.125]),
    }
    return Decision(**(fields | changes))


def rows(*decisions: Decision) -> list[dict[Any, Any]]:
    log = DecisionLog()
    log.append(decisions)
    return log.frame().to_dict("records")


def test_rows_of_the_log_give_every_target_to_the_precision_they_keep() -> None:
    logits, logp, _, _ = games()
    (row,) = rows(decision())
    for target, table in (
        ("log_probability", logp[:, 3]),
        ("margin", logits[:, 3] - logits[:, LEGAL].mean(1)),
        ("runner_up", logits[:, 3] - logits[:, 1]),
    ):
        start, shares = of_row(row, target)
        assert start == pytest.approx(table[0], abs=1e-6)
        np.testing.assert_allclose(shares, shapley_values(table), atol=2e-3)
    np.testing.assert_allclose(of_row(row)[1], shapley_values(logp[:, 3]), atol=1e-6)
    start, shares = of_row(row, "critic_value")
    assert start == 0.25 and shares.tolist() == [0.5, 0, 0, -0.125]


def test_rows_without_attributions_or_without_a_runner_up_have_no_target() -> None:
    nothing = dict.fromkeys(("phi0", "phi", "phi0_actions", "phi_actions", "value0", "value_phi", "runner_up"))
    bare, mixed, single = rows(decision(**nothing), decision(), decision(runner_up=-1))
    assert [of_row(bare, target) for target in TARGET_NAMES] == [None] * 4
    assert all(of_row(mixed, target) is not None for target in TARGET_NAMES)
    assert of_row(single, "runner_up") is None and of_row(single, "margin") is not None
    (alone,) = rows(decision(**nothing))
    assert [of_row(alone, target) for target in TARGET_NAMES] == [None] * 4


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="log_probability, margin, runner_up, critic_value"):
        of_row(rows(decision())[0], "logit")  # type: ignore[arg-type]
