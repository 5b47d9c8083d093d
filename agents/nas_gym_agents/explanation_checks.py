"""Checks of a run's attributions, each with a number, a rule where there is one, and a sentence for anybody."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_gym_agents.attribution import Attributions, Options, attribute
from nas_gym_agents.coalition_values import Groups
from nas_gym_agents.faithfulness import (
    Explained,
    Explainer,
    baseline_agreement,
    infidelity,
    randomisation_correlations,
    unseen_share,
)
from nas_gym_agents.policy_paths import LARGEST_PATH_ERROR

MOST_DECISIONS = 64  # that the checks look at
MOST_WITH_BASELINES = 16  # of them, whose baseline is changed: each costs as much as 16
LARGEST_RESIDUAL, LARGEST_LOGP_ERROR = 1e-3, 1e-4  # nats
LARGEST_INFIDELITY = 0.1  # of a random attribution's
LARGEST_CORRELATION, RANDOM_POLICIES = 0.2, 10
LEAST_TOP_AGREEMENT = 0.5


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Stable, for programs.
        value: What was measured; None where there was nothing to measure.
        limit: That the value is compared with; None where there is none.
        passed: None where there is no rule, or nothing to measure.
        sentence: What it means, for a person.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON-ready data; a value that is no number is None."""
        finite = self.value is not None and math.isfinite(self.value)
        return asdict(self) | {"value": self.value if finite else None}


def run_checks(
    policy: Any,
    observations: NDArray[np.float32],
    actions: NDArray[np.int64],
    masks: NDArray[np.bool_] | None,
    attributions: Attributions,
    *,
    baseline: NDArray[np.float32],
    groups: Groups,
    acted_logp: NDArray[np.floating] | None = None,
    explainer: Explainer = attribute,
    options: Options | None = None,
    seed: int = 0,
) -> list[Check]:
    """Return the checks of the attributions of a policy's decisions; forced ones are left out.

    Args:
        policy: With the weights that took the decisions.
        observations: float32 (n, m); all of them count as "seen", and up to `MOST_DECISIONS` are drawn for the rest.
        actions: int (n,).
        masks: bool (n, n_actions), or None.
        attributions: Of these decisions, compared with the empty prefix.
        baseline: Observation of the empty prefix, (m,).
        groups: Names and places of the groups.
        acted_logp: Log-probabilities the policy acted with, (n,); None: not known, and not checked.
        explainer: What computed the attributions: `attribute`, or what takes its arguments.
        options: How; None: as `attribute` does unless told.
        seed: Of what is drawn.
    """
    generator = np.random.default_rng(seed)
    free = np.arange(len(actions)) if masks is None else np.flatnonzero(masks.sum(1) > 1)
    drawn = generator.permutation(free)[:MOST_DECISIONS]
    everything = Explained(
        policy, observations, actions, masks, baseline, groups, attributions, explainer, options or Options()
    )
    some = everything.rows(drawn)
    checks = [_additivity(some.attributions, some.actions)]
    if acted_logp is not None:
        checks.append(_match(some.attributions, some.actions, np.asarray(acted_logp, np.float64)[drawn]))
    checks += [_path(attributions), *_sampling(some.attributions)]
    checks += [_infidelity(some, generator), _randomisation(some, generator)]
    checks.append(_baselines(some.rows(np.arange(min(len(drawn), MOST_WITH_BASELINES))), observations, generator))
    checks.append(_unseen(some, observations, generator))
    return checks


def _additivity(found: Attributions, actions: NDArray[np.int64]) -> Check:
    own = found.log_probabilities[np.arange(len(actions)), actions]
    residual = _largest(found.phi0 + found.phi.sum(1) - own)
    sentence = (
        "The parts of every explanation add up to the log-probability that the policy itself gives the action, "
        f"to {_number(residual)} nats."
    )
    return _judged("additivity", residual, LARGEST_RESIDUAL, sentence, "The parts do not add up to what they explain:")


def _match(found: Attributions, actions: NDArray[np.int64], acted: NDArray[np.float64]) -> Check:
    error = _largest(found.log_probabilities[np.arange(len(actions)), actions] - acted)
    sentence = f"The policy that was explained is the one that acted: log-probabilities agree to {_number(error)} nats."
    warning = "What was explained is not the policy that acted (other weights, masks or observations):"
    return _judged("log_probability_match", error, LARGEST_LOGP_ERROR, sentence, warning)


