"""What attributions can be of: the chosen action's log-probability, its margin, a contrast, and the critic's value.

One table of coalitions gives the attributions of the log-probabilities of all actions. Shapley values are linear in
what they explain, and so those of every difference of log-probabilities follow from them, for a policy that gives
action a the log-probability log p_a = z_a - log sum_b exp z_b, with z its logits over the legal actions L:

    log-probability   log p_a                                  what the policy made of the action; the default
    margin            log p_a - mean over b in L of log p_b    = z_a - mean of z_b
    contrast          log p_a - log p_c                        = z_a - z_c: why a and not c

The normaliser is the same for all actions and cancels in margin and contrast, which do not saturate as the
probability nears 1. The critic's value is another function, and so a view of its own: what the critic expected.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError

Target = Literal["log_probability", "margin", "runner_up", "critic_value"]
TARGET_NAMES: tuple[Target, ...] = get_args(Target)
Part = tuple[NDArray[np.float64], NDArray[np.float64]]  # start (...), phi (..., n_groups)


def log_probability(phi0: NDArray[np.floating], phi: NDArray[np.floating], action: NDArray[np.integer]) -> Part:
    """Return where the log-probability of an action starts, at the baseline, and its attributions, in nats.

    Args:
        phi0: Log-probabilities at the baseline of every action, (..., n_actions); 0 for illegal ones.
        phi: Their attributions, (..., n_groups, n_actions); 0 for illegal ones.
        action: Legal ones, (...).

    Returns:
        start, float64 (...), and phi, float64 (..., n_groups): their sum is the log-probability.
    """
    action = np.asarray(action)
    start = np.take_along_axis(np.asarray(phi0, np.float64), action[..., None], -1)[..., 0]
    shares = np.take_along_axis(np.asarray(phi, np.float64), action[..., None, None], -1)[..., 0]
    return start, shares


def margin(
    phi0: NDArray[np.floating],
    phi: NDArray[np.floating],
    action: NDArray[np.integer],
    legal: NDArray[np.bool_],
) -> Part:
    """Return start and attributions of an action's margin: its log-probability less the mean over the legal actions.

    Args:
        phi0: See `log_probability`.
        phi: See `log_probability`.
        action: See `log_probability`.
        legal: (..., n_actions), at least one of them.
    """
    weights = legal / np.asarray(legal).sum(-1, keepdims=True)
    start, shares = log_probability(phi0, phi, action)
    mean = np.einsum("...a,...a->...", np.asarray(phi0, np.float64), weights)
    return start - mean, shares - np.einsum("...ga,...a->...g", np.asarray(phi, np.float64), weights)


def contrast(
    phi0: NDArray[np.floating],
    phi: NDArray[np.floating],
    action: NDArray[np.integer],
    other: NDArray[np.integer],
) -> Part:
    """Return start and attributions of log p(action) - log p(other): what made it the one and not the other.

    Args:
        phi0: See `log_probability`.
        phi: See `log_probability`.
        action: See `log_probability`.
        other: Legal too, (...).
    """
    start, shares = log_probability(phi0, phi, action)
    start_other, shares_other = log_probability(phi0, phi, other)
    return start - start_other, shares - shares_other


def of_row(row: dict[Any, Any], target: Target = "log_probability") -> tuple[float, NDArray[np.float64]] | None:
    """Return start and attributions, float64 (n_groups,), of one row of the decision log.

    The log keeps the attributions of the chosen action as float32 and those of all actions as float16, so that margins
    and contrasts are right to about a thousandth of the attributions they come from.

    Args:
        row: Of `read_decisions`, as a dictionary: ``frame.to_dict("records")``.
        target: What is explained.

    Returns:
        None where the row has no such attributions: no policy, none computed, no critic's, or no runner-up.

    Raises:
        ConfigurationError: The target is unknown.
    """
    if target not in TARGET_NAMES:
        raise ConfigurationError(f"a target is one of {', '.join(TARGET_NAMES)}, got {target!r}")
    if target == "log_probability":
        return None if _absent(row["phi"]) else (float(row["phi0"]), np.asarray(row["phi"], np.float64))
    if target == "critic_value":
        return None if _absent(row["value_phi"]) else (float(row["value0"]), np.asarray(row["value_phi"], np.float64))
    if _absent(row["phi_actions"]):
        return None
    phi0, phi, action = _all_actions(row)
    if target == "margin":
        legal = np.unpackbits(np.frombuffer(row["mask"], np.uint8), count=len(phi0)).astype(bool)
        start, shares = margin(phi0, phi, action, legal)
    elif row["runner_up"] is None or not row["runner_up"] >= 0:
        return None
    else:
        start, shares = contrast(phi0, phi, action, np.asarray(int(row["runner_up"])))
    return float(start), shares


def _all_actions(row: dict[Any, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    phi0 = np.asarray(row["phi0_actions"], np.float64)
    phi = np.asarray(row["phi_actions"], np.float64).reshape(-1, len(phi0))
    phi[:, int(row["action"])] = row["phi"]  # the more precise
    return phi0, phi, np.asarray(int(row["action"]))


def _absent(values: Any) -> bool:
    return values is None or np.ndim(values) == 0  # NaN, where pandas has a column of numbers
