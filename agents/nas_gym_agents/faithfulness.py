"""Whether attributions are true to a policy: measures that any explainer can be put to.

They leave the global random generators as they found them.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas_gym_agents.attribution import Attributions, Options, attribute
from nas_gym_agents.coalition_values import Groups
from nas_gym_agents.policy_outputs import log_probabilities

Explainer = Callable[..., Attributions]  # with the arguments of `attribute`
FEW = 3  # players that a rank correlation takes at least


@dataclass(frozen=True)
class Explained:
    """n decisions of a policy, with their attributions.

    Attributes:
        policy: That took them.
        observations: Raw, float32 (n, m).
        actions: int (n,).
        masks: bool (n, n_actions), or None.
        baseline: Observation of the empty prefix, raw, (m,).
        groups: Names and places of the groups.
        attributions: What is put to the test.
        explainer: What computed them, to be asked again.
        options: How.
    """

    policy: Any
    observations: NDArray[np.float32]
    actions: NDArray[np.int64]
    masks: NDArray[np.bool_] | None
    baseline: NDArray[np.float32]
    groups: Groups
    attributions: Attributions
    explainer: Explainer = attribute
    options: Options = Options()  # noqa: RUF009  # frozen

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Which groups differ from the baseline, bool (n, n_groups)."""
        differs = self.observations != self.baseline
        return np.stack([differs[:, part].any(1) for _, part in self.groups], axis=1)

    def rows(self, which: NDArray[np.integer]) -> "Explained":
        """Return some of the decisions."""
        masks = None if self.masks is None else self.masks[which]
        parts = self.observations[which], self.actions[which], masks
        return replace(
            self, observations=parts[0], actions=parts[1], masks=parts[2], attributions=self.attributions.rows(which)
        )

    def again(self, policy: Any, baseline: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return attributions of the same decisions, (n, n_groups), with another policy or baseline."""
        options = replace(self.options, critic=False)
        what = self.observations, self.actions, self.masks
        return self.explainer(policy, *what, baseline=baseline, groups=self.groups, options=options).phi

    def chosen(self, observations: NDArray[np.float32], masks: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """Return the log-probability of the chosen action at k observations per decision, (n, k), from (n, k, m)."""
        n, k, m = observations.shape
        flat = observations.reshape(-1, m)
        if self.options.preprocess is not None:
            flat = np.asarray(self.options.preprocess(flat), dtype=np.float32)
        repeated = None if masks is None else np.repeat(masks, k, axis=0)
        logps = log_probabilities(self.policy, flat, repeated).reshape(n, k, -1)
        return np.take_along_axis(logps, self.actions[:, None, None], axis=2)[:, :, 0]

    def mixtures(self, switches: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the observations with some groups only, (n, k, m); the others are the baseline's.

        Args:
            switches: Which groups are the observation's, (n, k, n_groups).
        """
        mixed = np.broadcast_to(self.baseline, (*switches.shape[:2], len(self.baseline))).copy()
        for place, (_, part) in enumerate(self.groups):
            on = switches[:, :, place, None]
            mixed[:, :, part] = np.where(on, self.observations[:, None, part], mixed[:, :, part])
        return mixed


def infidelity(explained: Explained, generator: np.random.Generator, *, n_subsets: int = 50) -> tuple[float, float]:
    """Return the infidelity of the attributions, and that of random ones with the same sum of squares.

    Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations", definition 2.1 (arXiv 1901.09392), with
    perturbations that set a random subset S of the groups that vary back to the baseline: the mean of
    (sum over S of phi - (v(N) - v(N without S)))**2, in nats squared. The values v are the policy's own.
    """
    varies, phi = explained.varies, explained.attributions.phi
    removed = (generator.random((len(phi), n_subsets, phi.shape[1])) < 0.5) & varies[:, None]
    drop = -explained.chosen(explained.mixtures(~removed), explained.masks)
    drop += explained.chosen(explained.observations[:, None], explained.masks)
    other = generator.normal(size=(10, *phi.shape)) * varies
    lengths = np.linalg.norm(phi, axis=1) / np.maximum(np.linalg.norm(other, axis=2), 1e-300)
    other *= lengths[:, :, None]
    found, random = (np.mean((np.einsum("nkg,...ng->...nk", removed, one) - drop) ** 2) for one in (phi, other))
    return float(found), float(random)


def randomised_policies(policy: Any, n: int, generator: np.random.Generator) -> Iterator[Any]:
    """Yield a copy of a policy with all weights drawn anew, each tensor's with the mean and deviation of the policy's.

    It is one copy, which the next one drawn changes.
    """
    other = copy.deepcopy(policy)
    for _ in range(n):
        with torch.no_grad():
            for own, weights in zip(policy.parameters(), other.parameters(), strict=True):
                drawn = torch.as_tensor(generator.normal(size=tuple(own.shape)), dtype=own.dtype)
                weights.copy_(own.mean() + own.std(correction=0) * drawn.to(own.device))
        yield other


def randomisation_correlations(explained: Explained, generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return how alike attributions are to those of policies with random weights, float64 (n,): one per policy.

    Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv 1810.03292), all layers randomised at once. It is the
    rank correlation of abs(phi) over the groups that vary, mean over decisions with at least `FEW` of these: groups
    that don't vary have no part in it, since they tie at 0 for every policy. NaN where there is no such decision.
    """
    enough = explained.rows(np.flatnonzero(explained.varies.sum(1) >= FEW))
    found = []
    for other in randomised_policies(explained.policy, n, generator):
        phi = enough.again(other, enough.baseline) if len(enough.actions) else enough.attributions.phi
        found.append(_mean_rank_correlation(np.abs(enough.attributions.phi), np.abs(phi), enough.varies))
    return np.array(found)


def baseline_agreement(
    explained: Explained, pool: NDArray[np.float32], generator: np.random.Generator, *, k: int = 16
) -> tuple[float, float]:
    """Return how alike attributions are to those with ``k`` observations of the same step as baseline.

    Args:
        explained: With the empty prefix as baseline.
        pool: Recorded observations, (n_pool, m). Of the same step are those with equally many decided groups.
        generator: Draws k of them per step.
        k: Observations per baseline, fewer if there are fewer.

    Returns:
        The mean rank correlation (NaN without decisions of at least `FEW` groups), and the share of decisions with
        at least 2 groups whose largest abs(phi) is of the same group (NaN without such decisions).
    """
    decided = replace(explained, observations=pool).varies.sum(1)
    varies, phi = explained.varies, explained.attributions.phi
    other = np.full_like(phi, np.nan)
    for step in np.unique(varies.sum(1)).tolist():
        rows = np.flatnonzero(varies.sum(1) == step)
        same = np.flatnonzero(decided == step)
        if step >= 2 and len(same):
            background = pool[generator.choice(same, min(k, len(same)), replace=False)]
            other[rows] = explained.rows(rows).again(explained.policy, background)
    told = np.isfinite(other).all(1) & (np.abs(other).max(1) > 0) & (np.abs(phi).max(1) > 0)
    if not told.any():
        return float("nan"), float("nan")
    same_top = np.abs(phi[told]).argmax(1) == np.abs(other[told]).argmax(1)
    return _mean_rank_correlation(phi[told], other[told], varies[told]), float(same_top.mean())


def unseen_share(
    explained: Explained, pool: NDArray[np.float32], generator: np.random.Generator, *, n_coalitions: int = 64
) -> float:
    """Return the share of random coalitions whose mixture is among none of the recorded observations, ``pool``.

    NaN where no decision has 2 groups that vary: nobody and everybody are states that were there.
    """
    enough = explained.rows(np.flatnonzero(explained.varies.sum(1) >= 2))
    switches = generator.random((len(enough.actions), n_coalitions, len(explained.groups))) < 0.5
    mixed = enough.mixtures(switches & enough.varies[:, None]).reshape(-1, pool.shape[1])
    seen = {row.tobytes() for row in pool}
    return float(np.mean([row.tobytes() not in seen for row in mixed])) if len(mixed) else float("nan")


def _mean_rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64], counts: NDArray[np.bool_]) -> float:
    enough = counts.sum(1) >= FEW
    found = rank_correlations(first[enough], second[enough], counts[enough])
    found = found[np.isfinite(found)]
    return float(found.mean()) if len(found) else float("nan")


def rank_correlations(
    first: NDArray[np.float64], second: NDArray[np.float64], counts: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of each row, (n,), ties at their mean rank; NaN if one of them is constant.

    Args:
        first: (n, m).
        second: (n, m).
        counts: Which columns count in a row, (n, m).
    """
    a, b = (_centred_ranks(one, counts) for one in (first, second))
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    found: NDArray[np.float64] = np.divide((a * b).sum(1), size, out=np.full(len(a), np.nan), where=size > 0)
    return found


def _centred_ranks(values: NDArray[np.float64], counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the ranks of each row's values that count, minus their mean; 0 for the others."""
    one, other, counted = values[:, :, None], values[:, None, :], counts[:, None, :]
    below, above = ((one > other) & counted).sum(2), ((one < other) & counted).sum(2)
    return np.where(counts, (below - above) / 2, 0.0)