def _path(found: Attributions) -> Check:
    error = None if math.isnan(found.path_error) else found.path_error
    if error is None:
        sentence = "Every mixture went through the policy's own methods; there was no faster way to compare with."
        return Check("fast_path", None, LARGEST_PATH_ERROR, None, sentence)
    if found.path == "generic":
        sentence = (
            f"The fast way to compute values differed by {_number(error)} from the policy's own methods, and was not "
            "used: the explanations are right, and took longer."
        )
        return Check("fast_path", error, LARGEST_PATH_ERROR, None, sentence)
    sentence = f"The fast way to compute values agrees with the policy's own methods to {_number(error)}."
    return Check("fast_path", error, LARGEST_PATH_ERROR, error <= LARGEST_PATH_ERROR, sentence)


def _sampling(found: Attributions) -> list[Check]:
    n = sum(name == "permutation_sampling" for name in found.explainer)
    if not n:
        return []
    error = float(found.std_err.max())
    sentence = (
        f"{n} of {len(found.explainer)} explanations looked at are estimates from sampled orders, since too many "
        f"groups vary for exact ones; the largest standard error of a part is {_number(error)} nats."
    )
    return [Check("sampling_error", error, None, None, sentence)]


def _infidelity(some: Explained, generator: np.random.Generator) -> Check:
    moved = some.rows(np.flatnonzero(np.abs(some.attributions.phi).max(1, initial=0.0) > 0))
    if not len(moved.actions):
        return _nothing("infidelity", LARGEST_INFIDELITY, "No decision looked at was moved by an earlier one")
    found, random = infidelity(moved, generator)
    ratio = found / random if random > 0 else float("inf")
    sentence = (
        "When random sets of earlier decisions are undone, the explanations foretell how the log-probability changes "
        f"with {_percent(ratio)} of the squared error of random explanations of the same size."
    )
    warning = "The explanations do not foretell what undoing earlier decisions does (or these act together strongly):"
    return _judged("infidelity", ratio, LARGEST_INFIDELITY, sentence, warning)


def _randomisation(some: Explained, generator: np.random.Generator) -> Check:
    found = randomisation_correlations(some, generator, RANDOM_POLICIES)
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return _nothing("randomisation", LARGEST_CORRELATION, "No decision looked at has three earlier ones to rank")
    mean, error = float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))
    sentence = (
        f"With random weights in place of the learned ones, the ranking of the earlier decisions changes: rank "
        f"correlation {mean:.2f} ± {error:.2f} over {len(found)} random policies. (It passes unless it is further from "
        f"0 than {LARGEST_CORRELATION} by more than two standard errors: with few decisions to rank it is noisy.)"
    )
    warning = "The explanations do not depend enough on what was learned:"
    passed = abs(mean) < LARGEST_CORRELATION + 2 * error
    return Check("randomisation", mean, LARGEST_CORRELATION, passed, sentence if passed else f"{warning} {sentence}")


def _baselines(some: Explained, pool: NDArray[np.float32], generator: np.random.Generator) -> Check:
    correlation, top = baseline_agreement(some, pool, generator)
    if math.isnan(top):
        return _nothing("baseline_sensitivity", LEAST_TOP_AGREEMENT, "No decision looked at has two earlier ones")
    ranks = "" if math.isnan(correlation) else f" (rank correlation {correlation:.2f})"
    sentence = (
        "Compared with 16 states of the same step in place of the empty start, the most important earlier decision is "
        f"the same in {_percent(top)} of the cases{ranks}."
    )
    if top < LEAST_TOP_AGREEMENT:
        sentence += " The answer depends on what is compared with: read it as 'compared with having decided nothing'."
    return Check("baseline_sensitivity", top, LEAST_TOP_AGREEMENT, None, sentence)


def _unseen(some: Explained, pool: NDArray[np.float32], generator: np.random.Generator) -> Check:
    share = unseen_share(some, pool, generator)
    if math.isnan(share):
        return _nothing("off_manifold_share", None, "No decision looked at has two earlier ones")
    sentence = (
        f"{_percent(share)} of the partial states that explanations are made of do not occur among the {len(pool)} "
        "recorded ones: the explanations tell what the policy computes there, not what the search came across."
    )
    return Check("off_manifold_share", share, None, None, sentence)


def _judged(name: str, value: float, limit: float, sentence: str, warning: str) -> Check:
    passed = value < limit
    return Check(name, value, limit, passed, sentence if passed else f"{warning} {sentence}")


def _nothing(name: str, limit: float | None, reason: str) -> Check:
    return Check(name, None, limit, None, f"{reason}, so there was nothing to check.")


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.abs(values).max(initial=0.0))


def _number(value: float) -> str:
    return f"{value:.1e}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"
